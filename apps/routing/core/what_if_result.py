"""What a replay says, as plain JSON: sums, differences with intervals, who gains. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from apps.routing.core.traffic import REFUSED, Estimate, Floats, Ints, Traffic, difference

MAX_LISTED: Final = 25


def describe(before: Traffic, after: Traffic, choice: Ints) -> dict[str, Any]:
    """JSON: sums of both, the differences with their 90% intervals, and who gains or loses."""
    ran = choice != REFUSED
    there = np.where(ran, choice, 0)
    old_usd = before.weight * before.actual_cost()
    new_usd = np.where(ran, after.weight * after.cost[after.rows, there], 0.0)
    both = _Both(choice, old_usd, new_usd)
    found = difference(after, choice, before_usd=before.actual_cost())
    return {
        "happened": _sums(before, before.actual, old_usd),
        "would": _sums(after, choice, new_usd),
        "saved_usd": _interval(found.saved),
        "quality_points": _interval(found.quality_points),
        "worth_usd": _interval(found.worth),
        "gained_usd": _interval(found.gained),
        "moved_requests": found.moved,
        "departments": _groups(after, after.department, after.labels.departments, both),
        "customers": _groups(after, after.customer, after.labels.customers, both),
        "tiers": _groups(after, after.tier, after.labels.tiers, both),
        "backends": _backends(after, both),
        "sampled": len(after),
    }


def _sums(t: Traffic, choice: Ints, usd: Floats) -> dict[str, float]:
    ran = choice != REFUSED
    there = np.where(ran, choice, 0)
    weight = t.weight
    quality = t.quality()[t.rows, there]
    fail = t.value_usd * t.worth.fail[t.tier]
    worth = np.where(ran, t.stake() * quality - fail, -t.worth.reject * t.value_usd)
    served = max(float((weight * ran).sum()), 1e-9)
    return {
        "requests": float(weight.sum()),
        "cost_usd": float(usd.sum()),
        "worth_usd": float((weight * worth).sum() - usd.sum()),
        "quality": float((weight * ran * quality).sum()) / served,
        "refused": float((weight * ~ran).sum()),
    }


@dataclass(frozen=True, slots=True)
class _Both:
    """What each request's weight cost, and would have; and where it would have run."""

    choice: Ints
    old_usd: Floats
    new_usd: Floats


def _groups(t: Traffic, group: Ints, names: Sequence[str], both: _Both) -> list[dict[str, Any]]:
    choice, old_usd, new_usd = both.choice, both.old_usd, both.new_usd
    ran = choice != REFUSED
    there = np.where(ran, choice, 0)
    level = t.worth.level
    change = t.weight * np.where(ran, level[t.task, there] - level[t.task, t.actual], 0.0)

    def by(column: Floats) -> Floats:
        return np.bincount(group, column, len(names)).astype(float)

    weight = by(t.weight)
    columns = [by(old_usd), by(new_usd), by(change), by(np.where(ran, 0.0, t.weight)), weight]
    rows = [
        {
            "name": names[n],
            "happened_usd": float(columns[0][n]),
            "would_usd": float(columns[1][n]),
            "quality_points": 100.0 * float(columns[2][n]) / max(float(weight[n]), 1e-9),
            "refused": float(columns[3][n]),
            "requests": float(weight[n]),
        }
        for n in np.argsort(-np.abs(columns[0] - columns[1]))
        if weight[n] > 0
    ]
    return rows[:MAX_LISTED]


def _backends(t: Traffic, both: _Both) -> list[dict[str, Any]]:
    choice, old_usd, new_usd = both.choice, both.old_usd, both.new_usd
    size = len(t.labels.backends)
    ran = choice != REFUSED
    columns = [
        np.bincount(t.actual, t.weight, size),
        np.bincount(choice[ran], t.weight[ran], size),
        np.bincount(t.actual, old_usd, size),
        np.bincount(choice[ran], new_usd[ran], size),
    ]
    return [
        {
            "name": t.labels.backends[b],
            "is_local": t.labels.is_local[b],
            "happened_requests": float(columns[0][b]),
            "would_requests": float(columns[1][b]),
            "happened_usd": float(columns[2][b]),
            "would_usd": float(columns[3][b]),
        }
        for b in np.argsort(-(columns[2] + columns[3]))
        if columns[0][b] or columns[1][b]
    ]


def _interval(one: Estimate) -> list[float]:
    return [one.mean, one.low, one.high]
