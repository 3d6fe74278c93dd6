"""What the list of charges is narrowed to, as its address says it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Final, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from apps.dashboards.explorer.state import DIMENSIONS, MAX_DAYS, MAX_FILTERS
from apps.dashboards.page_state import Chip
from apps.dashboards.periods import local_midnight
from apps.usage.charges import ChargeQuery
from apps.usage.selectors import Dimension

SPANS: Final = {"day": 1, "week": 7, "month": 31, "year": 366}
DEFAULT_SPAN: Final = "month"
# Clocks of routers run ahead a little.
AHEAD: Final = timedelta(hours=1)
MAX_LENGTH: Final = 401
TEXT_FILTERS: Final = ("model", "customer", "department", "status")


@dataclass(frozen=True, slots=True)
class ChargeFilter:
    """Empty is any. `price` is "unpriced" or "priced". `where` is what other pages narrow to, as
    "dimension:value" (without a value: not attributed); `first` and `last` are local days."""

    model: str = ""
    customer: str = ""
    department: str = ""
    status: str = ""
    price: str = ""
    span: str = DEFAULT_SPAN
    where: tuple[tuple[Dimension, str | None], ...] = ()
    first: date | None = None
    last: date | None = None

    @property
    def narrowed(self) -> bool:
        return replace(self, span=DEFAULT_SPAN, first=None, last=None) != ChargeFilter()

    def pairs(self) -> list[tuple[str, str]]:
        plain = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name != "where"]
        found = [(name, str(value)) for name, value in plain if value]
        return [*found, *(("where", f"{d}:{v or ''}") for d, v in self.where)]

    def address(self, before_id: int) -> str:
        """The query string of what follows a charge."""
        return urlencode([*self.pairs(), ("before", before_id)])

    def chips(self, path: str) -> list[Chip]:
        """What the form does not show, each to be taken away."""
        chips = [
            Chip(
                f"{DIMENSIONS[dimension]}: {value or 'not attributed'}",
                self._without_one(path, (dimension, value)),
                is_on=True,
            )
            for dimension, value in self.where
        ]
        if self.first and self.last:
            days = f"{self.first.isoformat()} to {self.last.isoformat()}"
            chips.append(Chip(days, _at(path, replace(self, first=None, last=None)), is_on=True))
        return chips

    def _without_one(self, path: str, pair: tuple[Dimension, str | None]) -> str:
        return _at(path, replace(self, where=tuple(one for one in self.where if one != pair)))

    def as_query(
        self, zone: ZoneInfo, *, now: datetime, before_id: int | None, limit: int
    ) -> ChargeQuery:
        end = now + AHEAD
        start = end - timedelta(days=SPANS[self.span])
        if self.first and self.last:
            start = local_midnight(self.first, zone)
            end = local_midnight(self.last + timedelta(days=1), zone)
        filters: dict[Dimension, tuple[str | None, ...]] = {}
        for dimension, value in self.where:
            filters[dimension] = (*filters.get(dimension, ()), value)
        return ChargeQuery(
            start=start,
            end=end,
            model=self.model or None,
            customer=self.customer or None,
            department=self.department or None,
            status=self.status or None,
            unpriced={"unpriced": True, "priced": False}.get(self.price),
            filters=filters,
            before_id=before_id,
            limit=limit,
        )


def _at(path: str, wanted: ChargeFilter) -> str:
    return f"{path}?{urlencode(wanted.pairs())}"


def read_charge_filter(given: Mapping[str, str], where: Sequence[str]) -> ChargeFilter:
    """What the address asks for; what it gets wrong falls back, as on every page."""
    text = {n: given.get(n, "").replace("\0", "").strip()[:MAX_LENGTH] for n in TEXT_FILTERS}
    price, span = given.get("price", ""), given.get("span", "")
    split = [one.partition(":") for one in where[:MAX_FILTERS] if "\0" not in one]
    first, last = _day(given.get("first", "")), _day(given.get("last", ""))
    if not first or not last or not 0 <= (last - first).days < MAX_DAYS:
        first = last = None
    return ChargeFilter(
        **text,
        price=price if price in ("unpriced", "priced") else "",
        span=span if span in SPANS else DEFAULT_SPAN,
        where=tuple(
            (cast("Dimension", dimension), value[:MAX_LENGTH] or None)
            for dimension, _, value in split
            if dimension in DIMENSIONS
        ),
        first=first,
        last=last,
    )


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None
