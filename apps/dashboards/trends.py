"""A line of a few days in a table's cell: no axis, its ends in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

WIDTH, HEIGHT, MARGIN = 72, 18, 2
FEWEST_DAYS = 3


@dataclass(frozen=True, slots=True)
class Trend:
    """Points of an SVG polyline in a box of WIDTH by HEIGHT, zero at its foot."""

    points: str
    peak: Decimal
    last: Decimal


def trend_of(by_day: Mapping[date, Decimal], days: Sequence[date]) -> Trend | None:
    """The days up to the last that has any; a day without is a day of zero. None for too few."""
    if not by_day:
        return None
    last = max(by_day)
    values = [by_day.get(day, Decimal(0)) for day in days if day <= last]
    peak = max(values, default=Decimal(0))
    if len(values) < FEWEST_DAYS or not peak:
        return None
    # Floats place marks; amounts stay Decimal.
    step, scale = (WIDTH - 2 * MARGIN) / (len(values) - 1), (HEIGHT - 2 * MARGIN) / float(peak)
    points = " ".join(
        f"{MARGIN + step * n:.1f},{HEIGHT - MARGIN - scale * max(float(value), 0.0):.1f}"
        for n, value in enumerate(values)
    )
    return Trend(points, peak, values[-1])


@dataclass(frozen=True, slots=True)
class Burn:
    """What is left of an amount, day by day, and the way of an even spender."""

    points: str
    even: str
    left: Decimal


def burn_of(days: Sequence[tuple[date, Decimal, bool]], amount: Decimal) -> Burn | None:
    """From (day, spent by its end, whether it is past): whole at the start, never below zero."""
    past = [spent for _, spent, is_past in days if is_past]
    if amount <= 0 or len(days) < FEWEST_DAYS or not past:
        return None
    step = Decimal(WIDTH - 2 * MARGIN) / len(days)
    room = HEIGHT - 2 * MARGIN
    left = [amount, *(max(amount - spent, Decimal(0)) for spent in past)]
    points = " ".join(
        f"{MARGIN + step * n:.1f},{HEIGHT - MARGIN - room * value / amount:.1f}"
        for n, value in enumerate(left)
    )
    even = f"{MARGIN},{MARGIN} {WIDTH - MARGIN},{HEIGHT - MARGIN}"
    return Burn(points, even, left[-1])
