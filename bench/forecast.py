"""Month-end forecasts on made-up spend: error and coverage beside run-rate and seasonal-naive.

Seeds that nothing was tuned on. A case is a month of a series without a labelled event, cut where
its day 5, 10 or 20 ends (UTC). WAPE is the sum of errors over the sum of totals; coverage the share
of totals within the 80% interval. All three see the same rows; nobody sees the holidays.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from apps.insights.core.forecast import forecast_period
from apps.insights.core.utc_hours import history_before, hour_number
from apps.insights.core.weekly_level import Floats
from bench.results import Result
from bench.spend_series import WORLDS, SpendSeries, spend_series

SEEDS: Final = (101, 102)
SERIES: Final = 60
CUT_DAYS: Final = (5, 10, 20)
MOST_WAPE: Final = {5: 6.0, 10: 4.8, 20: 2.5}
COVERAGE: Final = (0.75, 0.90)
CASES_TIMED: Final = 200
MOST_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Case:
    """Hours 0 to `cut` of a series are known; its month is hours `start` to `end`."""

    series: SpendSeries
    start: int
    end: int
    cut: int
    cut_day: int

    @property
    def usd(self) -> Floats:
        return np.nan_to_num(self.series.spend)

    @property
    def total_usd(self) -> float:
        return float(self.usd[self.start : self.end].sum())


@dataclass(frozen=True, slots=True)
class Told:
    total_usd: float
    low_usd: float
    high_usd: float


def run() -> Iterator[Result]:
    cases = [case for seed in SEEDS for world in WORLDS for case in _cases(seed, world)]
    started_s = time.process_time()
    forecasts = [forecast(case) for case in cases]
    seconds = (time.process_time() - started_s) / len(cases) * CASES_TIMED
    for day in CUT_DAYS:
        at = [n for n, case in enumerate(cases) if case.cut_day == day]
        chosen = [cases[n] for n in at]
        ours = [forecasts[n] for n in at]
        name = f"forecast at day {day}"
        yield Result(
            f"{name}, WAPE", wape(chosen, ours), "%", MOST_WAPE[day], at_most=True, digits=2
        )
        covered = coverage(chosen, ours)
        yield Result("  80% interval covers", covered, "", COVERAGE[0], digits=3)
        yield Result("  and not more than", covered, "", COVERAGE[1], at_most=True, digits=3)
        for other, told in (
            ("run-rate", [run_rate(case) for case in chosen]),
            ("seasonal-naive", [seasonal_naive(case) for case in chosen]),
        ):
            yield Result(f"  {other}, WAPE", wape(chosen, told), "%", digits=2)
            yield Result(f"  {other}, 80% interval covers", coverage(chosen, told), "", digits=3)
    yield Result(
        f"{CASES_TIMED} forecasts of 181 days", seconds, "s", MOST_SECONDS, at_most=True, digits=1
    )


def _cases(seed: int, world: str) -> Iterator[Case]:
    for series in spend_series(seed, world, count=SERIES):  # type: ignore[arg-type]
        for start, end in _months(series):
            quiet = not any(e.start < end and e.end > start for e in series.events)
            for day in CUT_DAYS if quiet else ():
                case = Case(series, start, end, start + day * 24, day)
                if case.total_usd > 0 and np.isfinite(series.spend[: case.cut]).any():
                    yield case


def _months(series: SpendSeries) -> Iterator[tuple[int, int]]:
    """First hour and end of each whole UTC month but the first, which has no past."""
    first_day, hours = series.start.date(), len(series.spend)
    month = _next_month(first_day)
    while (end := (_next_month(month) - first_day).days * 24) <= hours:
        yield (month - first_day).days * 24, end
        month = _next_month(month)


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def forecast(case: Case) -> Told:
    known = np.flatnonzero(np.isfinite(case.series.spend[: case.cut]))
    first = hour_number(case.series.start)
    history = history_before(known + first, case.series.spend[known], first + case.cut)
    start, end = (
        (case.series.start + timedelta(hours=hour)).date() for hour in (case.start, case.end)
    )
    total = forecast_period(history, start=start, end=end).total_usd
    return Told(total.p50, total.p10, total.p90)


def run_rate(case: Case) -> Told:
    """This month's mean day goes on; the interval is that of a mean of independent days."""
    since = max(case.start, int(np.argmax(np.isfinite(case.series.spend))))
    days = case.usd[since : case.cut]
    days = days[: len(days) // 24 * 24].reshape(-1, 24).sum(axis=1)
    left = (case.end - case.cut) / 24
    spread = 1.28 * float(days.std(ddof=1)) if len(days) > 1 else 0.0
    half = spread * (left + left**2 / max(len(days), 1)) ** 0.5
    return _around(case, left * float(days.mean()) if len(days) else 0.0, half)


def seasonal_naive(case: Case) -> Told:
    """The last week repeats; the interval from how weeks differed from the one before."""
    weeks = case.usd[: case.cut]
    weeks = weeks[len(weeks) % 168 :].reshape(-1, 168)
    left = case.end - case.cut
    rest = float(np.resize(weeks[-1], left).sum()) if len(weeks) else 0.0
    steps = np.diff(weeks.sum(axis=1))[-12:]
    half = 1.28 * float(steps.std()) * (left / 168) ** 0.5 if len(steps) > 1 else 0.0
    return _around(case, rest, half)


def _around(case: Case, rest: float, half: float) -> Told:
    spent = float(case.usd[case.start : case.cut].sum())
    return Told(spent + rest, spent + max(rest - half, 0.0), spent + rest + half)


def wape(cases: list[Case], told: list[Told]) -> float:
    errors = sum(abs(t.total_usd - c.total_usd) for c, t in zip(cases, told, strict=True))
    return 100 * errors / sum(case.total_usd for case in cases)


def coverage(cases: list[Case], told: list[Told]) -> float:
    inside = [t.low_usd <= c.total_usd <= t.high_usd for c, t in zip(cases, told, strict=True)]
    return sum(inside) / len(inside)
