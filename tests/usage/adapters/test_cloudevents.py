"""CloudEvents in every mode, and what their data says of usage."""

import base64
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from apps.usage.adapters.cloudevents import BATCH, STRUCTURED, parse_cloudevents
from apps.usage.core.events import Door, InvalidUsageError, Parsed, Rejection, UsageEvent
from tests.usage.adapters.bodies import (
    ANTHROPIC_CALL,
    ANTHROPIC_USAGE,
    NOTHING,
    OPENAI_CALL,
    OPENAI_CALL_WITHOUT_DETAILS,
    OPENAI_USAGE,
    tokens_of,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
TOTALS = {
    "provider": "openai",
    "model": "gpt-4o-mini",
    "input_tokens": 1000,
    "cache_read_input_tokens": 600,
    "output_tokens": 200,
    "reasoning_tokens": 64,
}


def cloudevent(data: Any = TOTALS, **changes: Any) -> dict[str, Any]:
    """As the CloudEvents SDK sends it; a change to None takes the attribute away."""
    event = {
        "specversion": "1.0",
        "id": "9ca35d65",
        "source": "//checkout-api",
        "type": "llm.usage",
        "datacontenttype": "application/json",
        "subject": "cust-42",
        "time": "2026-11-20T10:00:00Z",
        "data": data,
    } | changes
    return {key: value for key, value in event.items() if value is not None}


def parse(body: Any, content_type: str = STRUCTURED, **headers: str) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {f"ce-{key}": value for key, value in headers.items()}
    return parse_cloudevents(raw, {"content-type": content_type} | named, now=NOW)


def parse_one(data: Any = TOTALS, **changes: Any) -> UsageEvent:
    parsed = parse(cloudevent(data, **changes))
    assert parsed.rejections == []
    (event,) = parsed.events
    return event


def reject_one(data: Any = TOTALS, **changes: Any) -> Rejection:
    parsed = parse([cloudevent(), cloudevent(data, **changes), cloudevent()], BATCH)
    assert parsed.indexes == [0, 2]
    (rejection,) = parsed.rejections
    assert rejection.index == 1
    return rejection


@pytest.mark.parametrize("content_type", [STRUCTURED, BATCH, "application/json", ""])
def test_one_and_many_are_told_apart_by_their_first_byte(content_type: str) -> None:
    assert tokens_of(parse(cloudevent(), content_type).events[0]) == OPENAI_CALL
    assert len(parse([cloudevent()] * 3, f"{content_type}; charset=utf-8").events) == 3


def test_attributes_may_stand_in_headers() -> None:
    headers = {key: value for key, value in cloudevent().items() if key != "data"}
    headers["subject"] = "M%C3%BCller %22A%22"
    (event,) = parse(TOTALS, "application/json", **headers).events
    assert event == parse_one(subject='Müller "A"')


def test_identity_time_and_customer_are_the_envelopes() -> None:
    event = parse_one()
    assert (event.source, event.event_id, event.customer) == (
        "//checkout-api",
        "9ca35d65",
        "cust-42",
    )
    assert event.occurred_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert event.door is Door.CLOUDEVENTS


def test_an_event_without_a_time_happened_now() -> None:
    assert parse_one(time=None).occurred_at == NOW


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("input", (123, 0, 0, 0, 0, 0)),
        ("prompt", (123, 0, 0, 0, 0, 0)),
        ("Prompt Tokens", (123, 0, 0, 0, 0, 0)),
        ("cache_read", (0, 123, 0, 0, 0, 0)),
        ("cached-input", (0, 123, 0, 0, 0, 0)),
        ("cache_write", (0, 0, 123, 0, 0, 0)),
        ("cache_creation", (0, 0, 123, 0, 0, 0)),
        ("cache_write_1h", (0, 0, 0, 123, 0, 0)),
        ("output", (0, 0, 0, 0, 123, 0)),
        ("completion", (0, 0, 0, 0, 123, 0)),
    ],
)
@pytest.mark.parametrize("tokens", [123, "123", 123.0])
def test_one_kind_of_tokens_fills_one_bucket(
    kind: str, tokens: Any, expected: tuple[int, ...]
) -> None:
    event = parse_one({"tokens": tokens, "model": "gpt-4o-mini", "type": kind}, type="prompt")
    assert (event.provider, event.model, tokens_of(event)) == ("openai", "gpt-4o-mini", expected)


def test_litellms_openmeter_callback_has_no_cache_split() -> None:
    event = parse_one(
        {
            "model": "gpt-4o-mini",
            "cost": 0.000225,
            "prompt_tokens": 1000,
            "completion_tokens": 200,
            "total_tokens": 1200,
        },
        type="litellm_tokens",
        time="2026-11-23T10:46:47.653878+00:00",
    )
    assert tokens_of(event) == OPENAI_CALL_WITHOUT_DETAILS
    assert event.reported_cost_usd == Decimal("0.000225")


CLAUDE = {"provider": "anthropic", "model": "claude-sonnet-4-5-20250929"}
NATIVE_ANTHROPIC = {
    "input_tokens": 1100,
    "cache_read_tokens": 600,
    "cache_write_tokens": 100,
    "cache_write_1h_tokens": 30,
    "output_tokens": 200,
}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"model": "gpt-4o-mini", **OPENAI_USAGE}, OPENAI_CALL),
        ({"model": "gpt-4o-mini", "usage": OPENAI_USAGE}, OPENAI_CALL),
        ({"model": "gpt-4o-mini", "raw_usage": OPENAI_USAGE}, OPENAI_CALL),
        ({**TOTALS, "total_tokens": 1200}, OPENAI_CALL),
        ({**CLAUDE, **ANTHROPIC_USAGE}, ANTHROPIC_CALL),
        ({**CLAUDE, "usage": ANTHROPIC_USAGE}, ANTHROPIC_CALL),
        ({**CLAUDE, "raw_usage": ANTHROPIC_USAGE}, ANTHROPIC_CALL),
        ({**CLAUDE, **NATIVE_ANTHROPIC}, ANTHROPIC_CALL),
        ({**CLAUDE, "usage": NATIVE_ANTHROPIC}, ANTHROPIC_CALL),
        # Anthropic's names: totals when they can be, its own object when they cannot.
        (
            {**CLAUDE, "input_tokens": 700, "cache_read_input_tokens": 600, "output_tokens": 5},
            (100, 600, 0, 0, 5, 0),
        ),
        (
            {**CLAUDE, "input_tokens": 70, "cache_read_input_tokens": 600, "output_tokens": 5},
            (70, 600, 0, 0, 5, 0),
        ),
        (
            {
                "model": "gemini-2.5-flash",
                "promptTokenCount": 1000,
                "candidatesTokenCount": 136,
                "thoughtsTokenCount": 64,
                "cachedContentTokenCount": 600,
            },
            OPENAI_CALL,
        ),
        ({"model": "gpt-4o-mini", "status": 429}, NOTHING),
    ],
)
def test_whole_calls_are_read_as_their_shape_says(
    data: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert tokens_of(parse_one(data)) == expected


def test_data_may_be_text_or_base64() -> None:
    text = json.dumps(TOTALS)
    assert tokens_of(parse_one(text)) == OPENAI_CALL
    encoded = base64.b64encode(text.encode()).decode()
    assert tokens_of(parse_one(None, data_base64=encoded)) == OPENAI_CALL


def test_what_describes_and_prices_a_call_is_taken() -> None:
    event = parse_one(
        TOTALS
        | {
            "model": "openai/gpt-4o-mini",
            "team": "search",
            "user": "u",
            "project": "p",
            "environment": "prod",
            "task": "chat",
            "tags": {"a": "b"},
            "latency_ms": 12,
            "service_tier": "flex",
            "meters": {"web_searches": "2"},
        }
    )
    assert (event.model, event.department, event.user) == ("gpt-4o-mini", "search", "u")
    assert (event.project, event.environment, event.task) == ("p", "prod", "chat")
    assert (event.tags, event.latency_ms) == ({"a": "b"}, 12)
    assert (event.meters, event.price_context) == ({"web_searches": 2}, {"service_tier": "flex"})


def tokens(**changes: Any) -> dict[str, Any]:
    return {"tokens": 5, "model": "gpt-4o-mini", "type": "input"} | changes


@pytest.mark.parametrize(
    ("data", "changes", "code", "field"),
    [
        ({"order": 7}, {}, "not_llm_usage", "data.model"),
        ({"model": "gpt-4o-mini"}, {}, "not_llm_usage", "data.tokens"),
        ({"tokens": 5, "type": "input"}, {}, "not_llm_usage", "data.model"),
        ([1], {}, "not_llm_usage", "data"),
        ("text", {}, "not_llm_usage", "data"),
        (None, {}, "missing_field", "data"),
        ("{cut", {}, "invalid_json", "data"),
        (None, {"data_base64": "%"}, "invalid_json", "data_base64"),
        (tokens(type="reasoning"), {}, "unknown_token_type", "data.type"),
        (tokens(type=None), {}, "unknown_token_type", "data.type"),
        (tokens(type=["input"]), {}, "unknown_token_type", "data.type"),
        (tokens(tokens="many"), {}, "wrong_type", "data.tokens"),
        (tokens(tokens=1.5), {}, "wrong_type", "data.tokens"),
        (tokens(tokens=-1), {}, "out_of_range", "data.tokens"),
        (tokens(tokens=10**12), {}, "out_of_range", "data.tokens"),
        (tokens(model=["a"]), {}, "missing_field", "data.model"),
        (TOTALS | {"total_tokens": 7}, {}, "totals_disagree", "data.total_tokens"),
        (TOTALS | {"output_tokens": "x"}, {}, "wrong_type", "data.output_tokens"),
        (TOTALS | {"input_tokens": 1}, {}, "cache_exceeds_input", "data.input_tokens"),
        (TOTALS | {"meters": {"foo": 1}}, {}, "unknown_meter", "data.meters.foo"),
        (
            {"model": "gpt-4o", "usage": {"prompt_tokens": -1}},
            {},
            "out_of_range",
            "data.usage.prompt_tokens",
        ),
        (TOTALS, {"id": ""}, "missing_field", "id"),
        (TOTALS, {"id": 7}, "missing_field", "id"),
        (TOTALS, {"source": None}, "missing_field", "source"),
        (TOTALS, {"type": None}, "missing_field", "type"),
        (TOTALS, {"specversion": None}, "missing_field", "specversion"),
        (TOTALS, {"specversion": "2.0"}, "unsupported_specversion", "specversion"),
        (TOTALS, {"time": "yesterday"}, "out_of_range", "time"),
        (TOTALS, {"time": 1795430161}, "wrong_type", "time"),
    ],
)
def test_a_fault_costs_its_own_event_and_is_named(
    data: Any, changes: dict[str, Any], code: str, field: str
) -> None:
    rejection = reject_one(data, **changes)
    assert (rejection.code, rejection.field) == (code, field)


def test_an_empty_batch_is_fine_and_an_empty_body_is_not() -> None:
    assert parse(b" [ ]\n", BATCH).events == []
    with pytest.raises(InvalidUsageError, match="empty"):
        parse(b"", STRUCTURED)


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("application/cloudevents+avro", {}),
        ("text/plain", {}),
        ("application/octet-stream", {"id": "1", "specversion": "1.0"}),
    ],
)
def test_other_content_types_are_refused(content_type: str, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidUsageError) as refused:
        parse(TOTALS, content_type, **headers)
    assert refused.value.code == "unsupported_media_type"


def test_no_refusal_repeats_a_value() -> None:
    secret = "my prompt"
    for data in (secret, {"model": "m", "input_tokens": secret}, tokens(type=secret)):
        assert secret not in reject_one(data).detail
