"""What people ask a replay for, checked. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

POLICIES: Final = (
    "as_happened", "as_stored", "live", "cheapest", "best", "all_to", "tier_map", "moves",
    "thresholds",
)  # fmt: skip
MAX_MOVES: Final = 100
MAX_FACTOR: Final = 1000.0
MAX_USD: Final = 1e9


class WhatIfError(ValueError):
    """`field` holds what it cannot; the text says what is due."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


@dataclass(frozen=True, slots=True)
class NewBackend:
    """`like` is a backend of the window: its quality, caches and answers' length are taken."""

    name: str
    like: str
    usd_in_per_mtok: float
    usd_out_per_mtok: float


@dataclass(frozen=True, slots=True)
class Asked:
    """`prices` are factors by backend key; `month_usd`, `day_usd` and `department_usd` (of a month)
    cap cloud spend, None: no limit, or with `budgets` those that stand; `local_factor` 1: as it
    was."""

    policy: str
    backend: str | None = None
    tiers: Mapping[str, str] | None = None
    moves: tuple[Mapping[str, str], ...] = ()
    prices: Mapping[str, float] | None = None
    new_backend: NewBackend | None = None
    month_usd: float | None = None
    day_usd: float | None = None
    department_usd: Mapping[str, float] | None = None
    budgets: bool = False
    local_factor: float = 1.0

    def backends_named(self) -> set[str]:
        named = {self.backend, *(self.tiers or {}).values(), *(self.prices or {})}
        named |= {move.get(end) for move in self.moves for end in ("from", "to")}
        if self.new_backend:
            named |= {self.new_backend.like}
            named -= {self.new_backend.name}
        return {name for name in named if name}


def read_asked(data: Mapping[str, Any]) -> Asked:
    """From JSON, checked. Raises WhatIfError."""
    policy = data.get("policy", "as_happened")
    if policy not in POLICIES:
        raise WhatIfError("policy", f"{str(policy)[:60]!r} is none of {', '.join(POLICIES)}")
    asked = Asked(
        policy=policy,
        backend=data.get("backend") or None,
        tiers=data.get("tiers") or None,
        moves=tuple(data.get("moves") or ()),
        prices=_factors(data.get("prices") or {}),
        new_backend=_new_backend(data.get("new_backend")),
        month_usd=_number(data.get("month_usd"), "month_usd", MAX_USD),
        day_usd=_number(data.get("day_usd"), "day_usd", MAX_USD),
        department_usd=_amounts(data.get("department_usd") or {}),
        budgets=bool(data.get("budgets")),
        local_factor=_number(data.get("local_factor"), "local_factor", MAX_FACTOR) or 1.0,
    )
    due = {"all_to": asked.backend, "tier_map": asked.tiers, "moves": asked.moves}
    if policy in due and not due[policy]:
        field = {"all_to": "backend", "tier_map": "tiers", "moves": "moves"}[policy]
        raise WhatIfError(field, f"the policy {policy} needs {field}")
    if policy == "thresholds" and asked.month_usd is None:
        raise WhatIfError("month_usd", "the policy thresholds needs a budget: month_usd")
    if len(asked.moves) > MAX_MOVES:
        raise WhatIfError("moves", f"{len(asked.moves)} moves; {MAX_MOVES} at most")
    if any(not isinstance(m, Mapping) or not m.get("to") for m in asked.moves):
        raise WhatIfError("moves", "each move names where to: {task, tier, from, to}")
    return asked


def _factors(rows: Mapping[str, Any]) -> dict[str, float]:
    return _numbers(rows, "prices", MAX_FACTOR)


def _amounts(rows: Mapping[str, Any]) -> dict[str, float]:
    return _numbers(rows, "department_usd", MAX_USD)


def _numbers(rows: Mapping[str, Any], field: str, most: float) -> dict[str, float]:
    found = {name: _number(value, f"{field}.{name}", most) for name, value in rows.items()}
    return {name: value for name, value in found.items() if value is not None}


def _new_backend(row: Mapping[str, Any] | None) -> NewBackend | None:
    if not row:
        return None
    for field in ("name", "like"):
        if not isinstance(row.get(field), str) or not row[field]:
            raise WhatIfError(
                f"new_backend.{field}", "a new backend has a name, and one it is like"
            )
    usd = [
        _number(row.get(field), f"new_backend.{field}", MAX_USD)
        for field in ("usd_in_per_mtok", "usd_out_per_mtok")
    ]
    if usd[0] is None or usd[1] is None:
        raise WhatIfError("new_backend.usd_in_per_mtok", "a new backend has prices in and out")
    return NewBackend(row["name"][:200], row["like"], usd[0], usd[1])


def _number(value: Any, field: str, most: float) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not 0 <= number <= most:
        raise WhatIfError(field, f"{str(value)[:40]!r} is no number from 0 to {most:g}")
    return number
