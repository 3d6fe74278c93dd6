"""What a budget allows, when; and counters that never understate."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.budgets.core.amounts import (
    DatedAmount,
    TopUp,
    amount_in_force,
    carried_over,
    from_count,
    seen_at,
    to_count,
    topped_up,
)
from apps.budgets.core.periods import Calendar
from apps.pricing.core.money import EXACT

START = datetime(2026, 11, 1, tzinfo=UTC)
costs = st.decimals(0, 10**6, allow_nan=False, places=24)


@given(cost=costs)
def test_a_counter_never_shows_less_than_was_spent_nor_a_billionth_more(cost: Decimal) -> None:
    shown = from_count(to_count(cost, "usd"), "usd")
    assert Decimal(0) <= shown - cost < Decimal("1e-9")


def test_an_amount_too_large_for_a_counter_is_refused() -> None:
    with pytest.raises(ValueError, match="more than a budget holds"):
        to_count(Decimal(10) ** 10, "usd")


def test_the_newest_amount_that_has_begun_is_in_force() -> None:
    amounts = [
        DatedAmount(START, Decimal(100)),
        DatedAmount(START + timedelta(days=10), Decimal(80)),
    ]
    assert amount_in_force(amounts, START - timedelta(seconds=1)) is None
    assert amount_in_force(amounts, START + timedelta(days=9)) == 100
    assert amount_in_force(amounts, START + timedelta(days=10)) == 80


def test_a_period_shows_what_stands_now_or_at_its_nearest_instant() -> None:
    november = Calendar("month", ZoneInfo("UTC")).at(START)
    assert november is not None
    inside = START + timedelta(days=3)
    assert seen_at(november, inside) == inside
    assert seen_at(november, START - timedelta(days=3)) == november.start
    assert november.end - seen_at(november, november.end) == timedelta(microseconds=1)


def test_a_top_up_counts_while_it_stands() -> None:
    top_up = TopUp(START, START + timedelta(days=2), Decimal(5))
    assert topped_up([top_up, top_up], START) == 10
    assert topped_up([top_up], START + timedelta(days=2)) == 0


@given(st.lists(st.tuples(costs, costs), max_size=12))
def test_rollover_balances_to_the_last_digit(history: list[tuple[Decimal, Decimal]]) -> None:
    """What is inherited is what was allowed and not spent, less overspending, which stays."""
    with localcontext(EXACT):
        overspent = Decimal(0)
        carried = Decimal(0)
        for n, (allowed, spent) in enumerate(history):
            overspent += max(Decimal(0), spent - allowed - carried)
            carried = carried_over(history[: n + 1])
            assert carried >= 0
        total = sum((a for a, _ in history), Decimal(0)) - sum((s for _, s in history), Decimal(0))
        assert carried == total + overspent
