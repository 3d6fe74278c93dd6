"""What a period will have cost when it ends, by day and in all, with its uncertainty. Pure.

Robust weekday x level (weekly_level.py), intervals from replayed past errors (replay.py), and what
is known beforehand: holidays, dated prices, announced events. Days are the caller's own local
days, and the running one is cut where its hours are complete. Figures are floats: an estimate has
no last digit. docs/forecasting.md tells the method.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import numpy as np

from apps.insights.core.replay import Replay, replay
from apps.insights.core.weekly_level import (
    LEAST_PART,
    WINDOW_DAYS,
    Floats,
    expected_days,
    median,
)

MAX_DAYS_AHEAD: Final = 400
MAX_HISTORY_DAYS: Final = 400
# A first day is a part of one, unless it is almost all there is.
DAYS_THAT_SPARE_THE_FIRST: Final = 3
# Spend of the first hours ever is not multiplied by more than this.
LEAST_GONE: Final = 0.25
SUNDAY: Final = 6


@dataclass(frozen=True, slots=True)
class SpendHistory:
    """Whole local days before `today`, oldest first, and today as far as it is known.

    `usd_by_day` is NaN where a day is unknown. `today_gone` is the part of a usual day's spend that
    falls before the cut (see `usual_share_gone`), 0 to 1.
    """

    usd_by_day: Floats
    today: date
    today_usd: float = 0.0
    today_gone: float = 0.0

    @property
    def first_day(self) -> date:
        return self.today - timedelta(days=len(self.usd_by_day))


@dataclass(frozen=True, slots=True)
class KnownDays:
    """What is known of days beforehand. A day that is not named is a usual one.

    `multipliers` scale a day's usual spend, past and to come (a price that changed, a launch);
    `additions_usd` come on top of it. Days `set_aside` are no guide to others: something happened.
    """

    holidays: frozenset[date] = frozenset()
    multipliers: Mapping[date, float] = field(default_factory=dict)
    additions_usd: Mapping[date, float] = field(default_factory=dict)
    set_aside: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class Quantiles:
    """In eight of ten cases spend ends between p10 and p90; p50 is as likely passed as not."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True, slots=True)
class DayForecast:
    """One local day's whole spend. What is past is known: its three figures are one."""

    day: date
    usd: Quantiles
    is_past: bool


@dataclass(frozen=True, slots=True)
class PeriodForecast:
    spent_usd: float
    total_usd: Quantiles
    days: tuple[DayForecast, ...]


def usual_share_gone(by_now: Sequence[float], whole: Sequence[float], elapsed: float) -> float:
    """The part of a usual day's spend that falls before this time of day, 0 to 1.

    `by_now` and `whole` are like days' spend by the same time and in all; `elapsed` is the part of
    the day's hours gone, which counts as one day more.
    """
    spent = sum(whole)
    if spent <= 0:
        return elapsed
    usual = spent / len(whole)
    return min(max((sum(by_now) + elapsed * usual) / (spent + usual), 0.0), 1.0)


def forecast_period(
    history: SpendHistory, *, start: date, end: date, known: KnownDays | None = None
) -> PeriodForecast:
    """The days [start, end) and their sum; ValueError when they reach too far ahead.

    Days before the history count as nothing spent.
    """
    if end <= start or (end - history.today).days > MAX_DAYS_AHEAD:
        raise ValueError(
            f"a period ends after it starts, at most {MAX_DAYS_AHEAD} days from {history.today};"
            f" got {start} to {end}"
        )
    outlook = _Outlook(history, known or KnownDays(), max((end - history.today).days, 1))
    ahead = [_day_to_come(outlook, n) for n in range((end - history.today).days)]
    days = [
        ahead[(day - history.today).days] if day >= history.today else _past_day(history, day)
        for day in (start + timedelta(days=n) for n in range((end - start).days))
    ]
    spent = sum(day.usd.p50 for day in days if day.is_past)
    if start <= history.today < end:
        spent += history.today_usd
    total = outlook.total(max((start - history.today).days, 0), (end - history.today).days)
    return PeriodForecast(
        spent_usd=spent,
        total_usd=Quantiles(spent + total.p10, spent + total.p50, spent + total.p90),
        days=tuple(days),
    )


class _Outlook:
    """What each day from today on is expected to cost, and how sure that is."""

    def __init__(self, history: SpendHistory, known: KnownDays, length: int) -> None:
        self.history = history
        usual = _usual_days(history, known)
        self.replay: Replay = replay(usual)
        expected = expected_days(self.replay.fit, length)[0].T @ self.replay.weights
        if not np.isfinite(usual).any():
            first_rate = history.today_usd / max(history.today_gone, LEAST_GONE)
            expected = np.full(length, first_rate)
        days = [history.today + timedelta(days=n) for n in range(length)]
        holiday_usd = _holiday_level(history, known, usual, self.replay)
        for n, day in enumerate(days):
            if day in known.holidays:
                expected[n] = holiday_usd
            expected[n] *= max(known.multipliers.get(day, 1.0), 0.0)
        self.left = np.ones(length)
        self.left[0] = 1.0 - history.today_gone
        self.expected: Floats = expected * self.left
        self.added: Floats = (
            np.array([max(known.additions_usd.get(day, 0.0), 0.0) for day in days]) * self.left
        )

    def day(self, n: int) -> Quantiles:
        """What is still to be spent on the n-th day from today."""
        lead = float(self.left[0]) if n == 0 else float(n + 1)
        offsets = self.replay.single_days.at(lead)
        return _quantiles(self.expected[n], offsets, self.added[n])

    def total(self, first: int, end: int) -> Quantiles:
        """What is still to be spent on days first to end (exclusive) from today."""
        if end <= first:
            return Quantiles(0.0, 0.0, 0.0)
        lead = float(self.left[:end].sum())
        offsets = self.replay.sums.at(lead)
        return _quantiles(self.expected[first:end].sum(), offsets, self.added[first:end].sum())


def _quantiles(expected: float, offsets: tuple[float, float, float], added: float) -> Quantiles:
    low, middle, high = (float(expected * np.exp(offset) + added) for offset in offsets)
    return Quantiles(low, middle, high)


def _day_to_come(outlook: _Outlook, n: int) -> DayForecast:
    rest = outlook.day(n)
    spent = outlook.history.today_usd if n == 0 else 0.0
    return DayForecast(
        day=outlook.history.today + timedelta(days=n),
        usd=Quantiles(spent + rest.p10, spent + rest.p50, spent + rest.p90),
        is_past=False,
    )


def _past_day(history: SpendHistory, day: date) -> DayForecast:
    n = (day - history.first_day).days
    usd = float(np.nan_to_num(history.usd_by_day[n])) if n >= 0 else 0.0
    return DayForecast(day, Quantiles(usd, usd, usd), is_past=True)


def _usual_days(history: SpendHistory, known: KnownDays) -> Floats:
    """The history as it would have been without what was known: NaN where that cannot be said."""
    days = np.array(history.usd_by_day[-MAX_HISTORY_DAYS:], dtype=np.float64)
    first = history.today - timedelta(days=len(days))
    spent = np.flatnonzero(np.nan_to_num(days) > 0)
    days[: spent[0] if len(spent) else len(days)] = np.nan
    if len(spent) and len(days) - spent[0] > DAYS_THAT_SPARE_THE_FIRST:
        days[spent[0]] = np.nan
    for day in known.holidays | known.set_aside:
        if 0 <= (n := (day - first).days) < len(days):
            days[n] = np.nan
    for day, added_usd in known.additions_usd.items():
        if 0 <= (n := (day - first).days) < len(days):
            days[n] = max(days[n] - added_usd, 0.0)
    for day, multiplier in known.multipliers.items():
        if 0 <= (n := (day - first).days) < len(days):
            days[n] = days[n] / multiplier if multiplier > 0 else np.nan
    return days


def _holiday_level(
    history: SpendHistory, known: KnownDays, usual: Floats, replayed: Replay
) -> float:
    """What a holiday costs: as past ones did beside the days around them, or else as a Sunday."""
    fit, weights = replayed.fit, replayed.weights
    level = float(fit.level[0] @ weights)
    sunday = float(fit.weekday[0, (SUNDAY - history.today.weekday()) % 7])
    parts = []
    for day in known.holidays:
        before = (history.today - day).days
        n = len(history.usd_by_day) - before
        if before < 1 or before > WINDOW_DAYS or n < 0:
            continue
        around = _level_around(usual, before, fit.weekday[0])
        if around > 0 and np.isfinite(history.usd_by_day[n]):
            parts.append(float(history.usd_by_day[n]) / around)
    seen = sum(sorted(parts)[(len(parts) - 1) // 2 : len(parts) // 2 + 1]) if parts else 0.0
    typical = seen / (1 if len(parts) % 2 else 2) if parts else 0.0
    return level * (len(parts) * typical + sunday) / (len(parts) + 1)


def _level_around(usual: Floats, before: int, weekday: Floats) -> float:
    """The median level of the ten days on either side of the day `before` days ago."""
    middle = len(usual) - before
    near = np.arange(max(middle - 10, 0), min(middle + 11, len(usual)))
    parts = np.maximum(weekday[(near - len(usual)) % 7], LEAST_PART)
    busy = parts > 0.3
    return float(np.nan_to_num(median((usual[near] / parts)[busy], 0))) if busy.any() else 0.0
