"""The lines of a charge: what was counted, at which price, less which discount. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from apps.pricing.core.meters import (
    BUCKETS,
    CACHE_READ,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    DIMENSIONS,
    INPUT,
    OUTPUT,
    REASONING,
    REQUESTS,
    UNITS_PER_PRICE,
)
from apps.pricing.core.money import round_half_even, usd_from_units, usd_per_million
from apps.pricing.core.rates import Source
from apps.pricing.core.schedule import Applied, Cell

_TOKENS: Final = ("family", "tokens")
_CACHED: Final = (CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H)


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """One meter's part of a charge at the listed price, or what a discount takes off it again.

    `unit_price_usd_per_mtok` is per 1,000,000 of the meter's items (requests, for their fee);
    of a discount it is negative, as its cost is. `priced_as` is the meter whose rate applied: a
    bucket without a price of its own is charged as its parent. `rate_id` names the rate or the
    discount; None for what the catalogue lists without a price: it is free. `price_usd` for
    `unit_quantity` is the rate as it was agreed (an hour's price, where seconds are counted).
    """

    meter: str
    quantity: int
    unit_price_usd_per_mtok: Decimal
    cost_usd: Decimal
    rate_id: str | None
    priced_as: str
    kind: Literal["rate", "discount"] = "rate"
    price_usd: Decimal | None = None
    unit_quantity: int = UNITS_PER_PRICE


def charge_lines(cell: Cell, quantities: Mapping[str, int]) -> list[ChargeLine]:
    """The lines of a request that has a price, from its quantities by meter."""
    lines: list[ChargeLine] = []
    # Rounded as they add up, so that the lines' sum is the charge where an hour's price has ninths.
    exact, rounded = Fraction(0), 0
    for meter, quantity, applied in _split(cell, quantities):
        for kind, units in _units(applied):
            exact += quantity * units
            so_far = round_half_even(exact.numerator, exact.denominator)
            cost_units = so_far - rounded
            lines.append(
                _line(meter, quantity, applied, kind=kind, units=units, cost_units=cost_units)
            )
            rounded = so_far
    return lines


def source_of_lines(lines: Iterable[ChargeLine]) -> Source | None:
    """Whose prices made these lines: one of the tenant's own makes them its own. None where no
    line has a rate. A model's rates may be the tenant's for batches alone, so its card is not
    asked."""
    found = {(line.rate_id or "").partition(":")[0] for line in lines if line.kind == "rate"}
    sources: tuple[Source, ...] = ("tenant", "default", "catalogue")
    return next((source for source in sources if source in found), None)


def _units(applied: Applied | None) -> Iterator[tuple[Literal["rate", "discount"], Fraction]]:
    if applied is None:
        yield "rate", Fraction(0)
        return
    yield "rate", applied.list_units
    if applied.rate.discount is not None:
        yield "discount", applied.units - applied.list_units


def _line(
    meter: str,
    quantity: int,
    applied: Applied | None,
    *,
    kind: Literal["rate", "discount"],
    units: Fraction,
    cost_units: int,
) -> ChargeLine:
    rate = applied.rate if applied else None
    named = rate.discount if rate and kind == "discount" else rate
    return ChargeLine(
        meter=meter,
        quantity=quantity,
        unit_price_usd_per_mtok=usd_per_million(units),
        cost_usd=usd_from_units(cost_units),
        rate_id=named.reference if named else None,
        priced_as=applied.meter if applied else meter,
        kind=kind,
        price_usd=rate.price_usd if rate and kind == "rate" else None,
        unit_quantity=rate.unit_quantity if rate else UNITS_PER_PRICE,
    )


def _split(cell: Cell, quantities: Mapping[str, int]) -> Iterator[tuple[str, int, Applied | None]]:
    """(meter, quantity, what prices it): disjoint, none empty, buckets first."""
    parts = cell.breakdown.parts
    charged = cell.breakdown.split(quantities) or []
    further = [
        (part, quantity)
        for part, quantity in zip(parts, charged, strict=False)
        if quantity and part.meter not in BUCKETS
    ]
    if any(
        _TOKENS in DIMENSIONS[part.meter] and part.meter != "cache_write_tokens"
        for part, _ in further
    ):
        # Audio or image tokens: what is left of each bucket is what the breakdown says.
        buckets = {p.meter: q for p, q in zip(parts, charged, strict=False) if p.meter in BUCKETS}
    else:
        buckets = _buckets(cell, quantities)
        further = [(p, q) for p, q in further if _TOKENS not in DIMENSIONS[p.meter]]
    for meter in BUCKETS:
        if quantity := buckets.get(meter, 0):
            yield meter, quantity, cell.applied.get(meter)
    for part, quantity in sorted(further, key=lambda f: (f[0].meter == REQUESTS, f[0].meter)):
        yield part.meter, quantity, cell.listed.get(part.priced_as)


def _buckets(cell: Cell, quantities: Mapping[str, int]) -> dict[str, int]:
    """As reported: cached tokens apart whatever prices them, reasoning where it has a price."""
    reasoning = quantities[REASONING] if REASONING in cell.listed else 0
    cached = {meter: quantities[meter] for meter in _CACHED}
    return {
        INPUT: quantities[INPUT] - sum(cached.values()),
        **cached,
        OUTPUT: quantities[OUTPUT] - reasoning,
        REASONING: reasoning,
    }
