"""What people decided by hand: which backends to pin, ban or boost, and how far the policy goes.
Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

Mode = Literal["observe", "advise", "enforce"]
Action = Literal["pin", "ban", "boost"]
MODES: Final[tuple[Mode, ...]] = ("observe", "advise", "enforce")
ACTIONS: Final[tuple[Action, ...]] = ("pin", "ban", "boost")
DEFAULT_MODE: Final[Mode] = "observe"


@dataclass(frozen=True, slots=True)
class Override:
    """Holds in [starts_at, ends_at) for what agrees with every field it names. Departments by
    code. `boost_share` of a request's value is added to what the backend brings."""

    id: int
    action: Action
    backend: str
    department: str | None
    task: str | None
    tier: str | None
    boost_share: float
    starts_at: datetime
    ends_at: datetime | None
    reason: str
    actor: str

    def holds(self, now: datetime) -> bool:
        return self.starts_at <= now and (self.ends_at is None or now < self.ends_at)

    def covers(self, department: str, tier: str, task: str) -> bool:
        return (
            self.department in (None, department)
            and self.tier in (None, tier)
            and self.task in (None, task)
        )

    def words(self) -> str:
        """ "pinned by ada: the launch"."""
        done = {"pin": "pinned", "ban": "banned", "boost": "boosted"}[self.action]
        return f"{done} by {self.actor}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Hand:
    """The overrides of one kind of request, by backend; the newest of an action counts."""

    pinned: Mapping[str, Override]
    banned: Mapping[str, Override]
    boosted: Mapping[str, Override]


NO_HAND: Final = Hand({}, {}, {})


def hand_of(
    overrides: Sequence[Override], department: str, tier: str, task: str, now: datetime
) -> Hand:
    """What holds for a request now. A ban is sterner than a pin."""
    found: dict[Action, dict[str, Override]] = {action: {} for action in ACTIONS}
    for override in overrides:
        if override.holds(now) and override.covers(department, tier, task):
            found[override.action][override.backend] = override
    if not any(found.values()):
        return NO_HAND
    pinned = {name: o for name, o in found["pin"].items() if name not in found["ban"]}
    return Hand(pinned, found["ban"], found["boost"])


@dataclass(frozen=True, slots=True)
class Modes:
    """The tenant's mode, and those of departments (by code) that have their own."""

    tenant: Mode = DEFAULT_MODE
    departments: Mapping[str, Mode] | None = None

    def of(self, department: str | None) -> Mode:
        own = (self.departments or {}).get(department or "")
        return own or self.tenant
