"""What there is to choose from, what a request is worth, and what may be spent: the facts a policy
is planned from. Quality, floors and multipliers are numbers between 0 and 1 or plain factors.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

REASON: Final = "reason"
MAX_BACKENDS: Final = 100
MAX_DEPARTMENTS: Final = 1000
MAX_HOURS: Final = 24 * 400


class CatalogError(ValueError):
    """A key of the catalogue is missing or holds what it cannot: names it, and says what is due."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A priced deployment. `usd_in`, `usd_out` are per token; `out_multiplier` is how many billed
    output tokens stand behind one that was estimated; `difficulty_sensitivity` how much quality is
    lost from the easiest request to the hardest."""

    name: str
    usd_in: float
    usd_out: float
    out_multiplier: float
    difficulty_sensitivity: float
    is_local: bool


@dataclass(frozen=True, slots=True)
class Catalog:
    """Amounts in USD. `quality[task][n]` is that of backend n; `floors[tier, task]` is the least a
    tier accepts; `forecast[hour][n]` the requests expected of department n."""

    backends: tuple[Backend, ...]
    tasks: tuple[str, ...]
    tiers: tuple[str, ...]
    departments: tuple[str, ...]
    quality: Mapping[str, tuple[float, ...]]
    floors: Mapping[tuple[str, str], float]
    fail_multiplier: Mapping[str, float]
    reject_multiplier: float
    month_usd: float
    day_usd: float
    department_usd: Mapping[str, float]
    local_requests_per_hour: float
    forecast: tuple[tuple[float, ...], ...]

    @property
    def top_tier(self) -> str:
        """The tier that accepts least of all: its requests are the last to be refused."""
        return max(self.tiers, key=lambda tier: sum(self.floors[tier, t] for t in self.tasks))

    @property
    def local_names(self) -> tuple[str, ...]:
        """The local backends; they share the places of an hour."""
        return tuple(backend.name for backend in self.backends if backend.is_local)

    def is_eligible(self, tier: str, task: str, backend: int) -> bool:
        """Whether the table's quality meets the floor. Hard: nothing learned changes it."""
        return self.quality[task][backend] >= self.floors[tier, task]


def read_catalog(data: Mapping[str, Any]) -> Catalog:
    """From the JSON shape in docs/routing.md. The first backend is the local one.

    Raises CatalogError.
    """
    rows = _of_kind(data, "backends", list)
    if not 1 <= len(rows) <= MAX_BACKENDS:
        raise CatalogError(f"backends: {len(rows)} given, 1 to {MAX_BACKENDS} are possible")
    backends = tuple(_backend(row, n) for n, row in enumerate(rows))
    names = [backend.name for backend in backends]
    if len(set(names)) != len(names):
        raise CatalogError(f"backends: a name stands twice in {', '.join(names)}")
    table = _of_kind(data, "quality_table", dict)
    floors = _numbers(data, "floors")
    reason_floors = _numbers(data, "floors_reason")
    departments = _numbers(data, "department_budgets")
    if not 1 <= len(departments) <= MAX_DEPARTMENTS:
        count = len(departments)
        raise CatalogError(f"department_budgets: {count} given, 1 to {MAX_DEPARTMENTS} possible")
    fail = _numbers(data, "fail_multiplier")
    for name, numbers in (("floors_reason", reason_floors), ("fail_multiplier", fail)):
        missing = sorted(set(floors) - set(numbers))
        if missing:
            raise CatalogError(f"{name}: nothing for the tier {missing[0]!r}, which floors has")
    return Catalog(
        backends=backends,
        tasks=tuple(table),
        tiers=tuple(floors),
        departments=tuple(departments),
        quality={task: _qualities(table, task, names) for task in table},
        floors={
            (tier, task): (reason_floors if task == REASON else floors)[tier]
            for tier in floors
            for task in table
        },
        fail_multiplier=fail,
        reject_multiplier=_number(data, "reject_multiplier"),
        month_usd=_number(data, "month_budget"),
        day_usd=_number(data, "daily_cap"),
        department_usd=departments,
        local_requests_per_hour=_number(data, "local_requests_per_hour"),
        forecast=_forecast(data, tuple(departments)),
    )


def _backend(row: Any, n: int) -> Backend:
    where = f"backends[{n}]"
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise CatalogError(f"{where}: needs a name")
    return Backend(
        name=row["name"],
        usd_in=_number(row, "usd_in", where),
        usd_out=_number(row, "usd_out", where),
        out_multiplier=_number(row, "out_multiplier", where),
        difficulty_sensitivity=_number(row, "difficulty_sensitivity", where),
        is_local=n == 0,
    )


def _qualities(table: Mapping[str, Any], task: str, names: Sequence[str]) -> tuple[float, ...]:
    row = _of_kind(table, task, dict, "quality_table")
    return tuple(_number(row, name, f"quality_table[{task}]") for name in names)


def _forecast(
    data: Mapping[str, Any], departments: tuple[str, ...]
) -> tuple[tuple[float, ...], ...]:
    """Hours x departments, in the order of department_budgets; an hour may name them instead."""
    hours = _of_kind(data, "forecast_requests_per_hour", list)
    if not 1 <= len(hours) <= MAX_HOURS:
        raise CatalogError(
            f"forecast_requests_per_hour: {len(hours)} hours given, 1 to {MAX_HOURS} are possible"
        )
    rows = []
    for n, hour in enumerate(hours):
        where = f"forecast_requests_per_hour[{n}]"
        if isinstance(hour, dict):
            rows.append(tuple(_number(hour, name, where) for name in departments))
        elif isinstance(hour, list) and len(hour) == len(departments):
            rows.append(tuple(_number({"x": x}, "x", where) for x in hour))
        else:
            raise CatalogError(f"{where}: needs {len(departments)} numbers, one a department")
    return tuple(rows)


def _of_kind(data: Mapping[str, Any], key: str, kind: type, where: str = "") -> Any:
    value = data.get(key)
    if not isinstance(value, kind):
        raise CatalogError(f"{where or 'catalog'}: {key} needs to be a {kind.__name__}")
    return value


def _numbers(data: Mapping[str, Any], key: str) -> dict[str, float]:
    return {name: _number(data[key], name, key) for name in _of_kind(data, key, dict)}


def _number(data: Mapping[str, Any], key: str, where: str = "catalog") -> float:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CatalogError(f"{where}: {key} needs to be a number")
    if not math.isfinite(value) or value < 0:
        raise CatalogError(f"{where}: {key} is {value}, and needs to be a number from 0 up")
    return float(value)
