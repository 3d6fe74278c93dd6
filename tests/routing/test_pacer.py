"""Prices between plans, as what was spent moves them: in a simulation and live alike."""

from math import exp

import pytest

from apps.routing.core.live import Moment, Standing, pace_live
from apps.routing.core.pacer import GAIN, MIN_BATCH, Pacer
from tests.routing.policies import make_policy, make_room

AT = Moment("2026-11", 3600.0, 1795400000.0)


def paced(spent_usd: float, target_usd: float, count: int = MIN_BATCH) -> float:
    """What a core pacer makes of a batch; each sum is of all its requests."""
    pacer = Pacer()
    for _ in range(count):
        pacer.spend(spent_usd / count, target_usd / count)
    return pacer.factor()


def paced_live(spent_usd: float, target_usd: float, count: int = MIN_BATCH) -> float:
    standing = Standing(
        "2026-11",
        0.0,
        month_price=1.0,
        department_price={"sales": 1.0},
        spend_per_request={"sales": target_usd / count},
    )
    counted = {"sales": (count, spent_usd)}
    policy, _ = pace_live(make_policy(), standing, at=AT, room=make_room(), counted=counted)
    assert policy.month_price == policy.departments["sales"].price
    return policy.month_price


@pytest.mark.parametrize(
    ("spent_usd", "target_usd", "off"),
    [
        (1.5, 1.0, 0.5),
        (0.5, 1.0, -0.5),
        (0.0, 1.0, -1.0),
        (9.0, 1.0, 2.0),
        # Nothing was meant to be spent: as much too much as can be told.
        (0.001, 0.0, 2.0),
        (0.0, 0.0, 0.0),
    ],
)
def test_spend_against_target_moves_the_price(
    spent_usd: float, target_usd: float, off: float
) -> None:
    wanted = pytest.approx(exp(GAIN * off))
    assert paced(spent_usd, target_usd) == wanted
    assert paced_live(spent_usd, target_usd) == wanted


def test_few_requests_move_nothing() -> None:
    few = MIN_BATCH - 1
    assert (paced(9.0, 1.0, few), paced_live(9.0, 1.0, few)) == (1.0, 1.0)


def test_a_batch_counts_once() -> None:
    pacer = Pacer()
    for _ in range(MIN_BATCH):
        pacer.spend(1.0, 0.0)
    assert pacer.factor() > 1.0
    assert pacer.factor() == 1.0
