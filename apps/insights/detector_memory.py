"""A tenant's detectors between ticks: loaded, brought up to new series, stored. Part of ticks.

Series are kept in parts of PART_SIZE, a row each, so that no value grows without bound. A tenant
has at most MAX_SERIES; those silent for longest and cheapest go first.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np

from apps.insights.core.detector import Detector
from apps.insights.core.series_state import NEVER, SeriesState
from apps.insights.finding_models import DetectorPart, DetectorState
from apps.usage.hourly import SeriesKey

PART_SIZE: Final = 256
MAX_SERIES: Final = 10_240
MAX_KEY_LENGTH: Final = 400
SILENT_HOURS: Final = 42 * 24
HourTotal = tuple[Decimal, int]


@dataclass(slots=True)
class Part:
    """Some series and their detector; `columns` says where each is."""

    number: int
    series: list[SeriesKey]
    detector: Detector
    columns: dict[SeriesKey, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = {key: n for n, key in enumerate(self.series)}


@dataclass(slots=True)
class Memory:
    """All of a tenant's series. `hour` is the next to be scored; all parts agree on it."""

    hour: int
    totals: dict[int, HourTotal]
    parts: list[Part]

    @property
    def count(self) -> int:
        return sum(len(part.series) for part in self.parts)

    def place(self, series: SeriesKey) -> tuple[Part, int] | None:
        for part in self.parts:
            column = part.columns.get(series)
            if column is not None:
                return part, column
        return None


def load_memory() -> Memory | None:
    """The tenant in scope's, locked until the transaction ends; None before the first tick."""
    row = DetectorState.objects.select_for_update().first()
    if row is None:
        return None
    parts = [
        Part(
            one.number,
            [(dimension, key) for dimension, key in one.series],
            Detector(SeriesState.from_bytes(bytes(one.rings))),
        )
        for one in DetectorPart.objects.order_by("number")
    ]
    totals = {int(hour): (Decimal(usd), count) for hour, (usd, count) in row.totals.items()}
    return Memory(row.hour, totals, parts)


def store_memory(memory: Memory, *, now: datetime) -> int:
    """Write everything back, in the caller's transaction; returns the bytes of the rings."""
    totals = {str(hour): [str(usd), count] for hour, (usd, count) in memory.totals.items()}
    DetectorState.objects.update_or_create(
        defaults={"hour": memory.hour, "totals": totals, "updated_at": now}
    )
    size = 0
    for part in memory.parts:
        rings = part.detector.state.to_bytes()
        size += len(rings)
        DetectorPart.objects.update_or_create(
            number=part.number,
            defaults={"series": [list(key) for key in part.series], "rings": rings},
        )
    DetectorPart.objects.filter(number__gt=len(memory.parts)).delete()
    return size


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
        if len(columns) == len(part.series):
            kept.append(Part(len(kept) + 1, part.series, part.detector))
        elif len(columns):
            series = [part.series[int(n)] for n in columns]
            kept.append(Part(len(kept) + 1, series, Detector(state.take(columns))))
    memory.parts = kept
