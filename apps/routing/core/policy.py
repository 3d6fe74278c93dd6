"""The policy document: what a router needs to decide by itself, and its JSON. Plain Python.

Amounts are USD, prices USD of value per USD of spend, `local_price` USD per local request.
docs/routing.md specifies it; on the way out qualities have three digits after the point, and other
numbers six significant ones.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

FORMAT: Final = "costboard-routing/1"
Quality = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class PolicyBackend:
    """USD per token. `out_multiplier`: billed output per token estimated, as learned;
    `hold_multiplier`: the same at worst; `hold_factor`: how much more than that was ever billed."""

    name: str
    usd_in: float
    usd_out: float
    out_multiplier: float
    hold_multiplier: float
    hold_factor: float
    is_local: bool
    state: str = "ok"


@dataclass(frozen=True, slots=True)
class PolicyDepartment:
    """The shadow price of its budget, what is left, and what the floors of the rest will take."""

    price: float
    left_usd: float
    reserve_usd: float
    top_reserve_usd: float


@dataclass(frozen=True, slots=True)
class WhenStale:
    """What a router does with a policy past its `valid_until`."""

    price_factor: float = 1.5
    cheapest_below_top: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """`quality[task][n]` of backend n is (at difficulty 0.5, slope, standard deviation);
    `table_quality` is what floors are held against; `refusal_worth[tier]` is negative, per USD of
    value. `weights[department]` holds, for tiers x tasks in their order and between commas, a
    backend's place (0-9, a-z) and its tenths: "0733" sends 0.7 to backend 0, "2" all to backend 2.
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
    month_price: float
    day_price: float
    local_price: float
    month_left_usd: float
    day_left_usd: float
    local_requests_left: float
    reserve_usd: float = 0.0
    top_reserve_usd: float = 0.0
    day_reserve_usd: float = 0.0
    top_day_reserve_usd: float = 0.0
    lease_usd: float = 0.0
    explore_share: float = 0.0
    explore_optimism: float = 0.0
    stale: WhenStale = field(default_factory=WhenStale)
    weights: Mapping[str, str] = field(default_factory=dict)

    def is_eligible(self, tier: str, task: str, backend: int) -> bool:
        """Whether the table's quality meets the tier's floor for the task. Hard."""
        floor = self.floors[tier][self.tasks.index(task)]
        return self.table_quality[task][backend] >= floor


def to_json(policy: Policy) -> str:
    """Compact JSON: a few kB."""
    fields = {"format": FORMAT, **asdict(policy)}
    fields["quality"] = {
        task: [[round(number, 3) for number in row] for row in rows]
        for task, rows in policy.quality.items()
    }
    for name, columns in (("backends", PolicyBackend), ("departments", PolicyDepartment)):
        rows = fields[name]
        listed = rows.items() if isinstance(rows, dict) else ((None, row) for row in rows)
        names = list(columns.__dataclass_fields__)
        cells = [
            ([key] if key is not None else []) + [row[c] for c in names] for key, row in listed
        ]
        fields[name] = {"columns": names, "rows": cells}
    return json.dumps(_cut(fields), separators=(",", ":"))


def from_json(text: str | bytes) -> Policy:
    """Raises ValueError when it is no policy of this format."""
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise ValueError(f"this is no {FORMAT} document")
        backends, departments = fields.pop("backends"), fields.pop("departments")
        return Policy(
            backends=tuple(
                PolicyBackend(**_row(backends["columns"], row)) for row in backends["rows"]
            ),
            departments={
                row[0]: PolicyDepartment(**_row(departments["columns"], row[1:]))
                for row in departments["rows"]
            },
            tiers=tuple(fields.pop("tiers")),
            tasks=tuple(fields.pop("tasks")),
            quality={
                task: tuple((q[0], q[1], q[2]) for q in row)
                for task, row in fields.pop("quality").items()
            },
            table_quality=_tuples(fields.pop("table_quality")),
            floors=_tuples(fields.pop("floors")),
            stale=WhenStale(**fields.pop("stale")),
            **fields,
        )
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"this is no {FORMAT} document: {error!r}") from error


def _row(columns: list[str], cells: list[Any]) -> dict[str, Any]:
    return dict(zip(columns, cells, strict=True))


def _tuples(rows: dict[str, list[Any]]) -> dict[str, tuple[Any, ...]]:
    return {key: tuple(row) for key, row in rows.items()}


def _cut(value: Any) -> Any:
    """Six significant digits are more than anybody knows of these numbers; whole numbers stay."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(inner) for inner in value]
    return value
