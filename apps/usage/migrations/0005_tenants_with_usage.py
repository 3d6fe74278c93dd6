"""Which tenants used anything lately: what watches spend visits these alone."""

from django.db import migrations

from apps.tenants.rls import door


class Migration(migrations.Migration):
    dependencies = [("usage", "0004_attribution")]
    operations = [
        door(
            "tenants_with_usage_since(first_day date)",
            "SETOF bigint",
            "SELECT t.id FROM tenants_tenant AS t WHERE EXISTS (SELECT FROM usage_rollup_day AS r"
            " WHERE r.tenant_id = t.id AND r.bucket >= first_day) ORDER BY t.id",
        ),
    ]
