"""The detector on series and seeds it was never tuned on, beside what peers' thresholds amount to.

The reference world, whose difficulty is that of the acceptance as far as is known, then three
harder ones. 181 days; with requests and by value alone; at the default sensitivity and at one that
errs at most 0.10 times a series-month. Then what a tick costs.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.calendar_guess import CalendarGuess
from apps.insights.core.detector import Detector
from apps.insights.core.robust import row_mean
from apps.insights.holiday_calendars import UTC_OFFSETS, holiday_hours
from bench import detector_store
from bench.alert_scoring import Verdict, judge
from bench.results import Result
from bench.spend_series import REFERENCE, WORLDS, SpendSeries, World, spend_series

SEED: Final = 101  # tuning used 1 to 3
REFERENCE_SERIES: Final = 600
SERIES_A_WORLD: Final = 200
LOOSE: Final = 1.3
TICK_SERIES: Final = 10_000
STATE_GOAL_BYTES: Final = 32_000
DAILY_SIGMAS: Final = (3, 4)
HOUR_OF_WEEK_DEVIATIONS: Final = (60, 300)
EVENT_KINDS: Final = ("spike", "outage", "shift", "drift", "storm")

Hours = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Goal:
    recall: float
    false_alarms: float
    precision: float | None = None
    of_kind: tuple[tuple[str, float], ...] = ()
    delay: tuple[tuple[str, float], ...] = ()


SPIKES_AND_OUTAGES: Final = (("spike", 0.75), ("outage", 0.75))
DEFAULT_GOAL: Final = {
    False: Goal(0, 0.06, 0.75, (), (("spike", 1), ("outage", 4))),
    True: Goal(0, 0.06, 0.75, (), (("spike", 1), ("outage", 4), ("shift", 10))),
}
LOOSE_GOAL: Final = {
    False: Goal(0.70, 0.10, None, SPIKES_AND_OUTAGES),
    True: Goal(0.78, 0.10, None, (*SPIKES_AND_OUTAGES, ("storm", 0.88), ("drift", 0.60))),
}


def run() -> Iterator[Result]:
    yield from _of_worlds("reference", [REFERENCE], REFERENCE_SERIES)
    detector = yield from _of_worlds("harder", WORLDS, SERIES_A_WORLD)
    yield from _tick(detector)


def _of_worlds(
    label: str, worlds: Sequence[World], count: int
) -> Generator[Result, None, Detector]:
    series = [one for world in worlds for one in spend_series(SEED, world, count=count)]
    spend = np.stack([one.spend for one in series], axis=1)
    requests = np.stack([one.requests for one in series], axis=1)
    detector = None
    for counted in (False, True):
        given = requests if counted else np.full_like(requests, np.nan)
        flags, detector = _detect(series, spend, given)
        name = f"{label}, {'with requests' if counted else 'value only'}"
        yield from _show(f"{name}, default", judge(series, flags[0]), DEFAULT_GOAL[counted])
        loose = judge(series, flags[1])
        yield from _show(f"{name}, sensitivity {LOOSE}", loose, LOOSE_GOAL[counted])
    for limit in DAILY_SIGMAS:
        yield from _show(f"{label}, daily {limit} sigma", judge(series, _daily_sigma(spend, limit)))
    for limit in HOUR_OF_WEEK_DEVIATIONS:
        flags_of_week = _hour_of_week(spend, limit)
        yield from _show(f"{label}, hour of week, {limit} deviations", judge(series, flags_of_week))
    assert detector is not None  # noqa: S101 - the loop above ran
    return detector


def _detect(
    series: list[SpendSeries], spend: Hours, requests: Hours
) -> tuple[tuple[Flags, Flags], Detector]:
    hours, count = spend.shape
    first = int(series[0].start.timestamp()) // 3600
    detector, guess = Detector.of(count, hour=first), CalendarGuess(UTC_OFFSETS, count)
    holiday = holiday_hours(first - 1, hours + 2)
    default, loose = np.zeros(spend.shape, dtype=bool), np.zeros(spend.shape, dtype=bool)
    for n in range(hours):
        guess.observe(detector.state, holiday[:, n] & ~holiday[:, n + 1])
        scores = detector.advance(
            spend[n],
            requests[n],
            is_quiet=guess.quiet(holiday[:, n + 1]),
            is_quiet_next=guess.quiet(holiday[:, n + 2]),
        )
        default[n], loose[n] = scores.is_anomaly(), scores.is_anomaly(LOOSE)
    return (default, loose), detector


def _show(name: str, verdict: Verdict, goal: Goal | None = None) -> Iterator[Result]:
    goal = goal or Goal(0, float("inf"))
    has_goal = goal.false_alarms < float("inf")
    yield Result(f"{name}: events found", verdict.recall, "of 1", goal.recall or None, digits=3)
    yield Result("  alerts that are right", verdict.precision, "of 1", goal.precision, digits=3)
    yield Result(
        "  false alarms",
        verdict.false_alarms,
        "a series-month",
        goal.false_alarms if has_goal else None,
        digits=3,
        at_most=True,
    )
    of_kind, delays = dict(goal.of_kind), dict(goal.delay)
    for kind in EVENT_KINDS:
        recall = verdict.recall_of(kind)
        yield Result(f"  {kind}: found", recall, "of 1", of_kind.get(kind), digits=2)
        if verdict.delays[kind]:
            delay = verdict.delay_of(kind)
            yield Result(f"  {kind}: after", delay, "h", delays.get(kind), digits=1, at_most=True)


def _daily_sigma(spend: Hours, limit: float) -> Flags:
    """Each day's total against mean and deviation of the 28 before, known at its last hour."""
    hourly = spend.reshape(len(spend) // 24, 24, -1)
    # A day before the series began is unknown, not zero.
    days = np.where(np.isnan(hourly).all(axis=1), np.nan, np.nansum(hourly, axis=1))
    flags = np.zeros(spend.shape, dtype=bool)
    for day in range(14, len(days)):
        before = days[max(0, day - 28) : day]
        is_old = (~np.isnan(before)).sum(axis=0) >= 14
        middle, deviation = row_mean(before), np.sqrt(row_mean((before - row_mean(before)) ** 2))
        flags[day * 24 + 23] = is_old & (np.abs(days[day] - middle) > limit * deviation)
    return flags


def _hour_of_week(spend: Hours, limit: float) -> Flags:
    """Each hour against median and median deviation of the same hour of six weeks."""
    flags = np.zeros(spend.shape, dtype=bool)
    for hour in range(3 * 168, len(spend)):
        past = np.stack([spend[hour - 168 * k] for k in range(1, min(6, hour // 168) + 1)])
        past = np.where(np.isnan(past), spend[hour], past)
        middle = np.median(past, axis=0)
        deviation = 1.4826 * np.median(np.abs(past - middle), axis=0)
        flags[hour] = np.abs(spend[hour] - middle) > limit * np.maximum(deviation, 1e-9)
    return flags


def _tick(warm: Detector) -> Iterator[Result]:
    """Of 10,000 series: the warm ones again and again, through a day with its midnight."""
    yield from detector_store.measure(warm.state, TICK_SERIES)
    yield Result(
        "  state of a series",
        warm.state.bytes_per_series(),
        "bytes",
        STATE_GOAL_BYTES,
        at_most=True,
    )
