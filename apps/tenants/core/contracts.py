"""What a contract earns in a stretch of time. Pure."""

from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Contract:
    """USD a month from `starts_on` to before `ends_on` (None: it has no end), local days."""

    customer: str
    usd_per_month: Decimal
    starts_on: date
    ends_on: date | None = None

    def holds_on(self, day: date) -> bool:
        return self.starts_on <= day and (self.ends_on is None or day < self.ends_on)


def accrued_usd(
    contract: Contract,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    rate_on: Callable[[date], Decimal] = lambda _: Decimal(1),
) -> Decimal:
    """A month's amount spread evenly over its local days; of a day that is cut, the part within.

    A whole month earns exactly its amount. Days of 23 and 25 hours earn as much as others. With
    `rate_on`, what a USD was worth on a day, each day earns at its own.
    """
    shares: dict[tuple[date, int], Decimal] = {}
    for day, part in _days_of(start, end, zone):
        if contract.holds_on(day):
            month = (day.replace(day=1), monthrange(day.year, day.month)[1])
            shares[month] = shares.get(month, Decimal(0)) + part * rate_on(day)
    return sum(
        (contract.usd_per_month * share / days for (_, days), share in shares.items()), Decimal(0)
    )


def _days_of(start: datetime, end: datetime, zone: ZoneInfo) -> Iterator[tuple[date, Decimal]]:
    """Each local day that meets [start, end), with the part of it within."""
    day = start.astimezone(zone).date()
    while (midnight := _midnight(day, zone)) < end:
        following = _midnight(day + timedelta(days=1), zone)
        within, whole = min(end, following) - max(start, midnight), following - midnight
        yield day, Decimal(within // timedelta(seconds=1)) / (whole // timedelta(seconds=1))
        day += timedelta(days=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)
