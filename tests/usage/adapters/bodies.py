"""Small bodies in the shapes that real clients send."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue

from apps.usage.core.events import UsageEvent

JSON = "application/json"
PROTOBUF = "application/x-protobuf"

TRACE = "5b8efff798038103d269b633813fc60c"
START_NS = 1_795_430_161_902_968_737

# (uncached, cache read, write 5 min, write 1 h, output, reasoning) of the calls in these tests.
OPENAI_CALL = (400, 600, 0, 0, 200, 64)
OPENAI_CALL_WITHOUT_REASONING = (400, 600, 0, 0, 200, 0)
OPENAI_CALL_WITHOUT_DETAILS = (1000, 0, 0, 0, 200, 0)
ANTHROPIC_CALL = (400, 600, 70, 30, 200, 0)
ANTHROPIC_CALL_WITHOUT_AGES = (400, 600, 100, 0, 200, 0)
NOTHING = (0, 0, 0, 0, 0, 0)

OPENAI_USAGE: dict[str, Any] = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 600},
    "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0},
}
ANTHROPIC_USAGE: dict[str, Any] = {
    "input_tokens": 400,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 600,
    "cache_creation": {"ephemeral_5m_input_tokens": 70, "ephemeral_1h_input_tokens": 30},
    "output_tokens": 200,
    "service_tier": "standard",
}


def tokens_of(event: UsageEvent) -> tuple[int, int, int, int, int, int]:
    return (
        event.uncached_input_tokens,
        event.cache_read_tokens,
        event.cache_write_5m_tokens,
        event.cache_write_1h_tokens,
        event.output_tokens,
        event.reasoning_tokens,
    )


def native_row(**changes: Any) -> dict[str, Any]:
    """A native event; a change to None takes the field away."""
    row: dict[str, Any] = {
        "id": "evt-1",
        "timestamp": "2026-11-20T10:00:00Z",
        "provider": "openai",
        "model": "gpt-4o-mini",
        "usage": {"input_tokens": 1000, "output_tokens": 200},
    }
    return {key: value for key, value in (row | changes).items() if value is not None}


def span(name: str = "chat gpt-4o-mini", **fields: Any) -> dict[str, Any]:
    """A span as OTLP's JSON has it, with `attributes` as a plain map."""
    return {
        "traceId": TRACE,
        "spanId": "eee19b7ec3c1b174",
        "name": name,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 2_000_000_000),
        "attributes": {},
    } | fields


def failed(message: str = "Error code: 429 - fake 429") -> dict[str, Any]:
    return {"code": 2, "message": message}


def json_body(
    *spans: Mapping[str, Any], resource: Mapping[str, Any] | None = None, scope: str = "test"
) -> bytes:
    encoded = [dict(one) | {"attributes": _json_attributes(one["attributes"])} for one in spans]
    request = {
        "resourceSpans": [
            {
                "resource": {"attributes": _json_attributes(resource or {})},
                "scopeSpans": [{"scope": {"name": scope}, "spans": encoded}],
            }
        ]
    }
    return json.dumps(request).encode()


def protobuf_body(
    *spans: Mapping[str, Any], resource: Mapping[str, Any] | None = None, scope: str = "test"
) -> bytes:
    request = ExportTraceServiceRequest()
    of_resource = request.resource_spans.add()
    of_resource.resource.attributes.extend(_protobuf_attributes(resource or {}))
    of_scope = of_resource.scope_spans.add()
    of_scope.scope.name = scope
    for one in spans:
        added = of_scope.spans.add(
            trace_id=bytes.fromhex(one["traceId"]),
            span_id=bytes.fromhex(one["spanId"]),
            parent_span_id=bytes.fromhex(one.get("parentSpanId", "")),
            name=one["name"],
            start_time_unix_nano=int(one["startTimeUnixNano"]),
            end_time_unix_nano=int(one["endTimeUnixNano"]),
            attributes=_protobuf_attributes(one["attributes"]),
        )
        status = one.get("status", {})
        added.status.code = status.get("code", 0)
        added.status.message = status.get("message", "")
        for event in one.get("events", ()):
            added.events.add(
                name=event["name"],
                time_unix_nano=int(event.get("timeUnixNano", 0)),
                attributes=_protobuf_attributes(
                    {a["key"]: a["value"]["stringValue"] for a in event.get("attributes", ())}
                ),
            )
    return request.SerializeToString()


def _json_attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json_value(value)} for key, value in attributes.items()]


def _json_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_json_value(item) for item in value]}}
    return {"stringValue": value}


def _protobuf_attributes(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=_protobuf_value(value)) for key, value in attributes.items()]


def _protobuf_value(value: Any) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=_all_of(value)))
    return AnyValue(string_value=value)


def _all_of(values: Sequence[Any]) -> list[AnyValue]:
    return [_protobuf_value(value) for value in values]
