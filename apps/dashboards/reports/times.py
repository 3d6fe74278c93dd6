"""When a report is due, and which closed stretch of local days it covers. Pure."""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from apps.alerts.core.local_clock import moment_of
from apps.dashboards.periods import (
    WEEKDAYS,
    Period,
    days_between,
    in_order,
    local_midnight,
    long_day,
    month_name,
    next_month,
    previous_month,
)

Frequency = Literal["weekly", "monthly"]
FREQUENCIES: Final[tuple[Frequency, ...]] = ("weekly", "monthly")
WEEK: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """`day`: of the week from 0, Monday, or of the month from 1; a month that has fewer days is
    told on its last. `hour` on the tenant's clocks."""

    frequency: Frequency
    day: int
    hour: int

    @property
    def in_words(self) -> str:
        at = f"at {self.hour:02}:00"
        if self.frequency == "weekly":
            return f"every {WEEKDAYS[self.day]} {at}"
        return f"on day {self.day} of every month {at}" + (
            ", or on its last" if self.day > 28 else ""
        )


def last_due(rhythm: Rhythm, zone: ZoneInfo, now: datetime) -> tuple[datetime, date]:
    """The newest moment at or before now at which a report was due, and the first day it covers."""
    today = now.astimezone(zone).date()
    day = _day_in(rhythm, today)
    if _moment(rhythm, day, zone) > now:
        day = _day_in(rhythm, _start_of(rhythm.frequency, day) - timedelta(days=1))
    return _moment(rhythm, day, zone), _before(rhythm.frequency, day)


def next_due(rhythm: Rhythm, zone: ZoneInfo, now: datetime) -> datetime:
    """The first moment after now at which a report is due."""
    day = _day_in(rhythm, now.astimezone(zone).date())
    if _moment(rhythm, day, zone) <= now:
        day = _day_in(rhythm, _after(rhythm.frequency, day))
    return _moment(rhythm, day, zone)


def last_closed(frequency: Frequency, zone: ZoneInfo, now: datetime) -> date:
    """The first day of the last week or month that is over."""
    return _before(frequency, now.astimezone(zone).date())


def closed_period(frequency: Frequency, first: date, zone: ZoneInfo) -> Period:
    """The week or month that begins on a local day, beside the one before it."""
    end, before = _after(frequency, first), _before(frequency, first)
    start = local_midnight(first, zone)
    is_week = frequency == "weekly"
    return Period(
        slug=frequency,
        start=start,
        end=local_midnight(end, zone),
        before_start=local_midnight(before, zone),
        before_end=start,
        days=days_between(first, end),
        in_words=f"in {period_name(frequency, first)}",
        before_in_words="the week before" if is_week else month_name(before),
    )


def period_name(frequency: Frequency, first: date) -> str:
    """The week of 16 to 22 November 2026; October 2026."""
    if frequency == "monthly":
        return f"{month_name(first)} {first.year}"
    last = first + timedelta(days=6)
    begin = in_order(first, month_name(first), year=False)
    if first.month == last.month and begin.startswith(str(first.day)):
        begin = str(first.day)
    return f"the week of {begin} to {long_day(last)}"


def _start_of(frequency: Frequency, day: date) -> date:
    return day - timedelta(days=day.weekday()) if frequency == "weekly" else day.replace(day=1)


def _after(frequency: Frequency, day: date) -> date:
    start = _start_of(frequency, day)
    return start + WEEK if frequency == "weekly" else next_month(start)


def _before(frequency: Frequency, day: date) -> date:
    start = _start_of(frequency, day)
    return start - WEEK if frequency == "weekly" else previous_month(start)


def _day_in(rhythm: Rhythm, day: date) -> date:
    """The day of the rhythm in the week or month of a day."""
    start = _start_of(rhythm.frequency, day)
    if rhythm.frequency == "weekly":
        return start + timedelta(days=rhythm.day)
    return start.replace(day=min(rhythm.day, monthrange(day.year, day.month)[1]))


def _moment(rhythm: Rhythm, day: date, zone: ZoneInfo) -> datetime:
    return moment_of(day, time(rhythm.hour), zone)
