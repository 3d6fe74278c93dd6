"""From an hour's cost to its tokens: unit costs, provisional prices, the true-up. Pure.

Two bases. *Allocated*: the whole hour's cost over what was served. *Usage*: each token bears the
hardware time it took, and capacity that nobody used is shown as idle cost. At a utilisation u,
allocated is usage / u. Source of the second: Kaplan, Anderson, "Time-driven activity-based
costing", Harvard Business Review, November 2004; the treatment of idle capacity is IAS 2's,
paragraph 13.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Final, Self

from apps.pricing.core.local_time import Interval
from apps.pricing.core.money import EXACT, PRICE_DECIMALS, usd_from_units
from apps.pricing.core.sharing import rounded, share_between, whole_units

MILLION: Final = 1_000_000
MICROSECONDS_PER_SECOND: Final = 1_000_000
UTILISATION_DECIMALS: Final = 12


class Basis(StrEnum):
    ALLOCATED = "allocated"
    USAGE = "usage"


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Disjoint: `input_tokens` are those not read from cache, cache writes among them."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0

    def __post_init__(self) -> None:
        if min(self.input_tokens, self.cached_input_tokens, self.output_tokens) < 0:
            raise ValueError(f"{self} has a count below 0")

    @property
    def total(self) -> int:
        return self.input_tokens + self.cached_input_tokens + self.output_tokens

    def __add__(self, other: Self) -> Self:
        return type(self)(
            self.input_tokens + other.input_tokens,
            self.cached_input_tokens + other.cached_input_tokens,
            self.output_tokens + other.output_tokens,
        )


@dataclass(frozen=True, slots=True)
class Throughput:
    """What the whole backend sustains, reading prompts only (prefill) or writing only (decode).

    A token weighs the hardware time it takes: 1 / throughput. `cached_input_weight` is the time of
    a cached input token as a part of an uncached one's (0 to 1); unless stated, they weigh alike.
    """

    input_tokens_per_second: Decimal
    output_tokens_per_second: Decimal
    cached_input_weight: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        if min(self.input_tokens_per_second, self.output_tokens_per_second) <= 0:
            raise ValueError(f"{self} has a throughput that is not more than 0")
        if not 0 <= self.cached_input_weight <= 1:
            raise ValueError(f"cached weight {self.cached_input_weight} is not from 0 to 1")

    def seconds_per_token(self) -> tuple[Fraction, Fraction, Fraction]:
        """Of an input, a cached input and an output token."""
        return _seconds_per_token(self)

    def weights(self) -> "Weights":
        return _weights(self)

    def seconds(self, tokens: TokenCounts) -> Fraction:
        """Hardware time that the tokens took."""
        weights = self.weights()
        return Fraction(weights.of(tokens), weights.per_second)


@dataclass(frozen=True, slots=True)
class Weights:
    """Hardware time per token in whole ticks, `per_second` of them a second: for many charges."""

    input: int
    cached_input: int
    output: int
    per_second: int

    def of(self, tokens: TokenCounts) -> int:
        return (
            tokens.input_tokens * self.input
            + tokens.cached_input_tokens * self.cached_input
            + tokens.output_tokens * self.output
        )


# Few throughputs are asked for a thousand times each: for every hour of a page.
@lru_cache(maxsize=256)
def _seconds_per_token(throughput: Throughput) -> tuple[Fraction, Fraction, Fraction]:
    one_input = 1 / Fraction(throughput.input_tokens_per_second)
    cached = one_input * Fraction(throughput.cached_input_weight)
    return one_input, cached, 1 / Fraction(throughput.output_tokens_per_second)


@lru_cache(maxsize=256)
def _weights(throughput: Throughput) -> Weights:
    seconds = _seconds_per_token(throughput)
    scale = lcm(*(each.denominator for each in seconds))
    one_input, cached, one_output = (int(each * scale) for each in seconds)
    return Weights(one_input, cached, one_output, scale)


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """USD per million tokens."""

    input_usd_per_mtok: Decimal
    cached_input_usd_per_mtok: Decimal
    output_usd_per_mtok: Decimal

    def cost_usd(self, tokens: TokenCounts) -> Decimal:
        """Exact: prices have at most 18 decimals."""
        per_million = EXACT.add(
            EXACT.multiply(tokens.input_tokens, self.input_usd_per_mtok),
            EXACT.add(
                EXACT.multiply(tokens.cached_input_tokens, self.cached_input_usd_per_mtok),
                EXACT.multiply(tokens.output_tokens, self.output_usd_per_mtok),
            ),
        )
        return EXACT.scaleb(per_million, -6)


def price_tokens(usd_per_second: Fraction, throughput: Throughput) -> TokenPrices:
    """Prices from the price of hardware time, each rounded to 18 decimals of USD per million."""
    return TokenPrices(
        *(
            rounded(usd_per_second * seconds * MILLION, PRICE_DECIMALS)
            for seconds in throughput.seconds_per_token()
        )
    )


@dataclass(frozen=True, slots=True)
class UnitCosts:
    """An hour's cost over its volume. total = used + idle.

    `utilisation` is hardware time used over time there was; above 1 the stated throughput is too
    low, and the bases are then the same. `allocated` is None for an hour without traffic: there is
    nothing to bear its cost, all of it is idle.
    """

    total_usd: Decimal
    used_usd: Decimal
    utilisation: Decimal
    allocated: TokenPrices | None
    usage: TokenPrices

    @property
    def idle_usd(self) -> Decimal:
        """Of the usage basis: the cost of capacity that nobody used."""
        return EXACT.subtract(self.total_usd, self.used_usd)

    def charged_usd(self, basis: Basis) -> Decimal:
        """What the hour's charges come to together."""
        if basis == Basis.USAGE:
            return self.used_usd
        return Decimal(0) if self.allocated is None else self.total_usd

    def unallocated_usd(self, basis: Basis) -> Decimal:
        """What no charge bears; reported as idle cost, not lost."""
        return EXACT.subtract(self.total_usd, self.charged_usd(basis))


def load_share(tokens: TokenCounts, throughput: Throughput, hour: Interval) -> Fraction:
    """The share of the hour under load, for `tco.Activity`: utilisation, at most 1."""
    return min(throughput.seconds(tokens) / _seconds(hour), Fraction(1))


def used_part_usd(total_usd: Decimal, load_share: Fraction) -> Decimal:
    """What was used of an hour's cost."""
    units = whole_units(total_usd)
    return usd_from_units(share_between(units, 0, load_share.numerator, load_share.denominator))


def unit_costs(
    total_usd: Decimal, hour: Interval, tokens: TokenCounts, throughput: Throughput
) -> UnitCosts:
    capacity = _seconds(hour)
    used = throughput.seconds(tokens)
    return UnitCosts(
        total_usd=total_usd,
        used_usd=used_part_usd(total_usd, load_share(tokens, throughput, hour)),
        utilisation=rounded(used / capacity, UTILISATION_DECIMALS),
        allocated=price_tokens(Fraction(total_usd) / used, throughput) if used else None,
        usage=price_tokens(Fraction(total_usd) / max(used, capacity), throughput),
    )


def _seconds(hour: Interval) -> Fraction:
    if not hour.microseconds:
        raise ValueError(f"no time between {hour.starts_at} and {hour.ends_at}")
    return Fraction(hour.microseconds, MICROSECONDS_PER_SECOND)


@dataclass(frozen=True, slots=True)
class ClosedHour:
    """An hour that is over: its whole cost and what it served."""

    hour: Interval
    total_usd: Decimal
    tokens: TokenCounts


@dataclass(frozen=True, slots=True)
class Plan:
    """What is expected of an hour before any has closed. `utilisation`: over 0, at most 1."""

    usd_per_hour: Decimal
    utilisation: Decimal

    def __post_init__(self) -> None:
        if self.usd_per_hour < 0 or not 0 < self.utilisation <= 1:
            raise ValueError(f"{self} is not a cost and a utilisation over 0, at most 1")

    def usd_per_second(self, basis: Basis) -> Fraction:
        per_second = Fraction(self.usd_per_hour) / 3600
        return per_second if basis == Basis.USAGE else per_second / Fraction(self.utilisation)


@dataclass(frozen=True, slots=True)
class ProvisionalPrices:
    """Prices for a running hour. `hours` closed ones are behind them; 0: the plan is."""

    prices: TokenPrices
    hours: int


def provisional_prices(
    trailing: Sequence[ClosedHour], plan: Plan, throughput: Throughput, basis: Basis
) -> ProvisionalPrices:
    """What hardware time cost in the trailing hours that had traffic; without any, as planned.

    Hours without traffic charge nobody, so they say nothing about what a charge will come to.
    """
    busy = [closed for closed in trailing if throughput.seconds(closed.tokens)]
    if not busy:
        return ProvisionalPrices(price_tokens(plan.usd_per_second(basis), throughput), 0)
    charged = sum((_charged(closed, throughput, basis) for closed in busy), Fraction(0))
    used = sum((throughput.seconds(closed.tokens) for closed in busy), Fraction(0))
    return ProvisionalPrices(price_tokens(charged / used, throughput), len(busy))


def _charged(closed: ClosedHour, throughput: Throughput, basis: Basis) -> Fraction:
    costs = unit_costs(closed.total_usd, closed.hour, closed.tokens, throughput)
    return Fraction(costs.charged_usd(basis))


@dataclass(frozen=True, slots=True)
class HourCharge:
    """A charge on the hour with what has been charged for it so far, adjustments included."""

    charge_id: str
    tokens: TokenCounts
    charged_usd: Decimal


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`difference_usd` is to be posted; it may be 0 or negative."""

    charge_id: str
    final_usd: Decimal
    difference_usd: Decimal


@dataclass(frozen=True, slots=True)
class TrueUp:
    """The final amounts add up to costs.charged_usd(basis), and with `idle_usd` to the total."""

    costs: UnitCosts
    adjustments: tuple[Adjustment, ...]
    idle_usd: Decimal


def true_up(
    total_usd: Decimal,
    hour: Interval,
    charges: Sequence[HourCharge],
    throughput: Throughput,
    basis: Basis,
) -> TrueUp:
    """Settle an hour that is over: each charge its part by hardware time, exact to 1e-24 USD.

    Charges are taken in the order of their ids, so that the digits can be reproduced. Run again
    with the amounts it led to, it finds nothing to post; with late charges, only what they change.
    """
    tokens = sum((charge.tokens for charge in charges), TokenCounts())
    costs = unit_costs(total_usd, hour, tokens, throughput)
    adjustments = tuple(_settle(costs.charged_usd(basis), charges, throughput.weights()))
    return TrueUp(costs, adjustments, costs.unallocated_usd(basis))


def _settle(
    charged_usd: Decimal, charges: Sequence[HourCharge], weights: Weights
) -> Iterator[Adjustment]:
    units = whole_units(charged_usd)
    full = sum(weights.of(charge.tokens) for charge in charges)
    start = 0
    for charge in sorted(charges, key=lambda charge: charge.charge_id):
        end = start + weights.of(charge.tokens)
        final = usd_from_units(share_between(units, start, end, full) if full else 0)
        yield Adjustment(charge.charge_id, final, EXACT.subtract(final, charge.charged_usd))
        start = end
