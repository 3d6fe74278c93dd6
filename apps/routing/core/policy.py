"""The policy document: what a router needs to decide by itself, and its JSON. Plain Python.

Amounts are USD, prices USD of value per USD of spend, `local_price` USD per local request.
docs/routing.md specifies it. On the way out times are whole seconds, qualities have three digits
after the point, other numbers five significant ones; what has its default everywhere is left out,
and so are fields that a reader does not know.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, Final

FORMAT: Final = "costboard-routing/1"
# A document is fetched every few seconds: what throttles takes at most half of 64 kB.
MAX_THROTTLE_CHARACTERS: Final = 32_000
Quality = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PolicyBackend:
    """USD per token. `out_multiplier`: billed output per token estimated, as learned;
    `hold_multiplier`: the same at worst; `hold_factor`: how much more than that was ever billed."""

    name: str
    usd_in: float
    usd_out: float
    out_multiplier: float = 1.0
    hold_multiplier: float = 1.0
    hold_factor: float = 1.0
    is_local: bool = False
    state: str = "ok"


@dataclass(frozen=True, slots=True)
class PolicyDepartment:
    """The shadow price of its budget, what is left, and what the floors of the rest will take."""

    price: float = 0.0
    left_usd: float = 0.0
    reserve_usd: float = 0.0
    top_reserve_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Throttle:
    """A budget that throttles and is used up, by its name; what it covers runs on the cheapest that
    meets its floor. What is empty does not matter: `departments` are codes, those below included,
    `router` a key's name, `backends` places in the policy's list: it throttles a request that may
    run on none but those."""

    budget: str
    departments: tuple[str, ...] = ()
    customer: str = ""
    project: str = ""
    router: str = ""
    backends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class WhenStale:
    """What a router does with a policy past its `valid_until`."""

    price_factor: float = 1.5
    cheapest_below_top: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """`quality[task][n]` of backend n is (at difficulty 0.5, slope, standard deviation);
    `table_quality` is what floors are held against; `refusal_worth[tier]` is negative, per USD of
    value. `weights[department]` holds, for tiers x tasks in their order and between commas, the
    places of backends (0-9, a-z), each with its tenths but the last, which has the rest: "073"
    sends 0.7 to backend 0 and 0.3 to backend 3, "2" all to backend 2.
    Times are seconds since the epoch (of the trace, in a simulation)."""

    version: int
    issued_s: float
    valid_until_s: float
    backends: tuple[PolicyBackend, ...]
    tiers: tuple[str, ...]
    tasks: tuple[str, ...]
    top_tier: str
    departments: Mapping[str, PolicyDepartment]
    quality: Mapping[str, tuple[Quality, ...]]
    table_quality: Mapping[str, tuple[float, ...]]
    floors: Mapping[str, tuple[float, ...]]
    fail_multiplier: Mapping[str, float]
    refusal_worth: Mapping[str, float]
    month_left_usd: float
    day_left_usd: float
    local_requests_left: float
    month_price: float = 0.0
    day_price: float = 0.0
    local_price: float = 0.0
    # "full": no place is left in the hour, and local backends are left out whatever a place costs.
    local_state: str = "ok"
    reserve_usd: float = 0.0
    top_reserve_usd: float = 0.0
    day_reserve_usd: float = 0.0
    top_day_reserve_usd: float = 0.0
    explore_share: float = 0.0
    explore_optimism: float = 0.0
    stale: WhenStale = field(default_factory=WhenStale)
    weights: Mapping[str, str] = field(default_factory=dict)
    throttles: tuple[Throttle, ...] = ()
    # Throttles that had no room here, the narrowest: only asking per request heeds those.
    throttles_left_out: int = 0

    def is_eligible(self, tier: str, task: str, backend: int) -> bool:
        """Whether the table's quality meets the tier's floor for the task. Hard."""
        floor = self.floors[tier][self.tasks.index(task)]
        return self.table_quality[task][backend] >= floor


def local_state_of(requests_left: float) -> str:
    """Of the places that are left in the hour."""
    return "full" if requests_left < 1 else "ok"


def to_json(policy: Policy) -> str:
    """Compact JSON: at most 5 kB for ten departments, ten backends and seven tasks."""
    slopes = _shared_slopes(policy)
    backends = [asdict(backend) for backend in policy.backends]
    if slopes is not None:
        backends = [row | {"slope": slope} for row, slope in zip(backends, slopes, strict=True)]
    told = asdict(policy) | {
        "issued_s": round(policy.issued_s),
        "valid_until_s": round(policy.valid_until_s),
        "backends": _table(backends, PolicyBackend),
        "departments": _table([asdict(d) for d in policy.departments.values()], PolicyDepartment),
        "throttles": _throttle_table(policy.throttles),
        "quality": {
            task: [
                [round(cell, 3) for cell in (row if slopes is None else (row[0], row[2]))]
                for row in rows
            ]
            for task, rows in policy.quality.items()
        },
    }
    for name, cells in zip(policy.departments, told["departments"]["rows"], strict=True):
        cells.insert(0, name)
    if not policy.throttles:
        del told["throttles"]
    without = {name: value for name, value in told.items() if value != _default(Policy, name)}
    return json.dumps(_cut({"format": FORMAT, **without}), separators=(",", ":"))


def from_json(text: str | bytes) -> Policy:
    """Raises ValueError when it is no policy of this format."""
    try:
        told = json.loads(text)
        if told.pop("format") != FORMAT:
            raise ValueError(f"this is no {FORMAT} document")
        priced, departments = told.pop("backends"), told.pop("departments")
        throttles = told.pop("throttles", {"columns": [], "rows": []})
        backends = [_row(priced["columns"], row) for row in priced["rows"]]
        slopes = [row.pop("slope", None) for row in backends]
        return Policy(
            backends=tuple(PolicyBackend(**row) for row in backends),
            departments={
                row[0]: PolicyDepartment(**_row(departments["columns"], row[1:]))
                for row in departments["rows"]
            },
            tiers=tuple(told.pop("tiers")),
            tasks=tuple(told.pop("tasks")),
            quality={
                task: tuple(
                    (q[0], q[1], q[2]) if slope is None else (q[0], slope, q[1])
                    for q, slope in zip(row, slopes, strict=True)
                )
                for task, row in told.pop("quality").items()
            },
            table_quality=_tuples(told.pop("table_quality")),
            floors=_tuples(told.pop("floors")),
            stale=WhenStale(**told.pop("stale", {})),
            throttles=tuple(
                _throttle(_row(throttles["columns"], row)) for row in throttles["rows"]
            ),
            **{name: value for name, value in told.items() if name in _FIELDS},
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"this is no {FORMAT} document: {error!r}") from error


def fit_throttles(throttles: Sequence[Throttle]) -> tuple[tuple[Throttle, ...], int]:
    """Those that a document has room for, and how many it has not: of many the broadest, which
    cover most requests."""
    kept: list[Throttle] = []
    size = 0
    for throttle in sorted(throttles, key=_narrowness):
        size += len(json.dumps(list(asdict(throttle).values())))
        if size > MAX_THROTTLE_CHARACTERS:
            break
        kept.append(throttle)
    return tuple(kept), len(throttles) - len(kept)


def _narrowness(throttle: Throttle) -> tuple[int, str]:
    named = (throttle.departments, throttle.customer, throttle.project, throttle.router)
    return sum(map(bool, (*named, throttle.backends))), throttle.budget


def _throttle_table(throttles: Sequence[Throttle]) -> dict[str, Any]:
    """As _table; a cell that does not matter is 0."""
    table = _table([asdict(throttle) for throttle in throttles], Throttle)
    return {**table, "rows": [[cell or 0 for cell in row] for row in table["rows"]]}


def _throttle(row: dict[str, Any]) -> Throttle:
    return Throttle(
        budget=row.get("budget") or "",
        departments=tuple(row.get("departments") or ()),
        customer=row.get("customer") or "",
        project=row.get("project") or "",
        router=row.get("router") or "",
        backends=tuple(row.get("backends") or ()),
    )


_FIELDS: Final = frozenset(column.name for column in fields(Policy))


def _shared_slopes(policy: Policy) -> list[float] | None:
    """By backend, where it is the same for every task (what is learnt says so): told once then."""
    by_task = [[round(row[1], 3) for row in rows] for rows in policy.quality.values()]
    return by_task[0] if by_task and all(row == by_task[0] for row in by_task) else None


def _table(rows: Sequence[Mapping[str, Any]], kind: type) -> dict[str, Any]:
    """Columns once, then their cells; a column of nothing but its default is left out."""
    names = [
        name
        for name in (rows[0] if rows else ())
        if any(row[name] != _default(kind, name) for row in rows)
    ]
    return {"columns": names, "rows": [[row[name] for name in names] for row in rows]}


def _default(kind: type, name: str) -> Any:
    """A field's default as JSON has it; MISSING where it has none."""
    column = kind.__dataclass_fields__.get(name)  # type: ignore[attr-defined]  # a dataclass
    if column is None:
        return MISSING
    if column.default_factory is MISSING:
        return column.default
    made = column.default_factory()
    return made if isinstance(made, dict) else asdict(made)


def _row(columns: list[str], cells: list[Any]) -> dict[str, Any]:
    return dict(zip(columns, cells, strict=True))


def _tuples(rows: dict[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
    return {key: tuple(row) for key, row in rows.items()}


def _cut(value: Any) -> Any:
    """Five significant digits are more than anybody knows of these numbers; whole numbers stay."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(inner) for inner in value]
    return value
