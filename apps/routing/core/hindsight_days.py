"""A closed stretch in hindsight: what was done, beside the most that its money could have done.

The bound is hindsight.py's, with the stretch's own cloud spend as its cap, the caps of days and
departments beside it, and a request standing for its weight. Where a request ran it counts as
allowed, and a cap that was passed as what was spent: what was done is never above the bound.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from apps.routing.core.building import NO_LIMIT_USD, Money
from apps.routing.core.hindsight import Month, bound
from apps.routing.core.traffic import Bools, Floats, Ints, Traffic

DAY_S: Final = 86_400
HOUR_S: Final = 3600
MOST_CAUSES: Final = 5
LEAST_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Cause:
    """USD that a task's requests left on the table by running on `ran` and not on `better`, where
    most of it would have been made; "" is a refusal."""

    task: str
    ran: str
    better: str
    usd: float


@dataclass(frozen=True, slots=True)
class Looking:
    """USD of value less cost. `causes` the largest first."""

    requests: float
    spent_usd: float
    done_usd: float
    bound_usd: float
    causes: tuple[Cause, ...]


def look_back(
    traffic: Traffic, *, local_places: float, money: Money | None = None, offset_s: float = 0.0
) -> Looking:
    """`money`: the caps of days, and of departments over the whole stretch; `offset_s` from the
    local midnight before it. Of a window without requests: nothing."""
    t = traffic
    if not len(t):
        return Looking(0.0, 0.0, 0.0, 0.0, ())
    local = np.array(t.labels.is_local)
    may = t.eligible.copy()
    may[t.rows, t.actual] = True
    gain = np.where(may, t.gain(), -np.inf) * t.weight[:, None]
    spend = np.where(np.isfinite(t.cost), t.cost, 0.0) * t.weight[:, None]
    refused = -t.worth.reject * t.value_usd * t.weight
    best_local = np.where(local, gain, -np.inf).argmax(axis=1) if local.any() else None
    local_gain = np.full(len(t), -np.inf) if best_local is None else gain[t.rows, best_local]
    cloud = np.flatnonzero(~local)
    paid = ~local[t.actual]
    spent = spend[t.rows, t.actual] * paid
    day = ((t.ts_s + offset_s) // DAY_S).astype(np.int64)
    caps = money or Money(NO_LIMIT_USD, NO_LIMIT_USD, {})
    named = [caps.department_usd.get(name or "-", NO_LIMIT_USD) for name in t.labels.departments]
    month = Month(
        value=np.column_stack([local_gain, gain[:, cloud]]),
        spend=np.column_stack([np.zeros(len(t)), spend[:, cloud]]),
        refused=refused,
        department=t.department,
        day=day,
        hour=(t.ts_s // HOUR_S).astype(np.int64),
        month_usd=float(spent.sum()),
        day_usd=np.maximum(np.bincount(day, spent), caps.day_usd),
        department_usd=np.maximum(np.bincount(t.department, spent, len(named)), named),
        local_requests_per_hour=_places(t, local, local_places),
    )
    found = bound(month)
    done = float(gain[t.rows, t.actual].sum())
    price = found.month_price + found.department_prices[t.department] + found.day_prices[day]
    return Looking(
        requests=float(t.weight.sum()),
        spent_usd=float(spend[t.rows, t.actual].sum()),
        done_usd=done,
        bound_usd=max(found.bound_usd, done),
        causes=_causes(t, gain - price[:, None] * spend * ~local, max(found.bound_usd - done, 0.0)),
    )


def _places(t: Traffic, local: Bools, places: float) -> float:
    """In sampled requests; never fewer than the busiest hour used."""
    each = max(float(t.weight.mean()), 1e-9)
    hours = (t.ts_s // HOUR_S).astype(int)
    used = np.bincount(hours, local[t.actual].astype(float))
    return max(places / each, float(used.max(initial=0.0)))


def _causes(t: Traffic, scores: Floats, left_usd: float) -> tuple[Cause, ...]:
    """The gap by task and backend: each request's best priced score less that of where it ran,
    scaled so that all of them add up to what was left."""
    better: Ints = scores.argmax(axis=1)
    lost = scores[t.rows, better] - scores[t.rows, t.actual]
    total = float(lost.sum())
    if total <= 0 or left_usd <= 0:
        return ()
    backends = len(t.labels.backends)
    cell = t.task * backends + t.actual
    sums = np.bincount(cell, lost, len(t.labels.tasks) * backends) * left_usd / total
    causes = []
    for n in np.argsort(-sums)[:MOST_CAUSES]:
        if sums[n] < LEAST_SHARE * left_usd:
            break
        chosen = cell == n
        to = int(np.bincount(better[chosen], lost[chosen], backends).argmax())
        task, ran = divmod(int(n), backends)
        names = t.labels.backends
        causes.append(Cause(t.labels.tasks[task], names[ran], names[to], float(sums[n])))
    return tuple(causes)
