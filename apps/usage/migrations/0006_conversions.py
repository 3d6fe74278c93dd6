"""Conversions summed in the rollups, beside revenue; moves carry whether their charge converted."""

from django.db import migrations

# Bucket of a ledger row, as the fold has it.
BUCKETS = {
    "usage_rollup_minute": "date_trunc('minute', l.occurred_at)",
    "usage_rollup_quarter_hour": "date_bin('15 minutes', l.occurred_at, 'epoch')",
    "usage_rollup_day": "(l.occurred_at AT TIME ZONE t.time_zone)::date",
}

# A move was written without it: it carries its charge's.
MOVES = """
UPDATE usage_ledger AS m SET converted = l.converted FROM usage_ledger AS l
WHERE m.kind = 2 AND l.tenant_id = m.tenant_id AND l.id = m.corrects_id
    AND l.occurred_at = m.occurred_at AND l.converted;
"""


def fill(table: str, bucket: str) -> str:
    """What is still in the queue of commits comes with its fold."""
    return f"""
ALTER TABLE {table} ADD COLUMN conversions bigint NOT NULL DEFAULT 0;
UPDATE {table} AS r SET conversions = f.conversions FROM (
    SELECT l.tenant_id, {bucket} AS bucket, l.slice_id,
        count(*) FILTER (WHERE l.kind = 0) + sum(l.request_change) AS conversions
    FROM usage_ledger AS l JOIN tenants_tenant AS t ON t.id = l.tenant_id
    WHERE l.converted AND NOT EXISTS (
        SELECT 1 FROM usage_commit AS c WHERE c.tenant_id = l.tenant_id AND c.id = l.id >> 16)
    GROUP BY 1, 2, 3
) AS f WHERE f.tenant_id = r.tenant_id AND f.bucket = r.bucket AND f.slice_id = r.slice_id;
ALTER TABLE {table} ALTER COLUMN conversions DROP DEFAULT;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0005_tenants_with_usage")]
    operations = [
        migrations.RunSQL(
            MOVES + "".join(fill(table, bucket) for table, bucket in BUCKETS.items()),
            "".join(f"ALTER TABLE {table} DROP COLUMN conversions;" for table in BUCKETS),
        ),
    ]
