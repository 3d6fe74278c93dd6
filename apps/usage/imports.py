"""Imports of past usage from files: looked at, tried, run, gone on with.

An upload's bytes lie in the database and workers read them; a command reads its file itself. Both
go portion by portion through ingest's own path, and go on from the last one after any crash. See
docs/integrations/import.md.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO, Final, cast

from django.db import InterfaceError, OperationalError

from apps.pricing.core.money import plain_decimal
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import find_key, list_api_keys
from apps.tenants.services import issue_api_key, record_audit, revoke_api_key
from apps.usage import import_rows as rows
from apps.usage.core.import_headings import Guess, guess_mapping, is_native
from apps.usage.core.import_mapping import ColumnMapping, ImportRefusedError, check_mapping
from apps.usage.import_dry_run import DryRun
from apps.usage.import_files import (
    MAX_UPLOAD_BYTES,
    fingerprint,
    open_stored,
    write_chunks,
)
from apps.usage.import_portions import ImportMovedError, PortionReader, write_portion
from apps.usage.import_readers import Format, NdjsonTable, Position, Row, open_table
from apps.usage.import_rows import (
    ImportInfo,
    Reject,
    find_stopped,
    get_import,
    list_imports,
    list_rejects,
    list_tenants_with_running_import,
)

__all__ = [
    "MAX_UPLOAD_BYTES",
    "ImportInfo",
    "ImportRefusedError",
    "Reject",
    "begin_file_import",
    "choose_mapping",
    "continue_import",
    "discard_import",
    "find_stopped",
    "forget_stale_uploads",
    "get_import",
    "list_imports",
    "list_rejects",
    "list_tenants_with_running_import",
    "look_at",
    "receive_upload",
    "run_file_import",
    "sample_upload",
    "start_dry_run",
    "start_import",
]

logger = logging.getLogger(__name__)
MAX_KEPT_UPLOADS: Final = 5
KEEP_UPLOADS: Final = timedelta(days=7)
SAMPLE_ROWS: Final = 5
# PostgreSQL notices within seconds that a command was killed.
LOCK_PATIENCE_S: Final = 15.0
MAX_FILE_NAME: Final = 200
# Whose the rows are: spend and charges show it as their router. Its key is revoked as it is made.
ROUTER: Final = "file import"


@dataclass(frozen=True, slots=True)
class Look:
    """A file's columns, its first rows, and what they seem to mean."""

    format: Format
    headings: list[str]
    samples: list[list[Any]]
    guess: Guess


def look_at(raw: BinaryIO, *, form: Format | None = None) -> Look:
    """Raises ImportRefusedError with a sentence when the file is no table."""
    table = open_table(raw, form=form)
    guess = guess_mapping(table.headings)
    if isinstance(table, NdjsonTable) and is_native(table.first_objects):
        guess = Guess(ColumnMapping(native=True), "native events")
    samples: list[list[Any]] = []
    for row in table.rows(Position()):
        if isinstance(row, Row):
            samples.append(list(row.cells))
        if len(samples) == SAMPLE_ROWS:
            break
    return Look(table.format, table.headings, samples, guess)


def receive_upload(
    tenant_id: int,
    file_name: str,
    pieces: Callable[[], Iterable[bytes]],
    *,
    actor: str,
    now: datetime,
) -> ImportInfo:
    """Keep an uploaded file, with the mapping guessed. `pieces` gives its bytes, each time anew.

    Raises ImportRefusedError when it is too large, no table, or too many wait already.
    """
    sha256, size_bytes = fingerprint(pieces(), limit_bytes=MAX_UPLOAD_BYTES)
    with tenant_scope(tenant_id):
        if rows.count_kept_uploads() >= MAX_KEPT_UPLOADS:
            raise ImportRefusedError(
                f"{MAX_KEPT_UPLOADS} uploads are kept already; run or discard one first",
                field="file",
            )
        import_id = rows.insert_import(
            file_name=_clean_name(file_name),
            file_sha256=sha256,
            size_bytes=size_bytes,
            form="csv",
            is_upload=True,
            actor=actor,
            mapping=ColumnMapping(),
            now=now,
        )
        write_chunks(import_id, pieces())
        look = look_at(cast("BinaryIO", open_stored(tenant_id, import_id, size_bytes)))
        rows.set_format(import_id, look.format)
        rows.set_mapping(import_id, look.guess.mapping)
        info = get_import(import_id)
        _audit("uploaded", info, actor, now=now)
        return info


def sample_upload(tenant_id: int, info: ImportInfo) -> Look:
    """An upload's columns and first rows, read anew: they are kept nowhere else."""
    raw = open_stored(tenant_id, info.id, info.size_bytes)
    return look_at(cast("BinaryIO", raw), form=info.format)


def choose_mapping(tenant_id: int, import_id: int, mapping: ColumnMapping) -> ImportInfo:
    """Say what the columns of an upload mean. Raises ImportRefusedError at the field at fault."""
    with tenant_scope(tenant_id):
        info = get_import(import_id)
        if info.state not in ("uploaded", "checked"):
            raise ImportRefusedError(f"import {info.id} is {info.state}; its columns stand")
        check_mapping(mapping, sample_upload(tenant_id, info).headings)
        rows.set_mapping(info.id, mapping)
        return get_import(info.id)


def start_dry_run(tenant_id: int, import_id: int, *, now: datetime) -> ImportInfo:
    with tenant_scope(tenant_id):
        info = get_import(import_id)
        if info.state not in ("uploaded", "checked"):
            raise ImportRefusedError(f"import {info.id} is {info.state}; there is nothing to try")
        rows.set_begun(info.id, "checking", now=now)
        return get_import(info.id)


def start_import(tenant_id: int, import_id: int, *, actor: str, now: datetime) -> ImportInfo:
    """Let an import run, or a failed one go on. For admins; workers take an upload from here."""
    with tenant_scope(tenant_id):
        info = get_import(import_id)
        if info.state in ("uploaded", "checked"):
            rows.set_begun(info.id, "running", now=now)
        elif info.state == "failed" and info.started_at is not None:
            rows.set_going_on(info.id, now=now)
        else:
            raise ImportRefusedError(f"import {info.id} is {info.state}; it does not start")
        _audit("started" if info.state != "failed" else "resumed", info, actor, now=now)
        return get_import(info.id)


def discard_import(tenant_id: int, import_id: int, *, actor: str, now: datetime) -> None:
    """End an import and let its file go. What it has written stays: events are never taken back."""
    with tenant_scope(tenant_id):
        info = get_import(import_id)
        if info.state in ("done", "discarded"):
            raise ImportRefusedError(f"import {info.id} is {info.state} already")
        rows.set_ended(info.id, "discarded", now=now)
        rows.forget_file(info.id)
        _audit("discarded", info, actor, now=now)


def begin_file_import(
    tenant_id: int,
    file_name: str,
    raw: BinaryIO,
    *,
    form: Format,
    mapping: ColumnMapping,
    actor: str,
    now: datetime,
    dry_run: bool,
) -> ImportInfo:
    """Record an import of a file that the caller reads; run_file_import does it.

    A run of the same file that stopped is given up: what it wrote is met again as duplicates.
    """
    raw.seek(0)
    sha256, size_bytes = fingerprint(_pieces(raw))
    check_mapping(mapping, open_table(raw, form=form).headings)
    with tenant_scope(tenant_id):
        stopped = find_stopped(sha256)
        import_id = rows.insert_import(
            file_name=_clean_name(file_name),
            file_sha256=sha256,
            size_bytes=size_bytes,
            form=form,
            is_upload=False,
            actor=actor,
            mapping=mapping,
            now=now,
        )
        if stopped is not None and not dry_run:
            rows.set_ended(
                stopped.id, "discarded", now=now, error=f"started over as import {import_id}"
            )
            rows.forget_file(stopped.id)
    if dry_run:
        return start_dry_run(tenant_id, import_id, now=now)
    return start_import(tenant_id, import_id, actor=actor, now=now)


def run_file_import(
    tenant_id: int,
    info: ImportInfo,
    raw: BinaryIO,
    *,
    clock: Callable[[], datetime],
    on_progress: Callable[[ImportInfo], None] = lambda _: None,
) -> ImportInfo:
    """Take a command's import to its end. Raises ImportRefusedError when another process is at the
    tenant's imports, or the file cannot be read further."""
    with rows.alone(tenant_id, patience_s=LOCK_PATIENCE_S) as is_alone:
        if not is_alone:
            raise ImportRefusedError(
                "another import of this tenant is running; wait until it is done"
            )
        with tenant_scope(tenant_id):
            # What a process killed a moment ago still committed counts.
            info = get_import(info.id)
        try:
            for after in _drive(tenant_id, info, raw, clock=clock):
                info = after
                on_progress(info)
        except ImportMovedError as moved:
            raise ImportRefusedError(f"import {info.id} was ended by somebody else") from moved
    return info


def continue_import(
    tenant_id: int, *, clock: Callable[[], datetime], seconds: float
) -> ImportInfo | None:
    """Go on with the tenant's oldest active upload for about so long; None when there is none, or
    another process is at it. One that cannot go on is marked, with what it did in force."""
    with rows.alone(tenant_id) as is_alone:
        if not is_alone:
            return None
        with tenant_scope(tenant_id):
            info = rows.find_active_upload()
        if info is None:
            return None
        try:
            raw = open_stored(tenant_id, info.id, info.size_bytes)
            stop_at = time.monotonic() + seconds
            for after in _drive(tenant_id, info, cast("BinaryIO", raw), clock=clock):
                info = after
                if time.monotonic() > stop_at:
                    break
        except (OperationalError, InterfaceError, ImportMovedError):
            # The database is away, or somebody ended the import: it stands where it was.
            raise
        except ImportRefusedError as refused:
            return _fail(tenant_id, info, refused.detail, now=clock())
        except Exception as error:
            logger.exception("import %s of tenant %s failed", info.id, tenant_id)
            return _fail(tenant_id, info, type(error).__name__, now=clock())
        return info


def forget_stale_uploads(tenant_id: int, *, now: datetime) -> int:
    """Let go of uploads that nobody went on with for a week; returns how many."""
    with tenant_scope(tenant_id):
        stale = rows.list_stale_uploads(now - KEEP_UPLOADS)
        for info in stale:
            if info.state != "failed":
                rows.set_ended(info.id, "discarded", now=now, error="nobody went on with it")
            rows.forget_file(info.id)
        return len(stale)


def _drive(
    tenant_id: int, info: ImportInfo, raw: BinaryIO, *, clock: Callable[[], datetime]
) -> Iterator[ImportInfo]:
    """Portion by portion; each yielded state is durable."""
    table = open_table(raw, form=info.format)
    check_mapping(info.mapping, table.headings)
    reader = PortionReader(tenant_id, info, table)
    dry_run = DryRun(tenant_id, info, reader) if info.state == "checking" else None
    key = _import_key(tenant_id, info, now=clock()) if dry_run is None else None
    while info.state in ("checking", "running"):
        portion = reader.read()
        if not portion.rows:
            info = _end(tenant_id, info, now=clock())
        else:
            if dry_run is not None:
                dry_run.judge(portion, now=clock())
            elif key is not None:
                write_portion(key, info, reader, portion, now=clock())
            with tenant_scope(tenant_id):
                info = get_import(info.id)
        yield info


def _end(tenant_id: int, info: ImportInfo, *, now: datetime) -> ImportInfo:
    with tenant_scope(tenant_id):
        if rows.lock_at(info.id, info.state, info.position) is None:
            raise ImportMovedError
        if info.state == "checking":
            rows.set_ended(info.id, "checked", now=now)
        else:
            rows.set_ended(info.id, "done", now=now)
            rows.forget_file(info.id)
            _audit("finished", get_import(info.id), info.actor, now=now)
        return get_import(info.id)


def _fail(tenant_id: int, info: ImportInfo, error: str, *, now: datetime) -> ImportInfo:
    """A dry run that cannot go on leaves the upload as it was; a run is kept, to go on with."""
    with tenant_scope(tenant_id):
        info = get_import(info.id)
        if info.state == "checking":
            rows.set_ended(info.id, "uploaded", now=now, error=error[:500])
        elif info.state == "running":
            rows.set_ended(info.id, "failed", now=now, error=error[:500])
            _audit("failed", get_import(info.id), "worker", now=now)
        return get_import(info.id)


def _import_key(tenant_id: int, info: ImportInfo, *, now: datetime) -> KeyIdentity:
    """The key that imported rows are booked to: made at the first import, and revoked at once."""
    with tenant_scope(tenant_id):
        known = next((key for key in list_api_keys() if key.name == ROUTER), None)
        if known is not None:
            return KeyIdentity(known.id, tenant_id, ROUTER, frozenset({"ingest"}))
        secret = issue_api_key(name=ROUTER, scopes=["ingest"], actor=info.actor, now=now)
        identity = find_key(secret)
        if identity is None:
            raise ImportRefusedError("the key of imports could not be made; try again")
        revoke_api_key(api_key_id=identity.api_key_id, actor=info.actor, now=now)
        return identity


def _clean_name(file_name: str) -> str:
    plain = "".join(c if c.isprintable() else "_" for c in file_name.replace("\\", "/"))
    return plain.rsplit("/", 1)[-1][-MAX_FILE_NAME:] or "file"


def _pieces(raw: BinaryIO) -> Iterator[bytes]:
    while piece := raw.read(1024 * 1024):
        yield piece


def _audit(what: str, info: ImportInfo, actor: str, *, now: datetime) -> None:
    record_audit(
        actor=actor,
        action=f"import.{what}",
        subject=f"import:{info.id}",
        after={
            "file": info.file_name,
            "sha256": info.file_sha256,
            "rows": info.position_row,
            "accepted": info.accepted,
            "duplicates": info.duplicates,
            "rejected": info.rejected,
            "cost_usd": plain_decimal(info.cost_usd),
            "error": info.error,
        },
        now=now,
    )
