"""Budget periods: stretches of the tenant's local calendar that tile time. Pure.

A period starts at the first instant of its first local day and ends where the next one starts, in
any IANA zone. Where clocks skip midnight the day starts an hour later; where midnight comes twice
it starts at the first. A day that a zone never had (Apia, 30 December 2011) is an empty period.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

PeriodKind = Literal["day", "week", "month", "quarter", "year", "grant"]
PERIOD_KINDS: Final[tuple[PeriodKind, ...]] = ("day", "week", "month", "quarter", "year", "grant")
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """[start, end) in UTC, and the local day it is named after."""

    start: datetime
    end: datetime
    first_day: date

    def contains(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def elapsed(self, now: datetime) -> float:
        """The share of the period that is over, 0 to 1."""
        if now >= self.end:
            return 1.0
        return max(0.0, (now - self.start) / (self.end - self.start))


@dataclass(frozen=True, slots=True)
class Calendar:
    """One kind of period in one zone; a grant has the one period [grant_start, grant_end)."""

    kind: PeriodKind
    zone: ZoneInfo
    grant_start: datetime | None = None
    grant_end: datetime | None = None

    def __post_init__(self) -> None:
        bounds = (self.grant_start, self.grant_end)
        if self.kind != "grant":
            if bounds != (None, None):
                raise ValueError(f"a budget per {self.kind} has no dates of its own: {bounds}")
        elif self.grant_start is None or self.grant_end is None:
            raise ValueError("a grant needs the moments it starts and ends")
        elif self.grant_start >= self.grant_end:
            raise ValueError(f"the grant ends at {self.grant_end}, not after {self.grant_start}")

    def at(self, moment: datetime) -> Period | None:
        """The period a moment falls in; None outside a grant's."""
        if self.kind == "grant":
            period = self._grant()
            return period if period.contains(moment) else None
        period = self.starting(self._first_day(moment.astimezone(self.zone).date()))
        # Where a clock was set back over midnight, local dates run backwards for a while.
        while moment < period.start:
            period = self.before(period)
        while moment >= period.end:
            period = self.after(period)
        return period

    def starting(self, first_day: date) -> Period:
        """The period named after this local day."""
        if self.kind == "grant":
            return self._grant()
        return Period(
            start=local_midnight(first_day, self.zone),
            end=local_midnight(self._next(first_day), self.zone),
            first_day=first_day,
        )

    def after(self, period: Period) -> Period:
        """The period that follows; a grant's own."""
        return self.starting(self._next(period.first_day))

    def before(self, period: Period) -> Period:
        """The period that precedes; a grant's own."""
        return self.starting(self._first_day(period.first_day - timedelta(days=1)))

    def _grant(self) -> Period:
        if self.grant_start is None or self.grant_end is None:
            raise ValueError("a grant needs the moments it starts and ends")
        first_day = self.grant_start.astimezone(self.zone).date()
        return Period(self.grant_start, self.grant_end, first_day)

    def _first_day(self, day: date) -> date:
        if self.kind == "week":
            return day - timedelta(days=day.weekday())
        if self.kind in _MONTHS:
            months = _MONTHS[self.kind]
            return day.replace(month=(day.month - 1) // months * months + 1, day=1)
        return day

    def _next(self, first_day: date) -> date:
        if self.kind == "day":
            return first_day + timedelta(days=1)
        if self.kind == "week":
            return first_day + timedelta(days=7)
        months = first_day.month - 1 + _MONTHS.get(self.kind, 0)
        return date(first_day.year + months // 12, months % 12 + 1, 1)


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local day, in UTC."""
    return datetime.combine(day, time.min, zone).astimezone(UTC)
