"""LiteLLM's `generic_api` callback: its StandardLoggingPayload, about 12 KB an event.

Only the fields below are ever decoded: prompts and answers stay bytes. LiteLLM writes what it does
not know as "", null or {}, so every field takes any type and is read with care.
"""

from collections.abc import Set
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final, cast

import msgspec

from apps.usage.adapters import loose
from apps.usage.adapters.rows import RowDecoder, parse_rows
from apps.usage.core.attribution import PATH_PREFIXES
from apps.usage.core.events import MAX_ID_LENGTH, Door, InvalidUsageError, Parsed, UsageEvent
from apps.usage.core.pricing_facts import NO_FACTS, PricingFacts, context_of, facts_of_raw_usage
from apps.usage.core.provider_usage import TokenBuckets, normalise_raw_usage, read_openai_chat

SOURCE: Final = "litellm"

Anything = str | float | bool | list[Any] | None


class _Metadata(msgspec.Struct, gc=False):
    usage_object: dict[str, Any] | Anything = None
    spend_logs_metadata: dict[str, Any] | Anything = None
    user_api_key_team_alias: Any = None
    user_api_key_team_id: Any = None
    user_api_key_org_alias: Any = None
    user_api_key_org_id: Any = None
    user_api_key_project_alias: Any = None
    user_api_key_project_id: Any = None
    user_api_key_user_id: Any = None
    user_api_key_end_user_id: Any = None


class _Response(msgspec.Struct, gc=False):
    model: Any = None
    service_tier: Any = None


class _Error(msgspec.Struct, gc=False):
    error_code: Any = None
    error_class: Any = None
    llm_provider: Any = None


_CALL_NAMES: Final = {
    "start_time": "startTime",
    "end_time": "endTime",
    "completion_start_time": "completionStartTime",
}


class LiteLLMCall(msgspec.Struct, gc=False, rename=_CALL_NAMES):
    """What is wanted of one StandardLoggingPayload."""

    litellm_call_id: Any = None
    id: Any = None
    status: Any = None
    custom_llm_provider: Any = None
    model: Any = None
    model_group: Any = None
    response: _Response | Anything = None
    start_time: Any = None
    end_time: Any = None
    completion_start_time: Any = None
    response_time: Any = None
    stream: Any = None
    cache_hit: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    response_cost: Any = None
    end_user: Any = None
    request_tags: Any = None
    metadata: _Metadata | Anything = None
    error_information: _Error | Anything = None


_DECODER: Final = RowDecoder(LiteLLMCall, id_key="litellm_call_id", lenient=True)
_LABELS_WITH_COLUMNS: Final = ("department", "project", "environment", "task", "decision_id")
NO_TOKENS: Final = TokenBuckets()
_NO_METADATA: Final = _Metadata()
_NO_ERROR: Final = _Error()


def parse_litellm(body: bytes, wanted: Set[str] = frozenset()) -> Parsed:
    """An array (LiteLLM's default), NDJSON, or a single payload.

    `wanted`: attributes that mapping rules name, as "metadata.cost_center" or
    "metadata.requester_metadata.team". Raises InvalidUsageError when the body has no row that is
    JSON, or none at all.
    """
    if not wanted:
        return parse_rows(_DECODER.decode(body), _to_event, _id_of)
    decoder, paths = _decoder_of(frozenset(wanted))
    return parse_rows(decoder.decode(body), _to_event, _id_of, partial(_attributes_of, paths=paths))


Paths = dict[str, tuple[str, ...]]


@lru_cache(maxsize=256)
def _decoder_of(wanted: frozenset[str]) -> tuple[RowDecoder[LiteLLMCall], Paths]:
    """A decoder that keeps what is wanted of the metadata, too; the rest stays bytes."""
    prefix = PATH_PREFIXES[Door.LITELLM]
    paths = {
        name: tuple(name.removeprefix(prefix).split("."))
        for name in sorted(wanted)
        if name.startswith(prefix)
    }
    known = _Metadata.__struct_fields__
    more = sorted({steps[0] for steps in paths.values()}.difference(known))
    # A member may have any name; a field of a struct may not.
    fields = [(f"more_{n}", Any, None) for n in range(len(more))]
    metadata = msgspec.defstruct(
        "_MetadataWithMore",
        fields,
        bases=(_Metadata,),
        rename={f"more_{n}": name for n, name in enumerate(more)},
        gc=False,
    )
    call = msgspec.defstruct(
        "_CallWithMore",
        [("metadata", metadata | Anything, None)],
        bases=(LiteLLMCall,),
        rename=_CALL_NAMES,
        gc=False,
    )
    kept = cast("type[LiteLLMCall]", call)
    return RowDecoder(kept, id_key="litellm_call_id", lenient=True), paths


def _attributes_of(call: LiteLLMCall, *, paths: Paths) -> dict[str, str]:
    said = call.metadata
    if not isinstance(said, _Metadata):
        return {}
    names = zip(said.__struct_encode_fields__, said.__struct_fields__, strict=True)
    return loose.texts_at({name: getattr(said, field) for name, field in names}, paths)


def _id_of(call: LiteLLMCall) -> str | None:
    return loose.first_text(call.litellm_call_id, call.id)


def _to_event(call: LiteLLMCall) -> UsageEvent:
    metadata = call.metadata if isinstance(call.metadata, _Metadata) else _NO_METADATA
    error = call.error_information if isinstance(call.error_information, _Error) else _NO_ERROR
    failed = call.status == "failure"
    provider = _provider_of(call, error)
    model, requested_model = choose_models(
        provider,
        answered=call.response.model if isinstance(call.response, _Response) else None,
        deployed=call.model,
        asked_for=call.model_group,
    )
    cost_usd = loose.usd(call.response_cost)
    tokens = _tokens_of(call, metadata, provider, costs_nothing=failed and not cost_usd)
    facts = _facts_of(call, metadata) if tokens != NO_TOKENS else NO_FACTS
    spend_logs = metadata.spend_logs_metadata
    labels = spend_logs if isinstance(spend_logs, dict) else {}
    return UsageEvent(
        source=SOURCE,
        event_id=loose.required_text(
            call.litellm_call_id or call.id, field="litellm_call_id", max_length=MAX_ID_LENGTH
        ),
        occurred_at=loose.moment_from_seconds(call.start_time, field="startTime"),
        provider=provider,
        model=model,
        uncached_input_tokens=tokens.uncached_input_tokens,
        cache_read_tokens=tokens.cache_read_tokens,
        cache_write_5m_tokens=tokens.cache_write_5m_tokens,
        cache_write_1h_tokens=tokens.cache_write_1h_tokens,
        output_tokens=tokens.output_tokens,
        reasoning_tokens=tokens.reasoning_tokens,
        requested_model=requested_model,
        customer=loose.first_text(call.end_user, metadata.user_api_key_end_user_id),
        department=_department_of(metadata, labels),
        user=loose.text(metadata.user_api_key_user_id),
        project=loose.first_text(
            metadata.user_api_key_project_alias,
            metadata.user_api_key_project_id,
            labels.get("project"),
        ),
        environment=loose.text(labels.get("environment")),
        task=loose.text(labels.get("task")),
        decision_id=loose.text(labels.get("decision_id")),
        tags=_tags_of(call, labels),
        meters=facts.meters,
        price_context=facts.price_context,
        status=_failure_of(error) if failed else "success",
        latency_ms=loose.milliseconds_between(call.start_time, call.end_time)
        or loose.milliseconds_from_seconds(call.response_time),
        time_to_first_token_ms=(
            loose.milliseconds_between(call.start_time, call.completion_start_time)
            if call.stream is True
            else None
        ),
        reported_cost_usd=_known_cost(cost_usd, tokens),
        door=Door.LITELLM,
    )


def choose_models(
    provider: str, *, answered: object, deployed: object, asked_for: object
) -> tuple[str, str | None]:
    """(model, requested_model) of LiteLLM's three names.

    The proxy writes the group's alias over the model that answered; then the deployment's own name
    is the provider's. Names that differ by their provider prefix only are the same.
    """
    answered, deployed, asked_for = (
        loose.bare_model(name.strip(), provider) if isinstance(name, str) else ""
        for name in (answered, deployed, asked_for)
    )
    is_alias = bool(deployed) and answered == asked_for
    model = loose.required_text(
        (deployed if is_alias else answered or deployed) or asked_for, field="model"
    )
    return model, loose.text(asked_for or deployed)


def _provider_of(call: LiteLLMCall, error: _Error) -> str:
    """As reported; of a call refused before a provider was chosen, as far as its model tells."""
    reported = loose.first_text(call.custom_llm_provider, error.llm_provider)
    if reported is not None:
        return reported
    model = call.model if isinstance(call.model, str) else ""
    prefix, slash, _ = model.partition("/")
    return (slash and loose.text(prefix)) or loose.provider_of_model(model)


def _tokens_of(
    call: LiteLLMCall, metadata: _Metadata, provider: str, *, costs_nothing: bool
) -> TokenBuckets:
    if costs_nothing or call.cache_hit is True:
        return NO_TOKENS  # a failure, or LiteLLM's own cache: no provider was paid
    reported = metadata.usage_object
    usage = loose.whole_counts(reported) if isinstance(reported, dict) else {}
    totals = {
        "prompt_tokens": call.prompt_tokens,
        "completion_tokens": call.completion_tokens,
        "total_tokens": call.total_tokens,
    }
    usage |= {key: loose.whole(value) for key, value in totals.items() if value or key not in usage}
    try:
        if not usage["prompt_tokens"] and "input_tokens" in usage:
            return normalise_raw_usage(
                provider, {k: v for k, v in usage.items() if k not in totals}
            )
        return read_openai_chat(provider, usage, check_total=False)
    except InvalidUsageError as refused:
        _, _, count = (refused.field or "").partition("raw_usage")
        field = f"metadata.usage_object{count}"
        raise InvalidUsageError(refused.code, refused.detail, field=field) from refused


def _facts_of(call: LiteLLMCall, metadata: _Metadata) -> PricingFacts:
    """Meters of the provider's usage; the tier that answered, not the one asked for."""
    reported = metadata.usage_object
    facts = facts_of_raw_usage(reported) if isinstance(reported, dict) else NO_FACTS
    tier = call.response.service_tier if isinstance(call.response, _Response) else None
    answered = context_of(tier=tier)
    if answered is None:
        return facts
    return facts._replace(price_context=(facts.price_context or {}) | answered)


def _department_of(metadata: _Metadata, labels: dict[str, Any]) -> str | None:
    return loose.first_text(
        metadata.user_api_key_team_alias,
        metadata.user_api_key_team_id,
        metadata.user_api_key_org_alias,
        metadata.user_api_key_org_id,
        labels.get("department"),
        labels.get("team"),
        labels.get("cost_center"),
    )


def _tags_of(call: LiteLLMCall, labels: dict[str, Any]) -> dict[str, str] | None:
    given = call.request_tags if isinstance(call.request_tags, list) else []
    asked_for = [t for t in given if not (isinstance(t, str) and t.startswith("User-Agent:"))]
    from_cache = {"litellm_cache": "hit"} if call.cache_hit is True else {}
    others = {key: value for key, value in labels.items() if key not in _LABELS_WITH_COLUMNS}
    return loose.tags(from_cache, asked_for, others)


def _failure_of(error: _Error) -> str:
    return loose.first_text(error.error_code, error.error_class) or "failure"


def _known_cost(cost_usd: Decimal | None, tokens: TokenBuckets) -> Decimal | None:
    """LiteLLM's cost; it writes 0 for a price it does not know, and unknown is never zero."""
    is_used = tokens != NO_TOKENS
    return None if is_used and not cost_usd else cost_usd
