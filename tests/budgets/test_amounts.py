"""What a budget allows, when; and counters that never understate."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.budgets.book import BudgetTerms
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
from apps.budgets.core.periods import PERIOD_KINDS, Calendar, PeriodKind
from apps.budgets.core.scopes import Scope
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


moments = st.integers(946_684_800, 2_051_222_400).map(lambda s: datetime.fromtimestamp(s, UTC))
amounts_usd = st.decimals(0, 10**6, allow_nan=False, places=9)


@given(
    first=moments,
    zone=st.sampled_from(sorted(available_timezones() - {"localtime", "Factory"})),
    kind=st.sampled_from([kind for kind in PERIOD_KINDS if kind != "grant"]),
    changes=st.lists(st.tuples(st.floats(0, 1), amounts_usd), max_size=4),
    more=st.lists(st.tuples(st.floats(0, 1), st.floats(0.001, 0.6), amounts_usd), max_size=4),
    spent=st.lists(costs, min_size=1, max_size=9),
)
def test_amounts_top_ups_and_rollover_balance_over_any_calendar(
    *,
    first: datetime,
    zone: str,
    kind: PeriodKind,
    changes: list[tuple[float, Decimal]],
    more: list[tuple[float, float, Decimal]],
    spent: list[Decimal],
) -> None:
    """What was allowed in all, as amounts and top-ups stood at each period's end, is what was spent
    within it and what is left: to the last digit."""
    calendar = Calendar(kind, ZoneInfo(zone))
    running = calendar.at(first)
    assert running is not None
    periods = [running]
    while len(periods) < len(spent):
        periods.append(calendar.after(periods[-1]))
    start, length = periods[0].start, periods[-1].end - periods[0].start
    dated = {start: Decimal(100)} | {start + at * length: amount for at, amount in changes}
    terms = budget_of(
        calendar,
        [DatedAmount(moment, amount) for moment, amount in dated.items()],
        [TopUp(start + at * length, start + (at + of) * length, usd) for at, of, usd in more],
    )
    after = periods[-1].end
    history = [
        (terms.allowed(period, after), usd) for period, usd in zip(periods, spent, strict=True)
    ]
    with localcontext(EXACT):
        last = [period.end - timedelta(microseconds=1) for period in periods]
        by_hand = sum(
            (
                max((m, a) for m, a in dated.items() if m <= max(end, period.start))[1]
                + sum(
                    (u.amount for u in terms.top_ups if u.starts_at <= end < u.ends_at), Decimal(0)
                )
                for period, end in zip(periods, last, strict=True)
                if period.end > period.start
            ),
            Decimal(0),
        )
        real = [(a, s) for p, (a, s) in zip(periods, history, strict=True) if p.end > p.start]
        assert sum((allowed for allowed, _ in real), Decimal(0)) == by_hand
        carried, overspent = Decimal(0), Decimal(0)
        for n, (allowed, usd) in enumerate(history, start=1):
            overspent += max(Decimal(0), usd - allowed - carried)
            carried = carried_over(history[:n])
        in_all = sum((a - s for a, s in history), Decimal(0))
        assert carried == in_all + overspent


def budget_of(calendar: Calendar, dated: list[DatedAmount], top_ups: list[TopUp]) -> BudgetTerms:
    return BudgetTerms(
        id=1,
        name="",
        scope=Scope(),
        unit="usd",
        calendar=calendar,
        on_limit="notify",
        rollover=True,
        thresholds=(),
        projected_thresholds=(),
        created_at=START,
        amounts=tuple(dated),
        top_ups=tuple(top_ups),
    )
