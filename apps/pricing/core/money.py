"""Exact money: integers of 1e-24 USD inside, Decimal outside. Pure.

A price has at most 18 decimals and is per at most 1,000,000 units, so the cost of any whole
number of units is a whole number of 1e-24 USD. Prices per hour, charged by the second, need thirds
and ninths of it: there the charge is rounded to 1e-24 USD, once, half to even.
"""

from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Final

COST_DECIMALS: Final = 24
NINTHS: Final = 9
PRICE_DECIMALS: Final = 18
PRICE_INTEGER_DIGITS: Final = 20
# Wide enough for every product we make; a rounding would be a bug, so it raises.
EXACT: Final = Context(prec=120, traps=[Inexact])


def usd_from_units(units: int) -> Decimal:
    """1e-24 USD as USD, exactly."""
    return EXACT.scaleb(Decimal(units), -COST_DECIMALS)


def units_per_item(price_usd: Decimal, unit_quantity: int) -> Fraction:
    """The price of one item in 1e-24 USD, from a price per `unit_quantity` items.

    Raises ValueError when that is no whole number of ninths: it cannot be charged exactly.
    """
    units = Fraction(int(EXACT.scaleb(price_usd, COST_DECIMALS)), unit_quantity)
    if NINTHS % units.denominator:
        raise ValueError(f"{price_usd} USD per {unit_quantity} needs more than 24 decimals an item")
    return units


def round_half_even(numerator: int, denominator: int) -> int:
    """The nearest whole number; of two equally near, the even one."""
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        whole += 1
    return whole


def usd_per_million(units: Fraction) -> Decimal:
    """A price of one item in 1e-24 USD, as USD per 1,000,000 items; ninths are rounded away."""
    whole = round_half_even(units.numerator, units.denominator)
    return EXACT.scaleb(Decimal(whole), 6 - COST_DECIMALS)


def plain_decimal(amount: Decimal) -> str:
    """For JSON: every digit, no exponent, no trailing zeros. "0.025", "0", "100"."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
