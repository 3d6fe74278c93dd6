"""A window replayed another way: another policy, other prices, a new backend, another budget, more
local places. Pure.

Requests come in the order of time, each standing for its weight; a cap counts cloud spend, a local
place is one request of an hour. Floors hold for whatever is moved.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from apps.routing.core.building import Money
from apps.routing.core.catalog import Backend, Catalog
from apps.routing.core.changes import HOUR_S, moved_choice
from apps.routing.core.rule import Request
from apps.routing.core.simulation import Outcome, Steered, simulate
from apps.routing.core.steering import Steering
from apps.routing.core.traffic import REFUSED, Bools, Ints, Traffic
from apps.routing.core.what_if_asked import Asked, NewBackend, WhatIfError
from apps.routing.core.what_if_money import Purse, money_of
from apps.routing.core.what_if_result import describe
from apps.routing.core.what_if_stored import Stored, stored_choice

SEED: Final = 7
# A sample has a few requests an hour: more plans than these would say nothing new.
PLAN_S: Final = 6 * HOUR_S
PACE_S: Final = HOUR_S
WATCH_AT, STOP_AT = 0.80, 0.95
USD_PER_MTOK: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Setting:
    """What held in the window: `months` of 30 days, local places an hour by backend, the seconds
    from the local midnight before it; the budgets that stand and what was stored, where asked."""

    months: float
    local_places: Mapping[str, float]
    offset_s: float = 0.0
    money: Money | None = None
    stored: Stored | None = None


def run(traffic: Traffic, asked: Asked, setting: Setting) -> dict[str, Any]:
    """What would have come of it, beside what happened. Raises WhatIfError for an unknown name."""
    unknown = sorted(asked.backends_named() - set(traffic.labels.backends))
    if unknown:
        raise WhatIfError("backend", f"{unknown[0]!r} is no priced backend of the window")
    after = _with_prices(_with_backend(traffic, asked.new_backend), asked.prices or {})
    places = {name: n * asked.local_factor for name, n in setting.local_places.items()}
    missing = sorted(set(asked.department_usd or {}) - set(traffic.labels.departments))
    if missing:
        raise WhatIfError("department_usd", f"{missing[0]!r} spent nothing in the window")
    money = money_of(
        setting.money if asked.budgets else None,
        month_usd=asked.month_usd,
        day_usd=asked.day_usd,
        department_usd=asked.department_usd,
    )
    if asked.policy == "live":
        choice = _steered(after, places, money, setting)
    else:
        choice = _Replay(after, asked, places, money, setting).run()
    return describe(traffic, after, choice)


def _with_backend(traffic: Traffic, new: NewBackend | None) -> Traffic:
    if new is None:
        return traffic
    labels, worth = traffic.labels, traffic.worth
    like = labels.backends.index(new.like)
    # Its answers are as long as those of the backend it is like: so is the share of its output.
    tokens_out = traffic.tokens_out.astype(float)
    cost = USD_PER_MTOK * (
        traffic.tokens_in * new.usd_in_per_mtok + tokens_out * new.usd_out_per_mtok
    )
    output = USD_PER_MTOK * tokens_out * new.usd_out_per_mtok
    doubt = np.pad(traffic.length_doubt, ((0, 0), (0, 1), (0, 1)), mode="edge")
    return replace(
        traffic,
        labels=replace(
            labels,
            backends=(*labels.backends, new.name),
            is_local=(*labels.is_local, new.name.startswith("local/")),
        ),
        worth=replace(
            worth,
            level=np.column_stack([worth.level, worth.level[:, like]]),
            deviation=np.column_stack([worth.deviation, 2 * worth.deviation[:, like]]),
            table=np.column_stack([worth.table, worth.table[:, like]]),
        ),
        cost=np.column_stack([traffic.cost, cost]),
        length_usd=np.column_stack([traffic.length_usd, output]),
        length_doubt=doubt,
    )


def _with_prices(traffic: Traffic, factors: Mapping[str, float]) -> Traffic:
    factor = np.array([factors.get(name, 1.0) for name in traffic.labels.backends])
    return replace(traffic, cost=traffic.cost * factor, length_usd=traffic.length_usd * factor)


class _Replay:
    """One pass over the requests, in the order of time, under a budget and local places."""

    def __init__(
        self,
        traffic: Traffic,
        asked: Asked,
        places: Mapping[str, float],
        money: Money,
        setting: Setting,
    ) -> None:
        self.traffic, self.asked, self.setting = traffic, asked, setting
        self.purse = Purse.of(money, traffic.labels.departments, setting.months)
        self.local = np.array(traffic.labels.is_local)
        self.eligible, self.quality = traffic.eligible, traffic.quality()
        self.places = [places.get(name, np.inf) for name in traffic.labels.backends]

    def run(self) -> Ints:
        """First choices, then what fits: a place or money that is not there sends a request to the
        cheapest that meets its floor and fits, and else refuses it."""
        t = self.traffic
        first = self._first_choices()
        cost, cloud = t.cost, ~self.local
        order = np.argsort(np.where(t.eligible, cost, np.inf), axis=1)
        eligible = self.eligible
        hour, purse = -1, self.purse
        room = list(self.places)
        choice = np.full(len(t), REFUSED, dtype=np.int64)
        hours = (t.ts_s // HOUR_S).astype(int)
        is_map = self.asked.policy == "thresholds"
        for n in range(len(t)):
            if hours[n] != hour:
                hour, room = int(hours[n]), list(self.places)
            purse.turn_to(float(t.ts_s[n]) + self.setting.offset_s)
            weight, department = float(t.weight[n]), int(t.department[n])
            wanted = self._by_use(n) if is_map else int(first[n])
            if wanted == REFUSED:
                continue
            for b in (wanted, *order[n].tolist()):
                if b != first[n] and not eligible[n, b]:
                    continue
                usd = weight * float(cost[n, b])
                if (cloud[b] and not purse.fits(department, usd)) or (
                    self.local[b] and room[b] < weight
                ):
                    continue
                if cloud[b]:
                    purse.take(department, usd)
                else:
                    room[b] -= weight
                choice[n] = b
                break
        return choice

    def _first_choices(self) -> Ints:
        t, asked = self.traffic, self.asked
        eligible, backends = t.eligible, t.labels.backends
        cheapest = np.where(eligible, t.cost, np.inf).argmin(axis=1)
        policies: dict[str, Callable[[], Ints]] = {
            "as_happened": lambda: t.actual,
            "as_stored": self._as_stored,
            "cheapest": lambda: cheapest,
            "best": self._best,
            "thresholds": self._best,
            "all_to": lambda: self._where(backends.index(asked.backend or ""), cheapest),
            "tier_map": self._by_tier,
            "moves": lambda: moved_choice(t, asked.moves),
        }
        wanted = policies[asked.policy]()
        if asked.policy == "as_stored":
            return wanted
        return np.where(eligible.any(axis=1) | (wanted == t.actual), wanted, REFUSED)

    def _as_stored(self) -> Ints:
        stored = self.setting.stored
        if stored is None or not stored.policies:
            raise WhatIfError(
                "policy", "no policy stood in that window; ask for live, which plans anew"
            )
        return stored_choice(self.traffic, stored)

    def _best(self) -> Ints:
        t = self.traffic
        ranked = np.where(t.eligible, t.quality() - 1e-6 * np.minimum(t.cost, 1e3), -np.inf)
        best: Ints = ranked.argmax(axis=1)
        return best

    def _where(self, there: int, otherwise: Ints) -> Ints:
        chosen: Ints = np.where(self.traffic.eligible[:, there], there, otherwise)
        return chosen

    def _by_tier(self) -> Ints:
        t = self.traffic
        choice = t.actual.copy()
        for tier, backend in (self.asked.tiers or {}).items():
            if tier in t.labels.tiers:
                chosen = t.tier == t.labels.tiers.index(tier)
                there = t.labels.backends.index(backend)
                choice = np.where(chosen, self._where(there, choice), choice)
        return choice

    def _by_use(self, n: int) -> int:
        """The best backend until 80% is spent, the cheapest cloud one until 95%, then local."""
        t = self.traffic
        used = self.purse.used_share
        may: Bools = self.eligible[n]
        if used >= STOP_AT:
            may = may & self.local
            return int(np.where(may, -t.cost[n], -np.inf).argmax()) if may.any() else REFUSED
        if used >= WATCH_AT:
            cloud = may & ~self.local
            may = cloud if cloud.any() else may
            return int(np.where(may, -t.cost[n], -np.inf).argmax())
        return int(np.where(may, self.quality[n], -np.inf).argmax())


def _steered(traffic: Traffic, places: Mapping[str, float], money: Money, setting: Setting) -> Ints:
    """The live rule with its planner and pacer over the window, in the sample's own units: money,
    places and forecast are those of one in so many requests."""
    catalog, times, requests = _as_catalog(traffic, places, money, setting)
    names = {name: n for n, name in enumerate(traffic.labels.backends)}
    level = traffic.worth.level

    def outcome_of(n: int, backend: str) -> Outcome:
        b = names[backend]
        return Outcome(float(traffic.cost[n, b]), float(level[traffic.task[n], b]))

    steering = Steering(catalog, plan_every_s=PLAN_S, pace_every_s=PACE_S)
    router = Steered(steering, random.Random(SEED), PACE_S)  # noqa: S311 - repeatable
    choice = np.full(len(traffic), REFUSED, dtype=np.int64)
    for decided in simulate(catalog, zip(times, requests, strict=True), outcome_of, router):
        if decided.backend is not None:
            choice[decided.number] = names[decided.backend]
    return choice


def _as_catalog(
    t: Traffic, places: Mapping[str, float], money: Money, setting: Setting
) -> tuple[Catalog, list[float], list[Request]]:
    labels, worth = t.labels, t.worth
    # From a local midnight: days are the tenant's own.
    times = t.ts_s + setting.offset_s
    purse = Purse.of(money, labels.departments, setting.months)
    each = max(float(t.weight.mean()), 1e-9)
    order = sorted(range(len(labels.backends)), key=lambda b: not labels.is_local[b])
    hours = int(times.max() // HOUR_S) + 1
    counts = np.zeros((max(24, -(-hours // 24) * 24), len(labels.departments)))
    np.add.at(counts, ((times // HOUR_S).astype(int), t.department), 1.0)
    priced = np.isfinite(t.cost)
    output = np.where(priced, t.length_usd, 0.0)
    total = np.where(priced, t.cost, 0.0)
    tokens_in = np.where(priced, t.tokens_in[:, None], 0).sum(axis=0)
    tokens_out = np.where(priced, t.tokens_out[:, None], 0).sum(axis=0)
    usd_in = (total - output).sum(axis=0) / np.maximum(tokens_in, 1)
    usd_out = output.sum(axis=0) / np.maximum(tokens_out, 1)
    all_places = sum(places.get(labels.backends[b], 1e9) for b in order if labels.is_local[b])
    catalog = Catalog(
        backends=tuple(
            Backend(labels.backends[b], float(usd_in[b]), float(usd_out[b]), 1.0, 0.0,
                    labels.is_local[b])
            for b in order
        ),
        tasks=labels.tasks,
        tiers=labels.tiers,
        departments=labels.departments,
        quality={task: tuple(float(worth.table[k, b]) for b in order)
                 for k, task in enumerate(labels.tasks)},
        floors={(tier, task): float(worth.floors[i, k]) for i, tier in enumerate(labels.tiers)
                for k, task in enumerate(labels.tasks)},
        fail_multiplier={tier: float(worth.fail[i]) for i, tier in enumerate(labels.tiers)},
        reject_multiplier=worth.reject,
        month_usd=purse.left_usd / each,
        day_usd=purse.day_usd / each,
        department_usd={
            name: usd / each
            for name, usd in zip(labels.departments, purse.departments_left_usd, strict=True)
        },
        local_requests_per_hour=all_places / each,
        forecast=tuple(map(tuple, counts.tolist())),
    )  # fmt: skip
    requests = [
        Request(
            labels.departments[t.department[n]], labels.tiers[t.tier[n]], labels.tasks[t.task[n]],
            int(t.tokens_in[n]), float(t.tokens_out[n]), float(t.tokens_out[n]),
            float(t.value_usd[n]), 0.5,
        )
        for n in range(len(t))
    ]  # fmt: skip
    return catalog, times.tolist(), requests
