"""The parts of an excess: they add up to it exactly, whatever is thrown at them."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from apps.insights.core.causes import SpendCell, explain_excess
from apps.insights.core.effects import EFFECTS, WorkCell, split_effects
from apps.insights.core.flags import (
    LEAST_FACTOR,
    MOST_FACTOR,
    Flag,
    group_flags,
    matches,
    moved_factor,
    name_giver,
)

NAMES = st.sampled_from(["a", "b", "c", None])
USD = st.decimals(min_value=0, max_value=10**6, places=12)
DIMENSIONS = ("model", "customer", "task")


@st.composite
def cells(draw: st.DrawFn) -> SpendCell:
    actual, usual = draw(USD), draw(USD)
    return SpendCell(
        labels={dimension: draw(NAMES) for dimension in DIMENSIONS},
        actual_usd=actual,
        usual_usd=usual,
        kind_usd={"output": actual},
        usual_kind_usd={"uncached": usual},
    )


@given(st.lists(cells(), max_size=12), USD, USD)
def test_every_partition_adds_up_to_the_excess(
    found: list[SpendCell], actual: Decimal, expected: Decimal
) -> None:
    told = explain_excess(
        found, found, actual_usd=actual, expected_usd=expected, dimensions=DIMENSIONS
    )
    assert len(told.partitions) == len(DIMENSIONS) + 1
    for parts in told.partitions:
        assert sum((p.actual_usd for p in parts), Decimal(0)) == actual
        assert sum((p.expected_usd for p in parts), Decimal(0)) == expected
        assert sum((p.excess_usd for p in parts), Decimal(0)) == actual - expected
        assert [p.is_rest for p in parts] == [False] * (len(parts) - 1) + [True]


COUNT = st.integers(min_value=0, max_value=10**6)
TOKENS = st.fixed_dictionaries(
    dict.fromkeys(("uncached", "cache_read", "cache_write", "output"), COUNT)
)


@st.composite
def work_cells(draw: st.DrawFn) -> WorkCell:
    return WorkCell(
        actual_usd=draw(USD),
        usual_usd=draw(USD),
        requests=draw(COUNT),
        usual_requests=draw(COUNT),
        tokens=draw(TOKENS),
        usual_tokens=draw(TOKENS),
        usd_per_token={"uncached": 3e-6, "cache_read": 3e-7, "output": 1.5e-5},
    )


@given(st.lists(work_cells(), max_size=6), USD, USD)
def test_effects_add_up_to_the_excess(
    found: list[WorkCell], actual: Decimal, expected: Decimal
) -> None:
    effects = split_effects(found, actual_usd=actual, expected_usd=expected)
    assert tuple(effects) == EFFECTS
    assert sum(effects.values(), Decimal(0)) == actual - expected


def cell(customer: str, actual: str, usual: str, model: str = "opus") -> SpendCell:
    return SpendCell(
        labels={"customer": customer, "model": model, "task": "chat"},
        actual_usd=Decimal(actual),
        usual_usd=Decimal(usual),
        kind_usd={"output": Decimal(actual)},
        usual_kind_usd={"output": Decimal(usual)},
    )


def test_what_is_usually_little_and_now_all_of_it_comes_first() -> None:
    """Every cell is opus: its model explains all of the excess and tells nothing."""
    found = [cell("acme", "90", "5"), cell("bolt", "50", "50"), cell("core", "45", "45")]
    told = explain_excess(
        found,
        found,
        actual_usd=Decimal(185),
        expected_usd=Decimal(100),
        dimensions=("model", "customer"),
    )
    first = told.ranked[0]
    assert (first.dimension, first.value, first.excess_usd) == ("customer", "acme", Decimal(85))
    assert [(part.dimension, part.value) for part in told.story] == [("customer", "acme")]
    assert told.story_usd == Decimal(85)


def test_a_cache_that_fails_is_told_as_such() -> None:
    work = WorkCell(
        actual_usd=Decimal(3),
        usual_usd=Decimal("1.65"),
        requests=10,
        usual_requests=10,
        tokens={"uncached": 1_000_000},
        usual_tokens={"uncached": 500_000, "cache_read": 500_000},
        usd_per_token={"uncached": 3e-6, "cache_read": 3e-7},
    )
    effects = split_effects([work], actual_usd=Decimal(3), expected_usd=Decimal("1.65"))
    assert {name: usd for name, usd in effects.items() if usd} == {"cache": Decimal("1.35")}


def test_more_requests_of_the_same_are_volume() -> None:
    work = WorkCell(
        actual_usd=Decimal(9),
        usual_usd=Decimal(3),
        requests=30,
        usual_requests=10,
        tokens={"uncached": 3_000_000},
        usual_tokens={"uncached": 1_000_000},
        usd_per_token={"uncached": 3e-6},
    )
    effects = split_effects([work], actual_usd=Decimal(9), expected_usd=Decimal(3))
    assert {name: usd for name, usd in effects.items() if usd} == {"volume": Decimal(6)}


def flag(dimension: str, key: str, actual: float, expected: float) -> Flag:
    return Flag((dimension, key), "spike", 2.0, 10, 10, 10, actual, expected)


def test_flags_of_one_thing_are_one_group_named_after_the_most_unusual() -> None:
    flags = [
        flag("all", "", 200, 100),
        flag("customer", "acme", 99, 2),
        flag("customer", "bolt", 40, 10),
    ]
    shared = {
        frozenset({("all", ""), ("customer", "acme")}): 97.0,
        frozenset({("all", "")}): 100.0,
        frozenset({("customer", "acme")}): 97.0,
        frozenset({("customer", "bolt")}): 30.0,
    }
    groups = group_flags(flags, lambda one, other: shared.get(frozenset({one, other}), 0.0))
    assert [[one.series for one in group] for group in groups] == [
        [("all", ""), ("customer", "acme")],
        [("customer", "bolt")],
    ]
    assert name_giver(groups[0]).series == ("customer", "acme")


def test_a_department_is_all_below_it() -> None:
    labels = {"department": "search", "model": "m", "task": "rag"}
    parents = {"search": "engineering", "engineering": "all-of-it"}
    assert matches(("department", "all-of-it"), labels, parents)
    assert not matches(("department", "support"), labels, parents)
    assert matches(("model_task", "m\x1frag"), labels, parents)


@given(st.lists(st.booleans(), max_size=40))
def test_answers_move_a_threshold_within_bounds(answers: list[bool]) -> None:
    factor = 1.0
    for useful in answers:
        moved = moved_factor(factor, useful=useful)
        assert moved < factor or moved == LEAST_FACTOR if useful else moved >= factor
        factor = moved
        assert LEAST_FACTOR <= factor <= MOST_FACTOR
