"""How much a budget allows: dated amounts, top-ups, rollover; and units that counters can hold.

Counters are 64-bit integers: billionths of a dollar, tokens, or requests. Costs are rounded up to
them one charge at a time, so a counter never shows less than was spent; the ledger has the digits.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from apps.budgets.core.periods import Period
from apps.pricing.core.money import EXACT

Unit = Literal["usd", "tokens", "requests"]
UNITS: Final[tuple[Unit, ...]] = ("usd", "tokens", "requests")
NANO_PER_USD: Final = 1_000_000_000
# Far inside 64 bits: a sum of a limit and all that is spent against it does not overflow.
MAX_COUNT: Final = 1_000_000_000_000_000_000
MAX_AMOUNT: Final = {
    "usd": Decimal(MAX_COUNT) / NANO_PER_USD,
    "tokens": Decimal(MAX_COUNT),
    "requests": Decimal(MAX_COUNT),
}


@dataclass(frozen=True, slots=True)
class DatedAmount:
    """What the budget allows a period, from a moment on until the next dated amount."""

    effective_from: datetime
    amount: Decimal


@dataclass(frozen=True, slots=True)
class TopUp:
    """More, for a while: added to the running period's amount while it stands."""

    starts_at: datetime
    ends_at: datetime
    amount: Decimal


def to_count(amount: Decimal, unit: Unit) -> int:
    """An amount in the counter's integers, rounded up; raises ValueError if it is too large."""
    if abs(amount) > MAX_AMOUNT[unit]:
        raise ValueError(f"{amount} {unit} is more than a budget holds: {MAX_AMOUNT[unit]}")
    scaled = EXACT.scaleb(amount, 9) if unit == "usd" else amount
    return math.ceil(scaled)


def from_count(count: int, unit: Unit) -> Decimal:
    """The amount that a counter shows, exactly."""
    return EXACT.scaleb(Decimal(count), -9) if unit == "usd" else Decimal(count)


def amount_in_force(amounts: Sequence[DatedAmount], moment: datetime) -> Decimal | None:
    """The newest amount that has begun by then; None before the first.

    A change in mid-period replaces the period's whole amount: what was spent stays spent.
    """
    begun = [dated for dated in amounts if dated.effective_from <= moment]
    return max(begun, key=lambda dated: dated.effective_from).amount if begun else None


def seen_at(period: Period, now: datetime) -> datetime:
    """The moment whose amounts a period shows: now, or its nearest own instant."""
    last = max(period.start, period.end - timedelta(microseconds=1))
    return min(max(now, period.start), last)


def topped_up(top_ups: Iterable[TopUp], moment: datetime) -> Decimal:
    """What the top-ups that stand at a moment add."""
    standing = (t.amount for t in top_ups if t.starts_at <= moment < t.ends_at)
    return sum(standing, Decimal(0))


def carried_over(history: Iterable[tuple[Decimal, Decimal]]) -> Decimal:
    """What unspent money the next period inherits, from (allowed, spent) of those before it, in
    order. Overspending is not inherited: it is reported where it happened."""
    carried = Decimal(0)
    for allowed, spent in history:
        carried = max(Decimal(0), EXACT.subtract(EXACT.add(allowed, carried), spent))
    return carried
