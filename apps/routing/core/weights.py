"""Weights for gateways that take nothing finer: by department, tier and task, the share of requests
that the rule sends to each backend. Pure.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from string import ascii_lowercase, digits
from typing import Final

from apps.routing.core.policy import Policy
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
