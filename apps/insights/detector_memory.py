"""A tenant's detectors between ticks: loaded, brought up to new series, stored. Part of ticks.

Series are kept in parts of PART_SIZE, a row each, so that no value grows without bound. A tenant
has at most MAX_SERIES; those silent for longest and cheapest go first.

A tick appends what its hours changed (a patch); a part is written whole once a day, each at an hour
of its own, or when its series or prices changed. A process remembers what it stored, and reads
only what others appended since. See decision 22.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import psycopg
from django.db import connection, transaction
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from apps.insights.core.detector import Detector
from apps.insights.core.series_state import DAY, NEVER, WINDOW_HOURS, SeriesState
from apps.insights.core.state_patches import apply_patches, patch_of
from apps.insights.finding_models import DetectorPart, DetectorPatch, DetectorState
from apps.tenants.scoping import current_tenant_id
from apps.usage.hourly import SeriesKey

PART_SIZE: Final = 256
MAX_SERIES: Final = 10_240
MAX_KEY_LENGTH: Final = 400
SILENT_HOURS: Final = 42 * 24
# Of a part's size: patches that come to more are replaced by the part itself.
MOST_PATCHES_SHARE: Final = 0.5
# Rings that a process remembers, of all tenants: one of the largest, or hundreds of small ones.
KEPT_BYTES: Final = 400_000_000
HourTotal = tuple[Decimal, int]

# Not through Django's cursor, which sends bytes as text within the statement.
_READ_PARTS: Final = """
    SELECT number, revision, series, rings FROM insights_detectorpart
    WHERE tenant_id = %s AND number = ANY(%s)
"""
_READ_PATCHES: Final = """
    SELECT patch.number, patch.revision, patch.changes FROM insights_detectorpatch AS patch
    JOIN unnest(%s::int[], %s::bigint[]) AS held (number, revision) ON held.number = patch.number
    WHERE patch.tenant_id = %s AND patch.revision > held.revision ORDER BY patch.revision
"""
_WRITE_PART: Final = """
    INSERT INTO insights_detectorpart (tenant_id, number, revision, series, rings)
    VALUES (%s, %s, %s, %s, %b)
    ON CONFLICT (tenant_id, number) DO UPDATE
    SET revision = excluded.revision, series = excluded.series, rings = excluded.rings
"""
_WRITE_PATCH: Final = """
    INSERT INTO insights_detectorpatch (tenant_id, number, revision, changes)
    VALUES (%s, %s, %s, %b)
"""
_kept: OrderedDict[int, "Memory"] = OrderedDict()


@dataclass(slots=True)
class Part:
    """Some series and their detector; `columns` says where each is.

    `revision` is the last one stored (0: never), `stored_hour` the detector's hour then,
    `patch_bytes` what was appended since the part was written whole. `late`: columns that were
    scored again since, and from which hour. `is_rewritten`: other things changed too.
    """

    number: int
    series: list[SeriesKey]
    detector: Detector
    columns: dict[SeriesKey, int] = field(default_factory=dict)
    revision: int = 0
    stored_hour: int = 0
    patch_bytes: int = 0
    late: list[tuple[int, NDArray[np.intp]]] = field(default_factory=list)
    is_rewritten: bool = False

    def __post_init__(self) -> None:
        self.columns = {key: n for n, key in enumerate(self.series)}

    @property
    def is_changed(self) -> bool:
        is_on = self.detector.state.hour != self.stored_hour
        return is_on or self.is_rewritten or not self.revision or bool(self.late)

    def note_late(self, columns: NDArray[np.intp], first: int) -> None:
        """These columns were scored again, from hour `first` on."""
        if len(columns):
            self.late.append((first, columns))

    def patches(self) -> bytes | None:
        """What changed since the part was stored; None when it must be written whole."""
        state = self.detector.state
        first = min([self.stored_hour, *(hour for hour, _ in self.late)])
        if not self.revision or self.is_rewritten or state.hour - first >= WINDOW_HOURS:
            return None
        # Each part has an hour of the day at which it is written whole.
        if (state.hour + self.number) // DAY != (self.stored_hour + self.number) // DAY:
            return None
        found = b""
        if self.late:
            columns = np.unique(np.concatenate([columns for _, columns in self.late]))
            found += patch_of(state, first, columns)
        if state.hour > self.stored_hour:
            found += patch_of(state, self.stored_hour)
        size = self.patch_bytes + len(found)
        whole = state.bytes_per_series() * state.count
        return found if size <= MOST_PATCHES_SHARE * whole else None


@dataclass(slots=True)
class Memory:
    """All of a tenant's series. `hour` is the next to be scored; all parts agree on it."""

    hour: int
    totals: dict[int, HourTotal]
    parts: list[Part]
    revision: int = 0

    @property
    def count(self) -> int:
        return sum(len(part.series) for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of the rings."""
        states = [part.detector.state for part in self.parts]
        return sum(state.bytes_per_series() * state.count for state in states)

    def place(self, series: SeriesKey) -> tuple[Part, int] | None:
        for part in self.parts:
            column = part.columns.get(series)
            if column is not None:
                return part, column
        return None


def load_memory() -> Memory | None:
    """The tenant in scope's, locked until the transaction ends; None before the first tick.

    The caller owns it: nothing is remembered of it unless `keep_memory` gives it back.
    """
    row = DetectorState.objects.select_for_update().first()
    kept = _kept.pop(current_tenant_id(), None)
    if row is None:
        return None
    if kept is not None and kept.revision == row.revision:
        return kept
    totals = {int(hour): (Decimal(usd), count) for hour, (usd, count) in row.totals.items()}
    return Memory(row.hour, totals, _read_parts(kept.parts if kept else []), row.revision)


def _read_parts(kept: list[Part]) -> list[Part]:
    """The stored parts; those in `kept` that stored patches go on from are not read again."""
    stored = dict(DetectorPart.objects.order_by("number").values_list("number", "revision"))
    known = set(stored.items())
    known.update(DetectorPatch.objects.values_list("number", "revision"))
    parts = {
        part.number: part
        for part in kept
        if part.number in stored
        and part.revision >= stored[part.number]
        and (part.number, part.revision) in known
    }
    with connection.wrap_database_errors, psycopg.Cursor(_psycopg_connection()) as cursor:
        missing = [number for number in stored if number not in parts]
        cursor.execute(_READ_PARTS, [current_tenant_id(), missing], binary=True)
        for number, revision, series, rings in cursor:
            detector = Detector(SeriesState.from_bytes(rings))
            keys = [(dimension, key) for dimension, key in series]
            parts[number] = Part(number, keys, detector, revision=revision)
        held = [parts[number].revision for number in stored]
        cursor.execute(_READ_PATCHES, [list(stored), held, current_tenant_id()], binary=True)
        for number, revision, changes in cursor:
            part = parts[number]
            apply_patches(part.detector.state, changes)
            part.detector = Detector(part.detector.state)
            part.patch_bytes += len(changes)
            part.revision = revision
    for part in parts.values():
        part.stored_hour = part.detector.state.hour
    return [parts[number] for number in stored]


def store_memory(memory: Memory, *, now: datetime) -> int:
    """Write what changed, in the caller's transaction; returns the bytes of rings written."""
    totals = {str(hour): [str(usd), count] for hour, (usd, count) in memory.totals.items()}
    # The time, so that histories that part (a backup taken back) share no revision.
    memory.revision = max(memory.revision + 1, int(now.timestamp() * 1_000_000))
    DetectorState.objects.update_or_create(
        defaults={
            "hour": memory.hour,
            "totals": totals,
            "revision": memory.revision,
            "updated_at": now,
        }
    )
    size = 0
    with connection.wrap_database_errors, psycopg.Cursor(_psycopg_connection()) as cursor:
        for part in memory.parts:
            if part.is_changed:
                size += _store_part(cursor, part, memory.revision)
    DetectorPart.objects.filter(number__gt=len(memory.parts)).delete()
    DetectorPatch.objects.filter(number__gt=len(memory.parts)).delete()
    return size


def _store_part(cursor: psycopg.Cursor[Any], part: Part, revision: int) -> int:
    changes, tenant_id = part.patches(), current_tenant_id()
    if changes is None:
        rings = part.detector.state.to_bytes()
        series = Jsonb([list(key) for key in part.series])
        cursor.execute(_WRITE_PART, [tenant_id, part.number, revision, series, rings])
        DetectorPatch.objects.filter(number=part.number).delete()
        part.patch_bytes, size = 0, len(rings)
    else:
        cursor.execute(_WRITE_PATCH, [tenant_id, part.number, revision, changes])
        size = len(changes)
        part.patch_bytes += size
    part.revision, part.stored_hour = revision, part.detector.state.hour
    part.late, part.is_rewritten = [], False
    return size


def keep_memory(memory: Memory) -> None:
    """Remember what was loaded and stored, once that is committed; the oldest give way."""
    tenant_id = current_tenant_id()

    def keep() -> None:
        _kept[tenant_id] = memory
        while len(_kept) > 1 and sum(one.size for one in list(_kept.values())) > KEPT_BYTES:
            _kept.popitem(last=False)

    transaction.on_commit(keep)


def _psycopg_connection() -> psycopg.Connection[Any]:
    connection.ensure_connection()
    return connection.connection  # type: ignore[no-any-return]


def admit_series(memory: Memory, seen: Iterable[tuple[SeriesKey, float]]) -> None:
    """Make room for series that were not known, the dearest first; `seen` with what they cost."""
    known = {key for part in memory.parts for key in part.series}
    new = sorted(
        ((usd, key) for key, usd in seen if key not in known and len(key[1]) <= MAX_KEY_LENGTH),
        key=lambda pair: (pair[1][0] != "all", -pair[0], pair[1]),
    )
    room = MAX_SERIES - memory.count
    fresh = [key for _, key in new[: max(room, 0)]]
    while fresh:
        last = memory.parts[-1] if memory.parts else None
        free = PART_SIZE - len(last.series) if last else 0
        taken, fresh = fresh[: free or PART_SIZE], fresh[free or PART_SIZE :]
        empty = SeriesState.empty(memory.hour, len(taken))
        if last is not None and free:
            joined = Detector(last.detector.state.joined(empty))
            memory.parts[-1] = Part(last.number, [*last.series, *taken], joined)
        else:
            number = last.number + 1 if last else 1
            memory.parts.append(Part(number, taken, Detector(empty)))


def forget_silent(memory: Memory) -> None:
    """Drop series that spent nothing for six weeks: they come back as new ones."""
    kept: list[Part] = []
    for part in memory.parts:
        state = part.detector.state
        totals: Any = np.nansum(state.day_total[0], axis=0)
        old = (state.first_hour != NEVER) & (state.first_hour < memory.hour - SILENT_HOURS)
        columns = np.flatnonzero(~(old & (totals <= 0)))
        if len(columns) == len(part.series) and part.number == len(kept) + 1:
            kept.append(part)
        elif len(columns):
            series = [part.series[int(n)] for n in columns]
            kept.append(Part(len(kept) + 1, series, Detector(state.take(columns))))
    memory.parts = kept
