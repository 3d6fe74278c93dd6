"""A small month through the whole loop: what must hold however it is routed."""

import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from apps.routing.core.fleet import Fleet
from apps.routing.core.hindsight import bound
from apps.routing.core.scoring import month_in_hindsight
from apps.routing.core.simulation import Decided, Outcome, Router, Steered, simulate
from apps.routing.core.steering import Steering
from bench.routing_peers import ExhaustThenLocal
from bench.routing_trace import Trace, make_trace

PLAN_S = 6 * 3600


@pytest.fixture(scope="module")
def trace() -> Trace:
    return make_trace(11, requests=8000)


def route(trace: Trace, router: Router, *, settle_after_s: float = 0.0) -> list[Decided]:
    places = {backend.name: n for n, backend in enumerate(trace.catalog.backends)}

    def outcome_of(number: int, backend: str) -> Outcome:
        b = places[backend]
        return Outcome(float(trace.cost[number, b]), float(trace.success[number, b]))

    arriving = zip(trace.ts_s.tolist(), trace.requests, strict=True)
    return list(
        simulate(trace.catalog, arriving, outcome_of, router, settle_after_s=settle_after_s)
    )


def steered(trace: Trace, seed: int = 1) -> Steered:
    return Steered(Steering(trace.catalog, plan_every_s=PLAN_S), random.Random(seed), 3600)


def check_caps_and_floors(trace: Trace, decided: list[Decided]) -> None:
    c = trace.catalog
    places = {backend.name: n for n, backend in enumerate(c.backends)}
    spent: dict[object, Fraction] = {}
    local: dict[int, int] = {}
    for row in decided:
        if row.backend is None:
            continue
        request, ts_s = trace.requests[row.number], trace.ts_s[row.number]
        assert c.is_eligible(request.tier, request.task, places[row.backend])
        assert row.outcome is not None
        if places[row.backend] == 0:
            local[int(ts_s // 3600)] = local.get(int(ts_s // 3600), 0) + 1
            continue
        for scope in ("month", request.department, int(ts_s // 86_400)):
            spent[scope] = spent.get(scope, Fraction(0)) + Fraction(row.outcome.cost_usd)
    limits: dict[object, float] = {"month": c.month_usd, **c.department_usd}
    for scope, usd in spent.items():
        assert usd <= Fraction(limits.get(scope, c.day_usd)), scope
    assert max(local.values()) <= c.local_requests_per_hour


@pytest.fixture(scope="module")
def decided(trace: Trace) -> list[Decided]:
    return route(trace, steered(trace))


def test_caps_and_floors_hold_and_most_of_the_value_is_had(
    trace: Trace, decided: list[Decided]
) -> None:
    check_caps_and_floors(trace, decided)
    month = month_in_hindsight(
        trace.catalog, trace.ts_s.tolist(), trace.requests, trace.cost, trace.quality
    )
    places = {backend.name: n for n, backend in enumerate(trace.catalog.backends)}
    value = sum(
        month.refused[row.number]
        if row.backend is None
        else month.value[row.number, places[row.backend]]
        for row in decided
    )
    most = bound(month).bound_usd
    # A month of 8,000 requests has coarser ends than one of 200,000.
    assert 0.93 * most < value <= most
    peer = route(trace, ExhaustThenLocal(trace.catalog))
    check_caps_and_floors(trace, peer)
    refused = [sum(row.backend is None for row in rows) for rows in (decided, peer)]
    assert refused[0] * 20 < refused[1]


def test_the_same_seed_decides_the_same(trace: Trace, decided: list[Decided]) -> None:
    assert route(trace, steered(trace)) == decided


def test_exploration_is_little_and_its_propensity_is_told(decided: list[Decided]) -> None:
    told = {row.propensity for row in decided}
    assert told <= {1.0, 0.98, 0.02}
    tried = sum(row.propensity == 0.02 for row in decided)
    assert 0 < tried < 0.02 * len(decided)


def test_an_outcome_is_asked_once_for_what_ran_and_in_order(trace: Trace) -> None:
    asked: list[tuple[int, str]] = []

    def outcome_of(number: int, backend: str) -> Outcome:
        asked.append((number, backend))
        return Outcome(0.001, 1.0)

    arriving = list(zip(trace.ts_s.tolist(), trace.requests, strict=True))[:300]
    rows = simulate(trace.catalog, arriving, outcome_of, steered(trace))
    for row in rows:
        # Nothing is known of any request that is not decided yet.
        assert all(number <= row.number for number, _ in asked)
    ran = [
        (row.number, row.backend)
        for row in simulate(
            trace.catalog, arriving, lambda _n, _b: Outcome(0.001, 1.0), steered(trace)
        )
        if row.backend
    ]
    assert asked == ran


def test_stale_routers_overspend_nothing(trace: Trace) -> None:
    # Three hours old: at eight requests an hour, that is as stale as 60 s at a hundred times more.
    fleet = Fleet(
        Steering(trace.catalog, plan_every_s=PLAN_S),
        random.Random(3),
        stale_s=3 * 3600,
        refresh_s=3600,
    )
    rows = route(trace, fleet, settle_after_s=600.0)
    check_caps_and_floors(trace, rows)
    assert any(row.because == "cap" for row in rows)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_caps_hold_however_small(trace: Trace, share: float) -> None:
    c = trace.catalog
    poor = replace(
        trace,
        catalog=replace(
            c,
            month_usd=c.month_usd * share,
            department_usd={name: usd * share for name, usd in c.department_usd.items()},
        ),
        requests=trace.requests[:1500],
        ts_s=trace.ts_s[:1500],
    )
    rows = route(poor, steered(poor))
    check_caps_and_floors(poor, rows)
    assert any(row.backend is None for row in rows)


def test_a_trace_is_its_seeds() -> None:
    one, same, other = (make_trace(seed, requests=1000) for seed in (5, 5, 6))
    assert one.requests == same.requests
    assert np.array_equal(one.cost, same.cost)
    assert one.requests != other.requests
