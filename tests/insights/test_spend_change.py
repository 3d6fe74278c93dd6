"""Why spend changed: effects that add up to the last digit, whatever happened."""

from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.insights.core.spend_change import (
    ChangeCell,
    Effects,
    ListPrices,
    Usage,
    shown_together,
    split_change,
)
from apps.pricing.core.money import EXACT

PRICES = ListPrices(Decimal(2), Decimal("0.2"), Decimal("2.5"), Decimal(8))

# A loaded machine is slow, not wrong.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def used(cost: str, uncached: int = 0, read: int = 0, output: int = 0) -> Usage:
    return Usage(Decimal(cost), uncached, read, 0, output)


def split(*cells: tuple[Usage, Usage]) -> Effects:
    return split_change([ChangeCell(before, now, PRICES) for before, now in cells])


money = st.integers(0, 10**30).map(lambda n: EXACT.scaleb(Decimal(n), -24))
tokens = st.integers(0, 10**12)
prices = st.integers(0, 10**9).map(lambda n: Decimal(n).scaleb(-6))
usages = st.builds(Usage, money, tokens, tokens, tokens, tokens)
cells = st.builds(
    ChangeCell,
    usages | st.just(Usage()),
    usages | st.just(Usage()),
    st.none() | st.builds(ListPrices, prices, prices, prices, prices),
)


@patient
@given(st.lists(cells, max_size=6))
def test_effects_add_up_to_the_change_and_turn_around_with_time(found: list[ChangeCell]) -> None:
    effects = split_change(found)
    change = Decimal(0)
    for cell in found:
        change = EXACT.add(change, EXACT.subtract(cell.now.cost_usd, cell.before.cost_usd))
    assert effects.total == change
    back = split_change([ChangeCell(c.now, c.before, c.prices) for c in found])
    assert back == Effects(**{n: EXACT.minus(usd) for n, usd in effects.by_name().items()})


@patient
@given(st.lists(cells, max_size=4), st.integers(0, 6))
def test_what_is_shown_adds_up_too(found: list[ChangeCell], places: int) -> None:
    effects = split_change(found)
    shown = shown_together(effects.by_name(), places=places)
    step = Decimal(1).scaleb(-places)
    assert abs(EXACT.subtract(sum(shown.values(), Decimal(0)), effects.total)) <= step / 2
    for name, usd in effects.by_name().items():
        assert abs(EXACT.subtract(shown[name], usd)) < step


def test_twice_as_much_of_the_same_is_volume() -> None:
    effects = split((used("10", 100, 50, 20), used("20", 200, 100, 40)))
    assert effects == Effects(volume=Decimal(10))


def test_a_dearer_rate_is_price() -> None:
    effects = split((used("10", 100, 0, 20), used("15", 100, 0, 20)))
    assert effects == Effects(price=Decimal(5))


def test_tokens_that_move_to_a_dearer_model_are_mix() -> None:
    small, large = used("1", 100), used("9", 100)
    effects = split((small, used("0.5", 50)), (large, used("13.5", 150)))
    assert effects == Effects(mix=Decimal(4))


def test_a_broken_cache_is_cache() -> None:
    # At list prices: 10 uncached and 90 from cache cost 38, 100 uncached 200.
    effects = split((used("38", 10, 90), used("200", 100)))
    assert effects == Effects(cache=Decimal(162))


def test_a_new_model_is_volume_and_mix_and_no_price() -> None:
    effects = split((used("10", 100), used("10", 100)), (Usage(), used("90", 100)))
    assert (effects.cache, effects.price, effects.total) == (0, 0, 90)
    assert effects.volume > 0 < effects.mix


def test_what_has_no_tokens_is_price() -> None:
    assert split((used("1"), used("3"))) == Effects(price=Decimal(2))
