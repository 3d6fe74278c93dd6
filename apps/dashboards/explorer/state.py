"""What the explorer's address says. The address is the state: a link shows what its sender saw.

Dimensions and filters are named as in GET /api/v1/spend; an empty value is "not attributed".
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final, cast
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import QueryDict

from apps.dashboards.explorer.measures import MEASURES, Measure, reported_measure
from apps.dashboards.page_state import MAX_FILTER_LENGTH, NOT_ATTRIBUTED
from apps.dashboards.periods import (
    DEFAULT_PERIOD,
    PERIOD_LABELS,
    Period,
    chosen_period,
    read_period,
)
from apps.tenants.core.exchange import USD
from apps.usage.dimensions import Dimension, tag_dimension, tag_of
from apps.usage.selectors import Interval

DIMENSIONS: Final[Mapping[Dimension, str]] = {
    "model": "Model",
    "provider": "Provider",
    "backend": "Backend",
    "kind": "Cloud or local",
    "customer": "Customer",
    "tier": "Tier",
    "department": "Department",
    "department_tree": "Department tree",
    "project": "Project",
    "environment": "Environment",
    "task": "Task",
    "router": "Router",
    "status": "Status",
}
INTERVALS: Final[Mapping[str, str]] = {
    "none": "The whole",
    "hour": "By hour",
    "day": "By day",
    "week": "By week",
    "month": "By month",
}
# Where a press on a value leads: it is filtered by, and split by this.
NEXT: Final[Mapping[Dimension, Dimension]] = {
    "model": "customer",
    "provider": "model",
    "backend": "customer",
    "kind": "model",
    "customer": "model",
    "tier": "customer",
    "department": "project",
    "department_tree": "department",
    "project": "task",
    "environment": "model",
    "task": "model",
    "router": "model",
    "status": "model",
}
TOPS: Final = (10, 25, 100, 250)
MAX_GROUPS: Final = 2
MAX_FILTERS: Final = 20
DAYS: Final = "days"
MAX_DAYS: Final = 1100
# The most days that are cut into so small parts; more are cut into the next larger.
MAX_DAYS_OF: Final[Mapping[str, int]] = {"hour": 31, "day": 400}
COARSER: Final[Mapping[str, str]] = {"hour": "day", "day": "month"}


def is_dimension(name: str) -> bool:
    return name in DIMENSIONS or tag_of(name) is not None


def dimension_label(dimension: Dimension) -> str:
    key = tag_of(dimension)
    return DIMENSIONS[dimension] if key is None else f"Tag {key}"


def dimension_words(dimension: Dimension) -> str:
    """Within a sentence; a tag's own name stays as it is."""
    key = tag_of(dimension)
    return DIMENSIONS[dimension].lower() if key is None else f"tag {key}"


@dataclass(frozen=True, slots=True)
class ExplorerState:
    measure: Measure = MEASURES["cost_usd"]
    group_by: tuple[Dimension, ...] = ("model",)
    interval: str = "day"
    period: str = DEFAULT_PERIOD
    first: date | None = None
    last: date | None = None
    filters: tuple[tuple[Dimension, str | None], ...] = ()
    top: int = TOPS[0]
    # What is shown where the address names no measure.
    at_rest: Measure = MEASURES["cost_usd"]

    @property
    def spend_filters(self) -> dict[Dimension, tuple[str | None, ...]]:
        """Values of one dimension are alternatives, dimensions narrow each other."""
        found: dict[Dimension, tuple[str | None, ...]] = {}
        for dimension, value in self.filters:
            found[dimension] = (*found.get(dimension, ()), value)
        return found

    def pairs(self) -> list[tuple[str, str]]:
        """The address, each choice a pair; what is as it is at rest is left out."""
        rest = ExplorerState()
        pairs = []
        if self.measure.key != self.at_rest.key:
            pairs.append(("measure", self.measure.key))
        if self.group_by != rest.group_by:
            pairs.append(("group_by", ",".join(self.group_by)))
        if self.interval != rest.interval:
            pairs.append(("interval", self.interval))
        pairs += self.period_pairs()
        if self.top != rest.top:
            pairs.append(("top", str(self.top)))
        return pairs + self.filter_pairs()

    def period_pairs(self) -> list[tuple[str, str]]:
        if self.first is not None and self.last is not None:
            return [("first", self.first.isoformat()), ("last", self.last.isoformat())]
        return [("period", self.period)] if self.period != DEFAULT_PERIOD else []

    def filter_pairs(self) -> list[tuple[str, str]]:
        return [(dimension, value or NOT_ATTRIBUTED) for dimension, value in self.filters]

    def query(self) -> str:
        pairs = self.pairs()
        return f"?{urlencode(pairs)}" if pairs else ""

    def with_filters(self, *added: tuple[Dimension, str | None]) -> "ExplorerState":
        new = [pair for pair in added if pair not in self.filters]
        return replace(self, filters=(*self.filters, *new)[:MAX_FILTERS])

    def without(self, dimension: Dimension, value: str | None) -> "ExplorerState":
        left = tuple(pair for pair in self.filters if pair != (dimension, value))
        return replace(self, filters=left)

    def drilled(self, dimension: Dimension, value: str | None) -> "ExplorerState":
        """Narrowed to one value of what it is split by, and split by something else instead."""
        next_of = NEXT.get(dimension, "model")
        taken = {dimension, *(name for name, _ in self.filters)}
        others = tuple(one for one in self.group_by if one != dimension)
        wanted: list[Dimension] = [next_of, "model", "customer", "task", "backend"]
        further = next((one for one in wanted if one not in taken), next_of)
        return replace(
            self.with_filters((dimension, value)),
            group_by=others or (further,),
        )

    def read_period(self, zone: ZoneInfo, now: datetime) -> Period:
        if self.first is not None and self.last is not None:
            return chosen_period(self.first, self.last, zone, now)
        return read_period(self.period, zone, now)

    def fitting_interval(self, period: Period) -> Interval | None:
        """What is wanted, or the next larger that leaves few enough parts."""
        interval = self.interval
        while len(period.days) > MAX_DAYS_OF.get(interval, MAX_DAYS):
            interval = COARSER[interval]
        return None if interval == "none" else cast("Interval", interval)


def read_explorer_state(query: QueryDict, currency: str = USD) -> ExplorerState:
    """The state an address names. What it gets wrong falls back: links age, pages do not fail.

    At rest it shows spend in the tenant's own `currency`.
    """
    rest = ExplorerState()
    at_rest = rest.measure if currency == USD else reported_measure(currency)
    interval = query.get("interval", "")
    period = query.get("period", "")
    top = query.get("top", "")
    first, last = _read_days(query)
    return ExplorerState(
        measure=MEASURES.get(query.get("measure", ""), at_rest),
        at_rest=at_rest,
        group_by=_read_groups(query) or rest.group_by,
        interval=interval if interval in INTERVALS else rest.interval,
        period=period if period in PERIOD_LABELS else rest.period,
        first=first,
        last=last,
        filters=_read_filters(query),
        top=int(top) if top in map(str, TOPS) else rest.top,
    )


def _read_groups(query: QueryDict) -> tuple[Dimension, ...]:
    """`group_by` as in the API; a form sends its second choice as `and`."""
    named = [*query.get("group_by", "").split(","), query.get("and", "")]
    # Addresses of old said `tag` and, apart from it, which.
    named = [tag_dimension(query.get("tag", "")) if name == "tag" else name for name in named]
    found = [name for name in dict.fromkeys(named) if is_dimension(name)]
    return cast("tuple[Dimension, ...]", tuple(found[:MAX_GROUPS]))


def _read_days(query: QueryDict) -> tuple[date | None, date | None]:
    """Both days, in order and not too far apart; else neither."""
    if query.get("period", "") in PERIOD_LABELS:
        return None, None
    try:
        first = date.fromisoformat(query.get("first", ""))
        last = date.fromisoformat(query.get("last", ""))
    except ValueError:
        return None, None
    first, last = min(first, last), max(first, last)
    if first.year < 2000 or last.year > 2200:
        return None, None
    return max(first, last - timedelta(days=MAX_DAYS - 1)), last


def _tags_in(query: QueryDict) -> list[Dimension]:
    return [cast("Dimension", name) for name in query if tag_of(name) is not None]


def _read_filters(query: QueryDict) -> tuple[tuple[Dimension, str | None], ...]:
    found: list[tuple[Dimension, str | None]] = [
        (dimension, value or None)
        for dimension in (*DIMENSIONS, *_tags_in(query))
        for value in query.getlist(dimension)
        if len(value) <= MAX_FILTER_LENGTH and "\x00" not in value
    ]
    # A form adds one more: which dimension, and what of it.
    narrowed, to = query.get("narrow", ""), query.getlist("to")
    if is_dimension(narrowed) and to and len(to[0]) <= MAX_FILTER_LENGTH and "\x00" not in to[0]:
        found.append((cast("Dimension", narrowed), to[0] or None))
    return tuple(dict.fromkeys(found))[:MAX_FILTERS]
