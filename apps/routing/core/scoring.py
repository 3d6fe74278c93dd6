"""What a month of decisions was worth, and the share of the hindsight bound. Pure.

Value served is value x success, less fail_multiplier x value where it fails, less cost; a refusal
costs reject_multiplier x value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.caps import DAY_S, HOUR_S
from apps.routing.core.catalog import Catalog
from apps.routing.core.hindsight import Month
from apps.routing.core.rule import Request
from apps.routing.core.sampling import eligibility
from apps.routing.core.simulation import Decided

Floats = NDArray[np.float64]

# Requests of like difficulty, for the chance of success that coin-flips leave to be seen.
DIFFICULTY_CLASSES = 10


@dataclass(slots=True)
class Tally:
    """Running sums, in USD. `unseen` requests ran and nobody said how well: they are in the spend,
    not in the value."""

    catalog: Catalog
    value_usd: float = 0.0
    unseen: int = 0
    month_usd: float = 0.0
    day_usd: dict[int, float] = field(default_factory=dict)
    department_usd: dict[str, float] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    requests: dict[str, int] = field(default_factory=dict)
    by_backend: dict[str, int] = field(default_factory=dict)
    floors_violated: int = 0

    def add(self, ts_s: float, request: Request, decided: Decided) -> None:
        c = self.catalog
        self.requests[request.tier] = self.requests.get(request.tier, 0) + 1
        if decided.backend is None or decided.outcome is None:
            self.refused[request.tier] = self.refused.get(request.tier, 0) + 1
            self.value_usd -= c.reject_multiplier * request.value_usd
            return
        self.by_backend[decided.backend] = self.by_backend.get(decided.backend, 0) + 1
        backend = next(n for n, b in enumerate(c.backends) if b.name == decided.backend)
        self.floors_violated += not c.is_eligible(request.tier, request.task, backend)
        cost_usd, success = decided.outcome
        if success is None:
            self.unseen += 1
        else:
            self.value_usd += worth(c, request, success) - cost_usd
        if backend != 0:
            day = int(ts_s // DAY_S)
            self.month_usd += cost_usd
            self.day_usd[day] = self.day_usd.get(day, 0.0) + cost_usd
            spent = self.department_usd.get(request.department, 0.0)
            self.department_usd[request.department] = spent + cost_usd


def worth(catalog: Catalog, request: Request, success: float) -> float:
    fail = catalog.fail_multiplier[request.tier]
    return request.value_usd * (success - fail * (1.0 - success))


def month_in_hindsight(
    catalog: Catalog,
    ts_s: Sequence[float],
    requests: Sequence[Request],
    cost: Floats,
    success: Floats,
) -> Month:
    """All of a month for `hindsight.bound`; `cost` and `success` are requests x backends."""
    tiers = {name: n for n, name in enumerate(catalog.tiers)}
    tasks = {name: n for n, name in enumerate(catalog.tasks)}
    departments = {name: n for n, name in enumerate(catalog.departments)}
    tier = np.array([tiers[r.tier] for r in requests])
    task = np.array([tasks[r.task] for r in requests])
    value = np.array([r.value_usd for r in requests])
    fail = np.array([catalog.fail_multiplier[name] for name in catalog.tiers])[tier][:, None]
    served = value[:, None] * (success - fail * (1.0 - success)) - cost
    spend = cost.copy()
    spend[:, 0] = 0.0
    times = np.array(ts_s)
    return Month(
        value=np.where(eligibility(catalog)[tier, task], served, -np.inf),
        spend=spend,
        refused=-catalog.reject_multiplier * value,
        department=np.array([departments[r.department] for r in requests]),
        day=(times // DAY_S).astype(int),
        hour=(times // HOUR_S).astype(int),
        month_usd=catalog.month_usd,
        day_usd=catalog.day_usd,
        department_usd=np.array(list(catalog.department_usd.values())),
        local_requests_per_hour=catalog.local_requests_per_hour,
    )


def chances(catalog: Catalog, requests: Sequence[Request], success: Floats) -> Floats:
    """Where outcomes are coin-flips (0 or 1): the share that succeeded of the requests of the same
    task and like difficulty, by backend. Knowing each flip beforehand is beyond any routing."""
    tasks = {name: n for n, name in enumerate(catalog.tasks)}
    task = np.array([tasks[r.task] for r in requests])
    difficulty = np.array([r.difficulty for r in requests])
    edges = np.quantile(difficulty, np.linspace(0, 1, DIFFICULTY_CLASSES + 1)[1:-1])
    cell = task * DIFFICULTY_CLASSES + np.searchsorted(edges, difficulty, side="right")
    count = np.bincount(cell, minlength=len(tasks) * DIFFICULTY_CLASSES)
    columns = [np.bincount(cell, column, len(count)) / np.maximum(count, 1) for column in success.T]
    return np.stack(columns, axis=1)[cell]
