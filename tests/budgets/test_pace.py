"""Pace, the way to a period's end, and thresholds, worked out."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.budgets.core.pace import (
    DayShare,
    Expected,
    health,
    pace,
    project_by_pace,
    reached,
    running_totals,
    runs_out,
)

FIRST = date(2026, 11, 1)
amounts = st.decimals(min_value=0, max_value=10**9, places=9, allow_nan=False)
percents = st.decimals(min_value="0.01", max_value=1000, places=2, allow_nan=False)


def days(past: list[str], ahead: list[str]) -> list[DayShare]:
    values = [(v, True) for v in past] + [(v, False) for v in ahead]
    return [
        DayShare(FIRST + timedelta(days=n), Decimal(value), is_past)
        for n, (value, is_past) in enumerate(values)
    ]


def expected(low: str, mid: str, high: str) -> Expected:
    return Expected(Decimal(low), Decimal(mid), Decimal(high))


def test_pace_is_spent_against_even_spending() -> None:
    assert pace(Decimal(50), Decimal(100), Decimal("0.5")) == 1
    assert pace(Decimal(75), Decimal(100), Decimal("0.5")) == Decimal("1.5")
    assert pace(Decimal(1), Decimal(100), Decimal(0)) is None
    assert pace(Decimal(1), Decimal(0), Decimal("0.5")) is None


def test_going_on_at_this_pace_ends_there() -> None:
    made = project_by_pace(Decimal(30), Decimal("0.25"))
    assert made == expected("120", "120", "120")
    assert project_by_pace(Decimal(30), Decimal("0.001")) is None


def test_the_way_to_the_end_follows_the_days_expected() -> None:
    month = days(["10", "10"], ["5", "15", "0"])
    totals = running_totals(month, Decimal(25), expected("35", "45", "65"))
    assert [t.total.mid for t in totals] == [10, 20, 30, 45, 45]
    assert [t.total.high for t in totals] == [10, 20, 35, 65, 65]
    assert [t.total.low for t in totals] == [10, 20, Decimal("27.5"), 35, 35]


def test_it_runs_out_on_the_first_day_that_uses_it_up() -> None:
    totals = running_totals(days([], ["10", "10", "10"]), Decimal(0), expected("15", "30", "60"))
    assert runs_out(totals, Decimal(20)) == (FIRST + timedelta(days=1), FIRST)
    assert runs_out(totals, Decimal(31)) == (None, FIRST + timedelta(days=1))
    assert runs_out(totals, Decimal(61)) == (None, None)


@pytest.mark.parametrize(
    ("spent", "held", "projected", "word"),
    [
        ("101", "0", None, "over"),
        ("100", "0", None, "over"),
        ("60", "40", None, "over"),
        ("50", "0", expected("90", "101", "120"), "at_risk"),
        ("50", "0", expected("80", "99", "101"), "watch"),
        ("50", "0", expected("60", "70", "80"), "on_course"),
        ("0", "0", None, "on_course"),
    ],
)
def test_health_is_a_word(spent: str, held: str, projected: Expected | None, word: str) -> None:
    found = health(
        amount=Decimal(100), spent=Decimal(spent), held=Decimal(held), projected=projected
    )
    assert found == word


def test_thresholds_are_reached_exactly() -> None:
    at = [Decimal(50), Decimal("79.99"), Decimal(80), Decimal(100)]
    assert reached(Decimal(100), Decimal("79.99"), at) == [Decimal(50), Decimal("79.99")]
    assert reached(Decimal(100), Decimal("79.989999999999999999999999"), at) == [Decimal(50)]
    assert reached(Decimal(0), Decimal("0.000001"), at) == at
    assert reached(Decimal(0), Decimal(0), at) == []
    assert reached(Decimal(100), Decimal(-5), at) == []


@given(amount=amounts, spent=amounts, at=st.lists(percents, max_size=10))
def test_what_is_reached_is_all_at_or_below(
    amount: Decimal, spent: Decimal, at: list[Decimal]
) -> None:
    found = reached(amount, spent, at)
    for percent in at:
        is_reached = spent > 0 and spent * 100 >= percent * amount
        assert (percent in found) == is_reached
