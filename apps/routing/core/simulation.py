"""A month of requests, one by one: decided, and only then told what it cost and how it went. Pure.

`Router` is what is tried: `Steered` is the product's own (the control loop and the rule, exactly as
they serve production); bench/ has others to hold beside it. The caps are kept here, whoever routes.
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from apps.routing.core.caps import Caps
from apps.routing.core.catalog import Catalog
from apps.routing.core.rule import Choice, Request, Room, Rule
from apps.routing.core.steering import Steering

PACE_S: Final = 300


class Outcome(NamedTuple):
    """What came of a request on the backend it ran on; `success` 0 to 1, None where nobody says."""

    cost_usd: float
    success: float | None


class Decided(NamedTuple):
    """`because` as in Choice, or "cap" when what was chosen did not fit a cap and something cheaper
    or nothing took its place. `propensity` is the chance with which it was to be chosen."""

    number: int
    backend: str | None
    because: str
    propensity: float
    outcome: Outcome | None


class Router(Protocol):
    """Decides each request, and hears of what came of it."""

    def choose(self, ts_s: float, request: Request, room: Room) -> tuple[Choice, float]:
        """The choice and its propensity."""
        ...

    def fallbacks(self, request: Request) -> Iterable[Choice]:
        """What to try when a cap refuses the choice, in this order."""
        ...

    def settled(self, ts_s: float, request: Request, choice: Choice, outcome: Outcome) -> None: ...


OutcomeOf = Callable[[int, str], Outcome]


def simulate(
    catalog: Catalog,
    requests: Iterable[tuple[float, Request]],
    outcome_of: OutcomeOf,
    router: Router,
    *,
    settle_after_s: float = 0.0,
    caps: Caps | None = None,
) -> Iterator[Decided]:
    """Yields each decision before the outcome of the next is asked for.

    `outcome_of(n, backend)` is called once for each request that runs, after it was decided and
    never for a backend that was not chosen. The router hears of it `settle_after_s` later,
    and until then its worst case is held.
    """
    caps = caps or Caps(
        catalog.month_usd, catalog.day_usd, catalog.department_usd, catalog.local_requests_per_hour
    )
    running: deque[tuple[float, int, int, Request, Choice, Outcome]] = deque()
    for number, (ts_s, request) in enumerate(requests):
        while running and running[0][0] <= ts_s:
            _settle(caps, router, running.popleft())
        caps.turn_to(ts_s)
        choice, propensity = router.choose(ts_s, request, caps.room)
        held = _admit(caps, request, choice, catalog)
        if held is None:
            choice, held = _instead(caps, router, request, catalog)
        if choice.backend is None:
            yield Decided(number, None, choice.because, propensity, None)
            continue
        outcome = outcome_of(number, choice.backend)
        entry = (ts_s + settle_after_s, caps.day, held, request, choice, outcome)
        if settle_after_s > 0:
            running.append(entry)
        else:
            _settle(caps, router, entry)
        yield Decided(number, choice.backend, choice.because, propensity, outcome)
    while running:
        _settle(caps, router, running.popleft())


def _settle(
    caps: Caps, router: Router, entry: tuple[float, int, int, Request, Choice, Outcome]
) -> None:
    ts_s, day, held, request, choice, outcome = entry
    if held >= 0:
        caps.settle(request.department, day, held, outcome.cost_usd)
    router.settled(ts_s, request, choice, outcome)


def _admit(caps: Caps, request: Request, choice: Choice, catalog: Catalog) -> int | None:
    """What is held for it; -1 where no money is (local, refused); None where it does not fit."""
    if choice.backend is None:
        return -1
    if choice.backend in catalog.local_names:
        return -1 if caps.take_local_place() else None
    return caps.hold(request.department, choice.hold_usd)


def _instead(caps: Caps, router: Router, request: Request, catalog: Catalog) -> tuple[Choice, int]:
    for choice in router.fallbacks(request):
        held = _admit(caps, request, choice, catalog)
        if held is not None:
            return choice._replace(because="cap"), held
    return Choice(None, 0.0, 0.0, "cap"), -1


@dataclass(slots=True)
class Steered:
    """The product: one router that is told of every plan at once.

    A share of the requests is decided with optimistic qualities, so that a backend is not given up
    for ever; the propensity of what was chosen is handed out for the log.
    """

    steering: Steering
    chance: random.Random
    pace_every_s: float = PACE_S
    rule: Rule | None = None
    _next_s: float = 0.0

    def choose(self, ts_s: float, request: Request, room: Room) -> tuple[Choice, float]:
        if self.rule is None or ts_s >= self._next_s:
            self.rule = self.steering.tick(ts_s, room, self.rule)
            self._next_s = (ts_s // self.pace_every_s + 1) * self.pace_every_s
        choice, propensity = explored(self.rule, request, room, self.chance)
        self.steering.arrive(ts_s, request)
        return choice, propensity

    def fallbacks(self, request: Request) -> Iterator[Choice]:
        return cheapest_first(self.rule, request) if self.rule else iter(())

    def settled(self, ts_s: float, request: Request, choice: Choice, outcome: Outcome) -> None:
        report(self.steering, ts_s, request, choice, outcome)


def explored(
    rule: Rule, request: Request, room: Room, chance: random.Random
) -> tuple[Choice, float]:
    """The rule's choice, now and then by optimistic qualities; with its propensity."""
    share = rule.policy.explore_share
    choice = rule.decide(request, room)
    if share <= 0.0:
        return choice, 1.0
    if chance.random() >= share:
        return choice, 1.0 - share
    other = rule.decide(request, room, explore=True)
    return other, 1.0 if other.backend == choice.backend else share


def cheapest_first(rule: Rule, request: Request) -> Iterator[Choice]:
    """Every backend that meets the floor, at its worst case."""
    for cost, option in rule.by_cost(request):
        hold = request.tokens_in * option.hold_in + request.max_tokens_out * option.hold_out
        yield Choice(option.backend, cost, 0.0 if option.is_local else hold, "cap")


def report(
    steering: Steering, ts_s: float, request: Request, choice: Choice, outcome: Outcome
) -> None:
    """Tell the control loop what a request cost and, where anybody says so, how it went."""
    if choice.backend is None:
        return
    steering.charge(request, choice.backend, choice.hold_usd, outcome.cost_usd)
    if outcome.success is not None:
        steering.learn(request, choice.backend, outcome.success, ts_s)
