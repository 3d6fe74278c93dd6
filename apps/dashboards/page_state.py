"""What a page's address says: the period, and what it is narrowed to. The address is the state."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from apps.dashboards.periods import DEFAULT_PERIOD, PERIOD_LABELS
from apps.usage.selectors import Dimension

# Dimensions a page can be narrowed to by its address, and how people call them.
FILTERS: dict[Dimension, str] = {
    "model": "Model",
    "customer": "Customer",
    "department": "Department",
    "tier": "Tier",
}
MAX_FILTER_LENGTH = 200
# In an address an empty value is "not attributed".
NOT_ATTRIBUTED = ""


@dataclass(frozen=True, slots=True)
class PageState:
    period: str
    filters: Mapping[Dimension, str | None]

    @property
    def spend_filters(self) -> dict[Dimension, tuple[str | None, ...]]:
        return {dimension: (value,) for dimension, value in self.filters.items()}

    def query(self) -> str:
        """The query string of this state; empty when nothing differs from the page at rest."""
        pairs: list[tuple[str, str]] = []
        if self.period != DEFAULT_PERIOD:
            pairs.append(("period", self.period))
        pairs += [(d, v or NOT_ATTRIBUTED) for d, v in self.filters.items()]
        return f"?{urlencode(pairs)}" if pairs else ""

    def with_period(self, period: str) -> "PageState":
        return replace(self, period=period)

    def with_filter(self, dimension: Dimension, value: str | None) -> "PageState":
        return replace(self, filters={**self.filters, dimension: value})

    def without(self, dimension: Dimension) -> "PageState":
        return replace(self, filters={d: v for d, v in self.filters.items() if d != dimension})


@dataclass(frozen=True, slots=True)
class Chip:
    """A choice beside the title."""

    label: str
    href: str
    is_on: bool = False


def read_state(query: Mapping[str, str]) -> PageState:
    """The state an address names. What it gets wrong falls back: links age, pages do not fail."""
    period = query.get("period", DEFAULT_PERIOD)
    filters: dict[Dimension, str | None] = {}
    for dimension in FILTERS:
        value = query.get(dimension)
        if value is not None and len(value) <= MAX_FILTER_LENGTH and "\x00" not in value:
            filters[dimension] = value or None
    return PageState(period if period in PERIOD_LABELS else DEFAULT_PERIOD, filters)


def period_chips(path: str, state: PageState) -> list[Chip]:
    return [
        Chip(label, f"{path}{state.with_period(slug).query()}", slug == state.period)
        for slug, label in PERIOD_LABELS.items()
    ]


def filter_chips(path: str, state: PageState, names: Mapping[Dimension, str]) -> list[Chip]:
    """A removable chip per filter; `names` holds what its value is called."""
    return [
        Chip(
            f"{FILTERS[dimension]}: {names.get(dimension) or value or 'not attributed'}",
            f"{path}{state.without(dimension).query()}",
            is_on=True,
        )
        for dimension, value in state.filters.items()
    ]
