"""Hours of spend by what they are about, and what lies behind some of them. Part of selectors.

An hour is one of UTC, numbered since 1970: detection does not care for local days. Keys are the
names that people and filters use. Departments are sums of their trees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import DatabaseError, connection, transaction

from apps.pricing.core.money import EXACT
from apps.pricing.selectors import read_backend_keys
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import list_api_keys, list_customers, list_departments
from apps.usage.facets import choose_rollup, rollup_table

# (dimension, key); ("all", "") is the tenant's whole spend.
SeriesKey = tuple[str, str]
ALL: Final[SeriesKey] = ("all", "")
MAX_CELLS: Final = 20_000
LONGEST_SEARCH_MS: Final = 2_000
MAX_DEPTH: Final = 10

_HOUR_OF: Final = "(extract(epoch FROM r.bucket)::bigint / 3600)"
_FROM_ROLLUP: Final = f"FROM {rollup_table('quarter_hour')} AS r"
_FROM_FEWEST: Final = f"FROM {choose_rollup('quarter_hour', ()).table} AS r"
_WITH_SLICE: Final = " JOIN usage_slice AS s ON s.tenant_id = r.tenant_id AND s.id = r.slice_id"
_WHERE: Final = (
    " WHERE r.tenant_id = %(tenant_id)s AND r.bucket >= %(start)s AND r.bucket < %(end)s"
)
# What series are made of: the slice's columns. One model's requests of one task are watched too:
# what a request costs differs by task, and a broken cache shows there first.
_COLUMNS_OF: Final = {
    "model": ("model",),
    "backend": ("backend_id",),
    "customer": ("customer_id",),
    "department": ("department_id",),
    "project": ("project",),
    "model_task": ("model", "task"),
}
_INPUT_TOKENS: Final = """sum(r.uncached_input_tokens + r.cache_read_tokens
    + r.cache_write_5m_tokens + r.cache_write_1h_tokens)::bigint"""
_COLUMNS: Final = ("model", "backend_id", "customer_id", "department_id", "project", "task")
# Between the two names in the key of a pair; no name holds it.
BETWEEN: Final = "\x1f"


@dataclass(frozen=True, slots=True)
class HourSum:
    """What the rollups hold of one hour of a series.

    `volume` is requests; of a model's task, thousands of input tokens: sizes of requests scatter,
    what a token costs does not, and a broken cache shows within the hour.
    """

    series: SeriesKey
    hour: int
    cost_usd: Decimal
    volume: float


@dataclass(frozen=True, slots=True)
class Cell:
    """Sums of everything with the same dimensions over the same hours of the week.

    `weeks_back` 0 are the hours asked for, 1 the same ones a period before, and so on.
    """

    weeks_back: int
    labels: Mapping[str, str | None]
    slice_ids: tuple[int, ...]
    cost_usd: Decimal
    requests: int
    tokens: Mapping[str, int]


TOKEN_KINDS: Final = ("uncached", "cache_read", "cache_write", "output")
CELL_DIMENSIONS: Final = (
    "model", "backend", "customer", "department", "router", "project", "task", "status",
    "environment",
)  # fmt: skip


def start_of_hour(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, UTC)


def read_first_hour() -> int | None:
    """The first hour of which the tenant in scope's rollups hold anything."""
    found: int | None = _one(
        f"SELECT {_HOUR_OF} {_FROM_FEWEST} WHERE r.tenant_id = %(tenant_id)s"
        " ORDER BY r.bucket LIMIT 1"
    )
    return found


def has_pending_before(hour: int) -> bool:
    """Whether usage of before this hour is committed and not in the rollups yet."""
    found = _one(
        "SELECT 1 FROM usage_commit WHERE tenant_id = %(tenant_id)s"
        " AND first_occurred_at < %(before)s LIMIT 1",
        before=start_of_hour(hour),
    )
    return found is not None


def read_hour_totals(first: int, end: int) -> dict[int, tuple[Decimal, int]]:
    """USD and requests of each hour of [first, end) that has any: cheap, to see what changed."""
    rows = _all(
        f"SELECT {_HOUR_OF}, sum(r.cost_usd), sum(r.requests)::bigint {_FROM_FEWEST}{_WHERE}"
        " GROUP BY 1",
        start=start_of_hour(first),
        end=start_of_hour(end),
    )
    return {row[0]: (row[1], row[2]) for row in rows}


def read_hour_sums(
    first: int, end: int, hours: Sequence[int] | None = None, *, until: datetime | None = None
) -> list[HourSum]:
    """Every series' hours of [first, end), or those of `hours` among them, in one statement.

    `until` leaves out what is later, in whole quarter hours: the part of an hour that is running.
    """
    columns = ", ".join(f"s.{column}" for column in _COLUMNS)
    sets = ", ".join(
        f"(1, {', '.join(f's.{column}' for column in grouped)})" for grouped in _COLUMNS_OF.values()
    )
    among = "" if hours is None else f" AND {_HOUR_OF} = ANY(%(hours)s)"
    rows = _all(
        f"SELECT {_HOUR_OF}, grouping({columns}), {columns}, sum(r.cost_usd),"
        f" sum(r.requests)::bigint, {_INPUT_TOKENS} {_FROM_ROLLUP}{_WITH_SLICE}{_WHERE}{among}"
        f" GROUP BY GROUPING SETS ((1), {sets})",
        start=start_of_hour(first),
        end=min(start_of_hour(end), until or start_of_hour(end)),
        hours=list(hours or ()),
    )
    names = _Names()
    sums: list[HourSum] = []
    trees: dict[tuple[str, int], tuple[Decimal, float]] = {}
    for hour, absent, *rest in rows:
        cost_usd, requests, tokens = rest[-3:]
        dimension = _DIMENSION_OF[absent]
        values = [rest[_COLUMNS.index(column)] for column in _COLUMNS_OF.get(dimension, ())]
        if None in values:
            continue
        key = BETWEEN.join(names.of(dimension, value) for value in values)
        if dimension != "department":
            volume = tokens / 1000 if dimension == "model_task" else float(requests)
            sums.append(HourSum((dimension, key), hour, cost_usd, volume))
            continue
        for code in names.upwards(key):
            usd, volume = trees.get((code, hour), (Decimal(0), 0.0))
            trees[code, hour] = (EXACT.add(usd, cost_usd), volume + requests)
    sums += [
        HourSum(("department", code), hour, usd, volume)
        for (code, hour), (usd, volume) in trees.items()
    ]
    return sums


def _absent(grouped: Sequence[str]) -> int:
    """PostgreSQL's grouping(): a bit for each column not grouped by, the first the highest."""
    return sum(2**n for n, column in enumerate(reversed(_COLUMNS)) if column not in grouped)


_DIMENSION_OF: Final = {_absent(columns): name for name, columns in _COLUMNS_OF.items()} | {
    _absent(()): ALL[0]
}


def read_cells(
    first: int, end: int, *, step_hours: int, weeks: int, until: datetime | None = None
) -> list[Cell]:
    """What hours [first, end) hold, and those `step_hours` before, `weeks` times, cell by cell.

    At most MAX_CELLS, the dearest; what is left out is little, and of many things.
    """
    bounds: dict[str, Any] = {"step_s": step_hours * 3600, "limit": MAX_CELLS}
    for n in range(weeks + 1):
        bounds[f"start_{n}"] = start_of_hour(first - n * step_hours)
        bounds[f"end_{n}"] = start_of_hour(end - n * step_hours)
    bounds["until"] = until or bounds["end_0"]
    periods = " OR ".join(
        f"(r.bucket >= %(start_{n})s AND r.bucket < %(end_{n})s)" for n in range(weeks + 1)
    )
    rows = _all(
        "SELECT ceil(extract(epoch FROM %(end_0)s - r.bucket) / %(step_s)s)::int - 1,"
        f" {_CELL_COLUMNS}, array_agg(DISTINCT s.id), {_CELL_SUMS} {_FROM_ROLLUP}{_WITH_SLICE}"
        f" WHERE r.tenant_id = %(tenant_id)s AND r.bucket < %(until)s AND ({periods})"
        f" GROUP BY 1, {_CELL_COLUMNS} ORDER BY sum(r.cost_usd) DESC LIMIT %(limit)s",
        **bounds,
    )
    names = _Names()
    width = len(CELL_DIMENSIONS)
    return [
        Cell(
            weeks_back=row[0],
            labels={
                dimension: names.of(dimension, value) if value is not None else None
                for dimension, value in zip(CELL_DIMENSIONS, row[1 : width + 1], strict=True)
            },
            slice_ids=tuple(row[width + 1]),
            cost_usd=row[width + 2],
            requests=row[width + 3],
            tokens=dict(zip(TOKEN_KINDS, row[width + 4 :], strict=True)),
        )
        for row in rows
    ]


_CELL_COLUMNS: Final = (
    "s.model, s.backend_id, s.customer_id, s.department_id, s.api_key_id, s.project, s.task,"
    " s.status, s.environment"
)
_CELL_SUMS: Final = """sum(r.cost_usd), sum(r.requests)::bigint,
    sum(r.uncached_input_tokens)::bigint, sum(r.cache_read_tokens)::bigint,
    sum(r.cache_write_5m_tokens + r.cache_write_1h_tokens)::bigint, sum(r.output_tokens)::bigint"""


def list_costliest_charges(
    first: int, end: int, slice_ids: Sequence[int], *, limit: int
) -> list[tuple[int, Decimal]]:
    """(charge id, USD) of the dearest charges of some slices in hours [first, end).

    None at all where that takes longer than LONGEST_SEARCH_MS: samples are worth no wait.
    """
    parameters: dict[str, Any] = {
        "tenant_id": current_tenant_id(),
        "start": start_of_hour(first),
        "end": start_of_hour(end),
        "slices": list(slice_ids),
        "limit": limit,
    }
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = {LONGEST_SEARCH_MS}")
            cursor.execute(
                "SELECT id, cost_usd FROM usage_ledger WHERE tenant_id = %(tenant_id)s"
                " AND occurred_at >= %(start)s AND occurred_at < %(end)s AND kind = 0"
                " AND slice_id = ANY(%(slices)s) AND cost_usd IS NOT NULL"
                " ORDER BY cost_usd DESC, id LIMIT %(limit)s",
                parameters,
            )
            found = [(row[0], row[1]) for row in cursor.fetchall()]
            cursor.execute("SET LOCAL statement_timeout = DEFAULT")
            return found
    except DatabaseError as error:
        if "statement timeout" not in str(error):
            raise
        return []


def _one(statement: str, **parameters: Any) -> Any:
    rows = _all(statement, **parameters)
    return rows[0][0] if rows else None


def _all(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, {"tenant_id": current_tenant_id(), **parameters})
        return list(cursor.fetchall())


class _Names:
    """What the ids of slices are called, and which departments stand above one."""

    def __init__(self) -> None:
        self._parent = read_department_parents()
        self._maps: dict[str, Mapping[int, str]] = {
            "backend": read_backend_keys(),
            "customer": {one.id: one.external_id for one in list_customers()},
            "department": {one.id: one.code for one in list_departments()},
            "router": {one.id: one.name for one in list_api_keys()},
        }

    def of(self, dimension: str, value: Any) -> str:
        names = self._maps.get(dimension)
        return str(value) if names is None else names.get(value, f"#{value}")

    def upwards(self, code: str) -> list[str]:
        """A department and those above it."""
        found = [code]
        while found[-1] in self._parent and len(found) <= MAX_DEPTH:
            found.append(self._parent[found[-1]])
        return found


def read_department_parents() -> dict[str, str]:
    """Code of each department that has one above it -> that one's."""
    departments = list_departments()
    codes = {one.id: one.code for one in departments}
    return {one.code: codes[one.parent_id] for one in departments if one.parent_id in codes}
