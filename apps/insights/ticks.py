"""The tick: hours that are over are scored and learnt, the running one is looked at. Services.

One transaction a portion: rings, findings, restrictions and alerts stand together or not at all, so
a killed tick leaves nothing half done and is simply done again. Days of the past (a first run, or
after downtime) come in portions of a week.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from apps.insights.core.detector import HourScores, LateValue
from apps.insights.core.flags import Flag, SeriesKey, find_flags
from apps.insights.core.series_state import DAY, LATE_HOURS, NEVER, VALUE_HOURS
from apps.insights.detector_memory import (
    HourTotal,
    Memory,
    Part,
    admit_series,
    forget_silent,
    keep_memory,
    load_memory,
    store_memory,
)
from apps.insights.finding_models import AnomalySettings, SeriesThreshold
from apps.insights.findings import Looking, close_ended, observe, withdraw_explained
from apps.insights.known_hours import (
    AnnouncedHours,
    QuietHours,
    apply_price_steps,
    hour_of,
    rate_edges,
)
from apps.insights.near_misses import KEPT_TIMES, forget_near_misses, note_near_misses
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.hourly import (
    HourSum,
    has_pending_before,
    read_first_hour,
    read_hour_sums,
    read_hour_totals,
    start_of_hour,
)

logger = logging.getLogger(__name__)
# Routers post in batches, and own hardware's hours are closed minutes after their end.
GRACE: Final = timedelta(minutes=10)
# Longer than this a queue of commits that does not empty holds up no hour.
PATIENCE: Final = timedelta(hours=1)
HISTORY_HOURS: Final = 120 * 24
PORTION_HOURS: Final = 7 * 24
TICK_LOCK: Final = 0x0A0CA
QUARTER: Final = timedelta(minutes=15)
Values = Mapping[SeriesKey, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class TickReport:
    """What a portion did: hours scored, of how many series; late hours taken; bytes stored."""

    hours: int
    series: int
    late_hours: int
    stored_bytes: int


NOTHING: Final = TickReport(0, 0, 0, 0)


def tick_tenant(tenant_id: int, *, now: datetime) -> TickReport:
    """Score one portion of a tenant's closed hours, and look at the one that runs.

    Call it again while it reports hours. Nothing happens when another process is at it.
    """
    with tenant_scope(tenant_id):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [TICK_LOCK, tenant_id])
            if not cursor.fetchone()[0]:
                return NOTHING
        memory = load_memory() or _start(now)
        if memory is None:
            return NOTHING
        report = _Tick(memory, now).run()
        keep_memory(memory)
        return report


@contextmanager
def ticking_alone(tenant_id: int) -> Iterator[None]:
    """Nobody else ticks this tenant meanwhile: for who watches its past with the clock of then.

    This thread's connection holds the lock, so that its own ticks pass. Waits for one that runs.
    """
    key = [TICK_LOCK, tenant_id]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", key)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _start(now: datetime) -> Memory | None:
    first = read_first_hour()
    return Memory(max(first, hour_of(now) - HISTORY_HOURS), {}, []) if first is not None else None


def _closed_end(now: datetime, first: int) -> int:
    """The first hour that is not closed yet."""
    end = hour_of(now - GRACE)
    while end > first and has_pending_before(end) and now - start_of_hour(end) < PATIENCE:
        end -= 1
    return end


class _Tick:
    """One portion of one tenant, inside its scope and transaction."""

    def __init__(self, memory: Memory, now: datetime) -> None:
        self.memory, self.now = memory, now
        self.tenant: TenantInfo = get_tenant()
        self.settings = AnomalySettings.objects.first() or AnomalySettings()
        self.factors = {
            (row.dimension, row.key): row.factor for row in SeriesThreshold.objects.all()
        }
        self.quiet = QuietHours(self.tenant)
        self.may_be_open = True

    def run(self) -> TickReport:
        first = self.memory.hour
        closed = _closed_end(self.now, first)
        end = max(min(closed, first + PORTION_HOURS), first)
        # Read before the series are: what comes between is seen to be late the next time.
        totals = read_hour_totals(first - LATE_HOURS, end)
        late = self._late_hours(first, totals)
        size = 0
        if end > first or late:
            self._take_late(late)
            self._score(first, end)
            since = end - LATE_HOURS
            self.memory.totals = {hour: sums for hour, sums in totals.items() if hour >= since}
            size = store_memory(self.memory, now=self.now)
        if self.memory.hour >= closed:
            self._look_ahead()
        return TickReport(end - first, self.memory.count, len(late), size)

    def _late_hours(self, first: int, totals: Mapping[int, HourTotal]) -> list[int]:
        """Scored hours of the last three days that hold something else now."""
        if not self.memory.parts:
            return []
        before = self.memory.totals
        hours = {h for h in totals.keys() | before.keys() if first - LATE_HOURS <= h < first}
        return sorted(hour for hour in hours if totals.get(hour) != before.get(hour))

    def _take_late(self, hours: Sequence[int]) -> None:
        """Score hours again into which usage came late. A dearer or cheaper hour of the same
        requests was repriced: that is learnt by its successors and is no finding."""
        if not hours:
            return
        values = _by_hour(read_hour_sums(hours[0], hours[-1] + 1, hours))
        admit_series(self.memory, _costs(values))
        scored: list[tuple[Part, NDArray[np.intp], list[HourScores]]] = []
        for part in self.memory.parts:
            changes = _changes(part, values, hours)
            if changes:
                columns, hourly = part.detector.rescore(changes)
                part.note_late(columns, hours[0] // DAY * DAY)
                scored.append((part, columns, hourly))
        flags: dict[int, list[Flag]] = {}
        for part, columns, hourly in scored:
            series = [part.series[int(column)] for column in columns]
            state = part.detector.state.take(columns)
            for scores in hourly:
                found = find_flags(series, state, scores, self._thresholds(series))
                flags.setdefault(scores.hour, []).extend(found)
        changed = [part.series[int(c)] for part, columns, _ in scored for c in columns]
        look = self._looking(self.memory.hour - 1)
        withdraw_explained(look, changed, [flag for found in flags.values() for flag in found])
        for hour in sorted(flags):
            observe(self._looking(hour), flags[hour])

    def _score(self, first: int, end: int) -> None:
        if end <= first:
            return
        values = _by_hour(read_hour_sums(first, end))
        admit_series(self.memory, _costs(values))
        announced = AnnouncedHours(first, end, self.tenant)
        edges = rate_edges(start_of_hour(first), start_of_hour(end))
        for hour in range(first, end):
            if hour in edges:
                apply_price_steps(self.memory, hour, self.tenant)
            self._advance(self.memory, hour, values.get(hour, {}), announced)
        forget_near_misses(self._looking(end - 1))
        if (first // 24) != (end // 24):
            forget_silent(self.memory)

    def _advance(
        self, memory: Memory, hour: int, values: Values, announced: AnnouncedHours
    ) -> None:
        flags: list[Flag] = []
        near: list[Flag] = []
        for part in memory.parts:
            scores = self._advance_part(part, hour, values, announced)
            thresholds, state = self._thresholds(part.series), part.detector.state
            found = find_flags(part.series, state, scores, thresholds)
            told = {flag.series for flag in found}
            nearly = find_flags(part.series, state, scores, thresholds / KEPT_TIMES)
            near += [flag for flag in nearly if flag.series not in told]
            flags += found
        memory.hour = hour + 1
        look = self._looking(hour)
        observe(look, flags)
        note_near_misses(look, near, self.factors)
        # Months of a first run are mostly hours in which nothing is open.
        if flags or self.may_be_open:
            self.may_be_open = close_ended(look)

    def _advance_part(
        self, part: Part, hour: int, values: Values, announced: AnnouncedHours
    ) -> HourScores:
        spend, requests = _columns(part, values)
        count = len(part.series)
        return part.detector.advance(
            spend,
            requests,
            is_quiet=np.full(count, self.quiet.is_quiet(hour)),
            is_quiet_next=np.full(count, self.quiet.is_quiet(hour + 1)),
            is_announced=announced.of(part.series, hour),
        )

    def _look_ahead(self) -> None:
        """The hours that are not closed: spend only grows, so what is too much already stays so.

        Works on a copy, is not learnt, and opens or extends findings of too much alone.
        """
        until = self.now - (self.now - start_of_hour(0)) % QUARTER
        first, last = self.memory.hour, hour_of(self.now)
        if until <= start_of_hour(first):
            return
        values = _by_hour(read_hour_sums(first, last + 1, until=until))
        announced = AnnouncedHours(first, last + 1, self.tenant)
        memory = Memory(self.memory.hour, {}, [_copied(part) for part in self.memory.parts])
        for hour in range(first, last + 1):
            if start_of_hour(hour) >= until:
                break
            flags: list[Flag] = []
            for part in memory.parts:
                scores = self._advance_part(part, hour, values.get(hour, {}), announced)
                thresholds = self._thresholds(part.series)
                state = part.detector.state
                flags += find_flags(part.series, state, scores, thresholds, only_above=True)
            look = Looking(memory, self.tenant, self.settings, hour, self.now, until=until)
            observe(look, [flag for flag in flags if flag.kind != "drift"])

    def _looking(self, hour: int) -> Looking:
        return Looking(self.memory, self.tenant, self.settings, hour, self.now)

    def _thresholds(self, series: Sequence[SeriesKey]) -> NDArray[np.floating[Any]]:
        own = np.array([self.factors.get(key, 1.0) for key in series])
        return np.asarray(own / self.settings.sensitivity)


def _copied(part: Part) -> Part:
    return Part(part.number, part.series, part.detector.copy())


def _by_hour(sums: Sequence[HourSum]) -> dict[int, dict[SeriesKey, tuple[float, float]]]:
    values: dict[int, dict[SeriesKey, tuple[float, float]]] = {}
    for one in sums:
        # Adjustments may take more from an hour than it holds of a series.
        usd = max(float(one.cost_usd), 0.0)
        values.setdefault(one.hour, {})[one.series] = (usd, max(one.volume, 0.0))
    return values


def _costs(values: Mapping[int, Values]) -> list[tuple[SeriesKey, float]]:
    costs: dict[SeriesKey, float] = {}
    for hour in values.values():
        for key, (usd, _) in hour.items():
            costs[key] = costs.get(key, 0.0) + usd
    return list(costs.items())


def _columns(
    part: Part, values: Values
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """An hour without usage is one that cost nothing, once the series has begun."""
    begun = part.detector.state.first_hour != NEVER
    spend = np.where(begun, 0.0, np.nan)
    requests = spend.copy()
    for key, (usd, volume) in values.items():
        column = part.columns.get(key)
        if column is not None:
            spend[column], requests[column] = usd, volume
    return spend, requests


def _changes(part: Part, values: Mapping[int, Values], hours: Sequence[int]) -> list[LateValue]:
    state = part.detector.state
    changes: list[LateValue] = []
    for hour in hours:
        held = state.value[1, hour % VALUE_HOURS]
        spend, requests = _columns(part, values.get(hour, {}))
        is_known = (state.first_hour <= hour) | (spend > 0)
        used_other = ~np.isclose(requests, held, rtol=1e-5, atol=1e-6)
        changes += [
            LateValue(int(column), hour, float(spend[column]), float(requests[column]))
            for column in np.flatnonzero(is_known & used_other)
        ]
    return changes
