"""The ledger and what is summed from it. SQL, because partitions and walls are the point."""

from django.db import migrations

from apps.tenants.rls import app_role_identifier, append_only, door, protect

MEASURES = """
    requests bigint NOT NULL,
    uncached_input_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_5m_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    cost_usd numeric NOT NULL,
    unpriced_requests bigint NOT NULL,
    revenue_usd numeric NOT NULL,
    latency_ms_sum bigint NOT NULL,
    latency_count bigint NOT NULL
"""

SLICE = """
-- One combination of everything a page groups by. Ledger and rollups carry its id alone.
CREATE TABLE usage_slice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL REFERENCES tenants_tenant (id),
    digest uuid NOT NULL,
    backend_id bigint NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    api_key_id bigint NOT NULL,
    customer_id bigint,
    department_id bigint,
    project text,
    environment text,
    task text,
    status text NOT NULL,
    UNIQUE (tenant_id, digest)
);
"""

LEDGER = """
-- Each event counts once per tenant, source and id, whatever its time and partition.
CREATE TABLE usage_identity (
    tenant_id bigint NOT NULL,
    identity uuid NOT NULL,
    content_hash bigint NOT NULL,
    ledger_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, identity)
);

-- id = commit << 16 | row within the commit: a commit's rows are one range of the primary key.
-- kind 0: a charge. kind 1: an adjustment of the charge `corrects_id` by a repricing run: it
-- carries the difference in cost and in unpriced requests, and no volume.
CREATE TABLE usage_ledger (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    kind smallint NOT NULL DEFAULT 0,
    corrects_id bigint,
    repricing_id bigint,
    unpriced_change smallint NOT NULL DEFAULT 0 CHECK (unpriced_change BETWEEN -1 AND 1),
    slice_id bigint NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL,
    uncached_input_tokens bigint NOT NULL CHECK (uncached_input_tokens >= 0),
    cache_read_tokens bigint NOT NULL CHECK (cache_read_tokens >= 0),
    cache_write_5m_tokens bigint NOT NULL CHECK (cache_write_5m_tokens >= 0),
    cache_write_1h_tokens bigint NOT NULL CHECK (cache_write_1h_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    reasoning_tokens bigint NOT NULL CHECK (reasoning_tokens BETWEEN 0 AND output_tokens),
    -- NULL: no price known. Never zero for that reason.
    cost_usd numeric(38, 24),
    rate_revision bigint NOT NULL,
    requested_model text,
    end_user text,
    tags jsonb,
    -- Quantities beyond the token buckets ({"web_searches": 2}), and the variant that prices
    -- them ({"service_tier": "flex"}).
    meters jsonb,
    price_context jsonb,
    latency_ms integer,
    time_to_first_token_ms integer,
    decision_id text,
    policy_version text,
    revenue_usd numeric(38, 24),
    converted boolean,
    quality_score real,
    reported_cost_usd numeric(38, 24),
    energy_wh numeric(38, 24),
    PRIMARY KEY (tenant_id, id, occurred_at),
    CONSTRAINT usage_ledger_entry CHECK (
        (kind = 0 AND corrects_id IS NULL AND repricing_id IS NULL AND unpriced_change = 0
            AND (cost_usd IS NULL OR cost_usd >= 0))
        OR (kind = 1 AND corrects_id IS NOT NULL AND repricing_id IS NOT NULL
            AND cost_usd IS NOT NULL)
    )
) PARTITION BY RANGE (occurred_at);
CREATE INDEX usage_ledger_adjustments ON usage_ledger (tenant_id, corrects_id) WHERE kind = 1;

-- Commits whose rows the rollups do not hold yet. A row is visible when its ledger rows are.
CREATE TABLE usage_commit (
    tenant_id bigint NOT NULL,
    id bigint NOT NULL,
    rows integer NOT NULL,
    first_occurred_at timestamptz NOT NULL,
    last_occurred_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);
CREATE SEQUENCE usage_commit_number;
"""

ROLLUPS = f"""
CREATE TABLE usage_rollup_minute (
    tenant_id bigint NOT NULL, bucket timestamptz NOT NULL, slice_id bigint NOT NULL, {MEASURES},
    PRIMARY KEY (tenant_id, bucket, slice_id)
);
-- Every zone's offset is a multiple of 15 minutes: any local day is a sum of these.
CREATE TABLE usage_rollup_quarter_hour (
    tenant_id bigint NOT NULL, bucket timestamptz NOT NULL, slice_id bigint NOT NULL, {MEASURES},
    PRIMARY KEY (tenant_id, bucket, slice_id)
);
-- The tenant's local days.
CREATE TABLE usage_rollup_day (
    tenant_id bigint NOT NULL, bucket date NOT NULL, slice_id bigint NOT NULL, {MEASURES},
    PRIMARY KEY (tenant_id, bucket, slice_id)
);
"""

# A partition is a table of its own: nobody but its parent may be the way in.
PARTITIONS = f"""
CREATE FUNCTION ensure_usage_partitions(first_day date, last_day date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    month_start date := date_trunc('month', first_day)::date;
    made integer := 0;
    child text;
BEGIN
    IF last_day - first_day > 3660 THEN
        RAISE EXCEPTION 'ensure_usage_partitions: % to % is more than ten years', first_day, last_day;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_usage_partitions'));
    WHILE month_start <= last_day LOOP
        child := 'usage_ledger_' || to_char(month_start, 'YYYY_MM');
        IF to_regclass('public.' || child) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE %I PARTITION OF usage_ledger FOR VALUES FROM (%L) TO (%L)',
                child,
                month_start::text || ' 00:00:00+00',
                (month_start + interval '1 month')::date::text || ' 00:00:00+00'
            );
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', child);
            EXECUTE format('REVOKE ALL ON %I FROM {app_role_identifier().replace("'", "''")}', child);
            made := made + 1;
        END IF;
        month_start := (month_start + interval '1 month')::date;
    END LOOP;
    RETURN made;
END
$body$;
REVOKE ALL ON FUNCTION ensure_usage_partitions(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_usage_partitions(date, date) TO {app_role_identifier()};
SELECT ensure_usage_partitions(
    (now() - interval '14 months')::date, (now() + interval '3 months')::date
);
"""

TABLES = (
    "usage_slice",
    "usage_identity",
    "usage_ledger",
    "usage_commit",
    "usage_rollup_minute",
    "usage_rollup_quarter_hour",
    "usage_rollup_day",
)


class Migration(migrations.Migration):
    initial = True
    dependencies = [("tenants", "0001_initial")]
    operations = [
        migrations.RunSQL(
            SLICE + LEDGER + ROLLUPS,
            f"DROP TABLE {', '.join(TABLES)}; DROP SEQUENCE usage_commit_number;",
        ),
        *(protect(table) for table in TABLES),
        append_only("usage_slice"),
        append_only("usage_ledger"),
        append_only("usage_identity"),
        append_only("usage_commit", deletable=True),
        migrations.RunSQL(PARTITIONS, "DROP FUNCTION ensure_usage_partitions(date, date);"),
        door(
            "tenants_with_pending_usage()",
            "SETOF bigint",
            "SELECT DISTINCT tenant_id FROM usage_commit ORDER BY tenant_id",
        ),
    ]
