"""From an hour's cost to tokens: two bases, provisional prices, true-up to the last digit."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pricing.core.allocation import (
    Basis,
    ClosedHour,
    HourCharge,
    Plan,
    Throughput,
    TokenCounts,
    load_share,
    provisional_prices,
    true_up,
    unit_costs,
)
from apps.pricing.core.sharing import exact_sum
from tests.pricing.tco.hardware import THROUGHPUT, hour_at

HOUR = hour_at("2026-05-04T10:00")
TWO_USD = Decimal(2)
QUARTER_LOAD = TokenCounts(3_600_000, 0, 540_000)  # 360 s + 540 s of 3,600
COUNTS = st.builds(TokenCounts, st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**6))
COSTS = st.decimals(0, 10**6, places=24)
RATES = st.builds(
    Throughput,
    st.decimals(1, 10**5, places=1),
    st.decimals(1, 10**4, places=1),
    st.decimals(0, 1, places=2),
)


def test_at_a_quarter_of_capacity_the_bases_differ_by_four() -> None:
    costs = unit_costs(TWO_USD, HOUR, QUARTER_LOAD, THROUGHPUT)
    assert costs.utilisation == Decimal("0.25")
    assert costs.allocated is not None
    assert costs.usage.output_usd_per_mtok == Decimal("0.555555555555555556")
    assert costs.allocated.output_usd_per_mtok == Decimal("2.222222222222222222")
    assert costs.used_usd == Decimal("0.5")
    assert costs.idle_usd == Decimal("1.5")
    assert costs.charged_usd(Basis.ALLOCATED) == 4 * costs.charged_usd(Basis.USAGE)


def test_output_weighs_as_much_more_as_it_is_slower() -> None:
    usage = unit_costs(TWO_USD, HOUR, QUARTER_LOAD, THROUGHPUT).usage
    assert abs(usage.output_usd_per_mtok - 10 * usage.input_usd_per_mtok) < Decimal("1e-16")
    assert usage.cached_input_usd_per_mtok == usage.input_usd_per_mtok


def test_cached_input_weighs_what_is_stated() -> None:
    tenth = replace(THROUGHPUT, cached_input_weight=Decimal("0.1"))
    usage = unit_costs(TWO_USD, HOUR, QUARTER_LOAD, tenth).usage
    assert abs(usage.input_usd_per_mtok - 10 * usage.cached_input_usd_per_mtok) < Decimal("1e-16")


def test_an_hour_without_traffic_is_idle_not_lost() -> None:
    costs = unit_costs(TWO_USD, HOUR, TokenCounts(), THROUGHPUT)
    assert costs.allocated is None
    for basis in Basis:
        assert costs.charged_usd(basis) == 0
        assert costs.unallocated_usd(basis) == TWO_USD


def test_over_capacity_nobody_pays_more_than_the_hour_cost() -> None:
    costs = unit_costs(TWO_USD, HOUR, TokenCounts(output_tokens=7_200_000), THROUGHPUT)
    assert costs.utilisation == 2
    assert costs.allocated == costs.usage
    assert costs.used_usd == TWO_USD
    assert load_share(TokenCounts(output_tokens=7_200_000), THROUGHPUT, HOUR) == 1


@settings(max_examples=100, deadline=None)
@given(COSTS, COUNTS, RATES)
def test_allocated_is_usage_over_utilisation(
    total: Decimal, tokens: TokenCounts, throughput: Throughput
) -> None:
    costs = unit_costs(total, HOUR, tokens, throughput)
    share = load_share(tokens, throughput, HOUR)
    assert 0 <= costs.used_usd <= total
    if costs.allocated is None:
        assert not share
        return
    for field in ("input_usd_per_mtok", "cached_input_usd_per_mtok", "output_usd_per_mtok"):
        allocated = Fraction(getattr(costs.allocated, field))
        usage = Fraction(getattr(costs.usage, field))
        assert abs(allocated * share - usage) <= Fraction(1, 10**18)


@settings(max_examples=60, deadline=None)
@given(COSTS, COUNTS, COUNTS, RATES)
def test_more_traffic_makes_tokens_cheaper_and_less_idle(
    total: Decimal, tokens: TokenCounts, more: TokenCounts, throughput: Throughput
) -> None:
    quiet = unit_costs(total, HOUR, tokens, throughput)
    busy = unit_costs(total, HOUR, tokens + more, throughput)
    assert busy.idle_usd <= quiet.idle_usd
    if quiet.allocated and busy.allocated:
        assert busy.allocated.output_usd_per_mtok <= quiet.allocated.output_usd_per_mtok


CHARGES = st.lists(st.tuples(COUNTS, st.decimals(0, 100, places=24)), max_size=20).map(
    lambda rows: [
        HourCharge(f"c{place}", tokens, charged) for place, (tokens, charged) in enumerate(rows)
    ]
)


@settings(max_examples=100, deadline=None)
@given(COSTS, CHARGES, RATES, st.sampled_from(Basis))
def test_trued_up_charges_sum_to_the_hours_cost(
    total: Decimal, charges: list[HourCharge], throughput: Throughput, basis: Basis
) -> None:
    closed = true_up(total, HOUR, charges, throughput, basis)
    charged = exact_sum(adjustment.final_usd for adjustment in closed.adjustments)
    assert exact_sum([charged, closed.idle_usd]) == total
    assert charged == closed.costs.charged_usd(basis)
    if basis == Basis.ALLOCATED and closed.costs.utilisation:
        assert charged == total
    before = exact_sum(charge.charged_usd for charge in charges)
    posted = exact_sum(adjustment.difference_usd for adjustment in closed.adjustments)
    assert exact_sum([before, posted]) == charged
    assert all(adjustment.final_usd >= 0 for adjustment in closed.adjustments)


@settings(max_examples=40, deadline=None)
@given(COSTS, CHARGES, RATES, st.randoms())
def test_a_true_up_repeats_to_nothing_in_any_order(
    total: Decimal, charges: list[HourCharge], throughput: Throughput, random: object
) -> None:
    first = true_up(total, HOUR, charges, throughput, Basis.ALLOCATED)
    finals = {adjustment.charge_id: adjustment.final_usd for adjustment in first.adjustments}
    again = [replace(charge, charged_usd=finals[charge.charge_id]) for charge in charges]
    random.shuffle(again)  # type: ignore[attr-defined]
    second = true_up(total, HOUR, again, throughput, Basis.ALLOCATED)
    assert all(adjustment.difference_usd == 0 for adjustment in second.adjustments)


def test_provisional_prices_come_from_the_trailing_hours_that_had_traffic() -> None:
    busy = ClosedHour(HOUR, TWO_USD, QUARTER_LOAD)
    idle = ClosedHour(HOUR, Decimal(100), TokenCounts())
    plan = Plan(Decimal(9), Decimal("0.5"))
    for basis in Basis:
        found = provisional_prices([idle, busy, busy], plan, THROUGHPUT, basis)
        costs = unit_costs(TWO_USD, HOUR, QUARTER_LOAD, THROUGHPUT)
        expected = costs.allocated if basis == Basis.ALLOCATED else costs.usage
        assert (found.prices, found.hours) == (expected, 2)


def test_before_any_hour_closed_the_plan_stands() -> None:
    plan = Plan(TWO_USD, Decimal("0.25"))
    costs = unit_costs(TWO_USD, HOUR, QUARTER_LOAD, THROUGHPUT)
    allocated = provisional_prices([], plan, THROUGHPUT, Basis.ALLOCATED)
    usage = provisional_prices([], plan, THROUGHPUT, Basis.USAGE)
    assert (allocated.prices, allocated.hours) == (costs.allocated, 0)
    assert usage.prices == costs.usage


def test_a_provisional_charge_is_exact() -> None:
    costs = unit_costs(TWO_USD, HOUR, QUARTER_LOAD, THROUGHPUT)
    assert costs.usage.cost_usd(TokenCounts(1000, 0, 500)) == Decimal("0.000333333333333333334")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="below 0"):
        TokenCounts(-1)
    with pytest.raises(ValueError, match="not more than 0"):
        Throughput(Decimal(0), Decimal(1))
    with pytest.raises(ValueError, match="utilisation over 0"):
        Plan(Decimal(1), Decimal(0))
