"""The control loop where nobody remembers: each plan begins from the ledger, each pace from what
the last one left. Pure.

Times are local seconds: by the tenant's clock, from the first midnight of its month, so that a day
is 86,400 s and turns at local midnight whatever clocks do. A policy's own times are of the epoch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np

from apps.routing.core.catalog import Catalog
from apps.routing.core.pacer import MAX_PRICE, price_factor
from apps.routing.core.planner import Prices
from apps.routing.core.policy import Policy, local_state_of
from apps.routing.core.rule import Request, Room
from apps.routing.core.steering import HOUR_S, KEPT_AT_MOST, VALID_S, Plan, Steering
from apps.routing.core.weights import with_weights

DAY_S: Final = 86_400
# Points of the curve that prices local places between plans.
CURVE_POINTS: Final = 40


class Judged(NamedTuple):
    """How well a request went, 0 to 1."""

    task: str
    backend: str
    success: float
    ts_s: float


class Billed(NamedTuple):
    request: Request
    backend: str
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests of a scope since its price last moved: what they spent, and were meant to."""

    count: int = 0
    spent_usd: float = 0.0
    target_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """USD that the floors of the demand to come will take; `top_*` the top tier's alone."""

    month: float = 0.0
    day: float = 0.0
    top_month: float = 0.0
    top_day: float = 0.0
    department: Mapping[str, float] = field(default_factory=dict)
    top_department: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a plan leaves to the pacer, and to the next plan. `month` names the one that its seconds
    count from. `spend_per_request` is what a request of a department is meant to spend today;
    `here`, `today` and `rest` the requests forecast for the hour, the day and the month.
    `local_curve`: (requests asked for, USD that the next local place gains). `counted`: by
    department, the (requests, cloud USD) of this day that were paced."""

    month: str
    planned_s: float
    month_price: float = 0.0
    day_price: float = 0.0
    heavy_price: float = 0.0
    department_price: Mapping[str, float] = field(default_factory=dict)
    local_prices: Sequence[float] = (0.0,) * 6
    spend_per_request: Mapping[str, float] = field(default_factory=dict)
    kept: Kept = field(default_factory=Kept)
    here: float = 0.0
    today: float = 0.0
    rest: float = 0.0
    local_curve: Sequence[Sequence[float]] = ()
    paced_s: float = 0.0
    counted: Mapping[str, Sequence[float]] = field(default_factory=dict)
    batches: Mapping[str, Batch] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Standing":
        return Standing(
            **{
                **data,
                "kept": Kept(**data["kept"]),
                "batches": {name: Batch(**row) for name, row in data["batches"].items()},
            }
        )

    def prices(self, departments: Sequence[str]) -> Prices:
        return Prices(
            self.month_price,
            self.day_price,
            self.heavy_price,
            np.array([self.department_price.get(name, 0.0) for name in departments]),
            np.array(self.local_prices),
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """Now: on the tenant's clock, and of the epoch."""

    month: str
    ts_s: float
    epoch_s: float

    @property
    def day(self) -> int:
        return int(self.ts_s // DAY_S)


def plan_live(
    catalog: Catalog,
    recent: Sequence[Request],
    judged: Iterable[Judged],
    billed: Iterable[Billed],
    *,
    at: Moment,
    room: Room,
    last: Standing | None,
    counted: Mapping[str, tuple[int, float]] | None = None,
) -> tuple[Policy, Standing, list[str]]:
    """A policy with its weights, what the pacer needs, and why there are no new prices where there
    are none: then the last stand. Without any request to plan on nothing is dear. `counted` as in
    `pace_live`: what came before the plan is in it."""
    is_same_month = last is not None and last.month == at.month
    steering = Steering(catalog)
    steering.resume(
        at.ts_s,
        recent,
        last.prices(catalog.departments) if last is not None else None,
        # The first plan of a month has the last one's prices to begin with; no day of it is today.
        (last.planned_s if is_same_month else -DAY_S) if last is not None else None,
    )
    places = {backend.name: n for n, backend in enumerate(catalog.backends)}
    for task, backend, success, ts_s in judged:
        steering.learning.learn(task, places[backend], 0.5, success, ts_s)
    for request, backend, cost_usd in billed:
        n = places[backend]
        steering.spending.learn(n, request.tokens_in, request.est_tokens_out, 0.0, cost_usd)
    policy = steering.tick(at.ts_s, room).policy
    standing = _standing(catalog, steering, at)
    standing = replace(standing, counted={name: list(row) for name, row in (counted or {}).items()})
    policy = replace(policy, issued_s=at.epoch_s, valid_until_s=at.epoch_s + VALID_S)
    return with_weights(policy, recent), standing, steering.failures


def _standing(catalog: Catalog, steering: Steering, at: Moment) -> Standing:
    prices, plan, names = steering.prices, steering.plan, catalog.departments
    department = {name: float(p) for name, p in zip(names, prices.department, strict=True)}
    fresh = Standing(
        month=at.month,
        planned_s=at.ts_s,
        month_price=prices.month,
        day_price=prices.day,
        heavy_price=prices.heavy,
        department_price=department,
        local_prices=[float(p) for p in prices.local],
        paced_s=at.ts_s,
    )
    if plan is None:
        return fresh
    kept = plan.reserves
    return replace(
        fresh,
        spend_per_request=dict(zip(names, plan.spend_per_request, strict=True)),
        kept=Kept(
            month=float(kept.month_usd),
            day=float(kept.day_usd),
            top_month=float(kept.top_month_usd),
            top_day=float(kept.top_day_usd),
            department=dict(zip(names, kept.department_usd.tolist(), strict=True)),
            top_department=dict(zip(names, kept.top_department_usd.tolist(), strict=True)),
        ),
        here=float(plan.here.sum()),
        today=plan.today,
        rest=plan.rest,
        local_curve=_curve(plan, prices),
    )


def _curve(plan: Plan, prices: Prices) -> list[list[float]]:
    """Requests of this hour by what a local place gains them, most first, in a few points."""
    per_usd = prices.month + prices.day + prices.department[plan.sample.department]
    scores = plan.sample.value - per_usd[:, None] * plan.sample.spend
    gain = scores[:, 0] - scores[:, 1:].max(axis=1)
    order = np.argsort(-gain)
    order = order[np.isfinite(gain[order])]
    if not len(order):
        return []
    asked = np.cumsum(plan.here[order])
    picks = np.unique(np.linspace(0, len(order) - 1, CURVE_POINTS).astype(int))
    return [[float(asked[n]), float(gain[order[n]])] for n in picks]


def pace_live(
    policy: Policy,
    standing: Standing,
    *,
    at: Moment,
    room: Room,
    counted: Mapping[str, tuple[int, float]],
) -> tuple[Policy, Standing]:
    """Prices as what was really spent moves them, and what is left by now.

    `counted`: requests and cloud USD of the local day so far, by department. A new day has a new
    cap: its price begins at nothing, however dear yesterday's became.
    """
    if not _is_same_day(standing, at):
        standing = replace(standing, counted={}, batches={}, day_price=0.0)
    if at.month != standing.month:
        standing = replace(standing, month=at.month, planned_s=at.ts_s, here=0.0)
    batches = dict(standing.batches)
    for name, (requests, usd) in counted.items():
        before = standing.counted.get(name, (0, 0.0))
        came, spent = max(0, requests - int(before[0])), usd - before[1]
        target = came * standing.spend_per_request.get(name, 0.0)
        for scope in ("", name):
            b = batches.get(scope, Batch())
            batches[scope] = Batch(
                b.count + came, max(0.0, b.spent_usd + spent), b.target_usd + target
            )
    factors = {}
    for scope, b in batches.items():
        factor = price_factor(b.count, b.spent_usd, b.target_usd)
        if factor is not None:
            factors[scope], batches[scope] = factor, Batch()
    shared = factors.get("", 1.0)
    standing = replace(
        standing,
        month_price=min(MAX_PRICE, standing.month_price * shared),
        day_price=min(MAX_PRICE, standing.day_price * shared),
        department_price={
            name: min(MAX_PRICE, price * factors.get(name, 1.0))
            for name, price in standing.department_price.items()
        },
        counted={name: list(row) for name, row in counted.items()},
        batches=batches,
        paced_s=at.ts_s,
    )
    return _published(policy, standing, at, room), standing


def _published(policy: Policy, standing: Standing, at: Moment, room: Room) -> Policy:
    kept = standing.kept
    day_share, share = _shares_left(standing, at)
    return replace(
        policy,
        version=policy.version + 1,
        issued_s=at.epoch_s,
        valid_until_s=at.epoch_s + VALID_S,
        departments={
            name: replace(
                row,
                price=standing.department_price.get(name, 0.0),
                left_usd=(left := room.department_usd.get(name, row.left_usd)),
                reserve_usd=_at_most(kept.department.get(name, 0.0) * share, left),
                top_reserve_usd=_at_most(kept.top_department.get(name, 0.0) * share, left),
            )
            for name, row in policy.departments.items()
        },
        month_price=standing.month_price,
        day_price=standing.day_price,
        local_price=_local_price(standing, at, room.local_requests),
        month_left_usd=room.month_usd,
        day_left_usd=room.day_usd,
        local_requests_left=room.local_requests,
        local_state=local_state_of(room.local_requests),
        reserve_usd=_at_most(kept.month * share, room.month_usd),
        top_reserve_usd=_at_most(kept.top_month * share, room.month_usd),
        day_reserve_usd=_at_most(kept.day * day_share, room.day_usd),
        top_day_reserve_usd=kept.top_day * day_share,
    )


def _shares_left(standing: Standing, at: Moment) -> tuple[float, float]:
    """Of what the plan kept for today and for the month: what has come needs nothing kept."""
    come = _hour_gone(standing, at) * standing.here
    return (
        max(0.0, 1.0 - come / max(standing.today, 1e-9)),
        max(0.0, 1.0 - come / max(standing.rest, 1e-9)),
    )


def _hour_gone(standing: Standing, at: Moment) -> float:
    """The part of the hour the plan was made in that is over since."""
    if at.month != standing.month:
        return 1.0
    hour_end = (standing.planned_s // HOUR_S + 1) * HOUR_S
    return min(1.0, max(0.0, at.ts_s - standing.planned_s) / max(hour_end - standing.planned_s, 1))


def _local_price(standing: Standing, at: Moment, places: float) -> float:
    """What a local place gains the last request that still gets one, until the hour is over."""
    if places <= 0:
        return 0.0
    left = 1.0 - _hour_gone(standing, at)
    for asked, gain in standing.local_curve:
        if asked * left >= places:
            return max(0.0, gain)
    return 0.0


def _at_most(usd: float, left_usd: float) -> float:
    return max(0.0, min(usd, KEPT_AT_MOST * left_usd))


def _is_same_day(standing: Standing, at: Moment) -> bool:
    return standing.month == at.month and int(standing.paced_s // DAY_S) == at.day
