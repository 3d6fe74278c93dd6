"""Caps hold for every scope, exactly, in whatever order holds come and go."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from apps.routing.core.caps import DAY_S, HOUR_S, Caps

USD = st.floats(0, 3).map(lambda usd: round(usd, 9))
STEPS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), USD, st.floats(0, 1), st.booleans(), st.booleans()),
    max_size=60,
)


@given(STEPS, USD, USD, USD)
def test_spent_never_exceeds_a_cap_and_what_fits_is_not_refused(
    steps: list[tuple[str, float, float, bool, bool]], month: float, day: float, own: float
) -> None:
    caps = Caps(month, day, {"a": own, "b": month}, 1)
    spent: dict[object, Fraction] = {}
    limits = {"month": month, "a": own, "b": month}
    running = []
    now = 0.0
    for department, hold, share, is_next_day, settles_late in steps:
        now += DAY_S if is_next_day else 1.0
        caps.turn_to(now)
        held = caps.hold(department, hold)
        scopes = ("month", department, caps.day)
        left = min(
            Fraction(str(limits.get(scope, day))) - spent.get(scope, Fraction(0))
            for scope in scopes
        )
        assert (held is not None) == (Fraction(str(hold)) <= left)
        if held is None:
            continue
        usd = Fraction(str(hold)), Fraction(str(round(hold * share, 9)))
        for scope in scopes:
            spent[scope] = spent.get(scope, Fraction(0)) + usd[0]
        running.append((department, caps.day, held, usd, scopes))
        if not settles_late:
            for its, its_day, its_held, (most, cost), its_scopes in running:
                caps.settle(its, its_day, its_held, float(cost))
                for scope in its_scopes:
                    spent[scope] += cost - most
            running.clear()
    for scope, usd_spent in spent.items():
        assert usd_spent <= Fraction(str(limits.get(scope, day)))


def test_a_hold_is_taken_from_every_scope_or_from_none() -> None:
    caps = Caps(10, 5, {"a": 1, "b": 10}, 0)
    caps.turn_to(0)
    assert caps.hold("a", 1.5) is None
    assert (caps.room.month_usd, caps.room.day_usd) == (10, 5)
    held = caps.hold("b", 1.5)
    assert held is not None
    assert (caps.room.month_usd, caps.room.day_usd) == (8.5, 3.5)
    assert caps.room.department_usd == {"a": 1, "b": 8.5}


def test_what_settles_after_midnight_counts_for_the_day_of_its_admission() -> None:
    caps = Caps(10, 1, {"a": 10}, 0)
    caps.turn_to(DAY_S - 1)
    day = caps.day
    held = caps.hold("a", 1.0)
    assert held is not None
    caps.turn_to(DAY_S + 1)
    caps.settle("a", day, held, 0.25)
    assert caps.room.day_usd == 1
    assert caps.room.month_usd == 9.75


def test_an_hour_has_its_places_and_no_more() -> None:
    caps = Caps(1, 1, {"a": 1}, 2.9)
    caps.turn_to(0)
    assert [caps.take_local_place() for _ in range(3)] == [True, True, False]
    caps.turn_to(HOUR_S)
    assert caps.take_local_place()
