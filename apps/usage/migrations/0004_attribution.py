"""Mapping rules, and re-attribution: ledger rows that move a charge to where it belongs."""

from django.db import migrations

from apps.tenants.rls import app_role_identifier, protect

RULES = """
-- A rule never changes; it ends. `revision` is new with each change, so that processes see it.
CREATE TABLE usage_attribution_rule (
    tenant_id bigint NOT NULL REFERENCES tenants_tenant (id),
    id bigint GENERATED ALWAYS AS IDENTITY,
    -- The door's number (core/events.Door), or any.
    door smallint CHECK (door >= 0),
    source text CHECK (source <> ''),
    attribute text NOT NULL CHECK (length(attribute) BETWEEN 1 AND 200),
    value text CHECK (length(value) BETWEEN 1 AND 200),
    target text NOT NULL,
    name text CHECK (length(name) BETWEEN 1 AND 200),
    position integer NOT NULL CHECK (position BETWEEN 0 AND 10000),
    -- By the time of the event.
    effective_from timestamptz,
    effective_to timestamptz,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    ended_at timestamptz,
    ended_by text,
    revision bigint NOT NULL,

    PRIMARY KEY (tenant_id, id),
    CONSTRAINT usage_attribution_rule_target
        CHECK (target IN ('customer', 'department', 'project', 'environment', 'task')),
    -- A value is given a name; without one, any value is the name itself.
    CONSTRAINT usage_attribution_rule_name CHECK ((value IS NULL) = (name IS NULL)),
    CONSTRAINT usage_attribution_rule_key CHECK (attribute <> 'key' OR value ~ '^[0-9]{1,18}$'),
    CONSTRAINT usage_attribution_rule_span CHECK (effective_from < effective_to),
    CONSTRAINT usage_attribution_rule_ended CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE SEQUENCE usage_attribution_revision;
"""

MOVES = """
-- kind 2: one half of a re-attribution of the charge `corrects_id` by the run `repricing_id`: all
-- that the charge has come to, with its volume, is taken from one slice (request_change -1) and
-- given to another (+1).
ALTER TABLE usage_ledger ADD COLUMN request_change smallint NOT NULL DEFAULT 0;
ALTER TABLE usage_ledger
    DROP CONSTRAINT usage_ledger_entry,
    DROP CONSTRAINT usage_ledger_uncached_input_tokens_check,
    DROP CONSTRAINT usage_ledger_cache_read_tokens_check,
    DROP CONSTRAINT usage_ledger_cache_write_5m_tokens_check,
    DROP CONSTRAINT usage_ledger_cache_write_1h_tokens_check,
    DROP CONSTRAINT usage_ledger_output_tokens_check,
    DROP CONSTRAINT usage_ledger_check,
    ADD CONSTRAINT usage_ledger_entry CHECK (
        (kind = 0 AND corrects_id IS NULL AND repricing_id IS NULL AND unpriced_change = 0
            AND request_change = 0 AND (cost_usd IS NULL OR cost_usd >= 0))
        OR (kind = 1 AND corrects_id IS NOT NULL AND repricing_id IS NOT NULL
            AND request_change = 0 AND cost_usd IS NOT NULL)
        OR (kind = 2 AND corrects_id IS NOT NULL AND repricing_id IS NOT NULL
            AND request_change IN (-1, 1) AND unpriced_change IN (0, request_change)
            AND cost_usd IS NOT NULL)
    ),
    -- The half that takes away carries the charge's tokens as negative numbers.
    ADD CONSTRAINT usage_ledger_tokens CHECK (
        CASE WHEN kind = 2 AND request_change = -1
        THEN uncached_input_tokens <= 0 AND cache_read_tokens <= 0
            AND cache_write_5m_tokens <= 0 AND cache_write_1h_tokens <= 0
            AND reasoning_tokens BETWEEN output_tokens AND 0
        ELSE uncached_input_tokens >= 0 AND cache_read_tokens >= 0
            AND cache_write_5m_tokens >= 0 AND cache_write_1h_tokens >= 0
            AND reasoning_tokens BETWEEN 0 AND output_tokens
        END
    );
DROP INDEX usage_ledger_adjustments;
CREATE INDEX usage_ledger_corrections ON usage_ledger (tenant_id, corrects_id) WHERE kind > 0;
DROP INDEX usage_ledger_of_repricing;
CREATE INDEX usage_ledger_of_repricing ON usage_ledger (tenant_id, repricing_id, id)
    WHERE kind > 0;

-- A run with `move` re-attributes: {"where": ..., "to": ...}; the others reprice.
ALTER TABLE usage_repricing ADD COLUMN move jsonb;
"""
UNMOVE = """
ALTER TABLE usage_repricing DROP COLUMN move;
DROP INDEX usage_ledger_corrections;
CREATE INDEX usage_ledger_adjustments ON usage_ledger (tenant_id, corrects_id) WHERE kind = 1;
DROP INDEX usage_ledger_of_repricing;
CREATE INDEX usage_ledger_of_repricing ON usage_ledger (tenant_id, repricing_id, id)
    WHERE kind = 1;
ALTER TABLE usage_ledger
    DROP CONSTRAINT usage_ledger_entry,
    DROP CONSTRAINT usage_ledger_tokens,
    DROP COLUMN request_change,
    ADD CHECK (uncached_input_tokens >= 0),
    ADD CHECK (cache_read_tokens >= 0),
    ADD CHECK (cache_write_5m_tokens >= 0),
    ADD CHECK (cache_write_1h_tokens >= 0),
    ADD CHECK (output_tokens >= 0),
    ADD CHECK (reasoning_tokens BETWEEN 0 AND output_tokens),
    ADD CONSTRAINT usage_ledger_entry CHECK (
        (kind = 0 AND corrects_id IS NULL AND repricing_id IS NULL AND unpriced_change = 0
            AND (cost_usd IS NULL OR cost_usd >= 0))
        OR (kind = 1 AND corrects_id IS NOT NULL AND repricing_id IS NOT NULL
            AND cost_usd IS NOT NULL)
    );
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0003_import")]
    operations = [
        migrations.RunSQL(
            RULES,
            "DROP TABLE usage_attribution_rule; DROP SEQUENCE usage_attribution_revision;",
        ),
        protect("usage_attribution_rule"),
        migrations.RunSQL(
            f"REVOKE UPDATE, DELETE, TRUNCATE ON usage_attribution_rule"
            f" FROM {app_role_identifier()};"
            f"GRANT UPDATE (effective_to, ended_at, ended_by, revision)"
            f" ON usage_attribution_rule TO {app_role_identifier()};",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(MOVES, UNMOVE),
    ]
