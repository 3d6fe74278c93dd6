"""What the emitters of GenAI spans say, and which of their spans are calls.

Emitters differ in names (otlp_keys) and in three matters told here: which spans repeat the usage
of others, whether the input total includes cache, and where usage hides in text.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from apps.usage.adapters import loose
from apps.usage.adapters import otlp_keys as keys
from apps.usage.adapters.litellm import choose_models
from apps.usage.adapters.otlp_spans import Span
from apps.usage.core.events import MAX_TOKENS, InvalidUsageError
from apps.usage.core.pricing_facts import PricingFacts, context_of, facts_of_raw_usage
from apps.usage.core.provider_usage import (
    TokenBuckets,
    buckets_from_totals,
    normalise_raw_usage,
    read_openai_chat,
    speaks_gemini,
)

# Spans of these wrap calls and repeat the sum of their usage, or call no model.
WRAPPING_OPERATIONS: Final = frozenset({
    "agent", "create_agent", "execute_event_loop_cycle", "execute_tool", "guardrail", "handoff",
    "invoke_agent", "invoke_workflow", "plan", "retrieval", "search_memory", "tool", "workflow",
})  # fmt: skip
MODEL_OPERATIONS: Final = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
OPENINFERENCE_CALLS: Final = frozenset({"LLM", "EMBEDDING"})
LANGFUSE_CALLS: Final = frozenset({"generation", "embedding"})
AI_SDK_CALLS: Final = (".doGenerate", ".doStream", ".doEmbed")
# What stands for a provider in spans of frameworks that do not know theirs.
NOT_PROVIDERS: Final = frozenset({"langchain", "litellm", "openlit", "unknown", "_other"})
OPENROUTER: Final = "openrouter"
MAX_JSON_TEXT: Final = 20_000

_HTTP_STATUS: Final = re.compile(r"(?:Error code|status code|HTTP):? (?P<code>[45]\d\d)\b", re.I)


def is_call(span: Span) -> bool:
    """Whether the span is one call of a model that was used or failed, and not its wrapper."""
    if not _is_of_a_call(span):
        return False
    return has_usage(span) or (has_failed(span) and _names_a_model(span))


def _is_of_a_call(span: Span) -> bool:
    said = span.attributes
    if (kind := said.get(keys.LANGFUSE_TYPE)) is not None:
        return str(kind) in LANGFUSE_CALLS
    if (kind := said.get(keys.OPENINFERENCE_KIND)) is not None:
        return str(kind).upper() in OPENINFERENCE_CALLS
    if (operation := said.get(keys.AI_SDK_OPERATION)) is not None:
        return str(operation).endswith(AI_SDK_CALLS)
    return str(said.get(keys.OPERATION, "")).lower() not in WRAPPING_OPERATIONS


def has_usage(span: Span) -> bool:
    """Usage without any model is a chain's or an agent's sum, unless the operation is a call's."""
    said = span.attributes
    told = _first(said, *keys.INPUT_TOKENS, *keys.OUTPUT_TOKENS, *keys.RAW_USAGE) is not None
    return told and (_names_a_model(span) or str(said.get(keys.OPERATION)) in MODEL_OPERATIONS)


def has_failed(span: Span) -> bool:
    said = span.attributes
    return span.is_error or keys.ERROR_TYPE in said or said.get(keys.LANGFUSE_LEVEL) == "ERROR"


def _names_a_model(span: Span) -> bool:
    """A model with the operation or provider beside it.

    LiteLLM copies the model onto every span below a request, database calls included.
    """
    said = span.attributes
    asked_for, answered = _models_named(span)
    marks = (keys.OPERATION, keys.LANGFUSE_TYPE, keys.OPENINFERENCE_KIND, *keys.PROVIDER)
    return bool(asked_for or answered) and _first(said, *marks) is not None


def read_provider(span: Span) -> str:
    """As reported; else LiteLLM's prefix; else the model's maker, where its name tells.

    OpenRouter reports whose machines answered. Where those do not sell under the maker's name, as
    Amazon with Claude, it is OpenRouter's own price list that has the model.
    """
    given = (loose.text(unquoted(span.attributes.get(key))) for key in keys.PROVIDER)
    names = [name for name in given if name is not None]
    for name in names:
        if name.lower() not in NOT_PROVIDERS:
            return OPENROUTER if _is_resold(span, name) else name
    prefix, slash, _ = str(span.attributes.get(keys.DEPLOYED_MODEL, "")).partition("/")
    if slash and (deployed_at := loose.text(prefix)):
        return deployed_at
    asked_for, answered = _models_named(span)
    maker = loose.provider_of_model(answered or asked_for or "")
    return names[0] if names and maker == loose.UNKNOWN_PROVIDER else maker


def _is_resold(span: Span, provider: str) -> bool:
    asked_for, answered = _models_named(span)
    maker, slash, _ = (answered or asked_for or "").partition("/")
    return bool(slash) and is_of_openrouter(span) and maker.casefold() != provider.casefold()


def is_of_openrouter(span: Span) -> bool:
    return span.resource.get(keys.SERVICE) == OPENROUTER


def read_models(span: Span, provider: str) -> tuple[str, str | None]:
    """(model, requested_model). Raises InvalidUsageError when the span names none."""
    asked_for, answered = _models_named(span)
    return choose_models(
        provider,
        answered=answered,
        deployed=span.attributes.get(keys.DEPLOYED_MODEL),
        asked_for=span.attributes.get(keys.MODEL_GROUP) or asked_for,
    )


def _models_named(span: Span) -> tuple[str | None, str | None]:
    said = span.attributes
    asked_for = _first(said, *keys.REQUEST_MODEL)
    if asked_for is None:
        asked_for = json_object(said.get(keys.INVOCATION_PARAMETERS)).get("model")
    answered = _first(said, *keys.RESPONSE_MODEL)
    return (
        asked_for if isinstance(asked_for, str) else None,
        answered if isinstance(answered, str) else None,
    )


def read_response_id(span: Span) -> str | None:
    return loose.text(_first(span.attributes, *keys.RESPONSE_ID))


def read_tokens(span: Span, provider: str) -> TokenBuckets:
    """From the provider's own usage object where the span carries it, else from the counts."""
    for read in (_from_raw_usage, _from_provider_metadata, _from_litellm_usage):
        try:
            buckets = read(span, provider)
        except InvalidUsageError:
            continue  # the counts beside it may still do
        if buckets is not None:
            return buckets
    return _from_counts(span, provider)


def _from_raw_usage(span: Span, provider: str) -> TokenBuckets | None:
    usage = json_object(_first(span.attributes, *keys.RAW_USAGE))
    if not usage:
        return None
    if "input" in usage or "output" in usage:
        return _from_langfuse(usage)
    return normalise_raw_usage(provider, usage)


def _from_langfuse(usage: Mapping[str, Any]) -> TokenBuckets:
    """Langfuse's own names: every key is billed for itself, so none includes another."""
    counts = {key: value for key, value in usage.items() if type(value) is int and value >= 0}
    cached = _sum_of(counts, "input_cached_tokens", "input_cache_read", "cache_read_input_tokens")
    one_hour = _sum_of(
        counts, "cache_creation_ephemeral_1h_input_tokens", "input_ephemeral_1h_input_tokens"
    )
    written = _sum_of(counts, "input_cache_creation", "cache_creation_input_tokens") or one_hour
    reasoning = _sum_of(counts, "output_reasoning_tokens", "output_reasoning")
    return buckets_from_totals(
        input_tokens=counts.get("input", 0) + cached + written,
        output_tokens=counts.get("output", 0) + reasoning,
        cache_read_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=one_hour,
        reasoning_tokens=reasoning,
    )


def _sum_of(counts: Mapping[str, int], *names: str) -> int:
    return sum(counts.get(name, 0) for name in names)


def _from_provider_metadata(span: Span, _provider: str) -> TokenBuckets | None:
    """The AI SDK passes on Anthropic's own object, which alone tells 5 min writes from 1 h."""
    usage = _anthropic_usage(span)
    return normalise_raw_usage("anthropic", usage) if usage else None


def _anthropic_usage(span: Span) -> dict[str, Any]:
    of_anthropic = json_object(span.attributes.get(keys.PROVIDER_METADATA)).get("anthropic")
    usage = of_anthropic.get("usage") if isinstance(of_anthropic, dict) else None
    return usage if isinstance(usage, dict) else {}


def _from_litellm_usage(span: Span, provider: str) -> TokenBuckets | None:
    """LiteLLM otel v1 writes its usage object as Python does, and the cache split only there."""
    written = span.attributes.get(keys.LITELLM_USAGE)
    if not isinstance(written, str):
        return None
    text = written.replace("'", '"')
    for python, json_name in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{python}\b", json_name, text)
    usage = json_object(text)
    return read_openai_chat(provider, usage, check_total=False) if usage else None


def _from_counts(span: Span, provider: str) -> TokenBuckets:
    said = span.attributes
    input_tokens = _tokens(said, keys.INPUT_TOKENS)
    output_tokens = _tokens(said, keys.OUTPUT_TOKENS)
    read = _tokens(said, keys.CACHE_READ_TOKENS)
    written = _tokens(said, keys.CACHE_WRITE_TOKENS)
    reasoning = _tokens(said, keys.REASONING_TOKENS)
    total = _tokens(said, keys.TOTAL_TOKENS)
    if keys.UNCACHED_INPUT_TOKENS in said:
        input_tokens = _tokens(said, (keys.UNCACHED_INPUT_TOKENS,)) + read + written
    elif (read or written) and (
        total == input_tokens + read + written + output_tokens
        or _leaves_cache_out(span, provider, input_tokens, read + written)
    ):
        input_tokens += read + written
    if 0 < reasoning == total - input_tokens - output_tokens or (
        reasoning > output_tokens and speaks_gemini(provider)
    ):
        output_tokens += reasoning  # it stands beside the output, as the numbers show
    return buckets_from_totals(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoning,
    )


def _leaves_cache_out(span: Span, provider: str, input_tokens: int, cached: int) -> bool:
    """Whether this emitter passes on Anthropic's or Bedrock's input count, which is without cache.

    openlit does, and the AI SDK before version 6; of others a smaller total than cache shows it.
    """
    name = provider.lower()
    if "anthropic" not in name and "bedrock" not in name:
        return False
    passes_on = span.scope.startswith("openlit.") or keys.AI_SDK_OPERATION in span.attributes
    return passes_on or cached > input_tokens


def _tokens(said: Mapping[str, Any], names: Iterable[str]) -> int:
    for name in names:
        if (value := loose.whole(said.get(name))) is None:
            continue
        if type(value) is not int:
            raise InvalidUsageError("wrong_type", f"{name} must be an integer", field=name)
        if not 0 <= value <= MAX_TOKENS:
            raise InvalidUsageError(
                "out_of_range", f"{name} must be between 0 and {MAX_TOKENS}", field=name
            )
        return value
    return 0


def read_facts(span: Span) -> PricingFacts:
    """What the span states beside its buckets."""
    said = span.attributes
    facts = facts_of_raw_usage(json_object(_first(said, *keys.RAW_USAGE)) or _anthropic_usage(span))
    audio = {
        meter: count
        for key, meter in keys.AUDIO_TOKENS.items()
        if type(count := loose.whole(said.get(key))) is int and 0 < count <= MAX_TOKENS
    }
    answered = context_of(tier=_first(said, *keys.SERVICE_TIER))
    return PricingFacts(
        (audio | (facts.meters or {})) or None,
        ((facts.price_context or {}) | (answered or {})) or None,
    )


def read_cost_usd(span: Span) -> object:
    """What the emitter thinks it cost; 0 and nothing both mean that it does not know."""
    said = span.attributes
    stated = _first(said, *keys.COST_USD)
    return stated or json_object(said.get(keys.COST_DETAILS)).get("total") or None


def read_failure(span: Span) -> str:
    """The HTTP status where it can be found, else the error's class."""
    said = span.attributes
    for message in (span.status_message, said.get(keys.ERROR_MESSAGE)):
        if found := _HTTP_STATUS.search(str(message or "")[:500]):
            return found["code"]
    code = loose.text(_first(said, *keys.ERROR_CODE))
    return code or loose.first_text(said.get(keys.ERROR_TYPE), span.exception_type) or "error"


def read_first_token_ms(span: Span) -> int | None:
    said = span.attributes
    seconds = loose.milliseconds_from_seconds(_first(said, *keys.FIRST_CHUNK_SECONDS))
    if seconds is not None:
        return seconds
    if keys.FIRST_CHUNK_MS in said:
        return loose.milliseconds(said[keys.FIRST_CHUNK_MS])
    if span.first_token_ns is not None:
        return loose.milliseconds((span.first_token_ns - span.start_ns) / 1e6)
    at = unquoted(said.get(keys.FIRST_CHUNK_AT))
    if not isinstance(at, str):
        return None
    try:
        moment = loose.moment_from_seconds(at, field=keys.FIRST_CHUNK_AT)
    except InvalidUsageError:
        return None
    return loose.milliseconds_from_seconds(
        (moment - loose.EPOCH).total_seconds() - span.start_ns / 1e9
    )


def _first(said: Mapping[str, Any], *names: str) -> Any:
    return next((said[name] for name in names if said.get(name) not in (None, "")), None)


def json_object(value: object) -> dict[str, Any]:
    if not isinstance(value, str) or len(value) > MAX_JSON_TEXT or not value.startswith("{"):
        return {}
    try:
        return msgspec.json.decode(value, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}


def unquoted(value: object) -> object:
    """Langfuse writes texts of metadata as JSON strings."""
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value
