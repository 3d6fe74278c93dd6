"""Dividing a whole number so that the parts add up to it. Pure.

One rule for cents over months, 1e-24 USD over hours and an hour's cost over its charges: round the
running sum, never the part. Each part is then within one unit of its exact share, nothing is lost
or made, what was rounded off is carried into the next part, and a part can be computed alone.
"""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from apps.pricing.core.money import COST_DECIMALS, EXACT

CENTS: Final = 2


def share_between(whole: int, start: int, end: int, full: int) -> int:
    """The part of `whole` that lies from `start` to `end` on a line that is `full` long.

    Halves round up. Parts that meet on the line add up to the part they make together.
    """
    return _nearest(whole * end, full) - _nearest(whole * start, full)


def _nearest(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def whole_units(amount: Decimal, decimals: int = COST_DECIMALS) -> int:
    """An amount in units of its last allowed decimal. ValueError when it has more decimals."""
    units = EXACT.scaleb(amount, decimals)
    if units != units.to_integral_value(context=EXACT):
        raise ValueError(f"{amount} has more than {decimals} decimals")
    return int(units)


def from_units(units: int, decimals: int = COST_DECIMALS) -> Decimal:
    return EXACT.scaleb(Decimal(units), -decimals)


def rounded(value: Fraction, decimals: int) -> Decimal:
    """For rates and ratios that no Decimal holds exactly; halves to even. Never for a sum."""
    return from_units(round(value * 10**decimals), decimals)


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Past the 28 digits at which Decimal's own addition rounds."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
