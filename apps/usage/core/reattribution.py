"""Re-attribution: which charges, to whom; what a dry run adds up. Pure.

Money is integers of 1e-24 USD, as rating has it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from apps.usage.core.attribution import MAX_TARGET_LENGTH, TARGETS, Target
from apps.usage.core.events import MAX_NAME_LENGTH, MAX_TAG_LENGTH
from apps.usage.core.repricing import RepricingRefusedError, usd

# What charges may be chosen by, beside their time.
FILTERS: Final = (*TARGETS, "provider", "model", "key", "source", "user", "tag")
# An attempt may say nothing of these.
OPTIONAL: Final = frozenset((*TARGETS, "user"))
MAX_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class MoveScope:
    """Charges of [starts_at, ends_at) by when they occurred that meet all of `where`, and `to`
    whom they go.

    None: not attributed. "key" is an API key's id as text, "tag" is NAME=VALUE. What `to` does not
    name stays as it is.
    """

    starts_at: datetime
    ends_at: datetime
    where: Mapping[str, str | None]
    to: Mapping[Target, str | None]


def check_move(scope: MoveScope) -> None:
    """Raises RepricingRefusedError, naming the field at fault."""
    for name, value in scope.where.items():
        if name not in FILTERS:
            raise RepricingRefusedError(
                f"charges are chosen by {', '.join(FILTERS)}, not by {name!r}", field="where"
            )
        if value is None and name not in OPTIONAL:
            raise RepricingRefusedError(f"every charge has a {name}; say which", field=name)
        if value is not None and not 0 < len(value) <= 2 * MAX_TAG_LENGTH + 1:
            raise RepricingRefusedError(f"the {name} is empty or too long", field=name)
    key = scope.where.get("key")
    if key is not None and not (key.isascii() and key.isdigit() and len(key) <= 18):
        raise RepricingRefusedError("a key is named by its id, a number", field="key")
    tag = scope.where.get("tag")
    if tag is not None and not all(tag.partition("=")):
        raise RepricingRefusedError("write a tag as NAME=VALUE", field="tag")
    if not scope.to:
        raise RepricingRefusedError("say to whom the charges go", field="to")
    for target, to_name in scope.to.items():
        if target not in TARGETS:
            raise RepricingRefusedError(
                f"charges go to a {', '.join(TARGETS)}, not to a {target!r}", field="to"
            )
        longest = min(MAX_TARGET_LENGTH[target], MAX_NAME_LENGTH)
        if to_name is not None and not 0 < len(to_name) <= longest:
            raise RepricingRefusedError(
                f"a {target} has 1 to {longest} characters", field=f"to_{target}"
            )


def scope_as_json(scope: MoveScope) -> dict[str, Any]:
    return {"where": dict(scope.where), "to": dict(scope.to)}


def scope_from_json(starts_at: datetime, ends_at: datetime, move: Mapping[str, Any]) -> MoveScope:
    return MoveScope(starts_at, ends_at, where=move["where"], to=move["to"])


@dataclass(slots=True)
class MovedSums:
    charges: int = 0
    units: int = 0
    unpriced: int = 0
    tokens: int = 0

    def add(self, units: int, unpriced: int, tokens: int) -> None:
        self.charges += 1
        self.units += units
        self.unpriced += unpriced
        self.tokens += tokens


# Whom charges belong to, by names: what `to` changes, in its order. None: not attributed.
Whose = tuple[str | None, ...]


@dataclass(slots=True)
class MovePreview:
    """What a dry run adds up. Its size grows with months and names alone."""

    targets: tuple[Target, ...]
    charges: int = 0
    total: MovedSums = field(default_factory=MovedSums)
    months: dict[date, MovedSums] = field(default_factory=dict)
    flows: dict[tuple[Whose, Whose], MovedSums] = field(default_factory=dict)

    def add(
        self, month: date, before: Whose, after: Whose, *, units: int, unpriced: int, tokens: int
    ) -> None:
        """One charge that moves."""
        for sums in (
            self.total,
            self.months.setdefault(month, MovedSums()),
            self.flows.setdefault((before, after), MovedSums()),
        ):
            sums.add(units, unpriced, tokens)

    def as_json(self, new_names: Iterable[str]) -> dict[str, Any]:
        """The dry run's answer as a page or the API shows it. `changed` of `charges` move."""
        largest = sorted(self.flows.items(), key=lambda flow: (-flow[1].units, -flow[1].charges))
        return {
            "charges": self.charges,
            "changed": self.total.charges,
            "moved_usd": usd(self.total.units),
            "unpriced": self.total.unpriced,
            "tokens": self.total.tokens,
            "new_names": sorted(new_names),
            "months": [
                {"month": f"{month:%Y-%m}"} | _sums_as_json(sums)
                for month, sums in sorted(self.months.items())
            ],
            "flows": [
                {"from": self._named(before), "to": self._named(after)} | _sums_as_json(sums)
                for (before, after), sums in largest[:MAX_SHOWN]
            ],
            "more_flows": max(0, len(largest) - MAX_SHOWN),
        }

    def _named(self, whose: Whose) -> dict[str, str | None]:
        return dict(zip(self.targets, whose, strict=True))


def _sums_as_json(sums: MovedSums) -> dict[str, Any]:
    return {
        "changed": sums.charges,
        "moved_usd": usd(sums.units),
        "unpriced": sums.unpriced,
        "tokens": sums.tokens,
    }
