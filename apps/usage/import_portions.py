"""One portion of an import: rows read, made events, then written or only judged. Part of imports.

A portion is one transaction: the events (through ingest's own path), the rows refused, and how far
the import got. kill -9 leaves it done or not begun.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any, Final

import msgspec

from apps.pricing.core.money import usd_from_units
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.usage import import_rows as rows
from apps.usage.adapters.loose import UNKNOWN_PROVIDER, provider_of_model
from apps.usage.adapters.native import parse_native
from apps.usage.core.admission import admit
from apps.usage.core.events import InvalidUsageError, Parsed, Rejection
from apps.usage.core.import_mapping import RowError, RowMapper, row_id
from apps.usage.core.rating import UNPRICED
from apps.usage.import_readers import BadRow, NdjsonTable, Position, Row, Table
from apps.usage.import_rows import ImportInfo, PortionSums, Reject
from apps.usage.ledger import Seen, StagedEvent
from apps.usage.services import CommitGroup, ingest_events, write_group

ROWS_PER_PORTION: Final = 5_000
_encode: Final = msgspec.json.Encoder().encode


class ImportMovedError(Exception):
    """Another process took the import further, or somebody ended it, in the meantime."""


@dataclass(slots=True)
class Portion:
    """Rows as events that may be admitted. `row_numbers`: of each line of what was parsed."""

    start: Position
    end: Position
    done_bytes: int
    rows: int
    parsed: Parsed
    row_numbers: list[int]
    rejects: list[Reject]
    # Rows without an id, by their content: how often it stood in this portion.
    met: Counter[str] = field(default_factory=Counter)


class PortionReader:
    """A table's rows from where the import stands, portion by portion."""

    def __init__(self, tenant_id: int, info: ImportInfo, table: Table) -> None:
        self._tenant_id = tenant_id
        self._import_id = info.id
        self._table = table
        self._is_native = info.mapping.native
        if isinstance(table, NdjsonTable):
            table.raw = self._is_native
        self.mapper = RowMapper(info.mapping, table.headings, _provider_of)
        self._rows: Iterator[Row | BadRow] = table.rows(info.position)
        # Of an empty rest the table's own position is that of the top.
        self._end = info.position
        self._started_at = info.started_at or info.created_at

    def read(self, limit: int = ROWS_PER_PORTION) -> Portion:
        """The next rows; a portion of none is the end. Raises ImportRefusedError."""
        start = self._end
        found = list(islice(self._rows, limit))
        if found:
            self._end = self._table.position
        lines, numbers, rejects, met = self._lines_of(found)
        parsed = _parse(lines)
        admitted = admit(parsed, now=self._started_at)
        rejects += [self._reject(numbers, rejection) for rejection in admitted.rejections]
        admitted = Parsed(events=admitted.events, indexes=admitted.indexes, rejections=[])
        done = self._table.done_bytes
        return Portion(start, self._end, done, len(found), admitted, numbers, rejects, met)

    def reject_of(self, portion: Portion, rejection: Rejection) -> Reject:
        return self._reject(portion.row_numbers, rejection)

    def _lines_of(
        self, found: Iterable[Row | BadRow]
    ) -> tuple[list[bytes], list[int], list[Reject], Counter[str]]:
        lines: list[bytes] = []
        numbers: list[int] = []
        rejects: list[Reject] = []
        nameless: list[tuple[int, dict[str, Any], str, bytes]] = []
        for row in found:
            made = row.error if isinstance(row, BadRow) else self._line_of(row)
            if isinstance(made, RowError):
                rejects.append(Reject(row.number, made.code, made.field, made.detail, made.value))
                continue
            if isinstance(made, dict):
                if "id" not in made and isinstance(row, Row):
                    digest = self.mapper.digest(row.content)
                    nameless.append((len(lines), made, digest.hex(), digest))
                    made = b""
                else:
                    made = _encode(made)
            lines.append(made)
            numbers.append(row.number)
        return lines, numbers, rejects, self._name(lines, nameless)

    def _name(
        self, lines: list[bytes], nameless: Sequence[tuple[int, dict[str, Any], str, bytes]]
    ) -> Counter[str]:
        """Give rows without an id theirs: the content, and how many of the same came before."""
        met: Counter[str] = Counter()
        if not nameless:
            return met
        with tenant_scope(self._tenant_id):
            before = rows.read_seen(self._import_id, {item[2] for item in nameless})
        for place, event, key, digest in nameless:
            event["id"] = row_id(digest, before.get(key, (0, None))[0] + met[key])
            met[key] += 1
            lines[place] = _encode(event)
        return met

    def _line_of(self, row: Row) -> dict[str, Any] | bytes | RowError:
        if not self._is_native:
            return self.mapper.to_native(row.cells)
        line: bytes = row.content
        if not line.startswith(b"{"):
            return RowError("invalid_json", "the row is not a JSON object")
        return line

    def _reject(self, numbers: Sequence[int], rejection: Rejection) -> Reject:
        return Reject(
            numbers[rejection.index],
            rejection.code,
            self.mapper.heading_of(rejection.field),
            rejection.detail,
        )


def write_portion(
    key: KeyIdentity, info: ImportInfo, reader: PortionReader, portion: Portion, *, now: datetime
) -> None:
    """Write a portion's events and its progress in one transaction.

    Raises ImportMovedError when the import no longer stands where the portion begins.
    """
    tenant_id, is_recorded = key.tenant_id, False

    def commit(group: CommitGroup, staged: Sequence[StagedEvent]) -> list[tuple[int, Seen]]:
        nonlocal is_recorded
        with tenant_scope(tenant_id):
            held = lock(info, "running", portion)
            seen = write_group(group, staged).seen
            rejects = portion.rejects + [
                reader.reject_of(portion, conflict(portion.parsed, row))
                for row, how in seen
                if how is Seen.OTHER_CONTENT
            ]
            record(held, portion, _sums(staged, dict(seen), portion, len(rejects)), rejects, now)
        is_recorded = True
        return seen

    # `now` decides what is too old: a run that goes on later decides as it did when it started.
    ingest_events(key, portion.parsed, now=info.started_at or now, commit=commit)
    if not is_recorded:
        with tenant_scope(tenant_id):
            held = lock(info, "running", portion)
            sums = _sums([], {}, portion, len(portion.rejects))
            record(held, portion, sums, portion.rejects, now)


def lock(info: ImportInfo, state: rows.State, portion: Portion) -> ImportInfo:
    held = rows.lock_at(info.id, state, portion.start)
    if held is None:
        raise ImportMovedError
    return held


def record(
    held: ImportInfo,
    portion: Portion,
    sums: PortionSums,
    rejects: Sequence[Reject],
    now: datetime,
    *,
    preview: Any = None,
) -> None:
    """Keep what a portion came to, in the caller's transaction."""
    rows.insert_rejects(held, rejects)
    rows.add_seen(held.id, {key: (count, None) for key, count in portion.met.items()})
    rows.add_progress(
        held.id,
        sums,
        position=portion.end,
        done_bytes=portion.done_bytes,
        preview=preview,
        now=now,
    )


def _sums(
    staged: Sequence[StagedEvent], seen: dict[int, Seen], portion: Portion, rejected: int
) -> PortionSums:
    new = [item for row, item in enumerate(staged) if row not in seen]
    priced = [item.cost_units for item in new if item.cost_units != UNPRICED]
    times = [item.event.occurred_at for item in new]
    return PortionSums(
        accepted=len(new),
        duplicates=portion.rows - len(new) - rejected,
        rejected=rejected,
        unpriced=len(new) - len(priced),
        cost_usd=usd_from_units(sum(priced)) if priced else Decimal(0),
        first_occurred_at=min(times, default=None),
        last_occurred_at=max(times, default=None),
    )


def conflict(parsed: Parsed, row: int) -> Rejection:
    """Another content under an id that is in the ledger; without the id: it may be long."""
    return Rejection(
        index=parsed.indexes[row],
        code="conflict",
        field="id",
        detail="the id is in the ledger with other content; the first stands",
    )


def _parse(lines: Sequence[bytes]) -> Parsed:
    if not lines:
        return Parsed(events=[], indexes=[], rejections=[])
    try:
        return parse_native(b"\n".join(lines))
    except InvalidUsageError as error:
        # No line is JSON: a body would be refused whole, a file's rows are refused one by one.
        rejections = [
            Rejection(index=index, code=error.code, detail="the row is not a JSON object")
            for index in range(len(lines))
        ]
        return Parsed(events=[], indexes=[], rejections=rejections)


def _provider_of(model: str) -> str:
    provider = provider_of_model(model)
    return "" if provider == UNKNOWN_PROVIDER else provider
