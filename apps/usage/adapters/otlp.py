"""OTLP/HTTP traces: GenAI spans of every emitter as usage events.

Spans that are not calls of a model are left out in silence; a call that cannot be counted is a
rejection, whose index is the span's place in the body.
"""

from collections.abc import Iterable, Set
from datetime import datetime
from typing import Any, Final

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from apps.usage.adapters import loose
from apps.usage.adapters import otlp_keys as keys
from apps.usage.adapters.otlp_attribution import attribute
from apps.usage.adapters.otlp_dialects import (
    has_failed,
    has_usage,
    is_call,
    read_cost_usd,
    read_facts,
    read_failure,
    read_first_token_ms,
    read_models,
    read_provider,
    read_tokens,
)
from apps.usage.adapters.otlp_keys import is_wanted
from apps.usage.adapters.otlp_repeats import Call, without_repeats
from apps.usage.adapters.otlp_spans import Span, read_json, read_protobuf
from apps.usage.adapters.rows import reject
from apps.usage.core.events import (
    LITELLM_SOURCE,
    MAX_ID_LENGTH,
    Door,
    InvalidUsageError,
    Parsed,
    UsageEvent,
)
from apps.usage.core.provider_usage import TokenBuckets

SOURCE: Final = "otlp"
JSON: Final = "application/json"
PROTOBUF_TYPES: Final = frozenset({"", "application/x-protobuf", "application/protobuf"})


def parse_otlp_traces(body: bytes, content_type: str, wanted: Set[str] = frozenset()) -> Parsed:
    """An ExportTraceServiceRequest, protobuf or JSON; an empty one is fine.

    `wanted`: attributes of spans or resources that mapping rules name. Raises InvalidUsageError
    when the body is not one, or the content type neither.
    """
    spans = list(_read_spans(body, content_type, wanted))
    said: list[dict[str, str]] | None = [] if wanted else None
    parsed = Parsed(events=[], indexes=[], rejections=[], attributes=said)
    calls = []
    for index, span in enumerate(spans):
        if isinstance(span, InvalidUsageError):
            parsed.rejections.append(reject(index, span, None))
        elif is_call(span):
            try:
                calls.append(Call(index=index, span=span, event=_to_event(span)))
            except InvalidUsageError as error:
                parsed.rejections.append(reject(index, error, span.span_id or None))
    for call in without_repeats(calls, [span for span in spans if isinstance(span, Span)]):
        parsed.events.append(call.event)
        parsed.indexes.append(call.index)
        if said is not None:
            said.append(_attributes_of(call.span, wanted))
    return parsed


def _attributes_of(span: Span, wanted: Set[str]) -> dict[str, str]:
    """The span's before its resource's: a request's before its process's."""
    found = {
        name: loose.first_text(span.attributes.get(name), span.resource.get(name))
        for name in wanted
    }
    return {name: value for name, value in found.items() if value is not None}


def ok_response(content_type: str, rejected_count: int, message: str) -> bytes:
    """An ExportTraceServiceResponse in the request's content type.

    As OTLP prescribes, `partial_success` is set only when there is something to tell.
    """
    tells = bool(rejected_count or message)
    if _media_type(content_type) == JSON:
        partial = {"rejectedSpans": str(rejected_count), "errorMessage": message}
        return msgspec.json.encode({"partialSuccess": partial} if tells else {})
    response = ExportTraceServiceResponse()
    if tells:
        response.partial_success.rejected_spans = rejected_count
        response.partial_success.error_message = message
    return response.SerializeToString()


def error_status(content_type: str, code: int, message: str, members: dict[str, Any]) -> bytes:
    """A google.rpc.Status, OTLP's form of a refusal, in the request's content type.

    `members` stand beside it in JSON, where receivers ignore what they do not know.
    """
    if _media_type(content_type) == JSON:
        return msgspec.json.encode(members | {"code": code, "message": message})
    text = message.encode(errors="replace")
    # Field 1: code, a varint below 128. Field 2: message, with its length before it.
    return b"\x08" + bytes([code]) + b"\x12" + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _read_spans(
    body: bytes, content_type: str, wanted: Set[str]
) -> Iterable[Span | InvalidUsageError]:
    is_read = is_wanted if not wanted else lambda key: key in wanted or is_wanted(key)
    media_type = _media_type(content_type)
    if media_type == JSON:
        return read_json(body, is_read) if body.strip() else ()
    if media_type in PROTOBUF_TYPES:
        return read_protobuf(body, is_read)
    raise InvalidUsageError(
        "unsupported_media_type",
        "send OTLP as application/x-protobuf or application/json",
        field="Content-Type",
    )


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _to_event(span: Span) -> UsageEvent:
    provider = read_provider(span)
    model, requested_model = read_models(span, provider)
    tokens = read_tokens(span, provider) if has_usage(span) else TokenBuckets()
    facts = read_facts(span)
    source, event_id = _identity_of(span)
    whose = attribute(span)
    return UsageEvent(
        source=source,
        event_id=event_id,
        occurred_at=_start_of(span),
        provider=provider,
        model=model,
        uncached_input_tokens=tokens.uncached_input_tokens,
        cache_read_tokens=tokens.cache_read_tokens,
        cache_write_5m_tokens=tokens.cache_write_5m_tokens,
        cache_write_1h_tokens=tokens.cache_write_1h_tokens,
        output_tokens=tokens.output_tokens,
        reasoning_tokens=tokens.reasoning_tokens,
        requested_model=requested_model,
        customer=whose.customer,
        department=whose.department,
        user=whose.user,
        project=whose.project,
        environment=whose.environment,
        task=whose.task,
        tags=whose.tags,
        meters=facts.meters,
        price_context=facts.price_context,
        status=read_failure(span) if has_failed(span) else "success",
        latency_ms=_latency_ms(span),
        time_to_first_token_ms=read_first_token_ms(span),
        reported_cost_usd=loose.usd(read_cost_usd(span)),
        door=Door.OTLP,
    )


def _identity_of(span: Span) -> tuple[str, str]:
    """(source, id). LiteLLM's call id is the one its generic_api callback sends, too."""
    call_id = span.attributes.get(keys.LITELLM_CALL_ID)
    if call_id:
        field = keys.LITELLM_CALL_ID
        return LITELLM_SOURCE, loose.required_text(call_id, field=field, max_length=MAX_ID_LENGTH)
    if len(span.trace_id) != 32 or len(span.span_id) != 16 or not span.span_id.strip("0"):
        raise InvalidUsageError(
            "missing_field", "send traceId (16 bytes) and spanId (8 bytes)", field="spanId"
        )
    return SOURCE, span.trace_id + span.span_id


def _start_of(span: Span) -> datetime:
    field = "startTimeUnixNano"
    if not span.start_ns:
        raise InvalidUsageError("missing_field", f"send {field}", field=field)
    return loose.moment_from_nanoseconds(span.start_ns, field=field)


def _latency_ms(span: Span) -> int | None:
    if span.end_ns > span.start_ns:
        return loose.milliseconds((span.end_ns - span.start_ns) / 1e6)
    return loose.milliseconds_from_seconds(span.attributes.get(keys.DURATION_SECONDS))
