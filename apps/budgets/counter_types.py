"""What counters are asked and what they answer. Part of services."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.budgets.core.amounts import Unit
from apps.budgets.core.periods import Period


class CountersLost(Exception):
    """The counters are not there, or not to be trusted: they must be rebuilt first."""


class CountersUnreachable(CountersLost):
    """Redis does not answer: whether the counters are still there is not known."""


@dataclass(frozen=True, slots=True, order=True)
class CounterId:
    """One budget's one period."""

    budget_id: int
    period_start: datetime

    @classmethod
    def of(cls, budget_id: int, period: Period) -> "CounterId":
        return cls(budget_id, period.start)


@dataclass(frozen=True, slots=True)
class Amount:
    """Whole counts and what is below one, in 1e-15 of a count: 0 <= frac < 1e15."""

    number: int
    frac: int = 0

    def __str__(self) -> str:
        return f"{self.number} {self.frac}"


@dataclass(frozen=True, slots=True)
class Balance:
    """A counter as it stands; `spent` exact, `held` whole counts."""

    limit: int
    spent: Amount
    held: int
    left: int
    is_cap: bool
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """A cap that a reservation would break: the place of its counter, and how it stands."""

    place: int
    limit: int
    spent: int
    held: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Every cap that would break."""

    caps: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """Set aside in every counter."""


@dataclass(frozen=True, slots=True)
class Seen:
    """This request has a decision already."""

    decision_id: str


@dataclass(frozen=True, slots=True)
class Unready:
    """A counter is not there yet, or is being filled."""

    counter: CounterId


@dataclass(frozen=True, slots=True)
class Wanted:
    """A reservation: an amount of each counter."""

    decision_id: str
    request_id: str
    amounts: Sequence[tuple[CounterId, int]]
    expires_at: datetime
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class LeaseWanted:
    """A lease: counters by unit, and the most that is wanted of each unit (None: as much as there
    is). `routers` share `share_percent` of what is left, while over `floor_percent` of a limit is.
    """

    lease_id: str
    request_id: str
    router_id: int
    counters: Sequence[tuple[CounterId, Unit]]
    most: Mapping[Unit, int | None]
    routers: int
    share_percent: int
    floor_percent: int
    expires_at: datetime
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Leased:
    """What was set aside, in counts of each unit; None where no cap bounds it."""

    counts: Mapping[Unit, int | None]


@dataclass(frozen=True, slots=True)
class Filling:
    """What a counter is filled with."""

    limit: int
    is_cap: bool
    spent: Amount
    ttl_ms: int
