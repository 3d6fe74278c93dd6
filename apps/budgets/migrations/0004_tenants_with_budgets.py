"""Which tenants have budgets: what keeps counters visits these alone."""

from django.db import migrations

from apps.tenants.rls import door


class Migration(migrations.Migration):
    dependencies = [("budgets", "0003_statements")]
    operations = [
        door(
            "tenants_with_budgets()",
            "SETOF bigint",
            "SELECT DISTINCT tenant_id FROM budgets_budget WHERE archived_at IS NULL"
            " ORDER BY tenant_id",
        ),
    ]
