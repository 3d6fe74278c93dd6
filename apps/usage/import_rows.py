"""The tables of imports, read and written. Part of imports."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.usage.core.import_mapping import ColumnMapping, ImportRefusedError
from apps.usage.core.import_preview import ImportPreview, preview_from_json
from apps.usage.import_readers import Format, Position

State = Literal["uploaded", "checking", "checked", "running", "done", "failed", "discarded"]
# Namespaces the advisory lock under which one process at a time works on a tenant's imports.
IMPORT_LOCK: Final = 0x0C05A
LOCK_POLL_S: Final = 0.2
MAX_LISTED: Final = 50
# Rejections beyond these are counted and not kept.
MAX_REJECTS: Final = 100_000
NEW: Final = (
    "position_row = 0, position_offset = 0, done_bytes = 0, accepted = 0, duplicates = 0,"
    " rejected = 0, unpriced = 0, cost_usd = 0, first_occurred_at = NULL, last_occurred_at = NULL,"
    " finished_at = NULL, error = NULL"
)


@dataclass(frozen=True, slots=True)
class ImportInfo:
    """One import: the file, what its columns mean, how far it got. `accepted` and what follows it
    are of a dry run until the run starts. Costs are exact USD."""

    id: int
    file_name: str
    file_sha256: str
    size_bytes: int
    format: Format
    is_upload: bool
    actor: str
    created_at: datetime
    mapping: ColumnMapping
    state: State
    position_row: int
    position_offset: int
    done_bytes: int
    accepted: int
    duplicates: int
    rejected: int
    unpriced: int
    cost_usd: Decimal
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None
    preview: ImportPreview | None
    started_at: datetime | None
    progressed_at: datetime | None
    finished_at: datetime | None
    error: str | None

    @property
    def position(self) -> Position:
        return Position(self.position_row, self.position_offset)


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken. `row_number` counts from 1 without headings and empty lines."""

    row_number: int
    code: str
    field: str | None
    detail: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class PortionSums:
    """What one portion of rows adds."""

    accepted: int
    duplicates: int
    rejected: int
    unpriced: int
    cost_usd: Decimal
    first_occurred_at: datetime | None
    last_occurred_at: datetime | None


_NAMES: Final = [field.name for field in fields(ImportInfo)]
_COLUMNS: Final = ", ".join(_NAMES)


def get_import(import_id: int) -> ImportInfo:
    """One of the tenant in scope's. Raises ImportRefusedError when there is none."""
    found = _select("AND id = %s", [import_id])
    if not found:
        raise ImportRefusedError(f"there is no import {import_id}", field="import_id")
    return found[0]


def list_imports(limit: int = MAX_LISTED) -> list[ImportInfo]:
    """The tenant in scope's, newest first."""
    return _select("ORDER BY id DESC LIMIT %s", [min(limit, MAX_LISTED)])


def find_active_upload() -> ImportInfo | None:
    """The oldest upload that workers have something to do for."""
    found = _select("AND is_upload AND state IN ('checking', 'running') ORDER BY id LIMIT 1", [])
    return found[0] if found else None


def find_stopped(file_sha256: str) -> ImportInfo | None:
    """The newest run of a file by a command that did not come to its end."""
    found = _select(
        "AND NOT is_upload AND file_sha256 = %s AND state IN ('running', 'failed')"
        " AND started_at IS NOT NULL ORDER BY id DESC LIMIT 1",
        [file_sha256],
    )
    return found[0] if found else None


def list_tenants_with_running_import() -> list[int]:
    """Tenants with an upload to go on with. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_running_import()")
        return [row[0] for row in cursor.fetchall()]


def count_kept_uploads() -> int:
    return len(_select("AND is_upload AND finished_at IS NULL", []))


def list_stale_uploads(before: datetime) -> list[ImportInfo]:
    return _select(
        "AND is_upload AND state IN ('uploaded', 'checked', 'failed')"
        " AND coalesce(progressed_at, created_at) < %s AND EXISTS (SELECT FROM usage_import_chunk"
        " AS c WHERE c.tenant_id = usage_import.tenant_id AND c.import_id = usage_import.id)",
        [before],
    )


def insert_import(
    *,
    file_name: str,
    file_sha256: str,
    size_bytes: int,
    form: Format,
    is_upload: bool,
    actor: str,
    mapping: ColumnMapping,
    now: datetime,
) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_import (tenant_id, file_name, file_sha256, size_bytes, format,"
            " is_upload, actor, created_at, mapping)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            [
                current_tenant_id(),
                file_name,
                file_sha256,
                size_bytes,
                form,
                is_upload,
                actor,
                now,
                _as_json(mapping),
            ],
        )
        return int(cursor.fetchone()[0])


def set_mapping(import_id: int, mapping: ColumnMapping) -> None:
    """Other columns: what a dry run said by the old ones is void."""
    forget_rows(import_id)
    _update(f"mapping = %(mapping)s, state = 'uploaded', preview = NULL, {NEW}", import_id,
        mapping=_as_json(mapping))  # fmt: skip


def set_format(import_id: int, form: Format) -> None:
    _update("format = %(form)s", import_id, form=form)


def set_begun(import_id: int, state: State, *, now: datetime) -> None:
    """Let a dry run or a run start from the first row."""
    forget_rows(import_id)
    preview = "NULL" if state == "checking" else "preview"
    _update(
        f"state = %(state)s, started_at = %(now)s, progressed_at = %(now)s, preview = {preview},"
        f" {NEW}",
        import_id,
        state=state,
        now=now,
    )


def set_going_on(import_id: int, *, now: datetime) -> None:
    """Let a failed run go on where it was."""
    _update(
        "state = 'running', finished_at = NULL, error = NULL, progressed_at = %(now)s",
        import_id,
        now=now,
    )


def set_ended(import_id: int, state: State, *, now: datetime, error: str | None = None) -> None:
    finished = "%(now)s" if state in ("done", "failed", "discarded") else "NULL"
    _update(
        f"state = %(state)s, error = %(error)s, progressed_at = %(now)s, finished_at = {finished}",
        import_id,
        state=state,
        error=error,
        now=now,
    )


def lock_at(import_id: int, state: State, position: Position) -> ImportInfo | None:
    """The import, held until the transaction ends; None if another took it on from there."""
    found = _select(
        "AND id = %s AND state = %s AND position_row = %s FOR UPDATE",
        [import_id, state, position.row],
    )
    return found[0] if found else None


def add_progress(
    import_id: int,
    sums: PortionSums,
    *,
    position: Position,
    done_bytes: int,
    preview: ImportPreview | None,
    now: datetime,
) -> None:
    values: dict[str, Any] = {name: getattr(sums, name) for name in _SUMS}
    added = ", ".join(f"{name} = {name} + %({name})s" for name in _SUMS)
    _update(
        f"{added}, first_occurred_at = least(first_occurred_at, %(first)s),"
        " last_occurred_at = greatest(last_occurred_at, %(last)s), position_row = %(row)s,"
        " position_offset = %(offset)s, done_bytes = %(done_bytes)s, progressed_at = %(now)s,"
        " preview = coalesce(%(preview)s, preview)",
        import_id,
        **values,
        first=sums.first_occurred_at,
        last=sums.last_occurred_at,
        row=position.row,
        offset=position.offset,
        done_bytes=done_bytes,
        preview=None if preview is None else _as_json(preview),
        now=now,
    )


_SUMS: Final = ("accepted", "duplicates", "rejected", "unpriced", "cost_usd")


def insert_rejects(info: ImportInfo, rejects: Sequence[Reject]) -> None:
    """Keep them, as far as MAX_REJECTS goes."""
    kept = rejects[: max(MAX_REJECTS - info.rejected, 0)]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO usage_import_reject (tenant_id, import_id, row_number, code, field,"
            " detail, value) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                (current_tenant_id(), info.id, r.row_number, r.code, r.field, r.detail, r.value)
                for r in kept
            ],
        )


def list_rejects(import_id: int, *, after_row: int = 0, limit: int = 1000) -> list[Reject]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT row_number, code, field, detail, value FROM usage_import_reject"
            " WHERE tenant_id = %s AND import_id = %s AND row_number > %s"
            " ORDER BY row_number LIMIT %s",
            [current_tenant_id(), import_id, after_row, limit],
        )
        return [Reject(*row) for row in cursor.fetchall()]


Seen = tuple[int, int | None]


def read_seen(import_id: int, digests: Iterable[str]) -> dict[str, Seen]:
    """How often each was met before, and with what content; those never met are left out."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT digest, seen, content_hash FROM usage_import_seen WHERE tenant_id = %s"
            " AND import_id = %s AND digest = ANY(%s::uuid[])",
            [current_tenant_id(), import_id, list(digests)],
        )
        return {digest.hex: (seen, content) for digest, seen, content in cursor.fetchall()}


def add_seen(import_id: int, met: Mapping[str, Seen]) -> None:
    digests = sorted(met)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_import_seen (tenant_id, import_id, digest, seen, content_hash)"
            " SELECT %s, %s, * FROM unnest(%s::uuid[], %s::integer[], %s::bigint[])"
            " ON CONFLICT (tenant_id, import_id, digest)"
            " DO UPDATE SET seen = usage_import_seen.seen + excluded.seen",
            [
                current_tenant_id(),
                import_id,
                digests,
                [met[digest][0] for digest in digests],
                [met[digest][1] for digest in digests],
            ],
        )


def forget_rows(import_id: int) -> None:
    """Forget what was refused and met: a run starts from the first row."""
    _delete("usage_import_reject", import_id)
    _delete("usage_import_seen", import_id)


def forget_file(import_id: int) -> None:
    """Let the bytes go, and what was needed to go on with them."""
    _delete("usage_import_chunk", import_id)
    _delete("usage_import_seen", import_id)


@contextmanager
def alone(tenant_id: int, *, patience_s: float = 0) -> Iterator[bool]:
    """Whether this process is the one to work on the tenant's imports; it is, until the end.

    A lock of the session, as the work spans transactions. A killed process's goes with its session;
    `lock_at` keeps the counts right even when a session was lost in between.
    """
    give_up_at = time.monotonic() + patience_s
    while not (is_alone := _try_lock(tenant_id)) and time.monotonic() < give_up_at:
        time.sleep(LOCK_POLL_S)
    try:
        yield is_alone
    finally:
        if is_alone and connection.connection is not None and not connection.connection.closed:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [IMPORT_LOCK, tenant_id])


def _try_lock(tenant_id: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [IMPORT_LOCK, tenant_id])
        return bool(cursor.fetchone()[0])


def _delete(table: str, import_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE tenant_id = %s AND import_id = %s",
            [current_tenant_id(), import_id],
        )


def _select(condition: str, values: list[Any]) -> list[ImportInfo]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM usage_import WHERE tenant_id = %s {condition}",
            [current_tenant_id(), *values],
        )
        return [_info(row) for row in cursor.fetchall()]


def _info(row: tuple[Any, ...]) -> ImportInfo:
    values = dict(zip(_NAMES, row, strict=True))
    # Django leaves jsonb as text.
    values["mapping"] = msgspec.json.decode(values["mapping"], type=ColumnMapping)
    if values["preview"] is not None:
        values["preview"] = preview_from_json(json.loads(values["preview"]))
    return ImportInfo(**values)


def _update(assignments: str, import_id: int, **values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE usage_import SET {assignments}"
            " WHERE tenant_id = %(tenant_id)s AND id = %(id)s",
            {"tenant_id": current_tenant_id(), "id": import_id, **values},
        )


def _as_json(value: ColumnMapping | ImportPreview) -> str:
    return msgspec.json.encode(value).decode()
