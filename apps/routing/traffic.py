"""A stored window of the ledger, read for replays: a weighed sample of its requests, with what each
would have cost on every backend, by the tenant's own rates at that time. Reads; writes nothing.

What was spent is the rollups' sum, exact. What another backend would have billed takes the
request's own tokens, and of what it cannot know what that backend shows at that task in the window:
the part of the input that its cache takes, and how long its answers are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.pricing.core.money import EXACT
from apps.pricing.core.rating import MeteredUsage
from apps.pricing.selectors import BackendInfo, list_backends
from apps.routing.core.habits import OUTPUT, Habits, learn_habits
from apps.routing.core.traffic import Floats, Labels, Traffic, Worth, weigh
from apps.routing.core.value_model import MAX_BACKENDS, TIERS, ValueModel
from apps.tenants.selectors import list_customers, list_departments
from apps.usage.selectors import SpendQuery, SpendRow, read_spend
from apps.usage.traffic_sample import SampledCharge, read_sample

LIMIT: Final = 24_000
LONGEST: Final = timedelta(days=62)
# Tasks whose answer nobody waits for, when they are not streamed and for no customer.
PATIENT_TASKS: Final = frozenset({"extract", "summarise", "classify"})
# One review says so much: the spread of a score, and what a table is believed before any.
SCORE_SPREAD: Final = 0.15
TABLE_DOUBT: Final = 0.05
UNITS_PER_USD: Final = 1e24
BATCH: Final = {"processing": "batch"}
Cell = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Sums:
    """What the ledger holds of the window: exact. `left_out` ran on what nobody prices, or failed
    for nothing."""

    requests: int
    cost_usd: Decimal
    left_out: int
    by_department: Mapping[str, Decimal]
    by_customer: Mapping[str, Decimal]
    by_backend: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end), as replays take it."""

    start: datetime
    end: datetime
    happened: Sums
    traffic: Traffic
    habits: Habits

    @property
    def days(self) -> float:
        return (self.end - self.start) / timedelta(days=1)

    @property
    def months(self) -> float:
        """Of 30 days."""
        return self.days / 30.0


def read_window(
    start: datetime, end: datetime, *, model: ValueModel, limit: int = LIMIT, seed: int = 0
) -> Window:
    """The tenant in scope's; a window without requests has an empty traffic."""
    backends = [one for one in list_backends() if one.card is not None][:MAX_BACKENDS]
    cells, happened = _read_sums(start, end, {one.key for one in backends})
    count = sum(cells.values())
    charges = read_sample(start, end, requests=max(count, 1), limit=limit, seed=seed)
    reader = _Reader(start, model, backends)
    kept = [charge for charge in charges if reader.knows(charge) and reader.cell(charge) in cells]
    return reader.window(end, kept, cells, happened)


def _read_sums(start: datetime, end: datetime, priced: set[str]) -> tuple[dict[Cell, int], Sums]:
    """Requests that used something, by (backend, task, department, tier); and the whole."""
    found = read_spend(
        SpendQuery(start, end, ("backend", "task", "department", "customer", "tier", "status"))
    )
    cells: dict[Cell, int] = {}
    by: dict[str, dict[str, Decimal]] = {"department": {}, "customer": {}, "backend": {}}
    left_out = 0
    for row in found.rows:
        for name, sums in by.items():
            key = row.labels[name] or ""
            sums[key] = EXACT.add(sums.get(key, Decimal(0)), row.cost_usd)
        is_used = row.labels["backend"] in priced and row.tokens > 0
        if not is_used:
            left_out += row.requests
            continue
        cell = _cell_of(row)
        cells[cell] = cells.get(cell, 0) + row.requests
    return cells, Sums(
        requests=found.total.requests,
        cost_usd=found.total.cost_usd,
        left_out=left_out,
        by_department=by["department"],
        by_customer=by["customer"],
        by_backend=by["backend"],
    )


def _cell_of(row: SpendRow) -> Cell:
    labels = row.labels
    return (
        labels["backend"] or "",
        labels["task"] or "",
        labels["department"] or "",
        labels["tier"] or "",
    )


@dataclass(frozen=True, slots=True)
class _Costs:
    """USD: requests x backends, the part of it that is output; and as Traffic has the others."""

    cost: Floats
    length_usd: Floats
    batch_usd: Floats
    cached_usd: Floats


@dataclass(frozen=True, slots=True)
class _Columns:
    """What is known of each charge before it is priced elsewhere."""

    task: NDArray[np.int64]
    actual: NDArray[np.int64]
    tokens: NDArray[np.int64]
    weight: Floats


class _Reader:
    """From charges to columns, with the names of one tenant."""

    def __init__(self, start: datetime, model: ValueModel, backends: Sequence[BackendInfo]) -> None:
        self.start, self.model, self.backends = start, model, backends
        self.place = {one.id: n for n, one in enumerate(backends)}
        self.tasks = {task: n for n, task in enumerate(model.tasks)}
        self.customers = {one.id: one for one in list_customers()}
        self.departments = {one.id: one.code for one in list_departments()}

    def knows(self, charge: SampledCharge) -> bool:
        return charge.place.backend_id in self.place and any(charge.tokens)

    def cell(self, charge: SampledCharge) -> Cell:
        customer = self.customers.get(charge.place.customer_id or 0)
        return (
            self.backends[self.place[charge.place.backend_id]].key,
            charge.place.task or "",
            self.departments.get(charge.place.department_id or 0, ""),
            customer.tier if customer else "",
        )

    def window(
        self, end: datetime, charges: list[SampledCharge], cells: dict[Cell, int], happened: Sums
    ) -> Window:
        order = {cell: n for n, cell in enumerate(cells)}
        task = np.array(
            [self.tasks[self.model.task_of(c.place.task)] for c in charges], dtype=np.int64
        )
        actual = np.array([self.place[c.place.backend_id] for c in charges], dtype=np.int64)
        tokens = np.array([c.tokens for c in charges], dtype=np.int64).reshape(-1, 6)
        hour = np.array([c.occurred_at.timestamp() // 3600 for c in charges], dtype=np.int64)
        habits = learn_habits(
            task, actual, tokens, hour, tasks=len(self.tasks), backends=len(self.backends)
        )
        weight = weigh([order[self.cell(c)] for c in charges], list(cells.values()))
        columns = _Columns(task, actual, tokens, weight)
        traffic = self._traffic(charges, columns, habits)
        return Window(self.start, end, happened, traffic, habits)

    def _costs(self, charges: list[SampledCharge], columns: _Columns, habits: Habits) -> _Costs:
        task, actual, tokens = columns.task, columns.actual, columns.tokens
        at_s = [charge.occurred_at.timestamp() for charge in charges]
        size = len(charges), len(self.backends)
        cost, length = np.full(size, np.inf), np.zeros(size)
        for b, backend in enumerate(self.backends):
            here = (actual == b)[:, None]
            usage = np.where(here, tokens, habits.usage_on(tokens, task, actual, b))
            cost[:, b] = _usd(backend, usage, at_s, np.inf)
            answers = np.where(np.arange(6) >= OUTPUT, usage, 0)
            length[:, b] = _usd(backend, answers, at_s, 0.0)
        rated = np.array([charge.cost_units for charge in charges], dtype=float)
        rows = np.arange(size[0])
        own = np.where(rated >= 0, rated / UNITS_PER_USD, cost[rows, actual])
        cost[rows, actual] = own
        usual = habits.usual_usage(tokens, task, actual)
        batch, cached = own.copy(), own.copy()
        for b, backend in enumerate(self.backends):
            there = np.flatnonzero(actual == b)
            times = [at_s[n] for n in there]
            cached[there] = _usd(backend, usual[there], times, own[there])
            batch[there] = _usd(backend, tokens[there], times, own[there], context=BATCH)
        return _Costs(cost, length, batch, cached)

    def _traffic(
        self,
        charges: list[SampledCharge],
        columns: _Columns,
        habits: Habits,
    ) -> Traffic:
        task, actual, tokens = columns.task, columns.actual, columns.tokens
        costs = self._costs(charges, columns, habits)
        customers = [self.customers.get(c.place.customer_id or 0) for c in charges]
        tier = np.array(
            [TIERS.index(self.model.tier_of(c.tier if c else None)) for c in customers],
            dtype=np.int64,
        )
        departments = [self.departments.get(c.place.department_id or 0, "") for c in charges]
        department_names = tuple(sorted(set(departments)))
        names = [c.external_id if c else "" for c in customers]
        customer_names = tuple(sorted(set(names)))
        customer = np.array([customer_names.index(name) for name in names], dtype=np.int64)
        return Traffic(
            labels=Labels(
                backends=tuple(one.key for one in self.backends),
                is_local=tuple(one.kind == "local" for one in self.backends),
                tasks=self.model.tasks,
                tiers=TIERS,
                departments=department_names,
                customers=customer_names,
            ),
            worth=self._worth(charges, task, actual),
            ts_s=np.array([(c.occurred_at - self.start).total_seconds() for c in charges]),
            weight=columns.weight,
            actual=actual,
            task=task,
            tier=tier,
            department=np.array([department_names.index(d) for d in departments], dtype=np.int64),
            customer=customer,
            tokens_in=tokens[:, :4].sum(axis=1),
            tokens_out=tokens[:, 4],
            value_usd=self._values(charges, task, tier, customer),
            cost=costs.cost,
            length_usd=costs.length_usd,
            length_doubt=habits.length_doubt,
            is_urgent=np.array(
                [
                    c.is_streamed
                    or c.place.customer_id is not None
                    or c.place.task not in PATIENT_TASKS
                    for c in charges
                ],
                dtype=bool,
            ),
            batch_usd=costs.batch_usd,
            cached_usd=costs.cached_usd,
            has_lost_cache=habits.has_lost_cache,
        )

    def _values(
        self,
        charges: list[SampledCharge],
        task: NDArray[np.int64],
        tier: NDArray[np.int64],
        customer: NDArray[np.int64],
    ) -> Floats:
        """USD a good answer is worth: revenue is the mean of that customer and task, so that no
        replay knows beforehand which answer sold something."""
        if not charges:
            return np.zeros(0)
        cell = customer * len(self.tasks) + task
        revenue = np.array([c.revenue_usd or 0.0 for c in charges])
        mean_usd = np.bincount(cell, revenue) / np.maximum(np.bincount(cell), 1)
        judged = np.array([c.converted is not None for c in charges])
        sold = np.array([bool(c.converted) for c in charges])
        chance = np.bincount(task, sold) / np.maximum(np.bincount(task, judged), 1)
        return np.array(
            [
                self.model.request_value_usd(
                    TIERS[tier[n]],
                    self.model.tasks[task[n]],
                    revenue_usd=float(mean_usd[cell[n]]),
                    conversion_chance=float(chance[task[n]]),
                )
                for n in range(len(charges))
            ]
        )

    def _worth(
        self, charges: list[SampledCharge], task: NDArray[np.int64], actual: NDArray[np.int64]
    ) -> Worth:
        """The table, moved by the scores that events carry: the posterior mean of normals."""
        model, backends = self.model, self.backends
        table = np.array(
            [
                [model.quality_of(b.key, t, is_local=b.kind == "local") for b in backends]
                for t in model.tasks
            ]
        ).reshape(len(model.tasks), len(backends))
        seen = [(n, c.quality_score) for n, c in enumerate(charges) if c.quality_score is not None]
        rows = np.array([n for n, _ in seen], dtype=np.int64)
        cell = task[rows] * len(backends) + actual[rows]
        count = np.bincount(cell, minlength=table.size).reshape(table.shape)
        scores = np.bincount(cell, [score for _, score in seen], table.size).reshape(table.shape)
        own, one = 1.0 / TABLE_DOUBT**2, 1.0 / SCORE_SPREAD**2
        level = (table * own + scores * one) / (own + count * one)
        floors = np.array([[model.floor_of(tier, t) for t in model.tasks] for tier in TIERS])
        return Worth(
            level=level,
            deviation=1.0 / np.sqrt(own + count * one),
            table=table,
            floors=floors,
            fail=np.array([model.fail_multiplier[tier] for tier in TIERS]),
            reject=model.refusal_multiplier,
        )


def _usd(
    backend: BackendInfo,
    usage: NDArray[np.int64],
    at_s: Sequence[float],
    unpriced: Floats | float,
    context: Mapping[str, str] | None = None,
) -> Floats:
    """What requests cost on a backend, exactly rated; `unpriced` where it has no price."""
    card = backend.card
    if card is None:
        return np.broadcast_to(np.asarray(unpriced, dtype=float), (len(usage),)).copy()
    rows = usage.tolist()
    if context:
        units = [
            card.cost_units_of(MeteredUsage(*row), at, context=context)
            for row, at in zip(rows, at_s, strict=True)
        ]
    else:
        units = [
            card.cost_units(a, b, c, d, e, f, at)
            for (a, b, c, d, e, f), at in zip(rows, at_s, strict=True)
        ]
    found = np.array(units, dtype=float)
    return np.where(found >= 0, found / UNITS_PER_USD, unpriced)
