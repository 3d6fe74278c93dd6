"""OTLP/HTTP bodies: encodings, faults, and the answer OTLP prescribes."""

import base64
import json
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from apps.usage.adapters.otlp import ok_response, parse_otlp_traces
from apps.usage.core.events import InvalidUsageError
from tests.usage.adapters.bodies import JSON, PROTOBUF, TRACE, json_body, protobuf_body, span

USED = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 200,
}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", PROTOBUF),
        (b"", JSON),
        (b"{}", JSON),
        (b'{"resourceSpans": []}', "application/json; charset=utf-8"),
        (b'{"resourceSpans": null}', JSON),
        (json_body(), JSON),
        (protobuf_body(), "Application/X-Protobuf"),
    ],
)
def test_an_empty_request_is_fine(body: bytes, content_type: str) -> None:
    parsed = parse_otlp_traces(body, content_type)
    assert (parsed.events, parsed.indexes, parsed.rejections) == ([], [], [])


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", JSON, "invalid_json"),
        (b"[]", JSON, "invalid_json"),
        (b'{"resourceSpans": {}}', JSON, "invalid_json"),
        (b'{"resourceSpans": [7]}', JSON, "invalid_json"),
        (b'{"x":' * 20_000, JSON, "invalid_json"),
        (b"\xff\xff", PROTOBUF, "invalid_protobuf"),
        (json_body(span()), PROTOBUF, "invalid_protobuf"),
        (b"{}", "text/plain", "unsupported_media_type"),
    ],
)
def test_a_malformed_body_is_refused(body: bytes, content_type: str, code: str) -> None:
    with pytest.raises(InvalidUsageError) as refused:
        parse_otlp_traces(body, content_type)
    assert refused.value.code == code


def test_json_takes_unknown_fields_numbers_and_upper_case_ids() -> None:
    one = span(
        attributes=USED,
        traceId=TRACE.upper(),
        startTimeUnixNano=1795430161902968737,
        kind=3,
        flags=257,
        links=[],
        droppedAttributesCount=0,
        somethingNew={"a": 1},
        status={},
    )
    (event,) = parse_otlp_traces(json_body(one), JSON).events
    assert event.event_id.startswith(TRACE)


def test_json_takes_base64_ids_for_the_same_identity() -> None:
    def in_base64(hexadecimal: str) -> str:
        return base64.b64encode(bytes.fromhex(hexadecimal)).decode()

    one = span(attributes=USED)
    other = one | {"traceId": in_base64(one["traceId"]), "spanId": in_base64(one["spanId"])}
    events = [parse_otlp_traces(json_body(s), JSON).events[0] for s in (one, other)]
    assert events[0] == events[1]


def test_json_and_protobuf_give_the_same_event() -> None:
    one = span(attributes=USED | {"tag.tags": ["prod"], "operation.cost": 0.000225})
    of_json = parse_otlp_traces(json_body(one), JSON)
    assert of_json == parse_otlp_traces(protobuf_body(one), PROTOBUF)
    assert of_json == parse_otlp_traces(json_body(one), JSON)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"traceId": "", "spanId": ""}, "missing_field", "spanId"),
        ({"traceId": "0" * 31 + "g"}, "invalid_span", None),
        ({"spanId": "0" * 16}, "missing_field", "spanId"),
        ({"startTimeUnixNano": 0}, "missing_field", "startTimeUnixNano"),
        ({"startTimeUnixNano": -1}, "invalid_span", None),
        ({"startTimeUnixNano": "soon"}, "invalid_span", None),
        ({"startTimeUnixNano": str(2**64 - 1)}, None, None),
        ({"attributes": USED | {"gen_ai.usage.input_tokens": -1}}, "out_of_range", None),
        ({"attributes": USED | {"gen_ai.usage.input_tokens": 2**40}}, "out_of_range", None),
        ({"attributes": USED | {"gen_ai.usage.input_tokens": 1.5}}, "wrong_type", None),
        ({"attributes": USED | {"gen_ai.usage.input_tokens": "a lot"}}, "wrong_type", None),
        (
            {"attributes": USED | {"gen_ai.usage.cache_read.input_tokens": 1001}},
            "cache_exceeds_input",
            "usage.input_tokens",
        ),
        (
            {"attributes": USED | {"gen_ai.usage.reasoning_tokens": 201}},
            "reasoning_exceeds_output",
            "usage.reasoning_tokens",
        ),
        ({"attributes": USED | {"gen_ai.request.model": "m" * 201}}, "too_long", "model"),
        ({"attributes": USED | {"gen_ai.request.model": ""}}, "missing_field", "model"),
        ({"attributes": USED | {"litellm.call_id": "x" * 201}}, "too_long", "litellm.call_id"),
    ],
)
def test_a_call_that_cannot_be_counted_is_refused_alone(
    changes: dict[str, Any], code: str | None, field: str | None
) -> None:
    good = span(attributes=USED, spanId="00f067aa0ba902b7")
    other = span("db", attributes={"db.system": "postgresql"})
    parsed = parse_otlp_traces(json_body(other, span(attributes=USED) | changes, good), JSON)
    if code is None:
        assert parsed.indexes == [1, 2]
        return
    assert parsed.indexes == [2]
    (rejection,) = parsed.rejections
    assert (rejection.index, rejection.code) == (1, code)
    if field is not None:
        assert rejection.field == field


def test_answers_are_in_the_requests_content_type() -> None:
    assert ok_response(JSON, 0, "") == b"{}"
    assert ok_response(PROTOBUF, 0, "") == b""
    partial = json.loads(ok_response("application/json; charset=utf-8", 2, "why"))
    assert partial == {"partialSuccess": {"rejectedSpans": "2", "errorMessage": "why"}}
    response = ExportTraceServiceResponse.FromString(ok_response(PROTOBUF, 2, "why"))
    assert response.partial_success.rejected_spans == 2
    assert response.partial_success.error_message == "why"


def test_no_prompt_reaches_an_event() -> None:
    secret = "a prompt that is nobody's business"
    one = span(
        attributes=USED
        | {
            "gen_ai.input.messages": secret,
            "gen_ai.prompt.0.content": secret,
            "llm.input_messages.0.message.content": secret,
            "input.value": secret,
            "ai.prompt": secret,
            "langfuse.observation.input": secret,
        },
        status={"code": 2, "message": secret},
    )
    for body, content_type in ((json_body(one), JSON), (protobuf_body(one), PROTOBUF)):
        parsed = parse_otlp_traces(body, content_type)
        assert len(parsed.events) == 1
        assert secret not in repr(parsed)


def test_a_list_where_a_word_belongs_costs_its_own_span_alone() -> None:
    odd = {"gen_ai.operation.name": ["chat"], "langfuse.observation.type": ["generation"]}
    spans = [span(attributes=USED | {key: value}) for key, value in odd.items()]
    good = span(attributes=USED, spanId="00000000000000aa")
    for body, content_type in (
        (json_body(*spans, good), JSON),
        (protobuf_body(*spans, good), PROTOBUF),
    ):
        assert 2 in parse_otlp_traces(body, content_type).indexes


@pytest.mark.parametrize("cut", [r"\ud83d", r"\udc00x", r"x\uD83Dy", r"\\\ud83d"])
def test_a_prompt_cut_within_a_letter_costs_no_call(cut: str) -> None:
    """JavaScript and Python write the half of a pair that is left as an escape."""
    attributes = USED | {"gen_ai.prompt.0.content": "CUT", "user.id": r"\ud83d\ude00 \\ud83d"}
    body = json_body(span(attributes=attributes), span(attributes=USED, spanId="0" * 15 + "7"))
    parsed = parse_otlp_traces(body.replace(b"CUT", cut.encode()), JSON)
    assert parsed.indexes == [0, 1]
    assert parsed.events[0].customer == r"\ud83d\ude00 \\ud83d"
