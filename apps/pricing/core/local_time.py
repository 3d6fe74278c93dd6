"""Local months and the real hours in them, and money spread over them. Pure.

An interval is kept in UTC: between two moments of one ZoneInfo, Python subtracts what the clocks
showed, not the time that passed.
"""

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, Self
from zoneinfo import ZoneInfo

from apps.pricing.core.money import usd_from_units
from apps.pricing.core.sharing import share_between, whole_units

HOUR: Final = timedelta(hours=1)
TICK: Final = timedelta(microseconds=1)
SECOND: Final = timedelta(seconds=1)
SHORTEST_MONTH: Final = 28


@dataclass(frozen=True, slots=True)
class Interval:
    """From `starts_at` (included) to `ends_at` (not), aware, kept in UTC. May be empty."""

    starts_at: datetime
    ends_at: datetime

    def __post_init__(self) -> None:
        for name in ("starts_at", "ends_at"):
            moment: datetime = getattr(self, name)
            if moment.tzinfo is None:
                raise ValueError(f"{name} {moment} has no time zone")
            object.__setattr__(self, name, moment.astimezone(UTC))
        if self.ends_at < self.starts_at:
            raise ValueError(f"{self.ends_at} is before {self.starts_at}")

    @property
    def microseconds(self) -> int:
        return (self.ends_at - self.starts_at) // TICK

    def overlap(self, other: Self) -> Self | None:
        """What both have in common; None when that is no time at all."""
        starts_at = max(self.starts_at, other.starts_at)
        ends_at = min(self.ends_at, other.ends_at)
        return type(self)(starts_at, ends_at) if starts_at < ends_at else None


@dataclass(frozen=True, slots=True)
class DateRange:
    """Local days from `starts_on` (included) to `ends_before` (not; None: no end)."""

    starts_on: date
    ends_before: date | None = None

    def __post_init__(self) -> None:
        if self.ends_before is not None and self.ends_before <= self.starts_on:
            raise ValueError(f"ends before {self.ends_before}, not after it starts {self}")

    def __contains__(self, day: date) -> bool:
        return self.starts_on <= day and (self.ends_before is None or day < self.ends_before)

    def __str__(self) -> str:
        return f"{self.starts_on}..{self.ends_before or ''}"

    def overlaps(self, other: Self) -> bool:
        return other.starts_on in self or self.starts_on in other

    def clip(self, interval: Interval, zone: ZoneInfo) -> Interval | None:
        """The part of the interval on these days."""
        ends_at = interval.ends_at
        if self.ends_before is not None:
            ends_at = min(ends_at, day_start(self.ends_before, zone))
        starts_at = max(interval.starts_at, day_start(self.starts_on, zone))
        return Interval(starts_at, ends_at) if starts_at < ends_at else None


def add_months(day: date, months: int) -> date:
    """The same day of a later month, or its last day: 31 January and one is 28 February."""
    years, month0 = divmod(day.month - 1 + months, 12)
    year = day.year + years
    is_in_any = day.day <= SHORTEST_MONTH
    last = SHORTEST_MONTH if is_in_any else monthrange(year, month0 + 1)[1]
    return date(year, month0 + 1, min(day.day, last))


def day_start(day: date, zone: ZoneInfo) -> datetime:
    """The first midnight of a local day; where clocks skip it, the moment they skip."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)


@lru_cache(maxsize=1024)
def month_interval(month: date, zone: ZoneInfo) -> Interval:
    """The local month that `month` is a day of: 23 and 25 hour days make it shorter or longer."""
    first = month.replace(day=1)
    return Interval(day_start(first, zone), day_start(add_months(first, 1), zone))


def clock_hours(interval: Interval, zone: ZoneInfo) -> Iterator[Interval]:
    """The interval cut where local clocks show a full hour: every real hour once, none twice.

    Where clocks move by half an hour (Lord Howe) one piece is half an hour long.
    """
    starts_at = interval.starts_at
    while starts_at < interval.ends_at:
        ends_at = min(_next_full_hour(starts_at, zone), interval.ends_at)
        yield Interval(starts_at, ends_at)
        starts_at = ends_at


def _next_full_hour(moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    candidate = moment + HOUR - _since_full_hour(local)
    if _since_full_hour(candidate.astimezone(zone)):
        return next(iter(offset_changes(Interval(moment, candidate), zone)), candidate)
    return candidate


def _since_full_hour(local: datetime) -> timedelta:
    return timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def offset_changes(interval: Interval, zone: ZoneInfo) -> list[datetime]:
    """When in the interval (its start excluded) the zone's clocks were moved."""
    changes = []
    before = interval.starts_at
    while before < interval.ends_at:
        after = min(before + HOUR, interval.ends_at)
        if _offset(before, zone) != _offset(after, zone):
            changes.append(_find_change(before, after, zone))
        before = after
    return changes


def _find_change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Clocks move on a full second of UTC."""
    first = before.replace(microsecond=0)
    new = _offset(after, zone)
    seconds = range((after - first) // SECOND + 1)
    found = bisect_left(seconds, True, key=lambda n: _offset(first + n * SECOND, zone) == new)
    return first + found * SECOND


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()


@dataclass(frozen=True, slots=True)
class MonthAmount:
    """Money of one local month (`month` is its first day), and the part of it that it is for."""

    month: date
    over: Interval
    amount_usd: Decimal

    def between(self, part: Interval) -> Decimal:
        return spread(self.amount_usd, self.over, part)


def spread(amount_usd: Decimal, over: Interval, part: Interval) -> Decimal:
    """What falls into `part` of an amount spread evenly over the real time of `over`.

    A whole number of 1e-24 USD. Parts that meet add up: any way of cutting `over` sums to the
    amount, to the last digit.
    """
    common = over.overlap(part)
    if common is None:
        return Decimal(0)
    start = (common.starts_at - over.starts_at) // TICK
    end = (common.ends_at - over.starts_at) // TICK
    return usd_from_units(share_between(whole_units(amount_usd), start, end, over.microseconds))
