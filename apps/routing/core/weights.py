"""Weights for gateways that take nothing finer: by department, tier and task, the share of requests
that the rule sends to each backend. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from string import ascii_lowercase, digits
from typing import Final

from apps.routing.core.policy import Policy, Throttle, fit_throttles
from apps.routing.core.rule import Request, Room, Rule

PLACES: Final = digits + ascii_lowercase


def with_weights(policy: Policy, recent: Iterable[Request]) -> Policy:
    """The policy with its weights, from what the rule does with recent requests.

    Told as in Policy. What was not asked for of late goes to the cheapest backend that meets its
    floor; nothing stands where none does. Beyond 36 backends there are no weights.
    """
    if len(policy.backends) > len(PLACES):
        return policy
    rule = Rule(policy)
    room = Room(
        policy.month_left_usd,
        policy.day_left_usd,
        {name: d.left_usd for name, d in policy.departments.items()},
        policy.local_requests_left,
    )
    names = {backend.name: n for n, backend in enumerate(policy.backends)}
    counts: dict[tuple[str, str, str], Counter[int]] = {}
    for request in recent:
        choice = rule.decide(request, room)
        if choice.backend is not None:
            key = (request.department, request.tier, request.task)
            counts.setdefault(key, Counter())[names[choice.backend]] += 1
    weights = {
        department: ",".join(
            _told(counts.get((department, tier, task)), _cheapest(policy, tier, task))
            for tier in policy.tiers
            for task in policy.tasks
        )
        for department in policy.departments
    }
    return replace(policy, weights=weights)


def with_throttles(
    policy: Policy, throttles: Sequence[Throttle], weights: Mapping[str, str]
) -> Policy:
    """The policy with what throttles now, and with its planned weights but where that leaves a
    whole department's requests the cheapest backend."""
    told, left_out = fit_throttles(throttles)
    whole = [one for one in throttles if not (one.customer or one.project or one.router)]
    return replace(
        policy,
        throttles=told,
        throttles_left_out=left_out,
        weights={
            department: _throttled(policy, row, [t for t in whole if _is_about(t, department)])
            for department, row in weights.items()
        },
    )


def _is_about(throttle: Throttle, department: str) -> bool:
    return not throttle.departments or department in throttle.departments


def _throttled(policy: Policy, row: str, throttles: Sequence[Throttle]) -> str:
    """A department's weights: those of a cell all to its cheapest, where one of these covers all
    that it may run on."""
    if not throttles:
        return row
    cells = row.split(",")
    kinds = ((tier, task) for tier in policy.tiers for task in policy.tasks)
    for n, (tier, task) in enumerate(kinds):
        may_run = {b for b in range(len(policy.backends)) if policy.is_eligible(tier, task, b)}
        if may_run and any(not one.backends or may_run <= {*one.backends} for one in throttles):
            cells[n] = _told(None, _cheapest(policy, tier, task))
    return ",".join(cells)


def _told(counts: Counter[int] | None, otherwise: int | None) -> str:
    if not counts:
        return "" if otherwise is None else PLACES[otherwise]
    total = sum(counts.values())
    # Tenths by largest remainder (Hamilton): they are ten together.
    tenths = {n: 10 * count // total for n, count in counts.items()}
    by_rest = sorted(counts, key=lambda n: (-(10 * counts[n] % total), n))
    for n in by_rest[: 10 - sum(tenths.values())]:
        tenths[n] += 1
    *others, last = sorted(n for n, share in tenths.items() if share)
    return "".join(f"{PLACES[n]}{tenths[n]}" for n in others) + PLACES[last]


def _cheapest(policy: Policy, tier: str, task: str) -> int | None:
    eligible = [n for n in range(len(policy.backends)) if policy.is_eligible(tier, task, n)]
    if not eligible:
        return None

    def usd(n: int) -> tuple[bool, float, int]:
        b = policy.backends[n]
        return not b.is_local, b.usd_in + b.usd_out * b.out_multiplier, n

    return min(eligible, key=usd)
