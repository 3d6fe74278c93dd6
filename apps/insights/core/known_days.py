"""From moments that are known beforehand to what they make of local days. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from apps.insights.core.forecast import KnownDays


@dataclass(frozen=True, slots=True)
class Effect:
    """What is expected of [starts_at, ends_at): usual spend times `multiplier`, and `extra_usd` in
    all.

    Without either it is not known what happened: its days are `set_aside`, unless `is_minor`.
    """

    starts_at: datetime
    ends_at: datetime
    multiplier: float | None = None
    extra_usd: float | None = None
    is_minor: bool = False


@dataclass(frozen=True, slots=True)
class PriceStep:
    """From this moment on the same usage costs `multiplier` times what it costs today."""

    starts_at: datetime
    multiplier: float


@lru_cache(maxsize=8192)
def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)


def known_days(
    *,
    effects: Iterable[Effect],
    steps: Sequence[PriceStep],
    holidays: frozenset[date],
    zone: ZoneInfo,
    first: date,
    end: date,
) -> KnownDays:
    """What is known of the local days [first, end). An effect counts by the part of a day it takes.

    `steps` ascend; before the first of them a price is what it is today, unless it says otherwise.
    """
    multipliers: dict[date, float] = {}
    additions: dict[date, float] = {}
    set_aside: set[date] = set()
    days = [first + timedelta(days=n) for n in range((end - first).days)]
    bounds = {day: (local_midnight(day, zone), _end_of(day, zone)) for day in days}
    for effect in effects:
        length_s = (effect.ends_at - effect.starts_at).total_seconds()
        for day in _days_of(effect, zone, first, end):
            share = _overlap_s(effect.starts_at, effect.ends_at, *bounds[day])
            day_s = (bounds[day][1] - bounds[day][0]).total_seconds()
            if share <= 0:
                continue
            if effect.multiplier is not None:
                changed = 1 + (effect.multiplier - 1) * share / day_s
                multipliers[day] = multipliers.get(day, 1.0) * changed
            elif effect.extra_usd is not None:
                additions[day] = additions.get(day, 0.0) + effect.extra_usd * share / length_s
            elif not effect.is_minor:
                set_aside.add(day)
    for day in days if steps else ():
        priced = _mean_price(steps, *bounds[day])
        if priced != 1.0:
            multipliers[day] = multipliers.get(day, 1.0) * priced
    return KnownDays(holidays, multipliers, additions, frozenset(set_aside))


def _end_of(day: date, zone: ZoneInfo) -> datetime:
    return local_midnight(day + timedelta(days=1), zone)


def _days_of(effect: Effect, zone: ZoneInfo, first: date, end: date) -> list[date]:
    begins = max(effect.starts_at.astimezone(zone).date(), first)
    ends = min(effect.ends_at.astimezone(zone).date() + timedelta(days=1), end)
    return [begins + timedelta(days=n) for n in range((ends - begins).days)]


def _overlap_s(start: datetime, end: datetime, day_start: datetime, day_end: datetime) -> float:
    return (min(end, day_end) - max(start, day_start)).total_seconds()


def _mean_price(steps: Sequence[PriceStep], start: datetime, end: datetime) -> float:
    """The multiplier in force over [start, end), by time."""
    whole = (end - start).total_seconds()
    summed, at, now = 0.0, start, 1.0
    for step in steps:
        if step.starts_at >= end:
            break
        if step.starts_at > at:
            summed += now * (step.starts_at - at).total_seconds()
            at = step.starts_at
        now = step.multiplier
    return (summed + now * (end - at).total_seconds()) / whole
