"""Exact money: integers of 1e-24 USD inside, Decimal outside. Pure.

A price has at most 18 decimals and is per at most 1,000,000 units, so the cost of any whole
number of units is a whole number of 1e-24 USD.
"""

from decimal import Context, Decimal, Inexact
from typing import Final

COST_DECIMALS: Final = 24
PRICE_DECIMALS: Final = 18
PRICE_INTEGER_DIGITS: Final = 20
# Wide enough for every product we make; a rounding would be a bug, so it raises.
EXACT: Final = Context(prec=120, traps=[Inexact])


def usd_from_units(units: int) -> Decimal:
    """1e-24 USD as USD, exactly."""
    return EXACT.scaleb(Decimal(units), -COST_DECIMALS)


def units_per_item(price_usd: Decimal, unit_quantity: int) -> int:
    """The price of one item in 1e-24 USD, from a price per `unit_quantity` items.

    Raises ValueError when that is not whole: such a price cannot be charged exactly.
    """
    units, remainder = divmod(int(EXACT.scaleb(price_usd, COST_DECIMALS)), unit_quantity)
    if remainder:
        raise ValueError(f"{price_usd} USD per {unit_quantity} is not a whole number of 1e-24 USD")
    return units


def usd_per_million(units: int) -> Decimal:
    """A price of one item in 1e-24 USD, as USD per 1,000,000 items."""
    return EXACT.scaleb(Decimal(units), 6 - COST_DECIMALS)


def plain_decimal(amount: Decimal) -> str:
    """For JSON: every digit, no exponent, no trailing zeros. "0.025", "0", "100"."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
