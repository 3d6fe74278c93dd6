"""What prices a request beside its token buckets: further meters, and the price's variant. Pure.

Names are the catalogue's usage keys. Audio and image tokens are parts of the buckets, as the
providers count them. Only what an object states is taken: nothing is derived from prompts, names
or requests, which ask for a tier without getting it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from apps.pricing.core.meters import (
    BUCKETS,
    CACHE_READ,
    CACHE_WRITE,
    DIMENSIONS,
    INPUT,
    OUTPUT,
    REASONING,
    REQUESTS,
    is_part_of,
)
from apps.pricing.core.variants import MAX_CONTEXT_LENGTH, ContextError, read_context, variant_name
from apps.usage.core.events import MAX_TOKENS, InvalidUsageError
from apps.usage.core.provider_usage import TokenBuckets

# What a report may state in `meters`: all but the buckets, which stand beside them.
METERS: Final = frozenset(DIMENSIONS) - {*BUCKETS, CACHE_WRITE, REQUESTS}
MAX_METERS: Final = len(METERS)

_TOTALS: Final = {
    INPUT: "input_tokens",
    CACHE_READ: "cache_read_tokens",
    CACHE_WRITE: "cache_write_tokens",
    OUTPUT: "output_tokens",
    REASONING: "reasoning_tokens",
}
_WHOLES: Final = {
    meter: tuple(whole for whole in _TOTALS if is_part_of(meter, whole)) for meter in METERS
}
_MODALITIES: Final = ("audio", "image", "video")
_DOCUMENT: Final = "document"  # Gemini charges pages as images


class PricingFacts(NamedTuple):
    """As UsageEvent holds them; None for none."""

    meters: dict[str, int] | None
    price_context: dict[str, str] | None


NO_FACTS: Final = PricingFacts(None, None)


def check_meters(
    meters: Mapping[str, int], tokens: TokenBuckets, *, field: str
) -> dict[str, int] | None:
    """`meters`, the value of `field`, without zeros.

    Raises InvalidUsageError for an unknown one, and a part that is more than its bucket.
    """
    if not meters.keys() <= METERS:
        raise _unknown_meter(next(m for m in meters if m not in METERS), field)
    kept = {meter: quantity for meter, quantity in meters.items() if quantity}
    totals = _totals_of(tokens)
    for meter, quantity in kept.items():
        for whole in _WHOLES[meter]:
            if quantity > totals[whole]:
                raise InvalidUsageError(
                    "meter_exceeds_total",
                    f"{meter} ({quantity}) exceed {_TOTALS[whole]} ({totals[whole]}),"
                    " which must include them",
                    field=f"{field}.{meter}",
                )
    return kept or None


def check_context(context: Mapping[str, str]) -> dict[str, str] | None:
    """`context` without standard values. Raises InvalidUsageError for a key no price knows."""
    try:
        return read_context(context) or None
    except ContextError as error:
        raise InvalidUsageError(error.code, error.detail, field=error.field) from error


def context_of(*, tier: object = None, speed: object = None) -> dict[str, str] | None:
    """The variant that a provider says it charged: a service tier, Anthropic's fast mode."""
    found = {}
    if (named := variant_name(tier)) is not None:
        if named == "batch":  # Anthropic's and Bedrock's tier is the catalogue's processing
            found["processing"] = "batch"
        else:
            found["service_tier"] = named
    if (named := variant_name(speed)) is not None:
        found["speed"] = named
    return found or None


def facts_of_raw_usage(raw: Mapping[str, Any]) -> PricingFacts:
    """What a provider's own usage object states beside its buckets. Never raises."""
    meters: dict[str, int] = {}
    for meter, quantity in _stated(raw):
        if type(quantity) is int and 0 < quantity <= MAX_TOKENS:
            meters[meter] = min(meters.get(meter, 0) + quantity, MAX_TOKENS)
    tier = raw.get("service_tier") or raw.get("serviceTier") or _traffic(raw)
    return PricingFacts(meters or None, context_of(tier=tier, speed=raw.get("speed")))


def _stated(raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    yield from _of_openai(raw)
    yield from _of_gemini(raw)
    searches = _part(raw, "server_tool_use").get("web_search_requests")
    if searches is None:
        searches = _part(raw, "prompt_tokens_details").get("web_search_requests")
    yield "web_searches", raw.get("num_search_queries") if searches is None else searches


_OPENAI_DETAILS: Final = {
    "prompt_tokens_details": "input",
    "input_tokens_details": "input",
    "input_token_details": "input",
    "completion_tokens_details": "output",
    "output_tokens_details": "output",
    "output_token_details": "output",
}


def _of_openai(raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Text is told apart only where there is something else: it is the rest then, anyway priced."""
    parts = [(side, _part(raw, key)) for key, side in _OPENAI_DETAILS.items()]
    is_mixed = any(part.get(f"{kind}_tokens") for _, part in parts for kind in _MODALITIES)
    for side, part in parts if is_mixed else ():
        for kind in ("text", *_MODALITIES):
            yield f"{side}_{kind}_tokens", part.get(f"{kind}_tokens")
        cached = _part(part, "cached_tokens_details")
        if side == "input":
            for kind in ("text", *_MODALITIES):
                yield f"cache_{kind}_read_tokens", cached.get(f"{kind}_tokens")


_GEMINI_DETAILS: Final = {
    ("promptTokensDetails", "prompt_tokens_details"): "input_{}_tokens",
    ("candidatesTokensDetails", "candidates_tokens_details"): "output_{}_tokens",
    ("responseTokensDetails", "response_tokens_details"): "output_{}_tokens",
    ("cacheTokensDetails", "cache_tokens_details"): "cache_{}_read_tokens",
}


def _of_gemini(raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for keys, meter in _GEMINI_DETAILS.items():
        found = (raw[key] for key in keys if isinstance(raw.get(key), list))
        details: list[Any] = next(found, [])
        for detail in details[: 2 * len(_MODALITIES)]:
            if not isinstance(detail, Mapping):
                continue
            modality = str(detail.get("modality", ""))[:MAX_CONTEXT_LENGTH].lower()
            kind = "image" if modality == _DOCUMENT else modality
            if kind in _MODALITIES:
                yield meter.format(kind), detail.get("tokenCount", detail.get("token_count"))


def _traffic(raw: Mapping[str, Any]) -> str | None:
    """Vertex says ON_DEMAND, ON_DEMAND_FLEX or ON_DEMAND_PRIORITY."""
    stated = raw.get("trafficType")
    if not isinstance(stated, str) or not stated.startswith("ON_DEMAND_"):
        return None
    return stated.removeprefix("ON_DEMAND_")


def _totals_of(tokens: TokenBuckets) -> dict[str, int]:
    written = tokens.cache_write_5m_tokens + tokens.cache_write_1h_tokens
    return {
        INPUT: tokens.uncached_input_tokens + tokens.cache_read_tokens + written,
        CACHE_READ: tokens.cache_read_tokens,
        CACHE_WRITE: written,
        OUTPUT: tokens.output_tokens,
        REASONING: tokens.reasoning_tokens,
    }


def _unknown_meter(meter: str, field: str) -> InvalidUsageError:
    named = meter[:60] if meter.isprintable() else "(unprintable)"
    if meter in DIMENSIONS:
        detail = f"`{named}` has a field of its own beside `meters`; send it there"
    else:
        detail = f"`{named}` is not a meter of the price catalogue; see docs/integrations/native.md"
    return InvalidUsageError("unknown_meter", detail, field=f"{field}.{named}")


def _part(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}
