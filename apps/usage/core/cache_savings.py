"""What tokens cost at a day's prices, and what caches saved. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from apps.pricing.core.meters import (
    CACHE_READ,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    INPUT,
    OUTPUT,
    PARENT,
    UNITS_PER_PRICE,
)

# The cached meters, in the order of TokenSums.
CACHED: Final = (CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H)
METERS: Final = (INPUT, *CACHED, OUTPUT)


@dataclass(frozen=True, slots=True)
class TokenSums:
    """Tokens by meter, the input buckets disjoint."""

    tokens: Mapping[str, int]

    @property
    def has_cached(self) -> bool:
        return any(self.tokens.get(meter) for meter in CACHED)


@dataclass(frozen=True, slots=True)
class Listed:
    """Tokens of meters with what they come to at their day's prices, in USD."""

    tokens: Mapping[str, int]
    usd: Mapping[str, Decimal]
    saved_usd: Decimal | None

    def unit_price(self, meter: str) -> Decimal | None:
        """USD per 1,000,000, the mean over its days by their tokens; None without tokens."""
        tokens = self.tokens.get(meter, 0)
        return self.usd[meter] * UNITS_PER_PRICE / tokens if tokens else None


def price_of(meter: str, prices: Mapping[str, Decimal]) -> Decimal | None:
    """A meter without a price of its own is charged as what it is part of."""
    looked_at: str | None = meter
    while looked_at is not None:
        if looked_at in prices:
            return prices[looked_at]
        looked_at = PARENT.get(looked_at)
    return None


def listed_day(sums: TokenSums, prices: Mapping[str, Decimal]) -> Listed:
    """A day's tokens at its prices (USD per 1,000,000 by meter; without any, nothing is known).

    Saved is what cached tokens would have cost as plain input, less what they cost: writing to a
    cache costs more than plain input and counts against it.
    """
    known = {
        meter: price
        for meter in METERS
        if sums.tokens.get(meter) and (price := price_of(meter, prices)) is not None
    }
    usd = {meter: sums.tokens[meter] * price / UNITS_PER_PRICE for meter, price in known.items()}
    plain = price_of(INPUT, prices)
    saved = None
    if plain is not None and sums.has_cached:
        saved = sum(
            (
                sums.tokens[meter] * (plain - price) / UNITS_PER_PRICE
                for meter, price in known.items()
                if meter in CACHED
            ),
            Decimal(0),
        )
    return Listed({meter: sums.tokens[meter] for meter in known}, usd, saved)


def add_listed(left: Listed, right: Listed) -> Listed:
    meters = {**left.tokens, **right.tokens}
    saved = [one for one in (left.saved_usd, right.saved_usd) if one is not None]
    return Listed(
        {meter: left.tokens.get(meter, 0) + right.tokens.get(meter, 0) for meter in meters},
        {
            meter: left.usd.get(meter, Decimal(0)) + right.usd.get(meter, Decimal(0))
            for meter in meters
        },
        sum(saved, Decimal(0)) if saved else None,
    )


NOTHING_LISTED: Final = Listed({}, {}, None)
