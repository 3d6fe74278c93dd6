"""What a CloudEvent's data says of an LLM's usage.

| data                                             | read as                                       |
|--------------------------------------------------|-----------------------------------------------|
| `model`, `tokens`, `type`                        | one kind of tokens, as OpenMeter's examples   |
| `model`, `raw_usage`: {...}                      | a provider's own usage object                 |
| `model`, `usage`: {...}                          | native totals, or a provider's own object     |
| `model`, `input_tokens`, `output_tokens`, ...    | native totals: input with cache               |
| `model`, `prompt_tokens`, `completion_tokens`,   | a provider's own object, spread               |
| `promptTokenCount`, ...                          |                                               |

`input_tokens` beside Anthropic's own names is without cache where Anthropic's object shows: within
`usage`, by fields that only it has, or by more cached than input.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from apps.pricing.core.variants import CONTEXT_KEYS, MAX_CONTEXT_LENGTH
from apps.usage.adapters import loose
from apps.usage.core.events import MAX_TOKENS, InvalidUsageError
from apps.usage.core.pricing_facts import (
    MAX_METERS,
    NO_FACTS,
    PricingFacts,
    check_context,
    check_meters,
    context_of,
    facts_of_raw_usage,
)
from apps.usage.core.provider_usage import (
    TokenBuckets,
    buckets_from_totals,
    normalise_raw_usage,
    speaks_anthropic,
)

Data = Mapping[str, Any]


class LlmUsage(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str
    tokens: TokenBuckets
    facts: PricingFacts


PROVIDER: Final = ("provider", "model_provider", "custom_llm_provider", "system")
MODEL: Final = ("model", "response_model", "model_name", "model_id")
# One event a kind of token: what each calls the bucket it fills.
KINDS: Final = {
    "uncached_input_tokens": (
        "input", "inputs", "prompt", "request", "uncached_input", "input_uncached",
    ),
    "cache_read_tokens": (
        "cache_read", "cached", "cache", "cache_hit", "cached_input", "input_cached",
        "cache_read_input", "input_cache_read", "cached_prompt",
    ),
    "cache_write_5m_tokens": (
        "cache_write", "cache_creation", "cache_write_5m", "cache_creation_input",
        "cache_write_input", "input_cache_write", "input_cache_creation",
    ),
    "cache_write_1h_tokens": ("cache_write_1h", "cache_creation_1h"),
    "output_tokens": ("output", "outputs", "completion", "response"),
}  # fmt: skip
_BUCKET_OF: Final = {name: bucket for bucket, names in KINDS.items() for name in names}
_REASONING: Final = frozenset({"reasoning", "thinking", "output_reasoning", "thoughts"})

_TOTALS: Final = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cache_read_tokens": (
        "cache_read_tokens", "cache_read_input_tokens", "cached_input_tokens", "cached_tokens",
    ),
    "cache_write_tokens": (
        "cache_write_tokens", "cache_creation_input_tokens", "cache_write_input_tokens",
        "cache_creation_tokens",
    ),
    "cache_write_1h_tokens": ("cache_write_1h_tokens",),
    "reasoning_tokens": ("reasoning_tokens", "reasoning_output_tokens"),
}  # fmt: skip
# Of objects that providers answer, beside `input_tokens`.
_OPENAI_MARKS: Final = (
    "input_tokens_details", "output_tokens_details", "input_token_details", "output_token_details",
)  # fmt: skip
_ANTHROPIC_MARKS: Final = ("cache_creation", "server_tool_use")
_ANTHROPIC_CACHE: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")


def read_usage(data: Data) -> LlmUsage:
    """Raises InvalidUsageError, "not_llm_usage" when the data names no model or no tokens."""
    named = next((data[key] for key in MODEL if data.get(key)), None)
    if named is None:
        raise _not_llm_usage("model")
    named = loose.required_text(named, field="data.model")
    provider = _provider_of(data, named)
    if "tokens" in data and (_kind_of(data) is not None or not _counts_beside(data)):
        tokens, facts = _one_kind(data), NO_FACTS
    else:
        tokens, facts = _of_whole_call(provider, data)
    return LlmUsage(
        provider=provider,
        model=loose.bare_model(named, provider),
        tokens=tokens,
        facts=_with_stated(facts, data, tokens),
    )


def _provider_of(data: Data, model: str) -> str:
    stated = loose.first_text(*(data.get(key) for key in PROVIDER))
    if stated is not None:
        return stated
    prefix, slash, _ = model.partition("/")
    return (slash and loose.text(prefix)) or loose.provider_of_model(model)


def _kind_of(data: Data) -> object:
    return data.get("type") or data.get("token_type")


def _counts_beside(data: Data) -> bool:
    known = ("usage", "raw_usage", "prompt_tokens", "input_tokens", "completion_tokens")
    return any(data.get(key) is not None for key in known)


def _one_kind(data: Data) -> TokenBuckets:
    kind = loose.text(_kind_of(data)) or ""
    name = kind.lower().replace("-", "_").replace(" ", "_")
    name = name.removesuffix("_tokens").removesuffix("_token")
    bucket = _BUCKET_OF.get(name)
    if bucket is None:
        detail = (
            "reasoning tokens are part of the output; send them within `type` output"
            if name in _REASONING
            else "`data.type` says which tokens: input, output, cache_read, cache_write or"
            " cache_write_1h"
        )
        raise InvalidUsageError("unknown_token_type", detail, field="data.type")
    tokens = loose.whole(data["tokens"])
    if type(tokens) is not int:
        raise InvalidUsageError(
            "wrong_type", "`data.tokens` must be a whole number", field="data.tokens"
        )
    if not 0 <= tokens <= MAX_TOKENS:
        raise InvalidUsageError(
            "out_of_range",
            f"`data.tokens` must be between 0 and {MAX_TOKENS}",
            field="data.tokens",
        )
    return msgspec.convert({bucket: tokens}, TokenBuckets)


def _of_whole_call(provider: str, data: Data) -> tuple[TokenBuckets, PricingFacts]:
    for key in ("raw_usage", "usage"):
        stated = data.get(key)
        if isinstance(stated, Mapping) and stated:
            counts = loose.whole_counts(stated)
            is_totals = key == "usage" and _are_totals(provider, counts, is_nested=True)
            return _read(provider, counts, f"data.{key}", is_totals=is_totals)
    counts = loose.whole_counts(data)
    is_totals = _are_totals(provider, counts, is_nested=False)
    try:
        return _read(provider, counts, "data", is_totals=is_totals)
    except InvalidUsageError as refused:
        if refused.code != "unknown_usage_shape":
            raise
        if data.get("status") not in (None, "", "success", "ok", 200):
            return TokenBuckets(), NO_FACTS  # it failed before it used anything
        raise _not_llm_usage("tokens") from refused


def _are_totals(provider: str, counts: Data, *, is_nested: bool) -> bool:
    """Whether these are totals as our native `usage` has them, rather than a provider's object."""
    if not any(counts.get(key) is not None for key in ("input_tokens", "output_tokens")):
        return False
    if any(counts.get(key) for key in _OPENAI_MARKS):
        return False
    cached = [counts.get(key) or 0 for key in _ANTHROPIC_CACHE]
    if not speaks_anthropic(provider):
        return True
    if any(counts.get(key) for key in _ANTHROPIC_MARKS):
        return False
    if any(type(count) is not int for count in cached):
        return True
    exceeds = sum(cached) > _count(counts, "input_tokens", "data")
    return not (sum(cached) and (is_nested or exceeds))


def _read(
    provider: str, counts: Data, path: str, *, is_totals: bool
) -> tuple[TokenBuckets, PricingFacts]:
    try:
        tokens = _from_totals(counts, path) if is_totals else normalise_raw_usage(provider, counts)
    except InvalidUsageError as refused:
        _, _, name = (refused.field or "").partition("usage.")
        field = f"{path}.{name}" if name else path
        if (refused.field or "").startswith(path):
            field = str(refused.field)
        raise InvalidUsageError(refused.code, refused.detail, field=field) from refused
    return tokens, facts_of_raw_usage(counts)


def _from_totals(counts: Data, path: str) -> TokenBuckets:
    found = {
        total: _count(counts, name, path)
        for total, names in _TOTALS.items()
        for name in names[::-1]
        if counts.get(name) is not None
    }
    found = {"input_tokens": 0, "output_tokens": 0} | found
    tokens = buckets_from_totals(**found)
    stated = counts.get("total_tokens")
    total = found["input_tokens"] + found["output_tokens"]
    if stated is not None and _count(counts, "total_tokens", path) != total:
        raise InvalidUsageError(
            "totals_disagree",
            f"total_tokens is not input_tokens + output_tokens ({total})",
            field=f"{path}.total_tokens",
        )
    return tokens


def _count(counts: Data, name: str, path: str) -> int:
    value = counts.get(name)
    if value is None:
        return 0
    if type(value) is not int:
        raise InvalidUsageError("wrong_type", f"{name} must be an integer", field=f"{path}.{name}")
    if not 0 <= value <= MAX_TOKENS:
        raise InvalidUsageError(
            "out_of_range", f"{name} must be between 0 and {MAX_TOKENS}", field=f"{path}.{name}"
        )
    return value


def _with_stated(facts: PricingFacts, data: Data, tokens: TokenBuckets) -> PricingFacts:
    """What the sender states beside its usage, over what the usage object states."""
    usage = data.get("usage")
    within = usage.get("meters") if isinstance(usage, Mapping) else None
    meters = data.get("meters") or within
    if isinstance(meters, Mapping) and meters:
        _check_size(meters, MAX_METERS, "meters")
        counts = loose.whole_counts(meters, depth=0)
        quantities = {name: _count(counts, name, "data.meters") for name in counts}
        facts = facts._replace(meters=check_meters(quantities, tokens, field="data.meters"))
    context = data.get("price_context")
    if isinstance(context, Mapping) and context:
        _check_size(context, len(CONTEXT_KEYS), "price_context")
        texts = {key: loose.text(value, MAX_CONTEXT_LENGTH) or "" for key, value in context.items()}
        return facts._replace(price_context=check_context(texts))
    answered = context_of(tier=data.get("service_tier"), speed=data.get("speed"))
    if answered is None:
        return facts
    return facts._replace(price_context=(facts.price_context or {}) | answered)


def _check_size(stated: Data, limit: int, name: str) -> None:
    if len(stated) > limit:
        raise InvalidUsageError(
            "too_many_entries", f"send at most {limit} {name}", field=f"data.{name}"
        )


def _not_llm_usage(missing: str) -> InvalidUsageError:
    return InvalidUsageError(
        "not_llm_usage",
        f"this CloudEvent tells no LLM usage: its data has no {missing}; send `model` with"
        " `tokens` and `type`, or with `usage`",
        field=f"data.{missing}",
    )
