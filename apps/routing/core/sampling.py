"""Recent requests, as the planner has them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.catalog import Catalog
from apps.routing.core.learning import MAX_QUALITY, Believed
from apps.routing.core.planner import Sample
from apps.routing.core.rule import Request

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# The top tier is the last to be refused: what serving it may lose before it is, in refusals.
TOP_REFUSAL: Final = 3.0


@dataclass(frozen=True, slots=True)
class SampleFacts:
    """By request: the cheapest cloud backend that meets its floor (USD), whether it may run
    locally, and whether it is of the top tier."""

    cheapest_usd: Floats
    may_run_local: NDArray[np.bool_]
    is_top: NDArray[np.bool_]


class Mix:
    """What all requests were, by department, tier and task: a sample of a few hundred has a tenth
    too many or too few of the dear ones, and post-stratification takes that away. Fades."""

    HALF_LIFE_HOURS: Final = 24.0 * 7

    def __init__(self, catalog: Catalog) -> None:
        self._departments = {name: n for n, name in enumerate(catalog.departments)}
        self._tiers = {name: n for n, name in enumerate(catalog.tiers)}
        self._tasks = {name: n for n, name in enumerate(catalog.tasks)}
        tiers, tasks = len(catalog.tiers), len(catalog.tasks)
        self._count = [[[0.0] * tasks for _ in range(tiers)] for _ in catalog.departments]
        self._tokens = [[0.0] * tiers for _ in catalog.departments]

    def count(self, request: Request) -> None:
        """Input and, four times as dear, output tokens stand for what a request costs."""
        d, t = self._departments[request.department], self._tiers[request.tier]
        self._count[d][t][self._tasks[request.task]] += 1.0
        self._tokens[d][t] += request.tokens_in + 4.0 * request.est_tokens_out

    def fade(self, hours: float) -> None:
        kept = 0.5 ** (hours / self.HALF_LIFE_HOURS)
        self._count = [[[kept * n for n in row] for row in rows] for rows in self._count]
        self._tokens = [[kept * n for n in row] for row in self._tokens]

    def weigh(
        self, department: Ints, tier: Ints, task: Ints, tokens: Floats
    ) -> tuple[Floats, Floats]:
        """The share of its department that each request of a sample stands for, and how much
        larger those of its department and tier are than in the sample."""
        count, all_tokens = np.array(self._count), np.array(self._tokens)
        in_sample = np.zeros_like(count)
        np.add.at(in_sample, (department, tier, task), 1.0)
        seen = np.where(in_sample > 0, count, 0.0)
        of_department = np.maximum(seen.sum(axis=(1, 2)), 1e-9)
        share = (seen / np.maximum(in_sample, 1.0))[department, tier, task]
        share = share / of_department[department]
        sampled = np.zeros_like(all_tokens)
        weight = np.zeros_like(all_tokens)
        np.add.at(sampled, (department, tier), share * tokens)
        np.add.at(weight, (department, tier), share)
        mean = all_tokens / np.maximum(count.sum(axis=2), 1e-9)
        larger = mean * weight / np.maximum(sampled, 1e-9)
        return share, np.clip(larger, 0.5, 2.0)[department, tier]


def take_sample(
    rows: Sequence[Request],
    catalog: Catalog,
    believed: Believed,
    out_multipliers: Sequence[float],
    mix: Mix,
) -> tuple[Sample, SampleFacts]:
    """What each request would bring and cost on each backend, by what is believed now. Local
    backends share their places: choice 0 is the best of them."""
    tiers = {name: n for n, name in enumerate(catalog.tiers)}
    tasks = {name: n for n, name in enumerate(catalog.tasks)}
    departments = {name: n for n, name in enumerate(catalog.departments)}
    tier = np.array([tiers[r.tier] for r in rows])
    task = np.array([tasks[r.task] for r in rows])
    value = np.array([r.value_usd for r in rows])[:, None]
    x = np.array([r.difficulty for r in rows])[:, None] - 0.5
    department = np.array([departments[r.department] for r in rows])
    tokens_in = np.array([float(r.tokens_in) for r in rows])[:, None]
    tokens_out = np.array([r.est_tokens_out for r in rows])[:, None]
    share, larger = mix.weigh(department, tier, task, (tokens_in + 4 * tokens_out)[:, 0])
    tokens_in, tokens_out = tokens_in * larger[:, None], tokens_out * larger[:, None]
    usd_in = np.array([b.usd_in for b in catalog.backends])
    usd_out = np.array([b.usd_out for b in catalog.backends]) * np.array(out_multipliers)
    cost = tokens_in * usd_in + tokens_out * usd_out
    quality = np.clip(believed.level[task] + believed.slope[task] * x, 0.0, MAX_QUALITY)
    fail = np.array([catalog.fail_multiplier[name] for name in catalog.tiers])[tier][:, None]
    worth = value * (quality * (1 + fail) - fail) - cost
    may_run = eligibility(catalog)[tier, task]
    scored = np.where(may_run, worth, -np.inf)
    local = np.array([backend.is_local for backend in catalog.backends])
    refusals = refusal_worth(catalog)
    worth_of_refusal = np.array([refusals[name] for name in catalog.tiers])[tier][:, None]
    nothing = np.zeros((len(rows), 1))
    cheapest = np.where(may_run[:, ~local], cost[:, ~local], np.inf).min(axis=1, initial=np.inf)
    best_local = scored[:, local].max(axis=1, initial=-np.inf)[:, None]
    sample = Sample(
        value=np.hstack([best_local, scored[:, ~local], worth_of_refusal * value]),
        spend=np.hstack([nothing, cost[:, ~local], nothing]),
        department=department,
        share=share,
    )
    return sample, SampleFacts(
        cheapest_usd=np.where(np.isfinite(cheapest), cheapest, 0.0),
        may_run_local=may_run[:, local].any(axis=1),
        is_top=tier == tiers[catalog.top_tier],
    )


def refusal_worth(catalog: Catalog) -> dict[str, float]:
    """By tier, per USD of value: for the top tier as if it cost several times what it does."""
    return {
        tier: -catalog.reject_multiplier * (TOP_REFUSAL if tier == catalog.top_tier else 1.0)
        for tier in catalog.tiers
    }


def eligibility(catalog: Catalog) -> NDArray[np.bool_]:
    """Tiers x tasks x backends: whether the table's quality meets the floor."""
    backends = range(len(catalog.backends))
    return np.array(
        [
            [[catalog.is_eligible(tier, task, n) for n in backends] for task in catalog.tasks]
            for tier in catalog.tiers
        ]
    )
