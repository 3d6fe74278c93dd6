"""Routing: share of the best possible value, beside what gateways do today, on made-up months.

Seeds that nothing was tuned on; COSTBOARD_BENCH_SEEDS says how many months (5 are the goals' own, 1
by default: a month with all its variants takes about two minutes of one core). The bound knows
every arrival, cost and chance of success; value counts the chance of success of what was chosen, so
that luck is no merit. The routers see forecasts, estimates and outcomes of 0 or 1.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from apps.routing.core.fleet import Fleet
from apps.routing.core.hindsight import Month, bound
from apps.routing.core.planner import (
    Outlook,
    Purse,
    Sample,
    lp_prices,
    smooth_prices,
)
from apps.routing.core.policy import Policy, to_json
from apps.routing.core.rule import Room, Rule
from apps.routing.core.scoring import month_in_hindsight
from apps.routing.core.simulation import Outcome, Router, Steered, simulate
from apps.routing.core.steering import Steering
from apps.routing.core.weights import with_weights
from bench.results import Result, best_per_second
from bench.routing_peers import (
    ExhaustThenLocal,
    ModelCaps,
    PacedThresholds,
    Thresholds,
    TierMap,
)
from bench.routing_trace import Trace, make_trace

# Seeds 1 and 101 to 105 have seen the tuning.
FIRST_SEED: Final = 201
SEEDS: Final = int(os.environ.get("COSTBOARD_BENCH_SEEDS", "1"))
IN_FLIGHT_S: Final = 20.0
PEERS: Final = (
    ("best until exhausted, then local", ExhaustThenLocal),
    ("thresholds at 80 and 95%", Thresholds),
    ("thresholds against the pace line", PacedThresholds),
    ("a daily cap per model, with fallback", ModelCaps),
    ("tier map, thresholds against the pace", TierMap),
)


@dataclass(frozen=True, slots=True)
class Score:
    """Percent of the bound and of the month's budget; USD over the caps of all scopes."""

    share: float
    used: float
    over_usd: float
    floors: int
    top_refused: float


def run() -> Iterator[Result]:
    ours: list[Score] = []
    peers: dict[str, list[Score]] = {name: [] for name, _ in PEERS}
    regressed, wrong, stale = [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        trace = make_trace(seed)
        hindsight = _Hindsight(trace)
        ours.append(hindsight.score(_steered(trace, seed)))
        for name, kind in PEERS:
            peers[name].append(hindsight.score(kind(trace.catalog)))
        fleet = Fleet(Steering(trace.catalog), random.Random(seed))  # noqa: S311 - repeatable
        stale.append(hindsight.score(fleet, settle_after_s=IN_FLIGHT_S))
        trace = make_trace(seed, regression=True)
        regressed.append(_Hindsight(trace).score(_steered(trace, seed)))
        trace = make_trace(seed, wrong_prior=True, seen_share=0.1)
        wrong.append(_Hindsight(trace).score(_steered(trace, seed)))
    least = min(score.share for score in ours)
    yield Result(
        f"routing, share of the bound, worst of {SEEDS} months", least, "%", 97.5, digits=2
    )
    mean = float(np.mean([score.share for score in ours]))
    yield Result("  mean of them", mean, "%", digits=2)
    yield from _limits(ours, "routing")
    yield _least("  budget used, least", [score.used for score in ours], 99.5)
    top = max(score.top_refused for score in ours)
    yield Result("  top tier refused, most", top, "%", 0.1, at_most=True, digits=3)
    yield from _peers(peers, mean)
    yield _least("routing, a backend regresses on day 12", [s.share for s in regressed], 95.0)
    yield from _limits(regressed, "regression")
    yield _least("routing, wrong table, 10% of outcomes seen", [s.share for s in wrong], 95.0)
    yield from _limits(wrong, "wrong table")
    yield from _limits(stale, "20 routers, 60 s stale")
    lost = max(one.share - other.share for one, other in zip(ours, stale, strict=True))
    yield Result("  value lost by it, most", lost, "points", 2.0, at_most=True, digits=2)
    yield from _speed()


def _least(name: str, values: list[float], goal: float) -> Result:
    return Result(name, min(values), "%", goal, digits=2)


def _limits(scores: list[Score], name: str) -> Iterator[Result]:
    over = sum(score.over_usd for score in scores)
    yield Result(
        f"  {name}: over month, days, departments", over, "USD", 0.0, at_most=True, digits=9
    )
    floors = sum(score.floors for score in scores)
    yield Result(f"  {name}: floors violated", floors, "", 0.0, at_most=True)


def _peers(peers: dict[str, list[Score]], ours: float) -> Iterator[Result]:
    for name, scores in peers.items():
        share = float(np.mean([score.share for score in scores]))
        yield Result(f"peer, {name}", share, "%", digits=2)
        used = float(np.mean([score.used for score in scores]))
        yield Result("  budget it used", used, "%", digits=2)
        # A peer that loses money has no ratio.
        if share > 0:
            yield Result("  ours, times its value", ours / share, "x", digits=2)


def _steered(trace: Trace, seed: int) -> Steered:
    return Steered(Steering(trace.catalog), random.Random(seed))  # noqa: S311 - repeatable


class _Hindsight:
    """A month with its bound, to score routers on."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.month: Month = month_in_hindsight(
            trace.catalog, trace.ts_s.tolist(), trace.requests, trace.cost, trace.quality
        )
        self.bound_usd = bound(self.month).bound_usd

    def score(self, router: Router, *, settle_after_s: float = 0.0) -> Score:
        trace, month, c = self.trace, self.month, self.trace.catalog
        places = {backend.name: n for n, backend in enumerate(c.backends)}
        cost, success, seen = trace.cost.tolist(), trace.success.tolist(), trace.seen.tolist()

        def outcome_of(n: int, backend: str) -> Outcome:
            b = places[backend]
            return Outcome(cost[n][b], success[n][b] if seen[n] else None)

        choice = np.full(len(trace.requests), -1)
        arriving = zip(trace.ts_s.tolist(), trace.requests, strict=True)
        decided = simulate(c, arriving, outcome_of, router, settle_after_s=settle_after_s)
        for row in decided:
            if row.backend is not None:
                choice[row.number] = places[row.backend]
        rows, ran = np.arange(len(choice)), choice >= 0
        value = np.where(ran, month.value[rows, choice], month.refused)
        spend = np.where(ran, month.spend[rows, choice], 0.0)
        over = max(0.0, float(spend.sum()) - c.month_usd)
        over += float(np.maximum(0.0, np.bincount(month.day, spend) - c.day_usd).sum())
        departments = np.bincount(month.department, spend, len(c.departments))
        over += float(np.maximum(0.0, departments - month.department_usd).sum())
        is_top = np.array([request.tier == c.top_tier for request in trace.requests])
        served = value[np.isfinite(value)]
        return Score(
            share=100.0 * float(served.sum()) / self.bound_usd,
            used=100.0 * float(spend.sum()) / c.month_usd,
            over_usd=over,
            floors=int((~np.isfinite(value)).sum()),
            top_refused=100.0 * float((is_top & ~ran).sum()) / int(is_top.sum()),
        )


def _speed() -> Iterator[Result]:
    trace = make_trace(FIRST_SEED, requests=20_000)
    c = trace.catalog
    steering = Steering(c)
    room = Room(c.month_usd, c.day_usd, dict(c.department_usd), c.local_requests_per_hour)
    for ts_s, request in zip(trace.ts_s[:3000].tolist(), trace.requests, strict=False):
        steering.arrive(ts_s, request)
    rule = steering.tick(3600.0 * 12, room)
    took = _decision_us(rule, trace, room)
    yield Result("one decision of 6 backends, p50", took, "us", 5.0, at_most=True, digits=2)
    sample, outlook, purse = _plan_case(requests=50, choices=10, departments=10)
    times_ms = 1e3 / best_per_second(lambda: _once(lambda: smooth_prices(sample, outlook, purse)))
    yield Result("plan of 50 segments x 10 models", times_ms, "ms", 200.0, at_most=True, digits=1)
    by_lp = 1e3 / best_per_second(lambda: _once(lambda: lp_prices(sample, outlook, purse)), 2)
    yield Result("  the linear programme by HiGHS, the same", by_lp, "ms", digits=1)
    exact, found = lp_prices(sample, outlook, purse), smooth_prices(sample, outlook, purse)
    gap = 100.0 * abs(found.bound_usd / exact.bound_usd - 1.0)
    yield Result("  its value and ours differ by", gap, "%", 0.5, at_most=True, digits=3)
    policy = with_weights(steering.policy(3600.0 * 12, room), trace.requests[:3000])
    yield Result("policy of 5 departments", len(to_json(policy)) / 1000, "kB", digits=2)
    of_ten = len(to_json(_of_ten(policy)))
    yield Result("policy of 10 departments", of_ten / 1000, "kB", 5.0, at_most=True, digits=2)


def _decision_us(rule: Rule, trace: Trace, room: Room) -> float:
    """The median decision; the clock's own reading is in it."""
    times = []
    for request in trace.requests:
        started_ns = time.perf_counter_ns()
        rule.decide(request, room)
        times.append(time.perf_counter_ns() - started_ns)
    return float(np.median(times)) / 1e3


def _once(work: Callable[[], object]) -> int:
    work()
    return 1


def _plan_case(*, requests: int, choices: int, departments: int) -> tuple[Sample, Outlook, Purse]:
    chance = np.random.default_rng(1)
    value = chance.lognormal(-3, 0.8, (requests, 1))
    quality = np.sort(chance.uniform(0.5, 0.97, (requests, choices)), axis=1)
    usd = np.array([0.0, *np.geomspace(0.0003, 0.01, choices - 1)])
    cost = usd * chance.lognormal(0, 0.6, (requests, 1))
    department = chance.integers(0, departments, requests)
    count = np.bincount(department, minlength=departments)
    sample = Sample(
        value=np.hstack([value * (1.6 * quality - 0.6) - cost, -0.5 * value]),
        spend=np.hstack([cost, np.zeros((requests, 1))]),
        department=department,
        share=1.0 / count[department],
    )
    coming = chance.uniform(100, 5000, (6, departments))
    dear = float(coming.sum() * cost[:, -1].mean())
    purse = Purse(0.2 * dear, 0.05 * dear, 0.05 * dear, np.full(departments, 0.03 * dear))
    return sample, Outlook(coming, 0.3 * coming.sum(axis=1), np.repeat([0, 1, 2], 2)), purse


def _of_ten(policy: Policy) -> Policy:
    """The same with every department twice, weights and all."""
    return replace(
        policy,
        departments={
            f"{name}{suffix}": row
            for suffix in ("", "-emea")
            for name, row in policy.departments.items()
        },
        weights={
            f"{name}{suffix}": row
            for suffix in ("", "-emea")
            for name, row in policy.weights.items()
        },
    )
