"""How often a replay was begun, so that one that kills its worker is given up; who waits."""

from django.db import migrations, models

from apps.tenants.rls import door


class Migration(migrations.Migration):

    dependencies = [
        ('routing', '0003_replays'),
    ]

    operations = [
        migrations.AddField(
            model_name='simulation',
            name='starts',
            field=models.PositiveSmallIntegerField(default=0),
        ),
        door(
            "tenants_with_waiting_simulation()",
            "SETOF bigint",
            "SELECT DISTINCT tenant_id FROM routing_simulation"
            " WHERE state IN ('queued', 'running')",
        ),
    ]
