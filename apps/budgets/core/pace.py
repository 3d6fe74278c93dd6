"""How a period goes: pace, the way to its end, when it runs out, thresholds reached. Pure.

A projection is of the period's total. The way there is the expected share of what is still to come
that each day brings; low and high go the same way to their own totals.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, Literal

from apps.pricing.core.money import EXACT

Health = Literal["over", "at_risk", "watch", "on_course", "not_begun", "ended"]
Basis = Literal["forecast", "pace"]
# What is told of an estimate: a billionth, as budgets have it.
TOLD: Final = Decimal("1e-9")
HEALTH_ORDER: Final[tuple[Health, ...]] = (
    "over",
    "at_risk",
    "watch",
    "on_course",
    "not_begun",
    "ended",
)


@dataclass(frozen=True, slots=True)
class Expected:
    """Eight times of ten the period ends between low and high; mid is as likely passed as not."""

    low: Decimal
    mid: Decimal
    high: Decimal

    def at_least(self, spent: Decimal) -> "Expected":
        """What is spent stays spent: no figure is below it."""
        return Expected(*(max(value, spent) for value in (self.low, self.mid, self.high)))


@dataclass(frozen=True, slots=True)
class DayShare:
    """A local day of a period: what was spent on it (a past day), or is expected to be."""

    day: date
    amount: Decimal
    is_past: bool


@dataclass(frozen=True, slots=True)
class DayTotal:
    """The period's running total by the end of a day; a past day's three figures are one."""

    day: date
    total: Expected
    is_past: bool


def pace(spent: Decimal, amount: Decimal, elapsed: Decimal) -> Decimal | None:
    """Spent against what an even spender would have by now: 1 is on pace. None at the start, and
    where nothing is allowed."""
    even = amount * elapsed
    return spent / even if even > 0 else None


def project_by_pace(spent: Decimal, elapsed: Decimal) -> Expected | None:
    """The period's total if it goes on as it went; without an interval. None in its first
    hundredth: too little to go by."""
    if elapsed < Decimal("0.01"):
        return None
    total = (spent / elapsed).quantize(TOLD)
    return Expected(total, total, total)


def running_totals(days: Sequence[DayShare], spent: Decimal, end: Expected) -> list[DayTotal]:
    """Day by day from nothing to the period's end; days to come share what is still missing."""
    to_come = sum((day.amount for day in days if not day.is_past), Decimal(0))
    left = sum(1 for day in days if not day.is_past)
    totals: list[DayTotal] = []
    past, share = Decimal(0), Decimal(0)
    for day in days:
        if day.is_past:
            past = EXACT.add(past, day.amount)
            totals.append(DayTotal(day.day, Expected(past, past, past), is_past=True))
            continue
        share += day.amount / to_come if to_come > 0 else Decimal(1) / left
        way = min(share, Decimal(1))
        totals.append(
            DayTotal(
                day.day,
                Expected(*(_between(spent, goal, way) for goal in (end.low, end.mid, end.high))),
                is_past=False,
            )
        )
    return totals


def _between(spent: Decimal, goal: Decimal, way: Decimal) -> Decimal:
    return spent + max(goal - spent, Decimal(0)) * way


def runs_out(days: Iterable[DayTotal], amount: Decimal) -> tuple[date | None, date | None]:
    """The day on which the amount is used up as expected, and the earliest (at the high end);
    None where it lasts."""
    expected: date | None = None
    earliest: date | None = None
    for day in days:
        if earliest is None and day.total.high >= amount:
            earliest = day.day
        if day.total.mid >= amount:
            expected = day.day
            break
    return expected, earliest


def health(*, amount: Decimal, spent: Decimal, held: Decimal, projected: Expected | None) -> Health:
    """In a word. Over: used up already. At risk: expected to be. Watch: it may be."""
    if spent > amount or (spent + held >= amount and spent > 0):
        return "over"
    if projected is not None and projected.mid > amount:
        return "at_risk"
    if projected is not None and projected.high > amount:
        return "watch"
    return "on_course"


def reached(amount: Decimal, measured: Decimal, thresholds: Iterable[Decimal]) -> list[Decimal]:
    """The thresholds (percent of the amount) that a sum is at or over, lowest first. Of nothing,
    whatever is spent is over every threshold."""
    if measured <= 0:
        return []
    whole = EXACT.multiply(measured, Decimal(100))
    return sorted(t for t in thresholds if whole >= EXACT.multiply(t, amount))
