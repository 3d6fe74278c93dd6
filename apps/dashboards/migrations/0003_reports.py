import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from apps.tenants.rls import append_only, door, protect


class Migration(migrations.Migration):

    dependencies = [
        ('dashboards', '0002_saved_view'),
        ('tenants', '0008_exchange_rates'),
    ]

    operations = [
        migrations.CreateModel(
            name='ReportSchedule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('frequency', models.CharField(max_length=10)),
                ('day', models.PositiveSmallIntegerField()),
                ('hour', models.PositiveSmallIntegerField()),
                ('member_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
                ('channel_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
                ('since', models.DateTimeField()),
                ('created_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.CreateModel(
            name='Report',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('first_day', models.DateField()),
                ('cost_usd', models.DecimalField(decimal_places=24, max_digits=38)),
                ('made_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('schedule', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reports', to='dashboards.reportschedule')),
            ],
            options={
                'abstract': False,
                'base_manager_name': 'objects',
                'default_manager_name': 'objects',
            },
        ),
        migrations.AddConstraint(
            model_name='reportschedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('day__lte', 6), ('frequency', 'weekly')), models.Q(('day__gte', 1), ('day__lte', 31), ('frequency', 'monthly')), _connector='OR'), name='report_schedule_day_known'),
        ),
        migrations.AddConstraint(
            model_name='reportschedule',
            constraint=models.CheckConstraint(condition=models.Q(('hour__lte', 23)), name='report_schedule_hour_known'),
        ),
        migrations.AddConstraint(
            model_name='reportschedule',
            constraint=models.CheckConstraint(condition=models.Q(('channel_ids', []), ('member_ids', []), _negated=True), name='report_schedule_has_recipients'),
        ),
        migrations.AddIndex(
            model_name='report',
            index=models.Index(fields=['tenant', '-made_at'], name='report_by_time'),
        ),
        migrations.AddConstraint(
            model_name='report',
            constraint=models.UniqueConstraint(fields=('tenant', 'schedule', 'first_day'), name='report_once_a_period'),
        ),
        protect("dashboards_reportschedule"),
        protect("dashboards_report"),
        append_only("dashboards_report"),
        door(
            "tenants_with_report_schedules()",
            "SETOF bigint",
            "SELECT DISTINCT tenant_id FROM dashboards_reportschedule WHERE ended_at IS NULL",
        ),
    ]
