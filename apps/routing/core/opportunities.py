"""What could be saved, found on a window's traffic: each with the change that realises it. Pure.

A request is in one opportunity only: what is moved is not moved again, nor counted as idle local
work. Ranked by what is as good as certain, the low end of the 90% interval of the gain (saving and
quality, in USD), at the rate it had while it lasted: an episode left alone goes on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from apps.routing.core.changes import (
    HOUR_S,
    Change,
    covered,
    in_episodes,
    moved_choice,
    replay_change,
    without_cache,
)
from apps.routing.core.realised import mix_of
from apps.routing.core.traffic import Bools, Difference, Estimate, Traffic, difference

KINDS: Final = (
    "move", "drop", "cache", "batch", "cap", "local", "runaway", "retries", "renegotiate",
)  # fmt: skip
# Less than this share of the window's spend is not worth anybody's time.
WORTH_TELLING: Final = 0.001
# A part of a move has to show so many requests in the sample, and a certain gain.
PART_SEEN: Final = 20
# A backend is given up when its moves take so much of its spend away.
DROPPED: Final = 0.9
# Answers of so many times the median are cut, where there is no finding about them.
LONG_ANSWER: Final = 6.0
# What a provider may give for a commitment: a guess, and said to be one.
DISCOUNT: Final = 0.05
LARGE_SHARE: Final = 0.15


@dataclass(frozen=True, slots=True)
class Opportunity:
    """`key` is the same from day to day. `saving`, `gain` and `requests` are of 30 days; quality in
    points on the requests concerned. `facts` are numbers and names for the words."""

    kind: str
    key: str
    saving: Estimate
    gain: Estimate
    quality_points: Estimate
    requests: float
    change: Change
    facts: Mapping[str, Any] = field(default_factory=dict)
    # Days of the last 30 on which it took place.
    lasted_days: float = 30.0

    @property
    def rate_usd(self) -> float:
        """The low end of the gain of 30 days of it."""
        return self.gain.low * 30.0 / min(max(self.lasted_days, 1 / 24), 30.0)

    @property
    def confidence(self) -> str:
        """By how wide the interval of the gain is: high, medium, low."""
        if self.gain.mean <= 0 or self.gain.low <= 0:
            return "low"
        share = self.gain.low / self.gain.mean
        return "high" if share >= 0.7 else "medium"


def find_opportunities(
    traffic: Traffic,
    *,
    months: float,
    local_places: Mapping[str, float],
    episodes: Sequence[Change] = (),
    storms: Sequence[Change] = (),
) -> list[Opportunity]:
    """All but those that stand on findings, the best first. `local_places`: requests an hour.
    `episodes` and `storms` name the requests that findings of loops and of lost caches are about:
    what is unusual is no class of work."""
    if not len(traffic):
        return []
    usual = ~in_episodes(traffic, episodes)
    moves = _moves(traffic, usual)
    dropped = _dropped(traffic, moves)
    found = [
        *_drops(traffic, moves, dropped, months),
        *_moves_by_task(traffic, moves, dropped, months),
        *_caches(traffic, storms, months),
        *_batches(traffic, moves, months),
        *_caps(traffic, usual, episodes, months),
        *_locals(traffic, usual, moves, local_places, months),
        *_discounts(traffic, months),
    ]
    least = WORTH_TELLING * float((traffic.weight * traffic.actual_cost()).sum()) / months
    return ranked([one for one in found if one.saving.mean >= least])


def ranked(found: Sequence[Opportunity]) -> list[Opportunity]:
    return sorted(found, key=lambda one: (-one.rate_usd, -one.gain.mean, one.key))


def from_difference(
    kind: str,
    key: str,
    found: Difference,
    change: Change,
    months: float,
    *,
    lasted_days: float = 30.0,
    **facts: Any,
) -> Opportunity:
    return Opportunity(
        kind=kind,
        key=key,
        saving=found.saved.times(1 / months),
        gain=found.gained.times(1 / months),
        quality_points=found.quality_points,
        requests=found.moved / months,
        change=change,
        facts=facts,
        lasted_days=lasted_days,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """Requests of a task and tier on a backend, and where they would rather run."""

    task: int
    tier: int
    here: int
    there: int

    def move(self, traffic: Traffic) -> dict[str, str]:
        labels = traffic.labels
        return {
            "task": labels.tasks[self.task],
            "tier": labels.tiers[self.tier],
            "from": labels.backends[self.here],
            "to": labels.backends[self.there],
        }


def _moves(traffic: Traffic, usual: Bools, *, to_local: bool = False) -> list[_Part]:
    """Of each task, tier and cloud backend the backend that gains most, where it is cheaper and the
    gain is as good as certain. `usual`: the requests to judge by."""
    tiers, backends = len(traffic.labels.tiers), len(traffic.labels.backends)
    group = (traffic.task * tiers + traffic.tier) * backends + traffic.actual
    parts = []
    for key in np.unique(group[usual]):
        chosen = usual & (group == key)
        if chosen.sum() >= PART_SEEN:
            here = int(key % backends)
            there = _best_elsewhere(traffic.only(chosen), here, to_local=to_local)
            if there is not None:
                task, tier = divmod(int(key) // backends, tiers)
                parts.append(_Part(task, tier, here, there))
    return parts


def _best_elsewhere(one: Traffic, here: int, *, to_local: bool) -> int | None:
    """Quality and length are the same unknowns for all of a part: its gain is tried as a whole."""
    local = np.array(one.labels.is_local)
    if local[here]:
        return None
    priced = np.isfinite(one.cost).all(axis=0)
    cost = np.where(priced, one.cost, 0.0)
    gain = np.where(priced, one.gain(), -np.inf)
    gained = one.weight @ (gain - gain[:, [here]])
    saved = one.weight @ (cost[:, [here]] - cost)
    may = one.eligible.all(axis=0) & (local == to_local) & priced & (saved > 0) & (gained > 0)
    if not may.any():
        return None
    there = int(np.where(may, gained, -np.inf).argmax())
    certain = difference(one, np.full(len(one), there)).gained.low > 0
    return there if certain else None


def _dropped(traffic: Traffic, moves: Sequence[_Part]) -> list[int]:
    """Backends of several tasks from which nearly all would rather go: nobody gains from them."""
    choice = moved_choice(traffic, [part.move(traffic) for part in moves])
    cost = traffic.weight * traffic.actual_cost()
    backends = len(traffic.labels.backends)
    spent = np.bincount(traffic.actual, cost, backends)
    left = np.bincount(traffic.actual, cost * (choice == traffic.actual), backends)
    tasks = [len({p.task for p in moves if p.here == b}) for b in range(backends)]
    return [
        b
        for b in range(backends)
        if spent[b] > 0 and tasks[b] > 1 and left[b] <= (1 - DROPPED) * spent[b]
    ]


def _drops(
    traffic: Traffic, moves: Sequence[_Part], dropped: Sequence[int], months: float
) -> Iterator[Opportunity]:
    for backend in dropped:
        rows = [part.move(traffic) for part in moves if part.here == backend]
        name = traffic.labels.backends[backend]
        yield _of_moves(traffic, "drop", f"drop:{name}", rows, months, backend=name)


def _moves_by_task(
    traffic: Traffic, moves: Sequence[_Part], dropped: Sequence[int], months: float
) -> Iterator[Opportunity]:
    for task, name in enumerate(traffic.labels.tasks):
        rows = [p.move(traffic) for p in moves if p.task == task and p.here not in dropped]
        if rows:
            yield _of_moves(traffic, "move", f"move:{name}", rows, months, task=name)


def _of_moves(
    traffic: Traffic,
    kind: str,
    key: str,
    rows: list[dict[str, str]],
    months: float,
    **facts: Any,
) -> Opportunity:
    change = {"kind": "moves", "moves": rows}
    choice = moved_choice(traffic, rows)
    moved = choice != traffic.actual
    usd = traffic.weight * (traffic.actual_cost() - traffic.cost[traffic.rows, choice])
    backends = traffic.labels.backends
    taken = np.bincount(traffic.actual[moved], usd[moved], len(backends))
    given = np.bincount(choice[moved], traffic.weight[moved], len(backends))
    return from_difference(
        kind,
        key,
        replay_change(traffic, change),
        change,
        months,
        dearest=backends[int(taken.argmax())],
        mostly_to=backends[int(given.argmax())],
        by_source={backends[b]: float(taken[b]) / months for b in np.flatnonzero(taken > 0)},
        tiers=sorted({row["tier"] for row in rows}, key=traffic.labels.tiers.index),
        mix=mix_of(traffic, _cells(rows)),
        **facts,
    )


def _cells(rows: Sequence[Mapping[str, str]]) -> set[tuple[str, str]]:
    return {(row["task"], row["tier"]) for row in rows}


def _caches(traffic: Traffic, storms: Sequence[Change], months: float) -> Iterator[Opportunity]:
    """Stretches in which a cache took nothing although prefixes repeat."""
    for task, backend in _pairs(traffic, traffic.has_lost_cache | in_episodes(traffic, storms)):
        change = {
            "kind": "cache", "task": task, "backend": backend,
            "episodes": [s for s in storms if (s.get("task"), s.get("backend")) == (task, backend)],
        }  # fmt: skip
        chosen = without_cache(traffic, change)
        hours = _hours(traffic, chosen)
        yield from_difference(
            "cache", f"cache:{task}:{backend}", replay_change(traffic, change), change, months,
            lasted_days=hours / 24.0 / months, task=task, backend=backend, hours=hours,
            first_s=float(traffic.ts_s[chosen].min()), last_s=float(traffic.ts_s[chosen].max()),
        )  # fmt: skip


def _hours(traffic: Traffic, chosen: Bools) -> float:
    """In how many hours there were such requests."""
    return float(len(np.unique(traffic.ts_s[chosen] // HOUR_S)))


def _batches(traffic: Traffic, moves: Sequence[_Part], months: float) -> Iterator[Opportunity]:
    rows = [part.move(traffic) for part in moves]
    stays = moved_choice(traffic, rows) == traffic.actual
    waits = ~traffic.is_urgent & stays & (traffic.batch_usd < traffic.actual_cost())
    for task, backend in _pairs(traffic, waits):
        change = {"kind": "batch", "task": task, "backend": backend, "without": rows}
        found = replay_change(traffic, change)
        yield from_difference(
            "batch", f"batch:{task}:{backend}", found, change, months, task=task, backend=backend
        )


def _caps(
    traffic: Traffic, usual: Bools, episodes: Sequence[Change], months: float
) -> Iterator[Opportunity]:
    """Answers far beyond what the task needs elsewhere: a lower max_tokens would have cut them."""
    priced = usual & (traffic.length_usd[traffic.rows, traffic.actual] > 0)
    for task, backend in _pairs(traffic, priced):
        change: dict[str, Any] = {"kind": "cap", "task": task, "backend": backend}
        lengths = traffic.tokens_out[covered(traffic, change) & usual]
        tokens = round(LONG_ANSWER * float(np.median(lengths)))
        cut = float((lengths > tokens).mean())
        if tokens and cut > 0:
            change |= {"tokens": tokens, "episodes": list(episodes)}
            found = replay_change(traffic, change)
            yield from_difference(
                "cap", f"cap:{task}:{backend}", found, change, months,
                task=task, backend=backend, tokens=tokens, cut_share=cut,
            )  # fmt: skip


def _locals(
    traffic: Traffic,
    usual: Bools,
    moves: Sequence[_Part],
    places: Mapping[str, float],
    months: float,
) -> Iterator[Opportunity]:
    """Work that would do as well on places that stand idle; what is moved already is left out."""
    gone = {(p.task, p.tier, p.here) for p in moves}
    parts = [
        p for p in _moves(traffic, usual, to_local=True) if (p.task, p.tier, p.here) not in gone
    ]
    rows = [part.move(traffic) for part in parts]
    change = {"kind": "local", "places": dict(places), "moves": rows}
    found = replay_change(traffic, change)
    if found.moved:
        yield from_difference(
            "local", "local", found, change, months, places=dict(places),
            tasks=sorted({row["task"] for row in rows}), mix=mix_of(traffic, _cells(rows)),
        )  # fmt: skip


def _discounts(traffic: Traffic, months: float) -> Iterator[Opportunity]:
    """What a few per cent off a large provider's bill would come to. Nobody has promised it: its
    interval begins at nothing."""
    cost = traffic.weight * traffic.actual_cost()
    for provider in sorted({name.partition("/")[0] for name in traffic.labels.backends}):
        change = {"kind": "price", "provider": provider, "discount": DISCOUNT}
        chosen = covered(traffic, change)
        if provider == "local" or cost[chosen].sum() < LARGE_SHARE * cost.sum():
            continue
        saved = replay_change(traffic, change).saved.times(1 / months)
        hoped = Estimate(saved.mean, 0.0, 2 * saved.mean)
        yield Opportunity(
            "renegotiate", f"renegotiate:{provider}", hoped, hoped, Estimate(0, 0, 0),
            float(traffic.weight[chosen].sum()) / months, change,
            {"provider": provider, "discount": DISCOUNT,
             "spent_usd": float(cost[chosen].sum()) / months},
        )  # fmt: skip


def _pairs(traffic: Traffic, chosen: Bools) -> list[tuple[str, str]]:
    """The tasks and backends of some requests."""
    pairs = np.unique(np.stack([traffic.task[chosen], traffic.actual[chosen]], axis=1), axis=0)
    labels = traffic.labels
    return [(labels.tasks[task], labels.backends[backend]) for task, backend in pairs]
