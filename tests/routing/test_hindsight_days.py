"""Closed stretches in hindsight: the money of a day and of a department stays there."""

from dataclasses import replace

import numpy as np
import pytest

from apps.routing.core.building import NO_LIMIT_USD, Money
from apps.routing.core.hindsight_days import Looking, look_back
from apps.routing.core.traffic import Labels, Traffic, Worth

DAY_S = 86_400.0
EACH = 300


def traffic() -> Traffic:
    """Two departments on two days, by turns. Department a ran half of its requests on the dear
    backend, whatever they were worth; b, whose requests are worth ten times as much, hardly any."""
    chance = np.random.default_rng(3)
    count = 4 * EACH
    department = np.arange(count) % 2
    cost = np.column_stack([np.full(count, 0.01), chance.lognormal(0, 0.4, count)])
    quality = np.array([[0.5, 0.8]])
    nothing = np.zeros((count, 2))
    return Traffic(
        labels=Labels(("c/cheap", "c/dear"), (False, False), ("t",), ("free",), ("a", "b"), ("",)),
        worth=Worth(quality, quality, quality, np.zeros((1, 1)), np.zeros(1), 0.0),
        ts_s=np.arange(count) * 2 * DAY_S / count,
        weight=np.ones(count),
        actual=(chance.random(count) < np.where(department == 0, 0.5, 0.05)).astype(np.int64),
        task=np.zeros(count, dtype=np.int64),
        tier=np.zeros(count, dtype=np.int64),
        department=department,
        customer=np.zeros(count, dtype=np.int64),
        tokens_in=np.ones(count, dtype=np.int64),
        tokens_out=np.ones(count, dtype=np.int64),
        value_usd=chance.lognormal(0, 1, count) * np.where(department == 0, 1.0, 10.0),
        cost=cost,
        length_usd=nothing,
        length_doubt=np.zeros((1, 2, 2)),
        is_urgent=np.ones(count, dtype=bool),
        batch_usd=np.zeros(count),
        cached_usd=np.zeros(count),
        has_lost_cache=np.zeros(count, dtype=bool),
    )


def looked_back(t: Traffic, money: Money | None = None, offset_s: float = 0.0) -> Looking:
    return look_back(t, local_places=0.0, money=money, offset_s=offset_s)


def alone(t: Traffic, parts: np.ndarray) -> float:
    """The bounds of parts that each keep their own money."""
    return sum(looked_back(t.only(parts == part)).bound_usd for part in np.unique(parts))


def test_departments_and_days_that_keep_their_money_are_worth_what_they_are_alone() -> None:
    t = traffic()
    free = looked_back(t)
    days = (t.ts_s // DAY_S).astype(int)
    departments = Money(NO_LIMIT_USD, NO_LIMIT_USD, {"a": 0.0, "b": 0.0})
    kept = looked_back(t, departments)
    assert kept.bound_usd == pytest.approx(alone(t, t.department), rel=0.005)
    assert kept.done_usd == free.done_usd < kept.bound_usd < 0.98 * free.bound_usd
    daily = looked_back(t, Money(NO_LIMIT_USD, 0.0, {}))
    assert daily.bound_usd == pytest.approx(alone(t, days), rel=0.005)
    # A cap that leaves room binds less than one that was passed.
    roomy = looked_back(t, Money(NO_LIMIT_USD, NO_LIMIT_USD, {"b": 60.0}))
    assert kept.bound_usd < roomy.bound_usd < free.bound_usd


def test_days_begin_at_the_tenants_midnight() -> None:
    """The dear requests of b all come on the second day, when there is no money."""
    t = traffic()
    day = t.ts_s // DAY_S
    spent_first = replace(t, actual=np.where(day == 0, 1, 0))
    money = Money(NO_LIMIT_USD, 0.0, {})
    apart = looked_back(spent_first, money)
    shifted = looked_back(spent_first, money, offset_s=-0.4 * DAY_S + DAY_S)
    assert shifted.bound_usd > 1.02 * apart.bound_usd
