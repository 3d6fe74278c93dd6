"""What gateways do today about a budget, to hold beside the policy: same requests, same caps."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from apps.routing.core.caps import DAY_S
from apps.routing.core.catalog import Catalog
from apps.routing.core.rule import Choice, Request, Room
from apps.routing.core.simulation import Outcome

MONTH_S = 30 * DAY_S


@dataclass(slots=True)
class Peer:
    """What the kinds below share: they send a request to the best backend that they allow, and what
    a cap refuses runs locally where the floor lets it, and else not at all."""

    catalog: Catalog
    _local: str = field(init=False)

    def __post_init__(self) -> None:
        self._local = self.catalog.backends[0].name

    def allowed(self, ts_s: float, request: Request, room: Room) -> Iterator[int]:
        raise NotImplementedError

    def choose(self, ts_s: float, request: Request, room: Room) -> tuple[Choice, float]:
        for n in self.allowed(ts_s, request, room):
            return self.choice(request, n), 1.0
        return Choice(None, 0.0, 0.0, "refused"), 1.0

    def choice(self, request: Request, n: int) -> Choice:
        backend = self.catalog.backends[n]
        usd_in = request.tokens_in * backend.usd_in
        per_out = backend.usd_out * backend.out_multiplier
        hold = 0.0 if n == 0 else usd_in + request.max_tokens_out * per_out
        return Choice(backend.name, usd_in + request.est_tokens_out * per_out, hold, "peer")

    def eligible(self, request: Request) -> list[int]:
        """By price, the dearest first; local is the last."""
        c = self.catalog
        good = [n for n in range(len(c.backends)) if c.is_eligible(request.tier, request.task, n)]
        return sorted(good, key=lambda n: -self.choice(request, n).cost_usd)

    def fallbacks(self, request: Request) -> Iterator[Choice]:
        if self.catalog.is_eligible(request.tier, request.task, 0):
            yield self.choice(request, 0)

    def settled(self, ts_s: float, request: Request, choice: Choice, outcome: Outcome) -> None:
        """A peer learns nothing."""


class ExhaustThenLocal(Peer):
    """The best model until the money is gone."""

    def allowed(self, ts_s: float, request: Request, room: Room) -> Iterator[int]:  # noqa: ARG002
        yield from self.eligible(request)


class Thresholds(Peer):
    """From 80% of the budget the second cheapest cloud backend at most, from 95% local alone."""

    def used(self, ts_s: float, room: Room) -> float:  # noqa: ARG002
        return 1.0 - room.month_usd / self.catalog.month_usd

    def allowed(self, ts_s: float, request: Request, room: Room) -> Iterator[int]:
        used, ranked = self.used(ts_s, room), self.eligible(request)
        if used < 0.80:
            yield from ranked
        elif used < 0.95:
            yield from [n for n in ranked if n][-2:] or ranked
        else:
            yield from [n for n in ranked if n == 0]


class PacedThresholds(Thresholds):
    """The same against the money that a level month would have spent by now."""

    def used(self, ts_s: float, room: Room) -> float:
        spent = self.catalog.month_usd - room.month_usd
        return spent / (self.catalog.month_usd * max(ts_s / MONTH_S, 1 / 30))


@dataclass(slots=True)
class ModelCaps(Peer):
    """A daily cap per model, an equal part of the month's money; over it, the next cheaper."""

    _spent: dict[tuple[int, str], float] = field(default_factory=dict)

    def allowed(self, ts_s: float, request: Request, room: Room) -> Iterator[int]:  # noqa: ARG002
        cap = self.catalog.month_usd / 30 / (len(self.catalog.backends) - 1)
        for n in self.eligible(request):
            name = self.catalog.backends[n].name
            if n == 0 or self._spent.get((int(ts_s // DAY_S), name), 0.0) < cap:
                yield n

    def settled(
        self,
        ts_s: float,
        request: Request,  # noqa: ARG002
        choice: Choice,
        outcome: Outcome,
    ) -> None:
        key = (int(ts_s // DAY_S), choice.backend or "")
        self._spent[key] = self._spent.get(key, 0.0) + outcome.cost_usd

    def fallbacks(self, request: Request) -> Iterator[Choice]:
        for n in self.eligible(request):
            yield self.choice(request, n)


class TierMap(PacedThresholds):
    """Each tier its model: the top tier the dearest, the lowest the cheapest cloud backend, those
    between the middle one; thresholds against the pace line for all but the top tier."""

    def allowed(self, ts_s: float, request: Request, room: Room) -> Iterator[int]:
        ranked = [n for n in self.eligible(request) if n] or self.eligible(request)
        c = self.catalog
        order = sorted(c.tiers, key=lambda tier: c.floors[tier, request.task])
        rank = order.index(request.tier)
        if rank == len(order) - 1:
            yield ranked[len(ranked) // 2]
        elif self.used(ts_s, room) >= 0.95:
            yield from [n for n in self.eligible(request) if n == 0] or ranked[-1:]
        elif rank == 0 or self.used(ts_s, room) >= 0.80:
            yield ranked[-1]
        else:
            yield ranked[-2 if len(ranked) > 1 else -1]

    def fallbacks(self, request: Request) -> Iterator[Choice]:
        for n in reversed(self.eligible(request)):
            yield self.choice(request, n)
