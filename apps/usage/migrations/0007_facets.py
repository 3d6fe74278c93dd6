"""Rollups by few dimensions and by month: what pages read instead of every combination."""

from django.db import migrations

from apps.tenants.rls import append_only, protect

# As apps/usage/facets.py has them; written out here, since a migration does not change.
FACETS = {
    "department": ("department_id",),
    "backend": ("backend_id", "provider", "model"),
    "customer": ("customer_id",),
    "work": (
        "backend_id", "provider", "model", "api_key_id", "department_id",
        "project", "environment", "task", "status",
    ),
    "customer_backend": ("customer_id", "backend_id", "provider", "model"),
}  # fmt: skip
MEASURES = (
    "requests", "uncached_input_tokens", "cache_read_tokens", "cache_write_5m_tokens",
    "cache_write_1h_tokens", "output_tokens", "reasoning_tokens", "cost_usd", "unpriced_requests",
    "revenue_usd", "latency_ms_sum", "latency_count", "conversions",
)  # fmt: skip
MONTH = "date_trunc('month', r.bucket)::date"
# Table -> (the rollup it is summed from, its bucket, its type, its facet)
ROLLUPS = {
    "usage_rollup_month": ("usage_rollup_day", MONTH, "date", None),
    **{
        f"usage_rollup_{grain}_{facet}": (f"usage_rollup_{source}", bucket, kind, facet)
        for grain, source, bucket, kind, facets in (
            (
                "quarter_hour", "quarter_hour", "r.bucket", "timestamptz",
                ("department", "backend", "customer", "work"),
            ),
            ("day", "day", "r.bucket", "date", tuple(FACETS)),
            ("month", "day", MONTH, "date", ("work", "customer_backend")),
        )
        for facet in facets
    },
}  # fmt: skip

COARSE = """
-- One combination of a facet's dimensions; the others are NULL, and mean nothing.
CREATE TABLE usage_coarse_slice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL REFERENCES tenants_tenant (id),
    facet text NOT NULL,
    digest uuid NOT NULL,
    backend_id bigint,
    provider text,
    model text,
    api_key_id bigint,
    customer_id bigint,
    department_id bigint,
    project text,
    environment text,
    task text,
    status text,
    UNIQUE (tenant_id, facet, digest)
);
"""


def digest(facet: str) -> str:
    values = ", ".join(f"s.{column}" for column in FACETS[facet])
    text = f"convert_to(ROW({values})::text, 'UTF8')"
    return f"encode(substr(sha256({text}), 1, 16), 'hex')::uuid"


def place(facet: str) -> str:
    """Every slice there is belongs to a coarse one."""
    columns = ", ".join(FACETS[facet])
    return f"""
INSERT INTO usage_coarse_slice (tenant_id, facet, digest, {columns})
SELECT DISTINCT s.tenant_id, '{facet}', {digest(facet)}, {columns} FROM usage_slice AS s;
ALTER TABLE usage_slice ADD COLUMN {facet}_slice_id bigint REFERENCES usage_coarse_slice (id);
UPDATE usage_slice AS s SET {facet}_slice_id = c.id FROM usage_coarse_slice AS c
WHERE c.tenant_id = s.tenant_id AND c.facet = '{facet}' AND c.digest = {digest(facet)};
ALTER TABLE usage_slice ALTER COLUMN {facet}_slice_id SET NOT NULL;
"""


def make(table: str) -> str:
    """What is still in the queue of commits comes with its fold."""
    source, bucket, kind, facet = ROLLUPS[table]
    types = {"cost_usd": "numeric", "revenue_usd": "numeric"}
    join = "JOIN usage_slice AS s ON s.id = r.slice_id" if facet else ""
    return f"""
CREATE TABLE {table} (
    tenant_id bigint NOT NULL, bucket {kind} NOT NULL, slice_id bigint NOT NULL,
    {", ".join(f"{one} {types.get(one, 'bigint')} NOT NULL" for one in MEASURES)},
    PRIMARY KEY (tenant_id, bucket, slice_id)
);
INSERT INTO {table} (tenant_id, bucket, slice_id, {", ".join(MEASURES)})
SELECT r.tenant_id, {bucket}, {f"s.{facet}_slice_id" if facet else "r.slice_id"},
    {", ".join(f"sum(r.{one})" for one in MEASURES)}
FROM {source} AS r {join} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0006_conversions")]
    operations = [
        migrations.RunSQL(
            COARSE + "".join(map(place, FACETS)) + "".join(map(make, ROLLUPS)),
            "".join(f"DROP TABLE {table};" for table in ROLLUPS)
            + "".join(f"ALTER TABLE usage_slice DROP COLUMN {facet}_slice_id;" for facet in FACETS)
            + "DROP TABLE usage_coarse_slice;",
        ),
        *(protect(table) for table in ("usage_coarse_slice", *ROLLUPS)),
        append_only("usage_coarse_slice"),
    ]
