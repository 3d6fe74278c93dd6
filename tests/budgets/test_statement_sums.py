"""Statements add up, whatever is shared how. Worked out, and by property."""

from datetime import date
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.budgets.core.statements import NOBODY, Piece, SharingRule, differences, make_statements
from apps.pricing.core.sharing import exact_sum

SEPTEMBER = date(2026, 9, 1)


def piece(payer: int | None, usd: str, model: str = "m", **more: object) -> Piece:
    return Piece(payer, None, None, model, Decimal(usd), 1, **more)  # type: ignore[arg-type]


def rule(how: str, source: str = "unattributed", **more: object) -> SharingRule:
    return SharingRule(1, "shared", source, how, **more)  # type: ignore[arg-type]


def totals(pieces: list[Piece], rules: list[SharingRule]) -> dict[int, Decimal]:
    return {s.payer_id: s.total_usd for s in make_statements("department", pieces, rules)}


def test_without_rules_each_pays_its_own_and_nobodys_is_shown() -> None:
    assert totals([piece(1, "3"), piece(2, "4"), piece(None, "5")], []) == {1: 3, 2: 4, NOBODY: 5}


def test_even_shares_are_of_those_that_spend_and_lose_nothing() -> None:
    made = totals([piece(1, "3"), piece(2, "4"), piece(3, "0"), piece(None, "1")], [rule("even")])
    assert made == {1: Decimal("3.5"), 2: Decimal("4.5"), 3: 0}
    thirds = totals([piece(n, "1") for n in (1, 2, 3)] + [piece(None, "1")], [rule("even")])
    assert exact_sum(thirds.values()) == 4
    assert thirds[1] == Decimal("1.333333333333333333333333")


def test_shares_by_usage_follow_own_spend() -> None:
    made = totals([piece(1, "30"), piece(2, "10"), piece(None, "8")], [rule("usage")])
    assert made == {1: 36, 2: 12}


def test_fixed_shares_follow_their_weights() -> None:
    weights = {1: Decimal(3), 7: Decimal(1)}
    made = totals([piece(1, "30"), piece(None, "8")], [rule("fixed", weights=weights)])
    assert made == {1: 36, 7: 2}


def test_a_departments_spend_can_be_shared_and_shows_the_split() -> None:
    platform = rule("usage", "department", department_id=9)
    made = make_statements("department", [piece(9, "10"), piece(1, "1"), piece(2, "3")], [platform])
    (one, two) = made
    assert (one.own_usd, one.shared_usd) == (1, Decimal("2.5"))
    (line,) = two.shared
    assert (line.pool_usd, line.weight, line.whole_weight, line.cost_usd) == (
        10,
        3,
        4,
        Decimal("7.5"),
    )


def test_what_nobody_can_share_stays_where_it_fell() -> None:
    assert totals([piece(None, "8")], [rule("even")]) == {NOBODY: 8}


def test_changes_of_closed_months_are_adjustments_and_are_shared_alike() -> None:
    now = [piece(1, "5", of_month=SEPTEMBER), piece(None, "2", of_month=SEPTEMBER)]
    reported = [piece(1, "7", of_month=SEPTEMBER)]
    changed = differences(now, reported)
    assert {(p.department_id, p.cost_usd) for p in changed} == {(1, -2), (None, 2)}
    (only,) = make_statements("department", [piece(1, "10"), *changed], [rule("even")])
    assert (only.own_usd, only.adjustment_usd, only.shared_usd) == (10, -2, 2)
    assert only.adjustments[0].of_month == SEPTEMBER


def test_what_has_not_changed_is_no_adjustment() -> None:
    same = [piece(1, "5", of_month=SEPTEMBER)]
    assert differences(same, same) == []


usd = st.integers(-(10**12), 10**26).map(lambda n: Decimal(n).scaleb(-24))
pieces = st.lists(
    st.builds(
        Piece,
        st.sampled_from([None, 1, 2, 3]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, "p", "q"]),
        st.sampled_from(["m", "n"]),
        usd,
        st.integers(0, 5),
        st.sampled_from([None, SEPTEMBER]),
    ),
    max_size=12,
)
weights = st.dictionaries(
    st.integers(1, 5), st.integers(1, 10**8).map(lambda n: Decimal(n).scaleb(-6)), max_size=4
)
rules = st.lists(
    st.one_of(
        st.builds(
            SharingRule,
            st.integers(1, 3),
            st.just("r"),
            st.just("unattributed"),
            st.sampled_from(["even", "usage", "fixed"]),
            weights=weights,
        ),
        st.builds(
            SharingRule,
            st.integers(4, 6),
            st.just("d"),
            st.just("department"),
            st.sampled_from(["even", "usage", "fixed"]),
            department_id=st.integers(1, 3),
            weights=weights,
        ),
        st.builds(
            SharingRule,
            st.integers(7, 9),
            st.just("p"),
            st.just("project"),
            st.sampled_from(["even", "usage", "fixed"]),
            project=st.just("p"),
            weights=weights,
        ),
    ),
    max_size=3,
    unique_by=lambda one: one.id,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces, rules, st.sampled_from(["department", "customer"]))
def test_statements_add_up_to_all_spend(
    some: list[Piece], shared: list[SharingRule], kind: str
) -> None:
    made = make_statements(kind, some, shared)  # type: ignore[arg-type]
    assert exact_sum(s.total_usd for s in made) == exact_sum(p.cost_usd for p in some)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces, pieces)
def test_reporting_differences_leaves_none(now: list[Piece], reported: list[Piece]) -> None:
    changed = differences(now, reported)
    assert differences(now, [*reported, *changed]) == []
