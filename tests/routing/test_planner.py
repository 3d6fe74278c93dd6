"""Prices against the linear programme itself; and what happens when there are none."""

import numpy as np
import pytest

from apps.routing.core.planner import (
    Outlook,
    Purse,
    Sample,
    lp_prices,
    smooth_prices,
    stretches,
)
from apps.routing.core.reserve import reserves
from apps.routing.core.rule import Room
from apps.routing.core.steering import Steering
from apps.routing.core.volume import Volumes
from bench.routing_trace import make_trace


def plan_case(seed: int, money: float) -> tuple[Sample, Outlook, Purse]:
    chance = np.random.default_rng(seed)
    count, backends, departments = 120, 6, 4
    value = chance.lognormal(-3, 0.8, (count, 1))
    quality = np.sort(chance.uniform(0.5, 0.97, (count, backends)), axis=1)
    usd = np.array([0.0, *np.geomspace(0.0003, 0.01, backends - 1)])
    cost = usd * chance.lognormal(0, 0.6, (count, 1))
    worth = value * (1.6 * quality - 0.6) - cost
    worth[chance.random(worth.shape) < 0.1] = -np.inf
    department = chance.integers(0, departments, count)
    sample = Sample(
        value=np.hstack([worth, -0.5 * value]),
        spend=np.hstack([cost, np.zeros((count, 1))]),
        department=department,
        share=1.0 / np.bincount(department)[department],
    )
    coming = chance.uniform(100, 5000, (6, departments))
    dear = float(coming.sum() * cost[:, -1].mean()) * money
    purse = Purse(0.5 * dear, 0.15 * dear, 0.15 * dear, np.full(departments, 0.15 * dear))
    places = 0.3 * coming.sum(axis=1)
    return sample, Outlook(coming, places, np.repeat([0, 1, 2], 2)), purse


@pytest.mark.parametrize("money", [0.1, 0.4, 3.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_dual_has_the_value_of_the_linear_programme(seed: int, money: float) -> None:
    case = plan_case(seed, money)
    exact, found = lp_prices(*case), smooth_prices(*case)
    # A soft maximum is never below the hard one.
    assert exact.bound_usd <= found.bound_usd + 1e-6
    assert found.bound_usd == pytest.approx(exact.bound_usd, rel=3e-3)


def test_money_that_is_ample_has_no_price() -> None:
    sample, outlook, _ = plan_case(1, 1.0)
    found = smooth_prices(sample, outlook, Purse(1e9, 1e9, 1e9, np.full(4, 1e9)))
    assert max(found.month, found.day, found.heavy, *found.department) < 1e-6


def test_less_money_costs_more() -> None:
    prices = [smooth_prices(*plan_case(3, money)) for money in (0.1, 0.3, 1.0)]
    totals = [p.month + p.day + float(p.department.mean()) for p in prices]
    assert totals[0] > totals[1] > totals[2]


def test_local_places_have_a_price_where_they_are_few() -> None:
    sample, outlook, purse = plan_case(1, 0.3)
    few = Outlook(outlook.requests, np.zeros(6), outlook.kind)
    many = Outlook(outlook.requests, 10 * outlook.requests.sum(axis=1), outlook.kind)
    assert smooth_prices(sample, few, purse).local.min() > 0
    assert smooth_prices(sample, many, purse).local.max() < 1e-6


def test_no_requests_are_no_plan() -> None:
    sample, outlook, purse = plan_case(1, 1.0)
    none = Sample(sample.value[:0], sample.spend[:0], sample.department[:0], sample.share[:0])
    with pytest.raises(ValueError, match="no requests"):
        smooth_prices(none, outlook, purse)


def test_when_planning_fails_the_last_prices_stand() -> None:
    trace = make_trace(3, requests=20_000)
    c = trace.catalog
    steering = Steering(c)
    room = Room(5.0, 1.0, dict.fromkeys(c.departments, 2.0), 9)
    for ts_s, request in zip(trace.ts_s[:800].tolist(), trace.requests, strict=False):
        steering.arrive(ts_s, request)
    before = steering.tick(36_000.0, room).policy
    assert before.month_price > 0
    room.month_usd = float("nan")
    after = steering.tick(40_000.0, room).policy
    assert steering.failures
    assert after.month_price == before.month_price
    assert after.version > before.version


def test_hours_are_put_together_by_day_and_by_how_scarce_local_places_are() -> None:
    remaining = np.full((72, 2), 5.0)
    remaining[24:48] = 50.0
    outlook = stretches(remaining, hour=0, places_now=3.0, places=8.0, heavy_days=[1])
    assert outlook.requests.sum() == pytest.approx(remaining.sum())
    assert outlook.requests[2:4].sum() == pytest.approx(2400)
    # An hour of ten requests uses its eight places; the first has but three left.
    assert outlook.places[:2].sum() == pytest.approx(3 + 23 * 8)
    assert outlook.places[2:4].sum() == pytest.approx(24 * 8)


def test_the_reserve_pays_for_the_cheapest_of_all_that_is_to_come() -> None:
    outlook = Outlook(
        np.array([[10.0, 0], [0, 0], [0, 0], [0, 0], [30.0, 20.0], [0, 0]]),
        np.array([5.0, 0, 0, 0, 0, 0]),
        np.repeat([0, 1, 2], 2),
    )
    kept = reserves(
        cheapest_usd=np.array([1.0, 2.0, 4.0]),
        may_run_local=np.array([True, False, False]),
        department=np.array([0, 0, 1]),
        share=np.array([0.5, 0.5, 1.0]),
        is_top=np.array([False, True, False]),
        outlook=outlook,
    )
    # Today: 5 local requests have 5 places, 5 others cost 2 each; later 15 x 1, 15 x 2, 20 x 4.
    assert kept.day_usd == pytest.approx(10)
    assert kept.month_usd == pytest.approx(10 + 15 + 30 + 80)
    assert kept.department_usd == pytest.approx([55, 80])
    assert (kept.top_day_usd, kept.top_month_usd) == pytest.approx((10, 40))


def test_volumes_are_the_forecast_at_the_level_of_the_last_days() -> None:
    volumes = Volumes(np.full((24 * 10, 1), 100.0).tolist())
    for hour in range(24 * 4):
        # 20% above the forecast, and one day of a burst, which is no growth.
        for _ in range(300 if 24 <= hour < 48 else 120):
            volumes.count(hour, 0)
    remaining = volumes.remaining(4 * 86_400.0)
    assert remaining[24:].mean() == pytest.approx(120, rel=0.01)
    assert volumes.remaining(4 * 86_400.0 + 1800)[0, 0] == pytest.approx(60, rel=0.05)
