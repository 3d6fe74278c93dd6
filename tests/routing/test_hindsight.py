"""The bound against the exact linear programme of a month small enough for one."""

import numpy as np
import pytest
from scipy.optimize import linprog

from apps.routing.core.hindsight import Month, bound


def small_month(seed: int) -> Month:
    chance = np.random.default_rng(seed)
    count, backends = 150, 4
    worth = chance.lognormal(-2, 0.8, (count, 1))
    quality = np.sort(chance.uniform(0.4, 0.98, (count, backends)), axis=1)
    spend = np.array([0.0, 0.003, 0.01, 0.03]) * chance.lognormal(0, 0.5, (count, 1))
    value = worth * quality - spend
    value[chance.random(value.shape) < 0.1] = -np.inf
    day = np.sort(chance.integers(0, 3, count))
    return Month(
        value=value,
        spend=spend,
        refused=-0.5 * worth[:, 0],
        department=chance.integers(0, 2, count),
        day=day,
        hour=day * 24 + np.sort(chance.integers(0, 3, count)),
        month_usd=0.5,
        day_usd=0.25,
        department_usd=np.array([0.3, 0.35]),
        local_requests_per_hour=4.0,
    )


def exact(month: Month) -> float:
    value = np.column_stack([month.value, month.refused])
    spend = np.column_stack([month.spend, np.zeros(len(value))])
    row, choice = np.nonzero(np.isfinite(value))
    scopes = [np.ones(len(row), dtype=bool)]
    scopes += [month.department[row] == d for d in range(2)]
    scopes += [month.day[row] == d for d in range(3)]
    caps = [month.month_usd, *month.department_usd, *[month.day_usd] * 3]
    used = [spend[row, choice] * scope for scope in scopes]
    for hour in np.unique(month.hour):
        used.append(1.0 * ((month.hour[row] == hour) & (choice == 0)))
        caps.append(month.local_requests_per_hour)
    once = (row[None, :] == np.arange(len(value))[:, None]).astype(float)
    found = linprog(
        -value[row, choice], A_ub=np.array(used), b_ub=caps, A_eq=once, b_eq=np.ones(len(value))
    )
    assert found.status == 0
    return float(-found.fun)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_bound_is_the_value_of_the_programme(seed: int) -> None:
    month = small_month(seed)
    best = exact(month)
    found = bound(month, steps=300).bound_usd
    assert found >= best - 1e-9
    assert found == pytest.approx(best, rel=5e-3)
