"""A window by the policies that stood in it: each request decided by the document of its moment,
under the modes and overrides of its moment, as the decision door does. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from apps.routing.core.choosing import NoneEligible, choose
from apps.routing.core.overrides import Modes, Override, hand_of
from apps.routing.core.policy import Policy
from apps.routing.core.rule import Request, Room, Rule
from apps.routing.core.traffic import REFUSED, Ints, Traffic

NO_DEPARTMENT = "-"
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Stored:
    """What stood when. `policies` and `modes` by the moment they began, the first at or before the
    window's start unless nothing stood then; requests before the first run as they did."""

    start: datetime
    policies: Sequence[tuple[datetime, Policy]]
    modes: Sequence[tuple[datetime, Modes]]
    overrides: Sequence[Override]


def stored_choice(t: Traffic, stored: Stored) -> Ints:
    """Where each would have been sent first: caps and places are for the replay to keep."""
    choice = t.actual.copy()
    rule: Rule | None = None
    turn, mode_turn = 0, 0
    modes = Modes()
    for n in range(len(t)):
        at = stored.start + timedelta(seconds=float(t.ts_s[n]))
        while turn < len(stored.policies) and stored.policies[turn][0] <= at:
            rule = Rule(stored.policies[turn][1], previous=rule)
            turn += 1
        while mode_turn < len(stored.modes) and stored.modes[mode_turn][0] <= at:
            modes = stored.modes[mode_turn][1]
            mode_turn += 1
        if rule is not None:
            choice[n] = _decided(t, n, rule, modes, stored)
    return choice


def _decided(t: Traffic, n: int, rule: Rule, modes: Modes, stored: Stored) -> int:
    labels, policy = t.labels, rule.policy
    at = stored.start + timedelta(seconds=float(t.ts_s[n]))
    department, tier = labels.departments[t.department[n]], labels.tiers[t.tier[n]]
    task = labels.tasks[t.task[n]]
    request = Request(
        department if department in policy.departments else NO_DEPARTMENT,
        tier,
        task if task in policy.tasks else OTHER,
        int(t.tokens_in[n]),
        float(t.tokens_out[n]),
        float(t.tokens_out[n]),
        float(t.value_usd[n]),
        0.5,
    )
    if request.department not in policy.departments or request.task not in policy.tasks:
        return int(t.actual[n])
    priced = np.isfinite(t.cost[n])
    usd = {name: float(t.cost[n, b]) for b, name in enumerate(labels.backends) if priced[b]}
    mode = modes.of(department)
    try:
        plan = choose(
            rule,
            request,
            _room(policy),
            candidates=list(usd),
            worst_usd=usd,
            hand=hand_of(stored.overrides, department, tier, task, at),
            mode=mode,
            min_quality=0.0,
            draw=str(n),
            cheapest_only=False,
        )
    except NoneEligible:
        return REFUSED
    if mode == "enforce" and plan.advised.backend is None:
        return REFUSED
    return labels.backends.index(plan.order[0])


def _room(policy: Policy) -> Room:
    """What was left when the document was issued."""
    return Room(
        policy.month_left_usd,
        policy.day_left_usd,
        {name: row.left_usd for name, row in policy.departments.items()},
        policy.local_requests_left,
    )
