"""Where the policy would send what ran: requests by its weights, at its own prices. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from apps.routing.core.policy import Policy
from apps.routing.core.weights import PLACES

NO_DEPARTMENT: Final = "-"
TENTHS: Final = 10


class Ran(NamedTuple):
    """Requests of a kind on a backend, and what they came to."""

    backend: str
    department: str
    tier: str
    task: str
    requests: int
    cost_usd: float
    input_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Flow:
    """Of one backend: what ran there and cost, and what would."""

    backend: str
    ran: float = 0.0
    would: float = 0.0
    ran_usd: float = 0.0
    would_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class WouldSend:
    """`moved`: requests that would have run elsewhere; USD of what they cost and would have."""

    flows: tuple[Flow, ...]
    requests: float
    moved: float
    ran_usd: float
    would_usd: float


def would_send(policy: Policy, rows: Iterable[Ran]) -> WouldSend:
    """What stays where it ran costs what it did; what moves, its tokens at the policy's prices.
    Requests of a kind that the weights say nothing of stay."""
    flows: dict[str, Flow] = defaultdict(lambda: Flow(""))
    requests = moved = 0.0
    backends = {backend.name: backend for backend in policy.backends}
    for row in rows:
        here = flows[row.backend]
        here.ran += row.requests
        here.ran_usd += row.cost_usd
        requests += row.requests
        shares = shares_of(policy, row.department, row.tier, row.task) or {row.backend: 1.0}
        for name, share in shares.items():
            there = flows[name]
            there.would += share * row.requests
            if name == row.backend:
                there.would_usd += share * row.cost_usd
                continue
            moved += share * row.requests
            backend = backends[name]
            usd_out = backend.usd_out * backend.out_multiplier
            there.would_usd += share * (
                row.input_tokens * backend.usd_in + row.output_tokens * usd_out
            )
    for name, flow in flows.items():
        flow.backend = name
    ordered = sorted(flows.values(), key=lambda flow: (-max(flow.ran, flow.would), flow.backend))
    return WouldSend(
        tuple(ordered),
        requests,
        moved,
        sum(flow.ran_usd for flow in ordered),
        sum(flow.would_usd for flow in ordered),
    )


def shares_of(policy: Policy, department: str, tier: str, task: str) -> dict[str, float]:
    """The shares that the weights give each backend; nothing where they say nothing."""
    told = policy.weights.get(department) or policy.weights.get(NO_DEPARTMENT)
    if not told or tier not in policy.tiers or task not in policy.tasks:
        return {}
    cells: Sequence[str] = told.split(",")
    cell = cells[policy.tiers.index(tier) * len(policy.tasks) + policy.tasks.index(task)]
    if not cell:
        return {}
    shares = {
        policy.backends[PLACES.index(place)].name: int(tenths) / TENTHS
        for place, tenths in zip(cell[:-1:2], cell[1:-1:2], strict=True)
    }
    last = policy.backends[PLACES.index(cell[-1])].name
    return shares | {last: round(1.0 - sum(shares.values()), 6)}
