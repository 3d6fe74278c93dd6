"""Recent requests, as the planner has them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.catalog import Catalog
from apps.routing.core.learning import MAX_QUALITY, Believed
from apps.routing.core.planner import Sample
from apps.routing.core.rule import Request

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """By request: the cheapest cloud backend that meets its floor (USD), whether it may run locally,
    and whether it is of the top tier."""

    cheapest_usd: Floats
    may_run_local: NDArray[np.bool_]
    is_top: NDArray[np.bool_]


def take_sample(
    rows: Sequence[Request],
    catalog: Catalog,
    believed: Believed,
    out_multipliers: Sequence[float],
) -> tuple[Sample, SampleFacts]:
    """What each request would bring and cost on each backend, by what is believed now."""
    tiers = {name: n for n, name in enumerate(catalog.tiers)}
    tasks = {name: n for n, name in enumerate(catalog.tasks)}
    departments = {name: n for n, name in enumerate(catalog.departments)}
    tier = np.array([tiers[r.tier] for r in rows])
    task = np.array([tasks[r.task] for r in rows])
    value = np.array([r.value_usd for r in rows])[:, None]
    x = np.array([r.difficulty for r in rows])[:, None] - 0.5
    tokens_in = np.array([float(r.tokens_in) for r in rows])[:, None]
    tokens_out = np.array([r.est_tokens_out for r in rows])[:, None]
    usd_in = np.array([b.usd_in for b in catalog.backends])
    usd_out = np.array([b.usd_out for b in catalog.backends]) * np.array(out_multipliers)
    cost = tokens_in * usd_in + tokens_out * usd_out
    quality = np.clip(believed.level[task] + believed.slope[task] * x, 0.0, MAX_QUALITY)
    fail = np.array([catalog.fail_multiplier[name] for name in catalog.tiers])[tier][:, None]
    worth = value * (quality * (1 + fail) - fail) - cost
    eligible = eligibility(catalog)[tier, task]
    nothing = np.zeros((len(rows), 1))
    cheapest = np.where(eligible[:, 1:], cost[:, 1:], np.inf).min(axis=1, initial=np.inf)
    sample = Sample(
        value=np.hstack([np.where(eligible, worth, -np.inf), -catalog.reject_multiplier * value]),
        spend=np.hstack([nothing, cost[:, 1:], nothing]),
        department=np.array([departments[r.department] for r in rows]),
    )
    return sample, SampleFacts(
        cheapest_usd=np.where(np.isfinite(cheapest), cheapest, 0.0),
        may_run_local=eligible[:, 0],
        is_top=tier == tiers[catalog.top_tier],
    )


def eligibility(catalog: Catalog) -> NDArray[np.bool_]:
    """Tiers x tasks x backends: whether the table's quality meets the floor."""
    backends = range(len(catalog.backends))
    return np.array(
        [
            [[catalog.is_eligible(tier, task, n) for n in backends] for task in catalog.tasks]
            for tier in catalog.tiers
        ]
    )
