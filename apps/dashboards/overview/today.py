"""Today beside the usual day of its name, by the same time. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from statistics import median
from zoneinfo import ZoneInfo

from apps.dashboards.periods import local_midnight, local_moment, weekday_name

HOUR = timedelta(hours=1)
WEEKS_LOOKED_AT = 4
HOURS_DRAWN = 24


@dataclass(frozen=True, slots=True)
class Today:
    """Spend since local midnight, and what is usual by now on this day of the week."""

    spent: Decimal
    usual: Decimal | None
    usual_in_words: str
    running: tuple[Decimal | None, ...]
    usual_running: tuple[Decimal, ...]

    @property
    def change(self) -> Decimal | None:
        if not self.usual:
            return None
        return (self.spent - self.usual) / self.usual


def days_compared(zone: ZoneInfo, now: datetime) -> list[date]:
    """Today and the same weekdays before it, newest first."""
    today = now.astimezone(zone).date()
    return [today - timedelta(weeks=n) for n in range(WEEKS_LOOKED_AT + 1)]


def compare_today(hours: Mapping[datetime, Decimal], zone: ZoneInfo, now: datetime) -> Today:
    """`hours` holds spend by the start of each hour of the days compared.

    Usual is the median of up to four same weekdays; days before the first that spent anything
    are not days without spend. An hour that the comparison cuts counts in proportion.
    """
    local = now.astimezone(zone)
    today, *before = days_compared(zone, now)
    of_day = {day: _hours_of(hours, day, zone) for day in (today, *before)}
    first = max((n for n, day in enumerate(before) if of_day[day]), default=-1)
    days = before[: first + 1]
    by_now = [
        spent_between(of_day[day], local_midnight(day, zone), local_moment(day, local.time(), zone))
        for day in days
    ]
    return Today(
        spent=sum(of_day[today].values(), Decimal(0)),
        usual=median(by_now) if by_now else None,
        usual_in_words=_words(len(days), today, local),
        running=_running_today(of_day[today], local_midnight(today, zone), now),
        usual_running=_running_usual([(of_day[day], local_midnight(day, zone)) for day in days]),
    )


def _hours_of(
    hours: Mapping[datetime, Decimal], day: date, zone: ZoneInfo
) -> dict[datetime, Decimal]:
    start, end = local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)
    return {hour: cost for hour, cost in hours.items() if start <= hour < end}


def _words(days: int, today: date, local: datetime) -> str:
    name = weekday_name(today)
    return f"{'a usual' if days > 1 else 'last'} {name} by {local:%H:%M}"


def spent_between(hours: Mapping[datetime, Decimal], start: datetime, end: datetime) -> Decimal:
    spent = Decimal(0)
    for hour, cost in hours.items():
        overlap = min(end, hour + HOUR) - max(start, hour)
        if overlap >= HOUR:
            spent += cost
        elif overlap > timedelta(0):
            spent += cost * (overlap // timedelta(seconds=1)) / 3600
    return spent


def _running_today(
    hours: Mapping[datetime, Decimal], midnight: datetime, now: datetime
) -> tuple[Decimal | None, ...]:
    return tuple(
        spent_between(hours, midnight, midnight + n * HOUR)
        if midnight + (n - 1) * HOUR < now
        else None
        for n in range(HOURS_DRAWN + 1)
    )


def _running_usual(
    days: Sequence[tuple[Mapping[datetime, Decimal], datetime]],
) -> tuple[Decimal, ...]:
    if not days:
        return ()
    return tuple(
        median(spent_between(hours, midnight, midnight + n * HOUR) for hours, midnight in days)
        for n in range(HOURS_DRAWN + 1)
    )
