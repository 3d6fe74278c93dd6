"""A rate card: what a request to one model costs, exactly, and which rates made it so. Pure."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import msgspec

from apps.pricing.core.breakdown import quantities_of
from apps.pricing.core.charge_lines import ChargeLine, charge_lines
from apps.pricing.core.money import NINTHS, round_half_even, usd_from_units, usd_per_million
from apps.pricing.core.rates import Rate, Source
from apps.pricing.core.schedule import NO_SPAN, Cell, Schedule, Span, compile_schedule

NO_METERS: Mapping[str, int] = {}


class TokenCounts(Protocol):
    """A request's tokens, wherever they stand: what a MeteredUsage has, and a usage event too."""

    @property
    def uncached_input_tokens(self) -> int: ...
    @property
    def cache_read_tokens(self) -> int: ...
    @property
    def cache_write_5m_tokens(self) -> int: ...
    @property
    def cache_write_1h_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def reasoning_tokens(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...


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


class RateCard:
    """All rates of one model, compiled. Costs are those of genai-prices' `calc_price`.

    `least_audio_seconds`: what a provider bills for any shorter recording.
    """

    __slots__ = (
        "_choices",
        "_only_prices",
        "_rates",
        "_schedules",
        "_span",
        "_standard",
        "least_audio_seconds",
        "source",
    )

    def __init__(self, rates: Sequence[Rate], *, least_audio_seconds: int = 0) -> None:
        self._rates = tuple(rates)
        self.least_audio_seconds = least_audio_seconds
        self.source: Source = _source_of(rates)
        self._standard = compile_schedule(self._rates, {})
        self._only_prices = self._standard.only_prices
        # The span looked at last: the next event's is nearly always the same. Replaced whole, so
        # that threads need no lock.
        self._span: Span = NO_SPAN
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
        prices = self._only_prices
        if prices is None:
            begin_s, end_s, prices, sizes, by_size = self._span
            if not begin_s <= occurred_at_epoch_s < end_s:
                # Not read back from self: another thread may have moved it on already.
                span = self._span = self._standard.span_around(occurred_at_epoch_s)
                _, _, prices, sizes, by_size = span
            if prices is None:
                total = uncached + cache_read + cache_write_5m + cache_write_1h
                prices = by_size[bisect_left(sizes, total)]
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

    def cost_units_of(
        self,
        usage: TokenCounts,
        occurred_at_epoch_s: float,
        *,
        meters: Mapping[str, int] | None = None,
        context: Mapping[str, str] | None = None,
    ) -> int:
        """As `cost_units`, for a request with further meters or a context that chooses variants.

        -1 also when the meters contradict
        the buckets (more audio than input): what cannot be, has no price.
        """
        schedule = self._schedule(context) if context else self._standard
        cell = schedule.find(occurred_at_epoch_s, usage.input_tokens)
        return self._units(usage, cell, meters or NO_METERS)

    def cost(
        self,
        usage: MeteredUsage,
        occurred_at: datetime,
        context: Mapping[str, str] | None = None,
        meters: Mapping[str, int] | None = None,
    ) -> Decimal | None:
        """Exact USD; None when not priced at that time. `context` chooses among variants."""
        _check(usage, occurred_at, meters or NO_METERS)
        units = self.cost_units_of(usage, occurred_at.timestamp(), meters=meters, context=context)
        return usd_from_units(units) if units >= 0 else None

    def explain(
        self,
        usage: MeteredUsage,
        occurred_at: datetime,
        context: Mapping[str, str] | None = None,
        meters: Mapping[str, int] | None = None,
    ) -> list[ChargeLine]:
        """The charge line by line; the lines add up to `cost`. Empty when not priced."""
        if self.cost(usage, occurred_at, context, meters) is None:
            return []
        schedule = self._schedule(context) if context else self._standard
        cell = schedule.find(occurred_at.timestamp(), usage.input_tokens)
        return charge_lines(cell, self._quantities(usage, meters or NO_METERS))

    def unit_prices(self, at: datetime) -> dict[str, Decimal]:
        """USD per 1,000,000 of each meter: standard, for the smallest input. Absent: unpriced."""
        cell = self._standard.find(at.timestamp(), 0)
        return {meter: usd_per_million(applied.units) for meter, applied in cell.applied.items()}

    def _units(self, usage: TokenCounts, cell: Cell, meters: Mapping[str, int]) -> int:
        alone = cell.alone
        if not meters.keys() <= alone.keys():
            ninths = -1
            if cell.listed:
                ninths = cell.breakdown.cost_ninths(self._quantities(usage, meters))
            return round_half_even(ninths, NINTHS) if ninths >= 0 else -1
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
        for meter, quantity in meters.items():
            units += quantity * alone[meter]
        return units if units >= 0 else -1

    def _quantities(self, usage: TokenCounts, meters: Mapping[str, int]) -> dict[str, int]:
        return quantities_of(
            usage.uncached_input_tokens,
            usage.cache_read_tokens,
            usage.cache_write_5m_tokens,
            usage.cache_write_1h_tokens,
            usage.output_tokens,
            usage.reasoning_tokens,
            meters,
            least_audio_seconds=self.least_audio_seconds,
        )

    def _schedule(self, context: Mapping[str, str]) -> Schedule:
        chosen = self._choices.intersection(context.items())
        if not chosen:
            return self._standard
        schedule = self._schedules.get(chosen)
        if schedule is None:
            schedule = self._schedules[chosen] = compile_schedule(self._rates, dict(chosen))
        return schedule


def _source_of(rates: Sequence[Rate]) -> Source:
    """Whose prices these are: one rate of the tenant's own makes the card its own."""
    found = {rate.source for rate in rates}
    return next((s for s in ("tenant", "default") if s in found), "catalogue")


def _check(usage: MeteredUsage, occurred_at: datetime, meters: Mapping[str, int]) -> None:
    if occurred_at.tzinfo is None:
        raise ValueError("occurred_at needs a time zone: a price depends on the moment")
    if not 0 <= usage.reasoning_tokens <= usage.output_tokens or (
        min(
            usage.uncached_input_tokens,
            usage.cache_read_tokens,
            usage.cache_write_5m_tokens,
            usage.cache_write_1h_tokens,
            *meters.values(),
        )
        < 0
    ):
        raise ValueError(f"token counts are from 0 up, reasoning within output: {usage} {meters}")
