"""The best that could have been done, knowing everything: an upper bound by Lagrangian duality.

For any prices >= 0 of the month, the days and the departments, the sum over requests of the best
value less priced spend, plus the prices times the caps, is no less than what any routing within the
caps is worth (weak duality; Boyd and Vandenberghe, Convex Optimization, 5.1.3). The least such sum
is the bound. The local hours need no prices: given the others, an hour's places go to the requests
that gain most from them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Month:
    """Requests x backends; backend 0 is local. `value` in USD, less cost, -inf where a floor bars;
    `spend` in USD is what caps count (0 for local); `refused` is what a refusal is worth."""

    value: Floats
    spend: Floats
    refused: Floats
    department: Ints
    day: Ints
    hour: Ints
    month_usd: float
    # One for all days, or one for each.
    day_usd: float | Floats
    department_usd: Floats
    local_requests_per_hour: float


@dataclass(frozen=True, slots=True)
class Bound:
    """No routing exceeds `bound_usd`; a price is the value that one more USD would have brought."""

    bound_usd: float
    month_price: float
    day_prices: Floats
    department_prices: Floats


def bound(month: Month, *, steps: int = 60) -> Bound:
    """Whatever prices the search ends at give a true bound; more steps make it closer."""
    dual = _Dual(month)
    start = np.zeros(dual.size)
    start[0] = 1.0
    # The sum has kinks, and a search along gradients can stop at one: going on from there helps.
    best = (np.inf, start)
    for _ in range(3):
        found = minimize(
            dual.at,
            best[1],
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * dual.size,
            options={"maxiter": steps, "maxls": 30},
        )
        if found.fun > best[0] * (1 - 1e-5):
            break
        best = (float(found.fun), found.x)
    prices = best[1]
    departments = len(month.department_usd)
    return Bound(best[0], float(prices[0]), prices[1 + departments :], prices[1 : 1 + departments])


class _Dual:
    def __init__(self, month: Month) -> None:
        self.month = month
        self.departments = len(month.department_usd)
        self.days = int(month.day.max()) + 1
        self.size = 1 + self.departments + self.days
        self.caps = np.concatenate(
            [[month.month_usd], month.department_usd, np.broadcast_to(month.day_usd, self.days)]
        )
        # Requests of one hour stand together, so that its best local places are a slice.
        order = np.argsort(month.hour, kind="stable")
        self.cloud = np.column_stack([month.refused, month.value[:, 1:]])[order]
        self.local = month.value[order, 0]
        self.spend = np.column_stack([np.zeros(len(order)), month.spend[:, 1:]])[order]
        self.department, self.day = month.department[order], month.day[order]
        self.hour = month.hour[order]
        self.rows = np.arange(len(order))
        starts = np.searchsorted(self.hour, np.arange(int(self.hour.max()) + 1))
        self.rank = self.rows - starts[self.hour]

    def at(self, prices: Floats) -> tuple[float, Floats]:
        """The dual's value and a subgradient: caps less spend."""
        per_department = prices[1 : 1 + self.departments]
        price = (
            prices[0] + per_department[self.department] + prices[1 + self.departments :][self.day]
        )
        scores = self.cloud - price[:, None] * self.spend
        choice = scores.argmax(axis=1)
        best = scores[self.rows, choice]
        gain = np.maximum(self.local - best, 0.0)
        order = np.lexsort((-gain, self.hour))
        places = self.month.local_requests_per_hour
        share = np.clip(places - self.rank, 0.0, 1.0)
        local = np.empty_like(gain)
        local[order] = np.where(gain[order] > 0, share, 0.0)
        total = float(best.sum() + (gain * local).sum() + prices @ self.caps)
        spent = self.spend[self.rows, choice] * (1 - local)
        by_department = np.bincount(self.department, spent, self.departments)
        by_day = np.bincount(self.day, spent, self.days)
        return total, self.caps - np.concatenate([[spent.sum()], by_department, by_day])
