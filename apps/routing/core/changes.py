"""A change to how requests run, and what it would have come to on a window's traffic. Pure.

A change is plain JSON, so that it can be kept, replayed on other traffic, and measured once it has
been made. Its `kind` says which of the shapes below it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from apps.routing.core.traffic import Bools, Difference, Floats, Ints, Traffic, cheaper, difference

Change = Mapping[str, Any]
HOUR_S: Final = 3600
# How far off a usual cache's share, a batch's fitness or a cap on answers may be: of the saving.
CACHE_DOUBT: Final = 0.10
BATCH_DOUBT: Final = 0.15
CAP_DOUBT: Final = 0.5


def replay_change(traffic: Traffic, change: Change) -> Difference:
    """What it would have changed. Raises ValueError for a change that is none."""
    kind = change.get("kind")
    if kind == "moves":
        return difference(traffic, moved_choice(traffic, change["moves"]))
    if kind == "local":
        return difference(traffic, local_choice(traffic, change))
    if kind == "cache":
        chosen = without_cache(traffic, change)
        usd = np.where(chosen, traffic.cached_usd, traffic.actual_cost())
        return cheaper(traffic, usd, doubt=CACHE_DOUBT)
    if kind == "batch":
        stays = moved_choice(traffic, change.get("without", ())) == traffic.actual
        chosen = covered(traffic, change) & ~traffic.is_urgent & stays
        usd = np.where(chosen, traffic.batch_usd, traffic.actual_cost())
        return cheaper(traffic, usd, doubt=BATCH_DOUBT)
    if kind == "cap":
        return cheaper(traffic, _capped_usd(traffic, change), doubt=CAP_DOUBT)
    if kind == "price":
        factor = np.where(covered(traffic, change), 1.0 - float(change["discount"]), 1.0)
        return cheaper(traffic, traffic.actual_cost() * factor)
    raise ValueError(f"{kind!r} is no change that can be replayed")


def covered(traffic: Traffic, change: Change) -> Bools:
    """Requests that agree with every field that the change names. A provider is the part of a
    backend's key before the stroke."""
    labels = traffic.labels
    found = np.ones(len(traffic), dtype=bool)
    if task := change.get("task"):
        found &= traffic.task == _place(labels.tasks, task)
    if tier := change.get("tier"):
        found &= traffic.tier == _place(labels.tiers, tier)
    if department := change.get("department"):
        found &= traffic.department == _place(labels.departments, department)
    if customer := change.get("customer"):
        found &= traffic.customer == _place(labels.customers, customer)
    if backend := change.get("backend"):
        found &= traffic.actual == _place(labels.backends, backend)
    if provider := change.get("provider"):
        of_it = [name.partition("/")[0] == provider for name in labels.backends]
        found &= np.array(of_it, dtype=bool)[traffic.actual]
    return found


def without_cache(traffic: Traffic, change: Change) -> Bools:
    """Requests of the change whose cache took nothing, by their own count or by a finding's."""
    known = traffic.has_lost_cache | in_episodes(traffic, change.get("episodes", ()))
    lost: Bools = covered(traffic, change) & known
    return lost


def in_episodes(traffic: Traffic, episodes: Sequence[Change]) -> Bools:
    """Requests of [first_s, last_s) that agree with what an episode names."""
    found = np.zeros(len(traffic), dtype=bool)
    for one in episodes:
        during = (traffic.ts_s >= one["first_s"]) & (traffic.ts_s < one["last_s"])
        found |= during & covered(traffic, one)
    return found


def moved_choice(traffic: Traffic, moves: Sequence[Change]) -> Ints:
    """Where requests run after moves of {task, tier, from, to}, each narrowing what it names. A
    floor that bars the new backend, or a price that is missing, leaves a request where it was."""
    choice = traffic.actual.copy()
    eligible = traffic.eligible
    for move in moves:
        there = _place(traffic.labels.backends, move["to"])
        if there < 0:
            continue
        chosen = covered(traffic, {**move, "backend": move.get("from")})
        chosen &= (traffic.actual == choice) & eligible[:, there]
        choice[chosen] = there
    return choice


def local_choice(traffic: Traffic, change: Change) -> Ints:
    """Moves to local backends, in each hour as far as there are idle places: `places` is requests
    an hour by backend. Those that save most go first."""
    wanted = moved_choice(traffic, change["moves"])
    choice = traffic.actual.copy()
    if not len(traffic):
        return choice
    hour = (traffic.ts_s // HOUR_S).astype(np.int64)
    hours = int(hour.max()) + 1
    for name, places in change["places"].items():
        there = _place(traffic.labels.backends, name)
        if there >= 0:
            saved = traffic.actual_cost() - traffic.cost[:, there]
            here = np.where(traffic.actual == there, traffic.weight, 0.0)
            used = np.bincount(hour, here, hours).astype(float)
            wants = (wanted == there) & (traffic.actual != there)
            chosen = _best_of_hours(traffic, wants, saved, hour, float(places) - used)
            choice[chosen] = there
    return choice


def _best_of_hours(
    traffic: Traffic, wants: Bools, better: Floats, hour: Ints, free: Floats
) -> Ints:
    """Of those that want a place, the ones that get it: by gain, while the hour has room."""
    candidates = np.flatnonzero(wants)
    order = candidates[np.lexsort((-better[candidates], hour[candidates]))]
    weight = traffic.weight[order]
    taken = np.cumsum(weight)
    starts = np.searchsorted(hour[order], np.arange(len(free)))
    before = np.concatenate([[0.0], taken])[starts]
    within = taken - before[hour[order]]
    chosen: Ints = order[within <= free[hour[order]]]
    return chosen


def _capped_usd(traffic: Traffic, change: Change) -> Floats:
    """Costs with answers cut at `tokens`: the output part in proportion."""
    tokens = np.maximum(traffic.tokens_out, 1)
    beyond = np.maximum(traffic.tokens_out - float(change["tokens"]), 0.0) / tokens
    chosen = covered(traffic, change) & ~in_episodes(traffic, change.get("episodes", ()))
    output_usd = traffic.length_usd[traffic.rows, traffic.actual]
    capped: Floats = traffic.actual_cost() - np.where(chosen, beyond * output_usd, 0.0)
    return capped


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else -1
