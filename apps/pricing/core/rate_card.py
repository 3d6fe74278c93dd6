"""A rate card: what a request to one model costs, exactly, and which rates made it so. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec

from apps.pricing.core.meters import (
    CACHE_READ,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    INPUT,
    OUTPUT,
    REASONING,
    REQUESTS,
)
from apps.pricing.core.money import usd_from_units, usd_per_million
from apps.pricing.core.rates import Rate, Source
from apps.pricing.core.schedule import Cell, Schedule, compile_schedule


class MeteredUsage(msgspec.Struct, frozen=True, gc=False):
    """One request's tokens. The input buckets are disjoint; output includes reasoning."""

    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        return (
            self.uncached_input_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
        )


@dataclass(frozen=True, slots=True)
class ChargeLine:
    """One meter's part of a charge.

    `unit_price_usd_per_mtok` is per 1,000,000 of the meter's items (requests, for their fee).
    `priced_as` is the meter whose rate applied: a bucket without a price of its own is charged
    as its parent. `rate_id` is None for what the catalogue lists without a price: it is free.
    """

    meter: str
    quantity: int
    unit_price_usd_per_mtok: Decimal
    cost_usd: Decimal
    rate_id: str | None
    priced_as: str


class RateCard:
    """All rates of one model, compiled. Costs are those of genai-prices' `calc_price`."""

    __slots__ = ("_choices", "_rates", "_schedules", "_standard", "source")

    def __init__(self, rates: Sequence[Rate]) -> None:
        self._rates = tuple(rates)
        self.source: Source = "tenant" if any(r.source == "tenant" for r in rates) else "catalogue"
        self._standard = compile_schedule(self._rates, {})
        # The context's pairs that can matter here; bounds how many schedules a card can have.
        self._choices = frozenset(pair for r in rates for pair in r.when)
        self._schedules: dict[frozenset[tuple[str, str]], Schedule] = {}

    @property
    def rates(self) -> tuple[Rate, ...]:
        return self._rates

    def cost_units(  # noqa: PLR0917 - positional, because keywords cost a third of its time
        self,
        uncached: int,
        cache_read: int,
        cache_write_5m: int,
        cache_write_1h: int,
        output: int,
        reasoning: int,
        occurred_at_epoch_s: float,
    ) -> int:
        """The standard price in 1e-24 USD; -1 when not priced at that time.

        The hot path: quantities are those of a MeteredUsage and are not checked again.
        """
        prices = self._standard.only_prices
        if prices is None:
            total = uncached + cache_read + cache_write_5m + cache_write_1h
            prices = self._standard.find(occurred_at_epoch_s, total).prices
        a, b, c, d, e, f, fee = prices
        units = (
            uncached * a
            + cache_read * b
            + cache_write_5m * c
            + cache_write_1h * d
            + output * e
            + reasoning * f
            + fee
        )
        return units if units >= 0 else -1

    def cost(
        self,
        usage: MeteredUsage,
        occurred_at: datetime,
        context: Mapping[str, str] | None = None,
    ) -> Decimal | None:
        """Exact USD; None when not priced at that time. `context` chooses among variants."""
        cell = self._find(usage, occurred_at, context)
        a, b, c, d, e, f, fee = cell.prices
        units = (
            usage.uncached_input_tokens * a
            + usage.cache_read_tokens * b
            + usage.cache_write_5m_tokens * c
            + usage.cache_write_1h_tokens * d
            + usage.output_tokens * e
            + usage.reasoning_tokens * f
            + fee
        )
        return usd_from_units(units) if units >= 0 else None

    def explain(
        self,
        usage: MeteredUsage,
        occurred_at: datetime,
        context: Mapping[str, str] | None = None,
    ) -> list[ChargeLine]:
        """The charge line by line; the lines add up to `cost`. Empty when not priced."""
        if self.cost(usage, occurred_at, context) is None:
            return []
        cell = self._find(usage, occurred_at, context)
        return [
            _charge_line(meter, quantity, cell)
            for meter, quantity in _split(usage, cell)
            if quantity
        ]

    def unit_prices(self, at: datetime) -> dict[str, Decimal]:
        """USD per 1,000,000 of each meter: standard, for the smallest input. Absent: unpriced."""
        cell = self._standard.find(at.timestamp(), 0)
        return {meter: usd_per_million(applied.units) for meter, applied in cell.applied.items()}

    def _find(
        self, usage: MeteredUsage, occurred_at: datetime, context: Mapping[str, str] | None
    ) -> Cell:
        _check(usage, occurred_at)
        schedule = self._schedule(context) if context else self._standard
        return schedule.find(occurred_at.timestamp(), usage.input_tokens)

    def _schedule(self, context: Mapping[str, str]) -> Schedule:
        chosen = self._choices.intersection(context.items())
        if not chosen:
            return self._standard
        schedule = self._schedules.get(chosen)
        if schedule is None:
            schedule = self._schedules[chosen] = compile_schedule(self._rates, dict(chosen))
        return schedule


def _check(usage: MeteredUsage, occurred_at: datetime) -> None:
    if occurred_at.tzinfo is None:
        raise ValueError("occurred_at needs a time zone: a price depends on the moment")
    if not 0 <= usage.reasoning_tokens <= usage.output_tokens or (
        min(
            usage.uncached_input_tokens,
            usage.cache_read_tokens,
            usage.cache_write_5m_tokens,
            usage.cache_write_1h_tokens,
        )
        < 0
    ):
        raise ValueError(f"token counts are from 0 up, reasoning within output: {usage}")


def _split(usage: MeteredUsage, cell: Cell) -> list[tuple[str, int]]:
    """Disjoint quantities by meter; reasoning stands apart only where it has its own price."""
    apart = REASONING in cell.applied and cell.applied[REASONING].meter == REASONING
    reasoning = usage.reasoning_tokens if apart else 0
    return [
        (INPUT, usage.uncached_input_tokens),
        (CACHE_READ, usage.cache_read_tokens),
        (CACHE_WRITE_5M, usage.cache_write_5m_tokens),
        (CACHE_WRITE_1H, usage.cache_write_1h_tokens),
        (OUTPUT, usage.output_tokens - reasoning),
        (REASONING, reasoning),
        (REQUESTS, 1 if REQUESTS in cell.applied else 0),
    ]


def _charge_line(meter: str, quantity: int, cell: Cell) -> ChargeLine:
    applied = cell.applied.get(meter)
    units = applied.units if applied else 0
    return ChargeLine(
        meter=meter,
        quantity=quantity,
        unit_price_usd_per_mtok=usd_per_million(units),
        cost_usd=usd_from_units(units * quantity),
        rate_id=applied.rate.reference if applied else None,
        priced_as=applied.meter if applied else meter,
    )
