"""Repricing runs, and the ledger's index of a run's rows."""

from django.db import migrations

from apps.tenants.rls import app_role_identifier, door, protect

REPRICING = """
-- What was asked for, and the dry run's answer, never change. How far the run got does.
CREATE TABLE usage_repricing (
    tenant_id bigint NOT NULL REFERENCES tenants_tenant (id),
    id bigint GENERATED ALWAYS AS IDENTITY,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    provider text,
    model text,
    backend text,
    backend_id bigint,
    customer text,
    customer_id bigint,
    only_unpriced boolean NOT NULL,
    reason text NOT NULL CHECK (btrim(reason) <> ''),
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    -- Price by what was believed at this revision; charges up to this ledger id.
    rate_revision bigint NOT NULL,
    through_id bigint NOT NULL,
    -- The newest run when the dry run was made: the draft is stale once there is a newer one.
    after_position integer NOT NULL,
    preview jsonb,
    undo_of bigint,

    status text NOT NULL DEFAULT 'draft',
    position integer CHECK (position > 0),
    cursor_id bigint NOT NULL DEFAULT 0,
    examined_charges bigint NOT NULL DEFAULT 0,
    changed_charges bigint NOT NULL DEFAULT 0,
    cost_change_usd numeric NOT NULL DEFAULT 0,
    unpriced_change bigint NOT NULL DEFAULT 0,
    started_at timestamptz,
    progressed_at timestamptz,
    finished_at timestamptz,
    error text,

    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, position),
    FOREIGN KEY (tenant_id, undo_of) REFERENCES usage_repricing (tenant_id, id),
    CONSTRAINT usage_repricing_range CHECK (starts_at < ends_at),
    CONSTRAINT usage_repricing_status
        CHECK (status IN ('draft', 'running', 'done', 'failed', 'undone')),
    CONSTRAINT usage_repricing_started CHECK (
        (status = 'draft') = (position IS NULL) AND (position IS NULL) = (started_at IS NULL)
    ),
    CONSTRAINT usage_repricing_finished
        CHECK ((status IN ('draft', 'running')) = (finished_at IS NULL)),
    CONSTRAINT usage_repricing_failed CHECK (status <> 'failed' OR error IS NOT NULL),
    CONSTRAINT usage_repricing_previewed CHECK ((preview IS NULL) = (undo_of IS NOT NULL))
);
-- One at a time a tenant.
CREATE UNIQUE INDEX usage_repricing_running ON usage_repricing (tenant_id)
    WHERE status = 'running';

CREATE FUNCTION guard_usage_repricing() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $body$
BEGIN
    IF NEW.status <> OLD.status AND (OLD.status, NEW.status) NOT IN (
        ('draft', 'running'), ('running', 'done'), ('running', 'failed'), ('failed', 'running'),
        ('failed', 'undone'), ('done', 'undone'), ('undone', 'done')
    ) THEN
        RAISE EXCEPTION 'repricing %: % does not become %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.cursor_id < OLD.cursor_id OR NEW.changed_charges < OLD.changed_charges
        OR NEW.examined_charges < OLD.examined_charges
        OR (NEW.cursor_id > OLD.cursor_id AND OLD.status <> 'running')
        OR (OLD.position IS NOT NULL AND NEW.position IS DISTINCT FROM OLD.position) THEN
        RAISE EXCEPTION 'repricing %: progress only grows, and only while it runs', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$body$;
CREATE TRIGGER usage_repricing_guard BEFORE UPDATE ON usage_repricing
    FOR EACH ROW EXECUTE FUNCTION guard_usage_repricing();

-- What an undo reads.
CREATE INDEX usage_ledger_of_repricing ON usage_ledger (tenant_id, repricing_id, id)
    WHERE kind = 1;
"""
REVERSE = """
DROP INDEX usage_ledger_of_repricing;
DROP TABLE usage_repricing;
DROP FUNCTION guard_usage_repricing();
"""
PROGRESS = (
    "status, position, cursor_id, examined_charges, changed_charges, cost_change_usd,"
    " unpriced_change, started_at, progressed_at, finished_at, error"
)


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_initial")]
    operations = [
        migrations.RunSQL(REPRICING, REVERSE),
        protect("usage_repricing"),
        migrations.RunSQL(
            f"REVOKE UPDATE, DELETE, TRUNCATE ON usage_repricing FROM {app_role_identifier()};"
            f"GRANT UPDATE ({PROGRESS}) ON usage_repricing TO {app_role_identifier()};",
            migrations.RunSQL.noop,
        ),
        door(
            "tenants_with_running_repricing()",
            "SETOF bigint",
            "SELECT DISTINCT tenant_id FROM usage_repricing WHERE status = 'running'"
            " ORDER BY tenant_id",
        ),
    ]
