"""What a tick of a large tenant's detector costs beside the scoring: storing and reading its rings.

Real services with their data safe on disk. CPU is that of this process and PostgreSQL's together;
the clock's time is shown too, and says more about the machine.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import psutil  # type: ignore[import-untyped,unused-ignore]

from apps.insights.core.series_state import SeriesState
from bench import installation
from bench.results import Result

TICKS: Final = 26  # a day and its midnight
GOAL_S: Final = 1.0


@dataclass(slots=True)
class _Costs:
    cpu_s: list[float]
    wall_s: list[float]
    stored: list[int]

    def first(self) -> "_Costs":
        return _Costs(self.cpu_s[:1], self.wall_s[:1], self.stored[:1])

    def rest(self) -> "_Costs":
        return _Costs(self.cpu_s[1:], self.wall_s[1:], self.stored[1:])


def measure(state: SeriesState, count: int) -> Iterator[Result]:
    """Score and store `count` series, those of `state` again and again, for TICKS hours."""
    with installation.services() as tenant_id:
        scored, stored, read = _ticks(tenant_id, state, count)
    whole, stored = stored.first(), stored.rest()
    both_cpu = [one + other for one, other in zip(scored.cpu_s, stored.cpu_s, strict=True)]
    both_wall = [one + other for one, other in zip(scored.wall_s, stored.wall_s, strict=True)]
    name = f"a tick of {count:,} series, scored and stored"
    yield Result(f"{name}: the median", _median(both_cpu), "s CPU", GOAL_S, digits=2, at_most=True)
    yield Result("  the slowest", max(both_cpu), "s CPU", GOAL_S, digits=2, at_most=True)
    yield Result("  the median", _median(both_wall), "s of the clock", digits=2)
    yield Result("  the slowest", max(both_wall), "s of the clock", digits=2)
    yield Result("  scoring, the median", _median(scored.cpu_s), "s CPU", digits=2)
    yield Result("  storing, the median", _median(stored.cpu_s), "s CPU", digits=2)
    yield Result("  storing, the median", _median(stored.wall_s), "s of the clock", digits=2)
    yield Result("  written, the median", _median(stored.stored) / 1e6, "MB", digits=1)
    yield Result("all rings written whole", whole.cpu_s[0], "s CPU", digits=2)
    yield Result("  by the clock", whole.wall_s[0], "s", digits=2)
    yield Result("  written", whole.stored[0] / 1e6, "MB", digits=1)
    yield Result("reading all of it after a restart", read.cpu_s[0], "s CPU", digits=2)
    yield Result("  by the clock", read.wall_s[0], "s", digits=2)


def _ticks(tenant_id: int, state: SeriesState, count: int) -> tuple[_Costs, _Costs, _Costs]:
    # Django's settings are read by what these import.
    from django.db import transaction

    from apps.insights import detector_memory as kept
    from apps.insights.core.detector import Detector
    from apps.tenants.scoping import tenant_scope

    scored, stored, read = (_Costs([], [], []) for _ in range(3))
    parts: list[kept.Part] = []
    for first in range(0, count, kept.PART_SIZE):
        columns = np.arange(first, min(first + kept.PART_SIZE, count))
        series = [("customer", f"customer-{n}") for n in columns]
        taken = state.take(columns % state.count)
        parts.append(kept.Part(len(parts) + 1, series, Detector(taken)))
    memory = kept.Memory(state.hour, {}, parts)
    values = [
        np.abs(np.nan_to_num(part.detector.state.expected[0, 0])).astype(np.float64)
        for part in parts
    ]
    now = datetime(2026, 11, 1, tzinfo=UTC)

    def score() -> int:
        for part, spend in zip(memory.parts, values, strict=True):
            part.detector.advance(spend, spend)
        memory.hour += 1
        return 0

    def store() -> int:
        with tenant_scope(tenant_id):
            return kept.store_memory(memory, now=now)

    _timed(stored, store)
    for n in range(TICKS):
        now += timedelta(hours=n)
        _timed(scored, score)
        _timed(stored, store)
    with tenant_scope(tenant_id), transaction.atomic():
        _timed(read, lambda: getattr(kept.load_memory(), "hour", 0))
    return scored, stored, read


def _timed(costs: _Costs, work: Callable[[], int]) -> None:
    cpu_s, wall_s = _cpu_seconds(), time.perf_counter()
    costs.stored.append(work())
    costs.wall_s.append(time.perf_counter() - wall_s)
    costs.cpu_s.append(_cpu_seconds() - cpu_s)


def _cpu_seconds() -> float:
    total_s = time.process_time()
    for process in installation.database_processes():
        with suppress(psutil.Error):
            times = process.cpu_times()
            total_s += times.user + times.system
    return total_s


def _median(numbers: list[float] | list[int]) -> float:
    return float(np.median(numbers))
