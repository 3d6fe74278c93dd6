"""Many routers, each with a policy some time old, and one place that reserves. Pure.

For simulation. They read what was left when their policy was made; the caps, which production keeps
in budgets, are asked for each request. So a stale policy costs value, and never money.
"""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from apps.routing.core.rule import Choice, Request, Room, Rule
from apps.routing.core.simulation import Outcome, cheapest_first, explored, report
from apps.routing.core.steering import Steering


@dataclass(slots=True)
class Fleet:
    """`stale_s`: every router's policy is at least so old, and at most `refresh_s` more. Until
    there is one so old, the first is used."""

    steering: Steering
    chance: random.Random
    routers: int = 20
    stale_s: float = 60.0
    refresh_s: float = 60.0
    published: deque[tuple[float, Rule, Room]] = field(default_factory=deque)
    _rule: Rule | None = None

    def choose(self, ts_s: float, request: Request, room: Room) -> tuple[Choice, float]:
        if not self.published or ts_s >= self.published[-1][0] + self.refresh_s:
            self._publish(ts_s, room)
        while (
            len(self.published) > 1 and self.published[1][0] <= ts_s - self.stale_s - self.refresh_s
        ):
            self.published.popleft()
        router = self.chance.randrange(self.routers)
        # Routers fetch one after another, spread over the time between two fetches.
        old_s = self.stale_s + self.refresh_s * router / self.routers
        ready = [entry for entry in self.published if entry[0] <= ts_s - old_s]
        _, self._rule, seen = ready[-1] if ready else self.published[0]
        self.steering.arrive(ts_s, request)
        return explored(self._rule, request, seen, self.chance)

    def _publish(self, ts_s: float, room: Room) -> None:
        before = self.published[-1][1] if self.published else None
        rule = self.steering.tick(ts_s, room, before)
        seen = replace(room, department_usd=dict(room.department_usd))
        self.published.append((ts_s, rule, seen))

    def fallbacks(self, request: Request) -> Iterator[Choice]:
        return cheapest_first(self._rule, request) if self._rule else iter(())

    def settled(self, ts_s: float, request: Request, choice: Choice, outcome: Outcome) -> None:
        report(self.steering, ts_s, request, choice, outcome)
