"""Imports of past usage: what was asked for, how far it got, the uploaded bytes, rows refused."""

from django.db import migrations

from apps.tenants.rls import door, protect

IMPORT = """
-- The file's facts never change; the mapping does until the run starts, then only the progress.
CREATE TABLE usage_import (
    tenant_id bigint NOT NULL REFERENCES tenants_tenant (id),
    id bigint GENERATED ALWAYS AS IDENTITY,
    file_name text NOT NULL CHECK (length(file_name) BETWEEN 1 AND 200),
    file_sha256 text NOT NULL CHECK (file_sha256 ~ '^[0-9a-f]{64}$'),
    size_bytes bigint NOT NULL CHECK (size_bytes > 0),
    format text NOT NULL CHECK (format IN ('csv', 'ndjson', 'parquet')),
    -- True: its bytes are in usage_import_chunk and workers read them. False: a command reads them.
    is_upload boolean NOT NULL,
    actor text NOT NULL,
    created_at timestamptz NOT NULL,
    mapping jsonb NOT NULL,

    state text NOT NULL DEFAULT 'uploaded',
    -- Rows read, and where the next begins (bytes of text, unpacked; 0 for Parquet).
    position_row bigint NOT NULL DEFAULT 0,
    position_offset bigint NOT NULL DEFAULT 0,
    done_bytes bigint NOT NULL DEFAULT 0,
    accepted bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    unpriced bigint NOT NULL DEFAULT 0,
    cost_usd numeric NOT NULL DEFAULT 0,
    first_occurred_at timestamptz,
    last_occurred_at timestamptz,
    preview jsonb,
    started_at timestamptz,
    progressed_at timestamptz,
    finished_at timestamptz,
    error text,

    PRIMARY KEY (tenant_id, id),
    CONSTRAINT usage_import_state CHECK (
        state IN ('uploaded', 'checking', 'checked', 'running', 'done', 'failed', 'discarded')
    ),
    CONSTRAINT usage_import_counted CHECK (accepted + duplicates + rejected = position_row),
    CONSTRAINT usage_import_failed CHECK (state <> 'failed' OR error IS NOT NULL),
    CONSTRAINT usage_import_finished
        CHECK ((state IN ('done', 'failed', 'discarded')) = (finished_at IS NOT NULL))
);

-- Bytes in pieces of a MiB that web and workers share without sharing a disk. Gone when done.
CREATE TABLE usage_import_chunk (
    tenant_id bigint NOT NULL,
    import_id bigint NOT NULL,
    number integer NOT NULL CHECK (number >= 0),
    data bytea NOT NULL CHECK (length(data) BETWEEN 1 AND 1048576),
    PRIMARY KEY (tenant_id, import_id, number),
    FOREIGN KEY (tenant_id, import_id) REFERENCES usage_import (tenant_id, id)
);
ALTER TABLE usage_import_chunk ALTER data SET STORAGE EXTERNAL;

-- Why a row was not taken; never what it held, but for a short number or time at fault.
CREATE TABLE usage_import_reject (
    tenant_id bigint NOT NULL,
    import_id bigint NOT NULL,
    row_number bigint NOT NULL,
    code text NOT NULL,
    field text,
    detail text NOT NULL,
    value text CHECK (length(value) <= 40),
    PRIMARY KEY (tenant_id, import_id, row_number),
    FOREIGN KEY (tenant_id, import_id) REFERENCES usage_import (tenant_id, id)
);

-- What a run has met before: rows without an id, by their content; in a dry run, identities.
CREATE TABLE usage_import_seen (
    tenant_id bigint NOT NULL,
    import_id bigint NOT NULL,
    digest uuid NOT NULL,
    seen integer NOT NULL CHECK (seen > 0),
    content_hash bigint,
    PRIMARY KEY (tenant_id, import_id, digest),
    FOREIGN KEY (tenant_id, import_id) REFERENCES usage_import (tenant_id, id)
);
"""
TABLES = ("usage_import_seen", "usage_import_reject", "usage_import_chunk", "usage_import")


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_repricing")]
    operations = [
        migrations.RunSQL(IMPORT, f"DROP TABLE {', '.join(TABLES)};"),
        *(protect(table) for table in TABLES),
        door(
            "tenants_with_running_import()",
            "SETOF bigint",
            "SELECT DISTINCT tenant_id FROM usage_import"
            " WHERE is_upload AND state IN ('checking', 'running') ORDER BY tenant_id",
        ),
    ]
