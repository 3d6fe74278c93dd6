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

    spent_usd: Decimal
    usual_usd: Decimal | None
    usual_in_words: str
    running: tuple[Decimal | None, ...]
    usual_running: tuple[Decimal, ...]

    @property
    def change(self) -> Decimal | None:
        if not self.usual_usd:
            return None
        return (self.spent_usd - self.usual_usd) / self.usual_usd


def read_start(zone: ZoneInfo, now: datetime) -> datetime:
    """Since when hours are needed."""
    return local_midnight(now.astimezone(zone).date() - timedelta(weeks=WEEKS_LOOKED_AT), zone)


def compare_today(hours: Mapping[datetime, Decimal], zone: ZoneInfo, now: datetime) -> Today:
    """`hours` holds spend by the start of each hour, since `read_start`.

    Usual is the median of up to four same weekdays; a day before the first spend is not a day
    without spend. An hour that the comparison cuts counts in proportion.
    """
    local = now.astimezone(zone)
    today = local.date()
    first = min(hours, default=None)
    same_weekdays = [today - timedelta(weeks=n) for n in range(1, WEEKS_LOOKED_AT + 1)]
    days = [day for day in same_weekdays if first and local_midnight(day, zone) >= first]
    spent = spent_between(hours, local_midnight(today, zone), now + HOUR)
    by_now = [
        spent_between(hours, local_midnight(d, zone), local_moment(d, local.time(), zone))
        for d in days
    ]
    usual = median(by_now) if by_now else None
    return Today(
        spent_usd=spent,
        usual_usd=usual,
        usual_in_words=_words(len(days), today, local),
        running=_running_today(hours, today, zone, now),
        usual_running=_running_usual(hours, days, zone),
    )


def _words(days: int, today: date, local: datetime) -> str:
    name = weekday_name(today)
    return f"{'a usual' if days > 1 else 'last'} {name} by {local:%H:%M}"


def spent_between(hours: Mapping[datetime, Decimal], start: datetime, end: datetime) -> Decimal:
    spent = Decimal(0)
    for hour, usd in hours.items():
        overlap = min(end, hour + HOUR) - max(start, hour)
        if overlap >= HOUR:
            spent += usd
        elif overlap > timedelta(0):
            spent += usd * (overlap // timedelta(seconds=1)) / 3600
    return spent


def _running_today(
    hours: Mapping[datetime, Decimal], today: date, zone: ZoneInfo, now: datetime
) -> tuple[Decimal | None, ...]:
    midnight = local_midnight(today, zone)
    return tuple(
        spent_between(hours, midnight, midnight + n * HOUR)
        if midnight + (n - 1) * HOUR < now
        else None
        for n in range(HOURS_DRAWN + 1)
    )


def _running_usual(
    hours: Mapping[datetime, Decimal], days: Sequence[date], zone: ZoneInfo
) -> tuple[Decimal, ...]:
    if not days:
        return ()
    midnights = [local_midnight(day, zone) for day in days]
    return tuple(
        median(spent_between(hours, midnight, midnight + n * HOUR) for midnight in midnights)
        for n in range(HOURS_DRAWN + 1)
    )
