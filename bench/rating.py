"""Rating: cost_units with the card at hand, as ingest has it, against genai-prices' calc_price.

Both rate the same thousand usages, in the order of their times over the last day, and both know
their model already (calc_price remembers what it looked up, ingest keeps the slice's card).
"""

import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from genai_prices import Usage, calc_price

from apps.pricing.catalogue_source import Listing, read_listing
from apps.pricing.core.catalogue_diff import ListedPrice
from apps.pricing.core.rate_card import MeteredUsage, RateCard
from apps.pricing.core.rates import Rate
from bench.results import Result, best_per_second

GOAL_PER_SECOND: Final = 300_000
GOAL_RATIO: Final = 50
USAGES: Final = 1000
ROUNDS: Final = 200
METER_ROUNDS: Final = 50
REFERENCE_ROUNDS: Final = 3
END: Final = datetime(2026, 11, 1, 12, tzinfo=UTC)
CARDS: Final = (
    ("flat", "openai", "gpt-4o-mini"),
    ("tiered", "anthropic", "claude-sonnet-4-5"),
    ("dated, by the hour", "deepseek", "deepseek-v4-flash"),
)
SEARCHES: Final = {"web_searches": 2}
# Parts of the buckets, which are split before they are priced.
AUDIO: Final = {"input_audio_tokens": 20, "output_audio_tokens": 10}


def run() -> Iterator[Result]:
    listing, usages = read_listing(), _usages()
    for name, provider, model in CARDS:
        card = _card(listing, provider, model)
        ours = best_per_second(lambda card=card: _rate(card, usages))  # type: ignore[misc]
        reference = best_per_second(
            lambda provider=provider, model=model: _calculate(provider, model, usages)  # type: ignore[misc]
        )
        yield Result(f"rating, {name} ({provider}/{model})", ours, "a second", GOAL_PER_SECOND)
        yield Result("  calc_price, the same usages", reference, "a second")
        yield Result("  ratio", ours / reference, "times", GOAL_RATIO)
    card = _card(listing, *CARDS[0][1:])
    yield Result(
        "rating with meters and a variant",
        best_per_second(lambda: _rate_with_meters(card, usages, SEARCHES)),
        "a second",
        GOAL_PER_SECOND,
    )
    card = _card(listing, "openai", "gpt-audio-mini")
    yield Result(
        "rating with audio tokens",
        best_per_second(lambda: _rate_with_meters(card, usages, AUDIO)),
        "a second",
    )


def _usages() -> list[tuple[MeteredUsage, datetime]]:
    chance = random.Random(20261101)  # noqa: S311 - the same usages each time
    times = sorted(END - timedelta(seconds=chance.uniform(0, 86_400)) for _ in range(USAGES))
    sizes = (300, 4000, 250_000)
    usages = []
    for at in times:
        a, b, c, d, e = (chance.randrange(chance.choice(sizes)) for _ in range(5))
        usages.append((MeteredUsage(a, b, c, d, e, chance.randint(0, e)), at))
    return usages


def _card(listing: Listing, provider: str, model: str) -> RateCard:
    prices = [p for p in listing.prices if (p.provider, p.model) == (provider, model)]
    return RateCard([_rate_of(n, price) for n, price in enumerate(prices)])


def _rate_of(number: int, price: ListedPrice) -> Rate:
    columns: dict[str, Any] = {name: getattr(price, name) for name in ListedPrice.__slots__}
    del columns["provider"], columns["model"]
    return Rate(id=number, source="catalogue", **columns)


def _rate(card: RateCard, usages: list[tuple[MeteredUsage, datetime]]) -> int:
    rows = [
        (
            u.uncached_input_tokens,
            u.cache_read_tokens,
            u.cache_write_5m_tokens,
            u.cache_write_1h_tokens,
            u.output_tokens,
            u.reasoning_tokens,
            at,
        )
        for u, at in usages
    ]
    cost_units = card.cost_units
    for _ in range(ROUNDS):
        for a, b, c, d, e, f, at in rows:
            cost_units(a, b, c, d, e, f, at.timestamp())
    return ROUNDS * len(rows)


def _rate_with_meters(
    card: RateCard, usages: list[tuple[MeteredUsage, datetime]], meters: Mapping[str, int]
) -> int:
    context = {"processing": "batch"}
    for _ in range(METER_ROUNDS):
        for usage, at in usages:
            card.cost_units_of(usage, at.timestamp(), meters=meters, context=context)
    return METER_ROUNDS * len(usages)


def _calculate(provider: str, model: str, usages: list[tuple[MeteredUsage, datetime]]) -> int:
    rows = [(_as_genai_usage(usage), at) for usage, at in usages]
    for _ in range(REFERENCE_ROUNDS):
        for usage, at in rows:
            calc_price(usage, model, provider_id=provider, genai_request_timestamp=at)
    return REFERENCE_ROUNDS * len(rows)


def _as_genai_usage(usage: MeteredUsage) -> Usage:
    return Usage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_5m_tokens=usage.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        output_reasoning_tokens=usage.reasoning_tokens,
    )
