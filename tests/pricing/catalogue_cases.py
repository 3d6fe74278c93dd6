"""Every model of genai-prices with the moments, contexts and usages at which to compare prices."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

from genai_prices import Usage
from genai_prices.data import providers

from apps.pricing.core.rating import MeteredUsage

AT_LEAST_USAGES = 20
# Beyond every tier in the catalogue, and below the first.
SIZES = (1, 300, 20_000, 150_000, 1_500_000)
MOMENTS = tuple(datetime(year, 5, 17, 9, 30, tzinfo=UTC) for year in (2023, 2025, 2026, 2028))
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Case:
    provider: Any
    model: Any
    usage: MeteredUsage
    at: datetime
    context: Mapping[str, str] | None

    def expected_usd(self) -> Decimal:
        """genai-prices' own answer, with precision enough that it does not round."""
        with localcontext(prec=80):
            price = self.model.calc_price(
                as_genai_usage(self.usage),
                self.provider,
                genai_request_timestamp=self.at,
                price_context=self.context,
            )
        return Decimal(price.total_price)


def as_genai_usage(usage: MeteredUsage) -> Usage:
    return Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_5m_tokens=usage.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )


def catalogue_cases(seed: int) -> Iterator[Case]:
    """At least twenty usages a model, and one for each of its moments in each of its contexts."""
    chance = random.Random(seed)
    for provider in providers:
        for model in provider.models:
            pairs = [(at, context) for at in moments(model) for context in contexts(model)]
            pairs += chance.choices(pairs, k=max(0, AT_LEAST_USAGES - len(pairs)))
            for at, context in pairs:
                yield Case(provider, model, random_usage(chance), at, context)


def moments(model: Any) -> list[datetime]:
    """Both sides of every date and daily window that the model's prices know."""
    found = list(MOMENTS)
    for constraint in _constraints(model):
        if hasattr(constraint, "start_date"):
            day = constraint.start_date
            edges = [datetime(day.year, day.month, day.day, tzinfo=UTC)]
        else:
            edges = [
                datetime.combine(date(2026, 11, 1), edge)
                for edge in (constraint.start_time, constraint.end_time)
            ]
        found += [moment for edge in edges for moment in (edge - INSTANT, edge)]
    return found


def contexts(model: Any) -> list[Mapping[str, str] | None]:
    """None, a context of no meaning, each variant's, and all variants' at once."""
    whens = [variant.when for variant in model.price_variants or ()]
    found: list[Mapping[str, str] | None] = [None, {"unknown": "context"}, *whens]
    if len(whens) > 1:
        found += [merged(whens), merged(reversed(whens))]
    return found


def merged(whens: Any) -> dict[str, str]:
    return {key: value for when in whens for key, value in when.items()}


def random_usage(chance: random.Random) -> MeteredUsage:
    parts = [chance.randrange(chance.choice(SIZES)) for _ in range(5)]
    return MeteredUsage(*parts, chance.randint(0, parts[4]))


def _constraints(model: Any) -> list[Any]:
    prices = model.prices if isinstance(model.prices, list) else []
    both = [*prices, *(model.price_variants or ())]
    return [item.constraint for item in both if item.constraint is not None]
