"""Between the ids in slices and the names that people use. Part of selectors."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from apps.pricing.selectors import read_backend_keys, read_backend_kinds
from apps.tenants.selectors import DepartmentInfo, list_api_keys, list_customers, list_departments
from apps.usage.dimensions import Dimension, tag_of
from apps.usage.spend_sql import COLUMN_OF, tag_value

MAX_DEPTH: Final = 10


class SliceLabels:
    """Labels of the tenant in scope's slices; each list is read at most once.

    A department tree is called what the department at its top is called; as a filter any
    department stands for itself and all below it. A tier is the customer's of today.
    """

    def __init__(self) -> None:
        self._maps: dict[str, dict[int, str]] = {}

    def of(self, dimension: Dimension, value: Any) -> str | None:
        if value is None or dimension not in _NAMED:
            return value  # type: ignore[no-any-return]
        return self._map(dimension).get(value, f"#{value}")

    def condition(
        self, dimension: Dimension, wanted: Iterable[str | None], number: int
    ) -> tuple[str, dict[str, Any]]:
        """SQL over slices `s` (of a tag: ledger rows `l`) that holds for these labels (None: not
        attributed), and its parameters, which carry the condition's `number`."""
        labels, name, key = set(wanted), f"filter_{number}", tag_of(dimension)
        parameters: dict[str, Any] = {}
        if key is None:
            column = f"s.{COLUMN_OF[dimension]}"
        else:
            column, parameters[f"{name}_key"] = tag_value(f"{name}_key"), key
        parameters[name] = self._values_of(dimension, labels - {None})
        among = f"{column} = ANY(%({name})s)"
        return f"({among} OR {column} IS NULL)" if None in labels else among, parameters

    def _values_of(self, dimension: Dimension, wanted: Iterable[Any]) -> list[Any]:
        """The column's values that carry these labels; departments match without case."""
        if dimension not in _NAMED:
            return sorted(wanted)
        if dimension == "department_tree":
            return _all_below({label.lower() for label in wanted})
        if dimension == "department":
            folded = {label.lower() for label in wanted}
            return [k for k, v in self._map(dimension).items() if v.lower() in folded]
        labels = set(wanted)
        return [k for k, v in self._map(dimension).items() if v in labels]

    def _map(self, dimension: Dimension) -> dict[int, str]:
        if dimension not in self._maps:
            self._maps[dimension] = _NAMED[dimension]()
        return self._maps[dimension]


def slice_conditions(
    filters: Mapping[Dimension, tuple[str | None, ...]], labels: SliceLabels | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Conditions on slices `s` (of tags: on ledger rows `l`) for filters by label, and their
    parameters."""
    labels = labels or SliceLabels()
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    for number, (dimension, wanted) in enumerate(filters.items()):
        sql, values = labels.condition(dimension, wanted, number)
        conditions.append(sql)
        parameters |= values
    return conditions, parameters


def _upwards(one: DepartmentInfo, by_id: Mapping[int, DepartmentInfo]) -> list[DepartmentInfo]:
    """A department and those above it, the top last."""
    line = [one]
    while (parent := by_id.get(line[-1].parent_id or 0)) and len(line) < MAX_DEPTH:
        line.append(parent)
    return line


def _tops() -> dict[int, str]:
    by_id = {one.id: one for one in list_departments()}
    return {one.id: _upwards(one, by_id)[-1].code for one in by_id.values()}


def _all_below(codes: set[str]) -> list[int]:
    by_id = {one.id: one for one in list_departments()}
    return [
        one.id
        for one in by_id.values()
        if any(above.code.lower() in codes for above in _upwards(one, by_id))
    ]


_NAMED: dict[str, Callable[[], dict[int, str]]] = {
    "backend": read_backend_keys,
    "kind": read_backend_kinds,
    "customer": lambda: {c.id: c.external_id for c in list_customers()},
    "tier": lambda: {c.id: c.tier for c in list_customers()},
    "department": lambda: {d.id: d.code for d in list_departments()},
    "department_tree": _tops,
    "router": lambda: {k.id: k.name for k in list_api_keys()},
}
