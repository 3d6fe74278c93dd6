"""What a change has saved: the same requests, as they would have run before it. Pure.

Before means the mix of backends that each task and tier had in the window on which the change was
found; every request since is priced at that mix, so that more or longer requests are no loss.
"""

from collections.abc import Mapping

import numpy as np

from apps.routing.core.traffic import Floats, Traffic

Mix = Mapping[str, Mapping[str, float]]


def mix_of(traffic: Traffic, cells: set[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """By "task|tier" the share of requests that each backend had."""
    labels = traffic.labels
    found: dict[str, dict[str, float]] = {}
    for task, tier in sorted(cells):
        chosen = (traffic.task == labels.tasks.index(task)) & (
            traffic.tier == labels.tiers.index(tier)
        )
        weight = np.bincount(traffic.actual[chosen], traffic.weight[chosen], len(labels.backends))
        if weight.sum() > 0:
            share = weight / weight.sum()
            found[f"{task}|{tier}"] = {
                labels.backends[b]: round(float(share[b]), 6) for b in np.flatnonzero(weight)
            }
    return found


def cost_as_before(traffic: Traffic, mix: Mix) -> float:
    """USD by which requests of the mix's tasks and tiers cost less than they would have."""
    labels = traffic.labels
    saved = 0.0
    for key, shares in mix.items():
        task, _, tier = key.rpartition("|")
        if task not in labels.tasks or tier not in labels.tiers:
            continue
        chosen = (traffic.task == labels.tasks.index(task)) & (
            traffic.tier == labels.tiers.index(tier)
        )
        part = traffic.only(chosen)
        if len(part):
            saved += float((part.weight * (_at_mix(part, shares) - part.actual_cost())).sum())
    return saved


def _at_mix(part: Traffic, shares: Mapping[str, float]) -> Floats:
    """What each request would have cost on average; a backend without a price does not count."""
    share = np.array([shares.get(name, 0.0) for name in part.labels.backends])
    priced = np.isfinite(part.cost)
    weight = np.where(priced, share, 0.0)
    total = weight.sum(axis=1)
    usd = (np.where(priced, part.cost, 0.0) * weight).sum(axis=1)
    found: Floats = np.where(total > 0, usd / np.maximum(total, 1e-9), part.actual_cost())
    return found
