"""Providers' own usage objects, brought to three disjoint input buckets. Pure.

| shape                                                 | does the input total include cache?   |
|-------------------------------------------------------|---------------------------------------|
| OpenAI chat and responses, Mistral, Groq, OpenRouter, | yes; reasoning is inside output       |
| vLLM, LiteLLM                                         |                                       |
| Anthropic                                             | no                                    |
| Gemini                                                | yes; thoughts stand outside output    |
| Bedrock                                               | no                                    |
| Ollama                                                | knows no cache                        |

The shape of the object decides, the provider's name only where two shapes look alike. Totals that
the object states are checked; what cannot be brought to this form is refused, never guessed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from apps.usage.core.events import MAX_TOKENS, InvalidUsageError, split_input

RawUsage = Mapping[str, Any]


class TokenBuckets(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Tokens as a UsageEvent holds them."""

    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


def buckets_from_totals(
    *,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int = 0,
    cache_write_tokens: int | None = None,
    cache_write_1h_tokens: int = 0,
    reasoning_tokens: int = 0,
) -> TokenBuckets:
    """Split totals as OpenTelemetry counts them: input with cache, output with reasoning.

    `cache_write_tokens` is every write; what is not said to last an hour lasts five minutes.
    Raises InvalidUsageError when a part exceeds its total, or a total MAX_TOKENS.
    """
    if input_tokens > MAX_TOKENS or output_tokens > MAX_TOKENS:
        raise InvalidUsageError(
            "out_of_range",
            f"{input_tokens} input and {output_tokens} output tokens:"
            f" at most {MAX_TOKENS} of each are taken for one request",
            field="usage",
        )
    if cache_write_tokens is None:
        cache_write_tokens = cache_write_1h_tokens
    elif cache_write_1h_tokens > cache_write_tokens:
        raise InvalidUsageError(
            "cache_write_1h_exceeds_cache_write",
            f"cache_write_1h_tokens ({cache_write_1h_tokens}) exceed cache_write_tokens"
            f" ({cache_write_tokens}), which must include them",
            field="usage.cache_write_1h_tokens",
        )
    if reasoning_tokens > output_tokens:
        raise InvalidUsageError(
            "reasoning_exceeds_output",
            f"reasoning_tokens ({reasoning_tokens}) exceed output_tokens ({output_tokens}),"
            " which must include them",
            field="usage.reasoning_tokens",
        )
    cache_write_5m_tokens = cache_write_tokens - cache_write_1h_tokens
    return TokenBuckets(
        uncached_input_tokens=split_input(
            input_tokens=input_tokens,
            cache_read_tokens=cache_read_tokens,
            cache_write_5m_tokens=cache_write_5m_tokens,
            cache_write_1h_tokens=cache_write_1h_tokens,
        ),
        cache_read_tokens=cache_read_tokens,
        cache_write_5m_tokens=cache_write_5m_tokens,
        cache_write_1h_tokens=cache_write_1h_tokens,
        output_tokens=output_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def normalise_raw_usage(provider: str, raw: RawUsage) -> TokenBuckets:
    """A provider's usage object, unchanged as it was answered, as token buckets.

    Raises InvalidUsageError whose `field` starts with "raw_usage".
    """
    try:
        return _reader_for(provider, raw)(provider, raw)
    except InvalidUsageError as error:
        if error.field is not None and error.field.startswith("raw_usage"):
            raise
        raise InvalidUsageError(error.code, error.detail, field="raw_usage") from error


def _reader_for(provider: str, raw: RawUsage) -> Callable[[str, RawUsage], TokenBuckets]:
    is_ai_sdk = not _AI_SDK_MARKS.isdisjoint(raw)  # like Bedrock's, but its input includes cache
    for reader, marks in _MARKS.items():
        if not marks.isdisjoint(raw) and not is_ai_sdk:
            return reader
    if is_ai_sdk or {"input_tokens", "output_tokens"}.isdisjoint(raw):
        raise InvalidUsageError(
            "unknown_usage_shape",
            "this is not a usage object of a known provider; send `usage` with input_tokens and"
            " output_tokens instead",
            field="raw_usage",
        )
    like_anthropic = bool(_part(raw, "cache_creation")) or any(
        _count(raw, key) for key in _CACHE_COUNTS
    )
    like_responses = not _RESPONSES_MARKS.isdisjoint(raw)
    if like_anthropic and like_responses and not speaks_anthropic(provider):
        raise InvalidUsageError(
            "ambiguous_usage_shape",
            "cache tokens beside a total: it cannot be told whether input_tokens include them;"
            " send `usage` instead",
            field="raw_usage.input_tokens",
        )
    return _read_anthropic if like_anthropic else _read_openai_responses


def read_openai_chat(provider: str, raw: RawUsage, *, check_total: bool = True) -> TokenBuckets:
    """OpenAI's chat and embeddings shape, and what LiteLLM makes of every provider's.

    `check_total` off takes an object whose total says something else than the sum of its parts.
    """
    prompt = _part(raw, "prompt_tokens_details")
    completion = _part(raw, "completion_tokens_details")
    writes_by_age = _part(prompt, "cache_creation_token_details")
    return _from_openai_counts(
        provider,
        raw,
        check_total=check_total,
        input_tokens=_count(raw, "prompt_tokens"),
        output_tokens=_count(raw, "completion_tokens"),
        cache_read_tokens=_first_count(prompt, "cached_tokens")
        or _first_count(raw, "cache_read_input_tokens", "prompt_cache_hit_tokens"),
        cache_write_tokens=_first_count(prompt, "cache_creation_tokens", "cache_write_tokens")
        or _first_count(raw, "cache_creation_input_tokens"),
        cache_write_1h_tokens=_count(writes_by_age, "ephemeral_1h_input_tokens"),
        reasoning_tokens=_count(completion, "reasoning_tokens"),
    )


def _read_openai_responses(provider: str, raw: RawUsage) -> TokenBuckets:
    # The realtime and transcription APIs say `token`, the others `tokens`.
    into = _part(raw, "input_tokens_details") or _part(raw, "input_token_details")
    out_of = _part(raw, "output_tokens_details") or _part(raw, "output_token_details")
    return _from_openai_counts(
        provider,
        raw,
        check_total=True,
        input_tokens=_count(raw, "input_tokens"),
        output_tokens=_count(raw, "output_tokens"),
        cache_read_tokens=_count(into, "cached_tokens"),
        cache_write_tokens=_count(into, "cache_write_tokens"),
        cache_write_1h_tokens=0,
        reasoning_tokens=_count(out_of, "reasoning_tokens"),
    )


def _from_openai_counts(
    provider: str,
    raw: RawUsage,
    *,
    check_total: bool,
    input_tokens: int,
    output_tokens: int,
    cache_read_tokens: int,
    cache_write_tokens: int,
    cache_write_1h_tokens: int,
    reasoning_tokens: int,
) -> TokenBuckets:
    total = _stated_count(raw, "total_tokens")
    outside = 0 if total is None else total - input_tokens - output_tokens
    # xAI counts reasoning beside the completion, Gemini's OpenAI door leaves thoughts out of it;
    # in both the total tells how many there were.
    if 0 < outside == reasoning_tokens:
        output_tokens += outside
    elif outside > 0 and speaks_gemini(provider):
        output_tokens += outside
        reasoning_tokens += outside
    elif total is not None and outside and check_total:
        raise _totals_disagree("total_tokens", input_tokens + output_tokens, total)
    return buckets_from_totals(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read_tokens,
        cache_write_tokens=max(cache_write_tokens, cache_write_1h_tokens),
        cache_write_1h_tokens=cache_write_1h_tokens,
        reasoning_tokens=reasoning_tokens,
    )


def _read_anthropic(_provider: str, raw: RawUsage) -> TokenBuckets:
    cache_read = _count(raw, "cache_read_input_tokens")
    by_age = _part(raw, "cache_creation")
    one_hour = _count(by_age, "ephemeral_1h_input_tokens")
    split = one_hour + _count(by_age, "ephemeral_5m_input_tokens")
    written = _stated_count(raw, "cache_creation_input_tokens")
    if written is None:
        written = split
    elif split > written:
        raise _totals_disagree("cache_creation_input_tokens", split, written)
    return buckets_from_totals(
        input_tokens=_count(raw, "input_tokens") + cache_read + written,
        output_tokens=_count(raw, "output_tokens"),
        cache_read_tokens=cache_read,
        cache_write_tokens=written,
        cache_write_1h_tokens=one_hour,
        reasoning_tokens=_count(_part(raw, "output_tokens_details"), "thinking_tokens"),
    )


def _read_gemini(_provider: str, raw: RawUsage) -> TokenBuckets:
    prompt = _first_count(raw, "promptTokenCount", "prompt_token_count")
    tool_prompt = _first_count(raw, "toolUsePromptTokenCount", "tool_use_prompt_token_count")
    answer = _first_count(
        raw,
        "candidatesTokenCount",
        "candidates_token_count",
        "responseTokenCount",
        "response_token_count",
    )
    thoughts = _first_count(raw, "thoughtsTokenCount", "thoughts_token_count")
    total_key = "totalTokenCount" if "totalTokenCount" in raw else "total_token_count"
    total = _stated_count(raw, total_key)
    if total == prompt + answer + thoughts:
        tool_prompt = 0  # this model counts what tools returned within the prompt
    parts = prompt + tool_prompt + answer + thoughts
    if total not in (None, parts):
        raise _totals_disagree(total_key, parts, total)
    return buckets_from_totals(
        input_tokens=prompt + tool_prompt,
        output_tokens=answer + thoughts,
        cache_read_tokens=_first_count(
            raw, "cachedContentTokenCount", "cached_content_token_count"
        ),
        reasoning_tokens=thoughts,
    )


def _read_bedrock(_provider: str, raw: RawUsage) -> TokenBuckets:
    uncached = _first_count(raw, "inputTokens", "inputTokenCount")
    output = _first_count(raw, "outputTokens", "outputTokenCount")
    read = _first_count(raw, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = _first_count(raw, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    details = raw.get("cacheDetails")
    one_hour = sum(
        _count(detail, "inputTokens")
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, Mapping) and detail.get("ttl") == "1h"
    )
    total, parts = _stated_count(raw, "totalTokens"), uncached + output + read + written
    # The total is stated with cache by some models and without by others.
    if total not in (None, parts, uncached + output):
        raise _totals_disagree("totalTokens", parts, total)
    return buckets_from_totals(
        input_tokens=uncached + read + written,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        cache_write_1h_tokens=one_hour,
    )


def _read_ollama(_provider: str, raw: RawUsage) -> TokenBuckets:
    return buckets_from_totals(
        input_tokens=_count(raw, "prompt_eval_count"), output_tokens=_count(raw, "eval_count")
    )


_MARKS: Final[dict[Callable[[str, RawUsage], TokenBuckets], set[str]]] = {
    read_openai_chat: {"prompt_tokens", "completion_tokens"},
    _read_gemini: {
        "promptTokenCount", "prompt_token_count", "candidatesTokenCount", "candidates_token_count",
    },
    _read_bedrock: {"inputTokens", "outputTokens", "inputTokenCount", "outputTokenCount"},
    _read_ollama: {"prompt_eval_count", "eval_count"},
}  # fmt: skip
_ABSENT: Final[tuple[object, ...]] = (None, "", {})
_RESPONSES_MARKS: Final = {"input_tokens_details", "input_token_details", "total_tokens"}
_AI_SDK_MARKS: Final = {"cachedInputTokens", "inputTokenDetails"}
_CACHE_COUNTS: Final = ("cache_creation_input_tokens", "cache_read_input_tokens")


def speaks_anthropic(provider: str) -> bool:
    return "anthropic" in provider.lower() or "bedrock" in provider.lower()


def speaks_gemini(provider: str) -> bool:
    name = provider.lower()
    return name.startswith(("google", "gemini", "vertex", "gcp."))


def _count(raw: RawUsage, key: str) -> int:
    """A token count; absent, null and an empty object are none."""
    value = raw.get(key)
    if value in _ABSENT:
        return 0
    if type(value) is not int:
        raise InvalidUsageError(
            "wrong_type", f"{key} must be an integer", field=f"raw_usage.{key[:60]}"
        )
    if not 0 <= value <= MAX_TOKENS:
        raise InvalidUsageError(
            "out_of_range",
            f"{key} must be between 0 and {MAX_TOKENS}",
            field=f"raw_usage.{key[:60]}",
        )
    return value


def _stated_count(raw: RawUsage, key: str) -> int | None:
    return None if raw.get(key) in _ABSENT else _count(raw, key)


def _first_count(raw: RawUsage, *keys: str) -> int:
    return next((_count(raw, key) for key in keys if raw.get(key) is not None), 0)


def _part(raw: RawUsage, key: str) -> RawUsage:
    value = raw.get(key)
    return value if isinstance(value, Mapping) else {}


def _totals_disagree(key: str, parts: int, total: int | None) -> InvalidUsageError:
    return InvalidUsageError(
        "totals_disagree",
        f"the parts add up to {parts} but {key} says {total}; send `usage` instead",
        field=f"raw_usage.{key}",
    )
