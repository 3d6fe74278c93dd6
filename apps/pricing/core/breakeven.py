"""Own hardware against the cloud: unit cost by utilisation, break-even, payback. Pure.

A month costs `fixed` and, by utilisation u, u times `full_load` more; it serves u times what the
hardware can. Break-even is where that costs what the cloud does; payback where what was saved is
what was paid (simple payback period, undiscounted).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import Final

from apps.pricing.core.allocation import MILLION, Throughput, TokenCounts, TokenPrices
from apps.pricing.core.electricity import MICROSECONDS_PER_HOUR
from apps.pricing.core.local_time import add_months, month_interval
from apps.pricing.core.money import EXACT, PRICE_DECIMALS
from apps.pricing.core.sharing import rounded
from apps.pricing.core.tco import Activity, Hardware, hour_cost

RATIO_DECIMALS: Final = 12


class Never(StrEnum):
    """Why a break-even or payback does not come."""

    FULL_USE_COSTS_MORE = "even in use all the time, own hardware costs more than the cloud"
    NOTHING_SAVED = "running the hardware costs as much as the cloud, or more"
    LIFE_TOO_SHORT = "the hardware's useful life ends first"


@dataclass(frozen=True, slots=True)
class LocalMonth:
    """A month of a local backend: its cost idle, what full load adds, and how long it is."""

    fixed_usd: Decimal
    full_load_usd: Decimal
    hours: Decimal
    throughput: Throughput

    def __post_init__(self) -> None:
        if min(self.fixed_usd, self.full_load_usd) < 0 or self.hours <= 0:
            raise ValueError(f"{self} has a cost below 0 or no hours")

    def cost_usd(self, utilisation: Fraction) -> Fraction:
        return Fraction(self.fixed_usd) + Fraction(self.full_load_usd) * utilisation

    def capacity_mtok(self, mix: TokenCounts) -> Fraction:
        """Million tokens of the mix that the month can serve. `mix` is a ratio, as 3:0:1."""
        seconds = self.throughput.seconds(mix)
        if not seconds:
            raise ValueError(f"{mix} takes no hardware time")
        return Fraction(self.hours) * 3600 / seconds * mix.total / MILLION

    def usd_per_mtok(self, mix: TokenCounts, utilisation: Fraction) -> Fraction:
        return self.cost_usd(utilisation) / (self.capacity_mtok(mix) * utilisation)


def plan_month(
    hardware: Hardware, month: date, throughput: Throughput, mix: TokenCounts
) -> LocalMonth:
    """The month's cost idle and under full load, with its own prices, days and clocks.

    Production depreciation is taken as if nothing had been served before.
    """
    over = month_interval(month, hardware.zone)
    hours = rounded(Fraction(over.microseconds, MICROSECONDS_PER_HOUR), RATIO_DECIMALS)
    bare = LocalMonth(Decimal(0), Decimal(0), hours, throughput)
    tokens = int(bare.capacity_mtok(mix) * MILLION)
    idle = hour_cost(hardware, over, Activity()).total_usd
    full = hour_cost(hardware, over, Activity(load_share=Fraction(1), tokens=tokens)).total_usd
    return LocalMonth(idle, EXACT.subtract(full, idle), hours, throughput)


def blended_usd_per_mtok(prices: TokenPrices, mix: TokenCounts) -> Decimal:
    """A cloud's prices as one, for a mix of input, cached input and output."""
    if not mix.total:
        raise ValueError("a mix of no tokens has no price")
    return rounded(Fraction(prices.cost_usd(mix)) * MILLION / mix.total, PRICE_DECIMALS)


def effective_usd_per_mtok(
    local: LocalMonth, mix: TokenCounts, utilisation: Fraction
) -> Decimal | None:
    """What a million tokens of the mix cost at a utilisation; None when nothing is served."""
    if not 0 <= utilisation <= 1:
        raise ValueError(f"utilisation {utilisation} is not from 0 to 1")
    return rounded(local.usd_per_mtok(mix, utilisation), PRICE_DECIMALS) if utilisation else None


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From this utilisation and volume a month on, own hardware costs less; or never, and why."""

    utilisation: Decimal | None
    mtok_per_month: Decimal | None
    never: Never | None = None


def break_even(local: LocalMonth, mix: TokenCounts, cloud_usd_per_mtok: Decimal) -> BreakEven:
    """fixed + u full_load = u capacity cloud, solved for u.

    Where each token costs more in power than in the cloud, or u would be above 1: never.
    """
    capacity = local.capacity_mtok(mix)
    saved_at_full_use = capacity * Fraction(cloud_usd_per_mtok) - Fraction(local.full_load_usd)
    fixed = Fraction(local.fixed_usd)
    if saved_at_full_use <= 0 or fixed > saved_at_full_use:
        return BreakEven(None, None, Never.FULL_USE_COSTS_MORE)
    utilisation = fixed / saved_at_full_use
    return BreakEven(
        rounded(utilisation, RATIO_DECIMALS), rounded(utilisation * capacity, RATIO_DECIMALS)
    )


@dataclass(frozen=True, slots=True)
class Payback:
    """After `months` full months what was saved is what was paid; or never, and why.

    `month` is the first day of the local month in which that is reached.
    """

    months: int | None
    month: date | None
    never: Never | None = None


def payback(
    *,
    outlay_usd: Decimal,
    cloud_usd_per_month: Decimal,
    running_usd_per_month: Decimal,
    in_service: date,
    life_months: int,
) -> Payback:
    """When a cloud bill that is no longer paid has paid for the hardware.

    `running_usd_per_month` is what is paid to run it: electricity, maintenance, hosting, staff,
    interest. Depreciation is not: it is the outlay itself.
    """
    saved = Fraction(cloud_usd_per_month) - Fraction(running_usd_per_month)
    if saved <= 0:
        return Payback(None, None, Never.NOTHING_SAVED)
    months = ceil(Fraction(outlay_usd) / saved)
    if months > life_months:
        return Payback(None, None, Never.LIFE_TOO_SHORT)
    last_day = add_months(in_service, months) - timedelta(days=1)
    return Payback(months, max(last_day, in_service).replace(day=1))


@dataclass(frozen=True, slots=True)
class CurvePoint:
    utilisation: Decimal
    usd_per_mtok: Decimal


def utilisation_curve(
    local: LocalMonth, mix: TokenCounts, utilisations: Sequence[Fraction] | None = None
) -> tuple[CurvePoint, ...]:
    """Cost per million tokens for a figure: by default at 1%, 2%, ... 100% utilisation."""
    shares = utilisations or [Fraction(percent, 100) for percent in range(1, 101)]
    return tuple(
        CurvePoint(
            rounded(share, RATIO_DECIMALS),
            rounded(local.usd_per_mtok(mix, share), PRICE_DECIMALS),
        )
        for share in shares
    )
