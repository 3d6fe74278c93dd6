"""What the explorer can show of a group: each measure from the same sums. Pure.

A measure that adds up is stacked and has shares; a mean or a rate has neither. None is unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from apps.dashboards.breakdown import Sums
from apps.dashboards.templatetags.figures_of_speech import (
    count,
    in_currency,
    percent,
    short,
    unit_price,
    usd,
    usd_short,
)
from apps.pricing.core.money import EXACT
from apps.tenants.core.exchange import USD

# Amounts of money and counts are exact; a quotient has no last digit.
Kind = Literal["text", "money", "quotient", "count"]
Unit = Literal["usd", "count", "unit_usd", "share", "ms"]
# Spend in the tenant's own currency.
REPORTED: Final = "cost_reported"
# A quotient has no last digit: exports carry a dozen decimals of it.
QUOTIENT_DECIMALS: Final = 12
UNIT_WORDS: Final[Mapping[Unit, str]] = {
    "usd": USD, "count": "", "unit_usd": USD, "share": "", "ms": "ms",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Measure:
    """`key` is its name in the address and in exports, with its unit."""

    key: str
    label: str
    unit: Unit
    of: Callable[[Sums], Decimal | None]
    adds_up: bool = True
    currency: str = USD

    @property
    def kind(self) -> Kind:
        """How exactly it can be told."""
        if not self.adds_up:
            return "quotient"
        return "money" if self.unit == "usd" else "count"

    @property
    def is_cost(self) -> bool:
        """Whether more of it is worse, and less better."""
        return self.key in ("cost_usd", REPORTED, "usd_per_request", "usd_per_mtok", "latency_ms")

    @property
    def heading(self) -> str:
        """With its unit, as a table's heading has it."""
        words = self.currency if self.is_money else UNIT_WORDS[self.unit]
        return f"{self.label.lower()}, {words}" if words else self.label.lower()

    @property
    def is_money(self) -> bool:
        return self.unit in ("usd", "unit_usd")

    @property
    def choice(self) -> str:
        """As a list of measures has it."""
        return self.label if self.currency == USD else f"{self.label} in {self.currency}"

    @property
    def column(self) -> str:
        """Its name in a file: with its own unit where that is not USD."""
        return self.key if self.currency == USD else f"cost_{self.currency.lower()}"

    def text(self, value: Decimal | None) -> str:
        """For a table or a hover, rounded."""
        return _WRITTEN[self.unit](value)

    def short_text(self, value: Decimal | None) -> str:
        """For a sentence, with its unit."""
        text = usd_short(value) if self.unit == "usd" else self.text(value)
        if self.unit == "count":
            text = short(value)
        return self.with_unit(text)

    def with_unit(self, text: str) -> str:
        """A figure that was written out, with its unit."""
        if self.is_money:
            return in_currency(text, self.currency)
        words = UNIT_WORDS[self.unit]
        return f"{text} {words}" if words else text


_WRITTEN: Final[Mapping[Unit, Callable[[Decimal | None], str]]] = {
    "usd": usd,
    "count": count,
    "unit_usd": unit_price,
    "share": percent,
    "ms": count,
}


def _summed(name: str) -> Callable[[Sums], Decimal | None]:
    return lambda sums: Decimal(getattr(sums, name))


def _margin_usd(sums: Sums) -> Decimal | None:
    """Where events said what they earned, and all of them are priced; else nobody knows it."""
    if not sums.revenue_usd or sums.known_usd is None:
        return None
    return EXACT.subtract(sums.revenue_usd, sums.cost_usd)


def _latency_ms(sums: Sums) -> Decimal | None:
    return Decimal(sums.latency_ms_sum) / sums.latency_count if sums.latency_count else None


MEASURES: Final[Mapping[str, Measure]] = {
    measure.key: measure
    for measure in (
        Measure("cost_usd", "Spend", "usd", lambda sums: sums.known_usd),
        Measure("requests", "Requests", "count", _summed("requests")),
        Measure("tokens", "Tokens, all", "count", _summed("tokens")),
        Measure(
            "uncached_input_tokens",
            "Input tokens, uncached",
            "count",
            lambda s: Decimal(s.input_tokens - s.cache_read_tokens - s.cache_write_tokens),
        ),
        Measure(
            "cache_read_tokens", "Input tokens, from cache", "count", _summed("cache_read_tokens")
        ),
        Measure(
            "cache_write_tokens", "Input tokens, to cache", "count", _summed("cache_write_tokens")
        ),
        Measure("output_tokens", "Output tokens", "count", _summed("output_tokens")),
        Measure("reasoning_tokens", "Reasoning tokens", "count", _summed("reasoning_tokens")),
        Measure(
            "usd_per_request", "Cost per request", "unit_usd", lambda s: s.usd_per_request, False
        ),
        Measure(
            "usd_per_mtok", "Cost per million tokens", "unit_usd", lambda s: s.usd_per_mtok, False
        ),
        Measure(
            "cache_hit_rate", "Input read from cache", "share", lambda s: s.cache_read_share, False
        ),
        Measure("latency_ms", "Latency, mean", "ms", _latency_ms, False),
        Measure("revenue_usd", "Revenue of events", "usd", _summed("revenue_usd")),
        Measure("margin_usd", "Margin", "usd", _margin_usd),
        Measure(
            "unpriced_requests", "Requests without a price", "count", _summed("unpriced_requests")
        ),
    )
}


def _reported(sums: Sums) -> Decimal | None:
    return None if sums.known_usd is None else sums.reported


def reported_measure(currency: str) -> Measure:
    """Spend in the currency that a tenant reports in."""
    return Measure(REPORTED, "Spend", "usd", _reported, currency=currency)
