"""The rule that a router applies, in microseconds: plain Python, nothing imported but the standard
library and policy.py. Lift both files into a router, or write it anew from docs/routing.md.

A request goes where value x (quality - failure x (1 - quality)) - price x cost is greatest, among
the backends that meet its floor; price is 1 and the shadow prices of the budgets that cover it. The
leading 1 is the margin rule: what costs more than it gains is not chosen, however full the purse.
Local backends pay no budget's price, and that of a place instead.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final, NamedTuple

from apps.routing.core.policy import Policy

MAX_QUALITY: Final = 0.995
Options = dict[tuple[str, str], tuple["Option", ...]]
REFUSED: Final = "refused"
SHORT: Final = "short"


class Request(NamedTuple):
    """What is known before it runs. `difficulty` is 0 (easy) to 1, as the router guesses it. The
    last four matter where a budget throttles: `code` is the department's own code where it is
    priced as another ("-"), `router` the name of the key."""

    department: str
    tier: str
    task: str
    tokens_in: int
    est_tokens_out: float
    max_tokens_out: float
    value_usd: float
    difficulty: float
    customer: str = ""
    project: str = ""
    router: str = ""
    code: str = ""


class Choice(NamedTuple):
    """`backend` None: refused. `hold_usd` is the most it can cost. `because` is "best" (no money
    stood in the way), "reserve" (the cheapest, as what is left is kept for the floors of others),
    "throttled" (the cheapest, as a budget that throttles is used up), "refused" (nothing it may
    run on is worth its price) or "short" (no money for the cheapest)."""

    backend: str | None
    cost_usd: float
    hold_usd: float
    because: str


class Option(NamedTuple):
    """A backend that meets the floor of a tier and task. Worth of a request per USD of its value:
    `worth` + `slope` x difficulty, at most `ceiling`."""

    backend: str
    worth: float
    slope: float
    ceiling: float
    usd_in: float
    usd_out: float
    hold_in: float
    hold_out: float
    is_local: bool


@dataclass(slots=True)
class Room:
    """What is left just now, in USD, less what is held; and of the local hour, in requests."""

    month_usd: float = inf
    day_usd: float = inf
    department_usd: Mapping[str, float] = field(default_factory=dict)
    local_requests: float = inf


class Rule:
    """A policy made ready. A stale one (past `valid_until`) prices higher, and gives those below
    the top tier the cheapest backend that meets their floor."""

    __slots__ = (
        "_cheapest_only",
        "_explore",
        "_keep",
        "_options",
        "_price",
        "_refusal_worth",
        "_throttles",
        "local_price",
        "policy",
    )

    def __init__(
        self, policy: Policy, *, is_stale: bool = False, previous: "Rule | None" = None
    ) -> None:
        factor = policy.stale.price_factor if is_stale else 1.0
        self.policy = policy
        self.local_price = policy.local_price
        self._refusal_worth = policy.refusal_worth
        shared = policy.month_price + policy.day_price
        self._price = {
            name: 1.0 + factor * (shared + department.price)
            for name, department in policy.departments.items()
        }
        self._keep = {
            name: (department.reserve_usd, department.top_reserve_usd)
            for name, department in policy.departments.items()
        }
        self._throttles = [
            (
                throttle,
                frozenset(code.lower() for code in throttle.departments),
                frozenset(policy.backends[n].name for n in throttle.backends),
            )
            for throttle in policy.throttles
        ]
        self._options: Options
        self._explore: Options
        if previous is not None and _same_options(previous.policy, policy):
            self._options, self._explore = previous._options, previous._explore
        else:
            self._options = _options(policy, optimism=0.0)
            self._explore = _options(policy, optimism=policy.explore_optimism)
        is_bound = is_stale and policy.stale.cheapest_below_top
        self._cheapest_only = frozenset(set(policy.tiers) - {policy.top_tier}) if is_bound else ()

    def decide(self, request: Request, room: Room, explore: bool = False) -> Choice:
        """The backend for a request, or none. KeyError for a department, tier or task that the
        policy does not know. `explore` takes the qualities at their optimistic end."""
        if self._throttles and self.throttled_by(request):
            return self._within_reserve(request, room, is_throttled=True)
        department, tier, task, tokens_in, tokens_out, max_out, value, difficulty = request[:8]
        options = (self._explore if explore else self._options)[tier, task]
        price = self._price[department]
        local_price = self.local_price if room.local_requests > 0 else inf
        best = None
        most = self._refusal_worth[tier] * value
        best_cost = 0.0
        for option in options:
            _, worth, slope, ceiling, usd_in, usd_out, _, _, is_local = option
            worth += slope * difficulty
            worth = min(worth, ceiling)
            cost = tokens_in * usd_in + tokens_out * usd_out
            # No cap counts what is local: it costs what it costs, and a place.
            score = value * worth - (cost + local_price if is_local else price * cost)
            if score > most:
                most, best, best_cost = score, option, cost
        if best is None:
            return Choice(None, 0.0, 0.0, REFUSED)
        hold = 0.0 if best.is_local else tokens_in * best.hold_in + max_out * best.hold_out
        policy = self.policy
        reserve, _ = self._keep[department]
        if (
            tier not in self._cheapest_only
            and hold <= room.month_usd - policy.reserve_usd
            and hold <= room.day_usd - policy.day_reserve_usd
            and hold <= room.department_usd[department] - reserve
        ) or hold == 0.0:
            return Choice(best.backend, best_cost, hold, "best")
        return self._within_reserve(request, room)

    def throttled_by(self, request: Request) -> list[str]:
        """The names of used-up budgets that leave this request the cheapest backend alone: they
        cover it whatever it may run on."""
        if not self._throttles:
            return []
        code = (request.code or request.department).lower()
        may_run = {option.backend for option in self._options[request.tier, request.task]}
        return [
            throttle.budget
            for throttle, departments, backends in self._throttles
            if (not departments or code in departments)
            and throttle.customer in ("", request.customer)
            and throttle.project in ("", request.project)
            and throttle.router in ("", request.router)
            and (not backends or may_run <= backends)
        ]

    def _within_reserve(self, request: Request, room: Room, is_throttled: bool = False) -> Choice:
        """Money is short: the cheapest that meets the floor, as long as the top tier's floors stay
        paid for; for the top tier as long as there is any. Of what is throttled the same cheapest,
        whatever is left: a budget that throttles refuses nobody, and a cap's reservation does."""
        policy = self.policy
        own = room.department_usd[request.department]
        month, day = room.month_usd, room.day_usd
        if request.tier != policy.top_tier:
            month -= policy.top_reserve_usd
            day -= policy.top_day_reserve_usd
            own -= self._keep[request.department][1]
        left = inf if is_throttled else min(month, day, own)
        because = "throttled" if is_throttled else "reserve"
        for cost, option in self.by_cost(request):
            if option.is_local:
                if room.local_requests > 0:
                    return Choice(option.backend, cost, 0.0, because)
                continue
            hold = request.tokens_in * option.hold_in + request.max_tokens_out * option.hold_out
            if hold <= left:
                return Choice(option.backend, cost, hold, because)
        return Choice(None, 0.0, 0.0, SHORT)

    def by_cost(self, request: Request) -> list[tuple[float, Option]]:
        """The backends that meet the floor, the cheapest first; local before any."""
        rows = [
            (request.tokens_in * option.usd_in + request.est_tokens_out * option.usd_out, option)
            for option in self._options[request.tier, request.task]
        ]
        return sorted(rows, key=lambda row: (not row[1].is_local, row[0], row[1].backend))

    def narrowed(
        self, tier: str, task: str, keep: Container[str], boosts: Mapping[str, float]
    ) -> "Rule":
        """This rule for requests of one tier and task that may only go to `keep`; `boosts` adds a
        share of a request's value to what a backend brings. No floor is lowered."""
        # copy() takes the way of pickling, which costs as much as the decision.
        rule = Rule.__new__(Rule)
        for name in Rule.__slots__:
            setattr(rule, name, getattr(self, name))
        for name in ("_options", "_explore"):
            options: Options = getattr(self, name)
            kept = tuple(option for option in options[tier, task] if option.backend in keep)
            if boosts:
                kept = tuple(
                    option._replace(
                        worth=option.worth + boosts.get(option.backend, 0.0),
                        ceiling=option.ceiling + boosts.get(option.backend, 0.0),
                    )
                    for option in kept
                )
            setattr(rule, name, {(tier, task): kept})
        return rule

    def price_of(self, department: str) -> float:
        """What a USD of this department costs just now: 1 and the shadow prices."""
        return self._price[department]

    def options_of(self, tier: str, task: str) -> tuple[Option, ...]:
        return self._options[tier, task]


def _same_options(one: Policy, other: Policy) -> bool:
    """Between plans only prices change, and what they are made of is the same object."""
    return one.quality is other.quality and one.backends is other.backends


def _options(policy: Policy, *, optimism: float) -> Options:
    return {
        (tier, task): tuple(
            _option(policy, tier, task, n, optimism)
            for n in range(len(policy.backends))
            if policy.is_eligible(tier, task, n)
        )
        for tier in policy.tiers
        for task in policy.tasks
    }


def _option(policy: Policy, tier: str, task: str, n: int, optimism: float) -> Option:
    backend, fail = policy.backends[n], policy.fail_multiplier[tier]
    level, slope, deviation = policy.quality[task][n]
    stake = 1.0 + fail
    return Option(
        backend=backend.name,
        worth=stake * (level - slope * 0.5 + optimism * deviation) - fail,
        slope=stake * slope,
        ceiling=stake * MAX_QUALITY - fail,
        usd_in=backend.usd_in,
        usd_out=backend.usd_out * backend.out_multiplier,
        hold_in=backend.usd_in * backend.hold_factor,
        hold_out=backend.usd_out * backend.hold_multiplier * backend.hold_factor,
        is_local=backend.is_local,
    )
