"""Shadow prices for the money and the local places that are left: a linear programme. Pure.

Recent requests stand for those to come: request s, weighed by how many of its kind each stretch of
the remaining time is forecast to bring, may go to backend b in share x[s, stretch, b]. Greatest
value, within what is left of the month, of each department, of the day, of the heavy days after
it, and of the local places of each stretch. What is wanted of it is its dual: one price per limit,
some twenty numbers, where the programme itself has ten thousand. So the dual is minimised directly,
as a smooth convex function of the prices (the sum over requests of a soft maximum; Nesterov, Smooth
minimization of non-smooth functions, 2005); `lp_prices` solves the same programme by HiGHS.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Soft maximum's temperature, as a share of what the dearest choice costs on average.
SOFTNESS: Final = 0.02
MAX_STEPS: Final = 60
MAX_STRIDE: Final = 1.0
TOLERANCE: Final = 1e-5
MAX_PRICE: Final = 1000.0
TODAY, HEAVY, LATER = range(3)


@dataclass(frozen=True, slots=True)
class Sample:
    """Recent requests x choices; choice 0 is local, the last is a refusal. `value` in USD, less
    cost, -inf where a floor bars; `spend` in USD is what caps count; `share` is the part of its
    department's requests that a request stands for."""

    value: Floats
    spend: Floats
    department: Ints
    share: Floats


@dataclass(frozen=True, slots=True)
class Outlook:
    """Stretches of the remaining time. `requests` is stretches x departments; `kind` says whose
    day's cap a stretch is under (today's, the heavy days', or none that binds)."""

    requests: Floats
    places: Floats
    kind: Ints


@dataclass(frozen=True, slots=True)
class Purse:
    """What is left, in USD; of the heavy days to come all of their caps."""

    month_usd: float
    day_usd: float
    heavy_usd: float
    department_usd: Floats


@dataclass(frozen=True, slots=True)
class Prices:
    """USD of value per USD of month, day, heavy days and department; `local` USD per place, by
    stretch. `bound_usd` is the programme's value at these prices."""

    month: float
    day: float
    heavy: float
    department: Floats
    local: Floats
    bound_usd: float = 0.0

    def vector(self) -> Floats:
        return np.concatenate([[self.month, self.day, self.heavy], self.department, self.local])


def smooth_prices(
    sample: Sample, outlook: Outlook, purse: Purse, start: Prices | None = None
) -> Prices:
    """The dual's minimum, softened a little. Raises ValueError when there is nothing to plan on."""
    dual = _Dual(sample, outlook, purse)
    if not np.isfinite(dual.limits).all():
        raise ValueError("the planner found no prices: what is left is not a number")
    begin = np.full(dual.size, 0.5)
    if start is not None and len(start.local) == len(outlook.places):
        begin = dual.scaled(start.vector())
    found, total = minimise_from_zero_up(dual.at, begin)
    x = dual.unscaled(found)
    if not (np.isfinite(x).all() and np.isfinite(total)):
        raise ValueError("the planner found no prices: a value or a cost is not a number")
    departments = len(purse.department_usd)
    return Prices(
        month=float(x[0]),
        day=float(x[1]),
        heavy=float(x[2]),
        department=x[3 : 3 + departments],
        local=x[3 + departments :],
        bound_usd=total * dual.unit,
    )


class _Dual:
    """The softened dual: value, gradient and Hessian at given prices, all per `unit` USD. Prices of
    local places are in `scale` USD, so that all are of one size."""

    def __init__(self, sample: Sample, outlook: Outlook, purse: Purse) -> None:
        self.weight = _weights(sample, outlook)
        value = np.where(np.isfinite(sample.value), sample.value, -1e6)
        # Choices x 1 x requests: sums over choices run along whole rows.
        self.value = np.ascontiguousarray(value.T)[:, None, :]
        self.spend = np.ascontiguousarray(sample.spend.T)[:, None, :]
        self.scale = max(float(sample.spend.max(axis=1).mean()), 1e-9)
        self.softness = SOFTNESS * self.scale
        self.unit = max(float(self.weight.sum()) * self.scale, 1e-12)
        stretches, self.departments = outlook.requests.shape
        self.size = 3 + self.departments + stretches
        self.limits = self.scaled(_limits(outlook, purse), divide=False)
        self.kind, self.of = outlook.kind, sample.department
        # Stretch and department x prices: which prices a USD there pays, and which a local place.
        per_usd = np.zeros((stretches, self.departments, self.size))
        per_usd[:, :, 0] = 1.0
        for g, kind in enumerate(outlook.kind):
            if kind < LATER:
                per_usd[g, :, 1 + kind] = 1.0
        for d in range(self.departments):
            per_usd[:, d, 3 + d] = 1.0
        self.per_usd = per_usd
        self.per_place = np.eye(self.size)[3 + self.departments :]

    def scaled(self, vector: Floats, *, divide: bool = True) -> Floats:
        factor = np.ones(self.size)
        factor[3 + self.departments :] = 1.0 / self.scale if divide else self.scale
        scaled: Floats = vector * factor
        return scaled

    def unscaled(self, prices: Floats) -> Floats:
        return self.scaled(prices, divide=False)

    def at(self, prices: Floats) -> tuple[float, Floats, Floats]:
        per_usd = self.per_usd @ prices
        scores = self.value - per_usd[:, self.of] * self.spend
        scores[0] -= (self.per_place @ prices)[:, None] * self.scale
        most = scores.max(axis=0)
        scores -= most
        scores /= self.softness
        shares = np.exp(scores, out=scores)
        sums = shares.sum(axis=0)
        total = float((self.weight * (most + self.softness * np.log(sums))).sum())
        local = shares[0] / sums
        spent = (shares * self.spend).sum(axis=0) / sums
        squared = (shares * self.spend**2).sum(axis=0) / sums
        used = self._by_department(self.weight * spent)
        places = (self.weight * local).sum(axis=1) * self.scale
        # Variances of what a request takes of the limits, over its soft choice.
        heat = self.weight / self.softness
        spend_spend = self._by_department(heat * (squared - spent * spent))
        spend_place = self._by_department(heat * -(local * spent)) * self.scale
        place_place = (heat * (local - local * local)).sum(axis=1) * self.scale**2
        gradient = self.limits - np.einsum("gd,gdi->i", used, self.per_usd)
        gradient -= places @ self.per_place
        cross = np.einsum("gd,gdi->gi", spend_place, self.per_usd).T @ self.per_place
        flat = self.per_usd.reshape(-1, self.size)
        hessian = (flat * spend_spend.reshape(-1, 1)).T @ flat + cross + cross.T
        hessian += (self.per_place * place_place[:, None]).T @ self.per_place
        total += float(prices @ self.limits)
        return total / self.unit, gradient / self.unit, hessian / self.unit

    def _by_department(self, amounts: Floats) -> Floats:
        stretches = len(amounts)
        index = self.of[None, :] + self.departments * np.arange(stretches)[:, None]
        sums: Floats = np.bincount(
            index.ravel(), amounts.ravel(), stretches * self.departments
        ).astype(np.float64)
        return sums.reshape(stretches, self.departments)


def minimise_from_zero_up(
    at: Callable[[Floats], tuple[float, Floats, Floats]], begin: Floats
) -> tuple[Floats, float]:
    """A convex function's minimum over x >= 0, by projected Newton steps (Bertsekas, Projected
    Newton methods for optimization problems with simple constraints, 1982)."""
    x = np.clip(begin, 0.0, MAX_PRICE)
    total, gradient, hessian = at(x)
    damping = 1e-4
    for _ in range(MAX_STEPS):
        free = (x > 0.0) | (gradient < 0.0)
        if np.abs(np.where(free, gradient, 0.0) * np.maximum(x, 0.01)).max() < TOLERANCE:
            break
        inner = hessian[np.ix_(free, free)]
        inner = inner + damping * np.eye(len(inner))
        step = np.zeros_like(x)
        step[free] = np.linalg.solve(inner, -gradient[free])
        # Where all choices are made the sum is flat, and a step knows no length: at most to 0,
        # or twice as far. An exhausted day's price is in the hundreds, and gone the next morning.
        stride = np.maximum(MAX_STRIDE, x)
        step = np.clip(step, -stride, stride)
        tried = np.clip(x + step, 0.0, MAX_PRICE)
        found = at(tried)
        if found[0] <= total + 1e-4 * float(gradient @ (tried - x)):
            x = tried
            total, gradient, hessian = found
            damping = max(damping / 4, 1e-6)
        else:
            damping = min(damping * 8, 1e6)
            if damping >= 1e6:
                break
    return x, total


def lp_prices(sample: Sample, outlook: Outlook, purse: Purse) -> Prices:
    """The same by the linear programme itself (HiGHS). Raises ValueError when it is not solved."""
    limits, weight = _limits(outlook, purse), _weights(sample, outlook)
    stretches, departments = outlook.requests.shape
    g, s, b = np.nonzero(
        (weight[:, :, None] > 0) & np.isfinite(sample.value)[None] & (sample.value.shape[1] > 0)
    )
    amount = weight[g, s]
    spent = amount * sample.spend[s, b]
    column = np.arange(len(g))
    one_each = csr_matrix(
        (np.ones(len(g)), (g * len(sample.value) + s, column)),
        shape=(stretches * len(sample.value), len(g)),
    )
    is_local = b == 0
    rows = [np.zeros_like(g), np.where(outlook.kind[g] < LATER, 1 + outlook.kind[g], 0)]
    under_day = outlook.kind[g] < LATER
    used: Any = csr_matrix(
        (
            np.concatenate([spent, spent[under_day], spent, amount[is_local]]),
            (
                np.concatenate(
                    [
                        rows[0],
                        rows[1][under_day],
                        3 + sample.department[s],
                        3 + departments + g[is_local],
                    ]
                ),
                np.concatenate([column, column[under_day], column, column[is_local]]),
            ),
        ),
        shape=(len(limits), len(g)),
    )
    kept = one_each.getnnz(axis=1) > 0
    found = linprog(
        -amount * sample.value[s, b],
        A_ub=used,
        b_ub=limits,
        A_eq=one_each[kept],
        b_eq=np.ones(int(kept.sum())),
        method="highs",
    )
    if found.status != 0:
        raise ValueError(f"the planner found no prices: {found.message}")
    x = -found.ineqlin.marginals
    return Prices(
        month=float(x[0]),
        day=float(x[1]),
        heavy=float(x[2]),
        department=x[3 : 3 + departments],
        local=x[3 + departments :],
        bound_usd=-float(found.fun),
    )


def damped(before: Prices | None, after: Prices, share: float = 0.5) -> Prices:
    """Half-way from the last prices to the new: one sample of requests is not another."""
    if before is None:
        return after
    keep = 1.0 - share
    return Prices(
        month=keep * before.month + share * after.month,
        day=keep * before.day + share * after.day,
        heavy=keep * before.heavy + share * after.heavy,
        department=keep * before.department + share * after.department,
        local=after.local,
        bound_usd=after.bound_usd,
    )


def stretches(
    remaining: Floats, *, hour: int, places_now: float, places: float, heavy_days: Sequence[int]
) -> Outlook:
    """The hours left (from `volume.remaining`), put together: today's, the heavy days', the
    others', each by whether the local places are more or fewer than usual for its requests."""
    hours = hour + np.arange(len(remaining))
    day = hours // 24
    kind = np.where(
        day == hour // 24, TODAY, np.where(np.isin(day, np.array(heavy_days)), HEAVY, LATER)
    )
    total = remaining.sum(axis=1)
    per_hour = np.full(len(remaining), places)
    per_hour[0] = places_now
    tightness = total / np.maximum(per_hour, 1e-9)
    part = np.zeros(len(hours), dtype=int)
    for k in (TODAY, HEAVY, LATER):
        mine = kind == k
        if mine.sum() > 1:
            heavier = np.cumsum(np.sort(total[mine]))
            middle = np.sort(tightness[mine])[np.searchsorted(heavier, heavier[-1] / 2)]
            part[mine] = tightness[mine] >= middle
    stretch = kind * 2 + part
    requests = np.zeros((6, remaining.shape[1]))
    np.add.at(requests, stretch, remaining)
    # Places that nobody asks for in a quiet hour do not help a busy one.
    usable = np.bincount(stretch, np.minimum(per_hour, total), 6).astype(np.float64)
    return Outlook(requests, usable, np.repeat([TODAY, HEAVY, LATER], 2))


def _limits(outlook: Outlook, purse: Purse) -> Floats:
    return np.concatenate(
        [
            [purse.month_usd, purse.day_usd, purse.heavy_usd],
            purse.department_usd,
            outlook.places,
        ]
    )


def _weights(sample: Sample, outlook: Outlook) -> Floats:
    """Stretches x sample: a department's requests to come, shared among its own in the sample."""
    if not len(sample.department):
        raise ValueError("no requests yet to plan on")
    weights: Floats = outlook.requests[:, sample.department] * sample.share
    return weights
