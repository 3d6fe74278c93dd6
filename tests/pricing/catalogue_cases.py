"""Every model of genai-prices with the moments, contexts and usages at which to compare prices."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
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
    meters: Mapping[str, int]
    at: datetime
    context: Mapping[str, str] | None

    def expected_usd(self) -> Decimal:
        """genai-prices' own answer, with precision enough that it does not round but where no
        decimal is exact (thirds, from prices per hour): there to the ledger's 24 decimals."""
        with localcontext(prec=80):
            price = self.model.calc_price(
                as_genai_usage(self.usage, self.meters),
                self.provider,
                genai_request_timestamp=self.at,
                price_context=self.context,
            )
            return Decimal(price.total_price).quantize(Decimal("1e-24"), ROUND_HALF_EVEN)


def as_genai_usage(usage: MeteredUsage, meters: Mapping[str, int] | None = None) -> Usage:
    return Usage(
        **(meters or {}),
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
                usage = random_usage(chance)
                yield Case(provider, model, usage, random_meters(chance, usage), at, context)


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


def random_meters(chance: random.Random, usage: MeteredUsage) -> dict[str, int]:
    """A random quantity of every further meter that is known, consistent with the buckets.

    Each bucket's tokens are dealt out to the modalities, as providers report them; then seconds,
    pages, searches and the rest. One case in four has no further meters at all.
    """
    if chance.random() < 0.25:
        return {}
    plain_input = _deal(chance, usage.uncached_input_tokens, ("tool", ""))
    buckets = {
        "input{}": plain_input[""],
        "input{}_tool": plain_input["tool"],
        "cache{}_read": usage.cache_read_tokens,
        "cache{}_write_5m": usage.cache_write_5m_tokens,
        "cache{}_write_1h": usage.cache_write_1h_tokens,
    }
    said = _deal(chance, usage.output_tokens - usage.reasoning_tokens, ("citation", ""))
    buckets |= {
        "output{}": said[""],
        "output{}_citation": said["citation"],
        "output{}_reasoning": usage.reasoning_tokens,
    }
    meters = {
        "input_tool_tokens": plain_input["tool"],
        "output_citation_tokens": said["citation"],
    }
    for name, tokens in buckets.items():
        for modality, part in _deal(chance, tokens, ("text", "audio", "image", "video")).items():
            for meter in _wholes(name, f"_{modality}"):
                meters[meter] = meters.get(meter, 0) + part
    return meters | _random_others(chance)


def _wholes(name: str, modality: str) -> set[str]:
    """The meters of this modality that a bucket's token is counted in."""
    direction = "output" if name.startswith("output") else "input"
    wholes = {f"{direction}{modality}_tokens", f"{name.format(modality)}_tokens"}
    if "_write" in name:
        wholes.add(f"cache{modality}_write_tokens")
    return wholes


def _random_others(chance: random.Random) -> dict[str, int]:
    heard, spoken = chance.randrange(4000), chance.choice((0, chance.randrange(4000)))
    pages = chance.randrange(3000)
    return {
        "audio_seconds": heard + spoken,
        "input_audio_seconds": heard,
        "output_audio_seconds": spoken,
        "input_characters": chance.randrange(100_000),
        "input_text_messages": chance.randrange(50),
        "input_pixels": chance.randrange(10_000_000),
        "input_document_pages": pages,
        "input_annotated_document_pages": chance.randint(0, pages),
        "rerank_searches": chance.randrange(20),
        "web_searches": chance.randrange(20),
        "social_searches": chance.randrange(20),
        "storage_searches": chance.randrange(20),
        "code_executions": chance.randrange(20),
    }


def _deal(chance: random.Random, tokens: int, names: tuple[str, ...]) -> dict[str, int]:
    """Tokens dealt out at random; often all to one."""
    dealt = dict.fromkeys(names, 0)
    if chance.random() < 0.3:
        dealt[chance.choice(names)] = tokens
        return dealt
    cuts = sorted(chance.randint(0, tokens) for _ in names[1:])
    for name, begin, end in zip(names, [0, *cuts], [*cuts, tokens], strict=True):
        dealt[name] = end - begin
    return dealt


def _constraints(model: Any) -> list[Any]:
    prices = model.prices if isinstance(model.prices, list) else []
    both = [*prices, *(model.price_variants or ())]
    return [item.constraint for item in both if item.constraint is not None]
