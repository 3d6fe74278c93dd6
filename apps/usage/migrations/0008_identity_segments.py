"""Identities in segments by arrival (docs/decisions/0034-identities-in-segments.md)."""

from django.db import migrations

from apps.tenants.rls import app_role_identifier, append_only, door, protect

ROLE = app_role_identifier()
PROTECT = protect("usage_identity")
APPEND_ONLY = append_only("usage_identity")

SEGMENTS = f"""
-- Who came when: new identities go into the one segment that is open, and sealed ones never change.
-- `bloom_filter` is of what a sealed segment holds; NULL: look into the segment itself.
CREATE TABLE usage_identity_segment (
    segment integer PRIMARY KEY CHECK (segment >= 0),
    opened_at timestamptz NOT NULL,
    sealed_at timestamptz CHECK (sealed_at >= opened_at),
    bloom_filter bytea,
    CHECK (sealed_at IS NOT NULL OR bloom_filter IS NULL)
);
CREATE UNIQUE INDEX usage_identity_segment_open ON usage_identity_segment ((true))
    WHERE sealed_at IS NULL;
REVOKE ALL ON usage_identity_segment FROM {ROLE};
GRANT SELECT, UPDATE (bloom_filter) ON usage_identity_segment TO {ROLE};

CREATE FUNCTION refuse_usage_identity() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    RAISE EXCEPTION '% is sealed: identities go into the open segment', TG_TABLE_NAME;
END
$body$;
"""

# What stands is the first segment.
DIVIDE = """
ALTER TABLE usage_identity RENAME TO usage_identity_0;
DROP POLICY tenant_wall ON usage_identity_0;
ALTER TABLE usage_identity_0 ADD COLUMN segment integer NOT NULL DEFAULT 0;
ALTER TABLE usage_identity_0 ALTER COLUMN segment DROP DEFAULT;
ALTER TABLE usage_identity_0 DROP CONSTRAINT usage_identity_pkey;
CREATE TABLE usage_identity (
    tenant_id bigint NOT NULL,
    identity uuid NOT NULL,
    content_hash bigint NOT NULL,
    ledger_id bigint NOT NULL,
    occurred_at timestamptz NOT NULL,
    segment integer NOT NULL,
    PRIMARY KEY (tenant_id, identity, segment)
) PARTITION BY LIST (segment);
ALTER TABLE usage_identity ATTACH PARTITION usage_identity_0 FOR VALUES IN (0);
INSERT INTO usage_identity_segment (segment, opened_at) VALUES (0, now());
"""
UNITE = """
CREATE TABLE united AS SELECT tenant_id, identity, content_hash, ledger_id, occurred_at
    FROM usage_identity;
DROP TABLE usage_identity;
ALTER TABLE united RENAME TO usage_identity;
ALTER TABLE usage_identity ALTER COLUMN tenant_id SET NOT NULL,
    ALTER COLUMN identity SET NOT NULL, ALTER COLUMN content_hash SET NOT NULL,
    ALTER COLUMN ledger_id SET NOT NULL, ALTER COLUMN occurred_at SET NOT NULL,
    ADD CONSTRAINT usage_identity_pkey PRIMARY KEY (tenant_id, identity);
"""

# Who writes holds the lock shared from before its statement begins until its commit, so at the
# turn nobody writes, and all that was written is seen by whoever writes next. The turn waits for
# half a second at most, and others then wait behind it: what is too busy is sealed a little later.
SEAL = f"""
CREATE FUNCTION seal_usage_identities(capacity_bytes bigint, share_of_all double precision,
    now_at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $body$
DECLARE
    open_segment integer;
    next_child text;
    total_bytes bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('seal_usage_identities'));
    SELECT segment INTO open_segment FROM usage_identity_segment WHERE sealed_at IS NULL;
    SELECT sum(pg_relation_size(relid)) INTO total_bytes FROM pg_partition_tree('usage_identity')
        WHERE isleaf;
    IF pg_relation_size(format('usage_identity_%s', open_segment)::regclass)
        < greatest(capacity_bytes, total_bytes * share_of_all)
    THEN
        RETURN NULL;
    END IF;
    next_child := format('usage_identity_%s', open_segment + 1);
    EXECUTE format('CREATE TABLE %I (LIKE usage_identity INCLUDING ALL)', next_child);
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', next_child);
    EXECUTE format('REVOKE ALL ON %I FROM {ROLE.replace("'", "''")}', next_child);
    EXECUTE format('ALTER TABLE usage_identity ATTACH PARTITION %I FOR VALUES IN (%s)',
        next_child, open_segment + 1);
    PERFORM set_config('lock_timeout', '500ms', true);
    PERFORM pg_advisory_xact_lock(hashtext('usage_identity'));
    UPDATE usage_identity_segment SET sealed_at = greatest(now_at, opened_at)
        WHERE segment = open_segment;
    INSERT INTO usage_identity_segment (segment, opened_at)
        VALUES (open_segment + 1, clock_timestamp());
    EXECUTE format('CREATE TRIGGER sealed BEFORE INSERT ON %I'
        ' FOR EACH ROW EXECUTE FUNCTION refuse_usage_identity()',
        format('usage_identity_%s', open_segment));
    RETURN open_segment;
END
$body$;
REVOKE ALL ON FUNCTION seal_usage_identities(bigint, double precision, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION seal_usage_identities(bigint, double precision, timestamptz) TO {ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0007_facets")]
    operations = [
        migrations.RunSQL(
            SEGMENTS,
            "DROP TABLE usage_identity_segment; DROP FUNCTION refuse_usage_identity();",
        ),
        migrations.RunSQL(DIVIDE, UNITE + PROTECT.sql + APPEND_ONLY.sql),
        PROTECT,
        APPEND_ONLY,
        migrations.RunSQL(
            SEAL,
            "DROP FUNCTION seal_usage_identities(bigint, double precision, timestamptz);",
        ),
        door(
            "usage_identities_of(wanted integer)",
            "SETOF bytea",
            "SELECT uuid_send(identity) FROM usage_identity WHERE segment = wanted",
        ),
    ]
