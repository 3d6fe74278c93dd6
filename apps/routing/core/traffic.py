"""A stored window of requests as columns: what each was, where it ran, and what it would have cost
and brought on every backend. Pure.

Each sampled request stands for `weight` requests. Costs are USD by the rates in force at its time;
inf where nobody prices it. What a replay says is a difference to what happened, so that what was
spent stays the ledger's own sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Two-sided 90%: of the normal distribution.
Z90: Final = 1.645
REFUSED: Final = -1
# How far off the length of an answer may be on a backend that never did the task, as a share.
UNSEEN_LENGTH: Final = 0.3
# So many requests of a task on a backend, and its answers' length and cache are known.
SEEN: Final = 30


@dataclass(frozen=True, slots=True)
class Labels:
    """What the numbers in the columns stand for. Customer "" is nobody in particular."""

    backends: tuple[str, ...]
    is_local: tuple[bool, ...]
    tasks: tuple[str, ...]
    tiers: tuple[str, ...]
    departments: tuple[str, ...]
    customers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Worth:
    """What quality is worth. `level` and `deviation` are tasks x backends, what is believed and how
    unsure; `table`, in the same order, and `floors` (tiers x tasks) decide what may run where;
    `fail` by tier; `reject` per USD of value."""

    level: Floats
    deviation: Floats
    table: Floats
    floors: Floats
    fail: Floats
    reject: float

    @property
    def eligible(self) -> Bools:
        """Tiers x tasks x backends."""
        may: Bools = self.table[None, :, :] >= self.floors[:, :, None]
        return may


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests in the order of time, `ts_s` from the window's start. `actual` is where each ran;
    `cost` and `length_usd` (the part of it that a longer or shorter answer changes) are requests x
    backends, `length_doubt` tasks x from x to, relative. `batch_usd` and
    `cached_usd` are what each would have cost where it ran, as a batch and with its cache as it
    usually works."""

    labels: Labels
    worth: Worth
    ts_s: Floats
    weight: Floats
    actual: Ints
    task: Ints
    tier: Ints
    department: Ints
    customer: Ints
    tokens_in: Ints
    tokens_out: Ints
    value_usd: Floats
    cost: Floats
    length_usd: Floats
    length_doubt: Floats
    is_urgent: Bools
    batch_usd: Floats
    cached_usd: Floats
    has_lost_cache: Bools

    def __len__(self) -> int:
        return len(self.actual)

    @property
    def rows(self) -> Ints:
        return np.arange(len(self.actual))

    @property
    def eligible(self) -> Bools:
        """Requests x backends: meets the floor, and has a price."""
        allowed: Bools = self.worth.eligible[self.tier, self.task] & np.isfinite(self.cost)
        return allowed

    def quality(self) -> Floats:
        level: Floats = self.worth.level[self.task]
        return level

    def stake(self) -> Floats:
        """USD that a request's failing, or not, moves."""
        stake: Floats = self.value_usd * (1.0 + self.worth.fail[self.tier])
        return stake

    def gain(self) -> Floats:
        """What each request brings on each backend, in USD, less its cost."""
        fail = self.value_usd * self.worth.fail[self.tier]
        return self.stake()[:, None] * self.quality() - fail[:, None] - self.cost

    def actual_cost(self) -> Floats:
        cost: Floats = self.cost[self.rows, self.actual]
        return cost

    def only(self, keep: Bools) -> "Traffic":
        """Those requests alone."""
        return replace(self, **{name: getattr(self, name)[keep] for name in _COLUMNS})


_COLUMNS: Final = (
    "ts_s", "weight", "actual", "task", "tier", "department", "customer", "tokens_in",
    "tokens_out", "value_usd", "cost", "length_usd", "is_urgent",
    "batch_usd", "cached_usd", "has_lost_cache",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 90% interval."""

    mean: float
    low: float
    high: float

    def times(self, factor: float) -> "Estimate":
        ends = sorted((self.low * factor, self.high * factor))
        return Estimate(self.mean * factor, ends[0], ends[1])

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def meets(self, other: "Estimate") -> bool:
        """Whether the intervals overlap: of two samples of one thing, all but two in a hundred."""
        return self.low <= other.high and other.low <= self.high


def estimate(mean: float, variance: float) -> Estimate:
    off = Z90 * float(np.sqrt(max(variance, 0.0)))
    return Estimate(mean, mean - off, mean + off)


@dataclass(frozen=True, slots=True)
class Difference:
    """What other choices would have changed: USD saved, points of quality on the requests that ran
    both times, USD of worth (quality and refusals; cost not in it), and what is gained in all."""

    saved: Estimate
    quality_points: Estimate
    worth: Estimate
    gained: Estimate
    moved: float
    refused: float


def difference(traffic: Traffic, choice: Ints, *, before_usd: Floats | None = None) -> Difference:
    """What `choice` (a backend's place, or REFUSED) would have changed, with its uncertainty.
    `before_usd`: what each request cost, where the traffic's prices are not those of then.

    Three things are unsure, and their variances add up: that a sample stands for all (stratified by
    where requests ran, their task and tier), how long answers are on another backend, and how well
    a backend does a task where outcomes were not seen (its deviation, shared by all of the cell).
    """
    t, rows = traffic, traffic.rows
    ran = choice != REFUSED
    there = np.where(ran, choice, 0)
    moved = ran & (choice != t.actual)
    before = t.actual_cost() if before_usd is None else before_usd
    after = np.where(ran, t.cost[rows, there], 0.0)
    saved = before - after
    stake = t.stake()
    level = t.worth.level
    change = np.where(moved, level[t.task, there] - level[t.task, t.actual], 0.0)
    refusal = -t.worth.reject * t.value_usd - (
        stake * level[t.task, t.actual] - t.value_usd * t.worth.fail[t.tier]
    )
    worth = np.where(ran, stake * change, refusal)
    total = {
        name: float((t.weight * column).sum())
        for name, column in (("saved", saved), ("worth", worth), ("points", 100 * change))
    }
    length = _length_variance(t, there, moved)
    doubt = _quality_variance(t, there, moved, ran, t.weight * stake)
    unweighted = _quality_variance(t, there, moved, ran | ~moved, 100.0 * t.weight * moved)
    kept = max(float((t.weight * moved).sum()), 1e-9)
    return Difference(
        saved=estimate(total["saved"], _sampling_variance(t, saved) + length),
        quality_points=estimate(
            total["points"] / kept,
            (_sampling_variance(t, 100 * change) + unweighted) / kept**2,
        ),
        worth=estimate(total["worth"], _sampling_variance(t, worth) + doubt),
        gained=estimate(
            total["saved"] + total["worth"],
            _sampling_variance(t, saved + worth) + length + doubt,
        ),
        moved=float((t.weight * moved).sum()),
        refused=float((t.weight * ~ran).sum()),
    )


def cheaper(traffic: Traffic, usd: Floats, *, doubt: float = 0.0) -> Difference:
    """The same requests on the same backends at other costs, `usd` each. `doubt`: how far off the
    saving may be besides, as a share of it, in standard deviations."""
    saved = traffic.actual_cost() - usd
    total = float((traffic.weight * saved).sum())
    found = estimate(total, _sampling_variance(traffic, saved) + (doubt * total) ** 2)
    nothing = Estimate(0.0, 0.0, 0.0)
    touched = float((traffic.weight * (saved != 0)).sum())
    return Difference(found, nothing, nothing, found, moved=touched, refused=0.0)


def _sampling_variance(t: Traffic, column: Floats) -> float:
    """Of a sum over all, from a stratified sample without replacement (Cochran, Sampling
    Techniques, 5.3). A stratum of one counts as its own square."""
    tasks, tiers = len(t.labels.tasks), len(t.labels.tiers)
    stratum = (t.actual * tasks + t.task) * tiers + t.tier
    n = np.bincount(stratum).astype(float)
    size = np.bincount(stratum, t.weight)
    seen = np.maximum(n, 1.0)
    mean = np.bincount(stratum, column) / seen
    square = np.bincount(stratum, column**2) / seen
    spread = np.where(n > 1, (square - mean**2) * n / np.maximum(n - 1, 1.0), square)
    unread = np.clip(1.0 - n / np.maximum(size, 1e-9), 0.0, 1.0)
    return float((size**2 * unread * np.maximum(spread, 0.0) / seen).sum())


def _length_variance(t: Traffic, there: Ints, moved: Bools) -> float:
    """One unknown ratio for each task, from and to."""
    backends = len(t.labels.backends)
    cell = (t.task * backends + t.actual) * backends + there
    usd = np.where(moved, t.weight * t.length_usd[t.rows, there], 0.0)
    sums = np.bincount(cell, usd, len(t.labels.tasks) * backends**2)
    return float(((sums * t.length_doubt.ravel()) ** 2).sum())


def _quality_variance(t: Traffic, there: Ints, moved: Bools, ran: Bools, stake: Floats) -> float:
    """One unknown quality for each task and backend: what is taken from it and what is given."""
    backends = len(t.labels.backends)
    size = len(t.labels.tasks) * backends
    given = np.bincount(t.task * backends + there, np.where(moved, stake, 0.0), size)
    taken = np.bincount(t.task * backends + t.actual, np.where(moved | ~ran, stake, 0.0), size)
    return float((((given - taken) * t.worth.deviation.ravel()) ** 2).sum())


def weigh(cells: Sequence[int], requests: Sequence[float]) -> Floats:
    """The weight of each sampled request: its cell's requests over those drawn of it."""
    drawn = np.bincount(np.array(cells, dtype=int), minlength=len(requests))
    weights: Floats = (np.array(requests) / np.maximum(drawn, 1))[np.array(cells, dtype=int)]
    return weights
