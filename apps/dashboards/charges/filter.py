"""What the list of charges is narrowed to, as its address says it. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from typing import Final, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import QueryDict

from apps.dashboards.explorer.state import DIMENSIONS, MAX_DAYS, MAX_FILTERS, dimension_label
from apps.dashboards.page_state import Chip
from apps.dashboards.periods import local_midnight
from apps.usage.charges import ChargeQuery
from apps.usage.dimensions import Dimension, tag_dimension, tag_of

SPANS: Final = {"day": 1, "week": 7, "month": 31, "year": 366}
DEFAULT_SPAN: Final = "month"
# Clocks of routers run ahead a little.
AHEAD: Final = timedelta(hours=1)
MAX_LENGTH: Final = 401
TEXT_FILTERS: Final = ("model", "customer", "department", "status")


@dataclass(frozen=True, slots=True)
class ChargeFilter:
    """Empty is any. `price` is "unpriced" or "priced". `where` is what other pages narrow to, as
    "dimension:value" (a tag as tag.KEY=value; without a value: not attributed); `first` and `last`
    are local days."""

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
        return [*found, *where_pairs(self.where)]

    def address(self, before_id: int) -> str:
        """The query string of what follows a charge."""
        return urlencode([*self.pairs(), ("before", before_id)])

    def chips(self, path: str, name_of: Callable[[Dimension, str | None], str]) -> list[Chip]:
        """What the form does not show, each to be taken away."""
        chips = [
            Chip(
                f"{dimension_label(dimension)}: {name_of(dimension, value)}",
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


def where_pairs(where: Iterable[tuple[Dimension, str | None]]) -> list[tuple[str, str]]:
    """How an address of the list says what it is narrowed to. A tag's key may hold a colon."""
    return [
        ("where", f"{dimension}:{value or ''}")
        if tag_of(dimension) is None
        else (dimension, value or "")
        for dimension, value in where
    ]


def _at(path: str, wanted: ChargeFilter) -> str:
    return f"{path}?{urlencode(wanted.pairs())}"


def read_charge_filter(given: QueryDict) -> ChargeFilter:
    """What the address asks for; what it gets wrong falls back, as on every page."""
    text = {n: given.get(n, "").replace("\0", "").strip()[:MAX_LENGTH] for n in TEXT_FILTERS}
    price, span = given.get("price", ""), given.get("span", "")
    first, last = _day(given.get("first", "")), _day(given.get("last", ""))
    if not first or not last or not 0 <= (last - first).days < MAX_DAYS:
        first = last = None
    return ChargeFilter(
        **text,
        price=price if price in ("unpriced", "priced") else "",
        span=span if span in SPANS else DEFAULT_SPAN,
        where=_read_where(given),
        first=first,
        last=last,
    )


def _read_where(given: QueryDict) -> tuple[tuple[Dimension, str | None], ...]:
    split = [one.partition(":")[::2] for one in given.getlist("where")]
    found = [(name, value) for name, value in split if name in DIMENSIONS]
    found += [(n, v) for n, vs in given.lists() if tag_of(n) is not None for v in vs]
    # The form has one field for a tag: "team=search", and "team=" for what carries no team.
    key, _, value = given.get("tagged", "").strip().partition("=")
    found += [(tag_dimension(key.strip()), value.strip())] if tag_of(tag_dimension(key)) else []
    kept = [(cast("Dimension", n), v[:MAX_LENGTH] or None) for n, v in found if "\0" not in v]
    return tuple(dict.fromkeys(kept))[:MAX_FILTERS]


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if 2000 <= day.year <= 2200 else None
