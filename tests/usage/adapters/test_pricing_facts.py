"""Meters beside the token buckets, and the price's variant: from every door that tells them."""

import json
from typing import Any

import pytest

from apps.usage.adapters.native import parse_native
from apps.usage.adapters.otlp import parse_otlp_traces
from apps.usage.core.events import Rejection, UsageEvent
from apps.usage.core.pricing_facts import METERS, facts_of_raw_usage
from tests.usage.adapters.bodies import (
    ANTHROPIC_USAGE,
    JSON,
    OPENAI_USAGE,
    json_body,
    native_row,
    span,
)
from tests.usage.adapters.test_litellm import parse_one as parse_litellm_call
from tests.usage.adapters.test_litellm import payload
from tests.usage.adapters.test_otlp_bodies import USED

USAGE = {"input_tokens": 1000, "output_tokens": 200, "cache_read_tokens": 600}
AUDIO = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "prompt_tokens_details": {"cached_tokens": 600, "audio_tokens": 100, "text_tokens": 900},
    "completion_tokens_details": {"audio_tokens": 50},
}
AUDIO_METERS = {"input_text_tokens": 900, "input_audio_tokens": 100, "output_audio_tokens": 50}


def parse_row(**changes: Any) -> UsageEvent | Rejection:
    parsed = parse_native(json.dumps(native_row(**{"usage": USAGE} | changes)).encode())
    return [*parsed.events, *parsed.rejections][0]


def facts_of(event: UsageEvent | Rejection) -> tuple[Any, Any]:
    assert isinstance(event, UsageEvent)
    return event.meters, event.price_context


def test_what_prices_a_native_event_beside_its_tokens_arrives() -> None:
    meters = {"web_searches": 2, "input_audio_tokens": 1000, "input_image_tokens": 0}
    event = parse_row(usage=USAGE | {"meters": meters}, price_context={"processing": "Batch"})
    assert facts_of(event) == (
        {"web_searches": 2, "input_audio_tokens": 1000},
        {"processing": "batch"},
    )


@pytest.mark.parametrize("tier", ["default", "standard", "auto", "AUTO", "on_demand", "", " "])
def test_the_standard_price_is_no_context(tier: str) -> None:
    event = parse_row(price_context={"service_tier": tier, "speed": "standard"})
    assert facts_of(event) == (None, None)


@pytest.mark.parametrize(
    ("meters", "context", "code", "field"),
    [
        ({"foo": 1}, {}, "unknown_meter", "usage.meters.foo"),
        ({"a\n": 1}, {}, "unknown_meter", "usage.meters.(unprintable)"),
        ({"input_tokens": 1}, {}, "unknown_meter", "usage.meters.input_tokens"),
        ({"requests": 1}, {}, "unknown_meter", "usage.meters.requests"),
        ({"web_searches": -1}, {}, "out_of_range", "usage.meters"),
        ({"web_searches": 10**10}, {}, "out_of_range", "usage.meters"),
        ({"web_searches": "1"}, {}, "wrong_type", "usage.meters"),
        ({f"m{i}": 1 for i in range(999)}, {}, "too_many_entries", "usage.meters"),
        (
            {"input_audio_tokens": 1001},
            {},
            "meter_exceeds_total",
            "usage.meters.input_audio_tokens",
        ),
        (
            {"cache_audio_read_tokens": 601},
            {},
            "meter_exceeds_total",
            "usage.meters.cache_audio_read_tokens",
        ),
        ({}, {"tier": "flex"}, "unknown_price_context", "price_context"),
        ({}, {"service_tier": "a\x00"}, "control_character", "price_context.service_tier"),
        ({}, {"service_tier": "x" * 41}, "too_long", "price_context"),
        ({}, {"service_tier": 1}, "wrong_type", "price_context"),
        ({}, {str(i): "a" for i in range(9)}, "too_many_entries", "price_context"),
    ],
)
def test_a_fact_no_price_knows_is_refused_by_name(
    meters: dict[str, Any], context: dict[str, Any], code: str, field: str
) -> None:
    refused = parse_row(usage=USAGE | {"meters": meters}, price_context=context)
    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == (code, field)


@pytest.mark.parametrize(
    ("raw", "meters", "context"),
    [
        (OPENAI_USAGE, None, None),
        (ANTHROPIC_USAGE, None, None),
        (AUDIO, AUDIO_METERS, None),
        (
            {
                "input_tokens": 1000,
                "input_token_details": {
                    "text_tokens": 300,
                    "audio_tokens": 700,
                    "cached_tokens": 600,
                    "cached_tokens_details": {"text_tokens": 200, "audio_tokens": 400},
                },
                "output_tokens": 9,
            },
            {
                "input_text_tokens": 300,
                "input_audio_tokens": 700,
                "cache_text_read_tokens": 200,
                "cache_audio_read_tokens": 400,
            },
            None,
        ),
        (
            ANTHROPIC_USAGE | {"server_tool_use": {"web_search_requests": 3}, "speed": "fast"},
            {"web_searches": 3},
            {"speed": "fast"},
        ),
        (ANTHROPIC_USAGE | {"service_tier": "batch"}, None, {"processing": "batch"}),
        (ANTHROPIC_USAGE | {"service_tier": "priority"}, None, {"service_tier": "priority"}),
        ({"prompt_tokens": 1, "num_search_queries": 4}, {"web_searches": 4}, None),
        (
            {
                "promptTokenCount": 1000,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 100},
                    {"modality": "AUDIO", "tokenCount": 500},
                    {"modality": "IMAGE", "tokenCount": 250},
                    {"modality": "DOCUMENT", "tokenCount": 150},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 9}],
                "trafficType": "ON_DEMAND_PRIORITY",
            },
            {
                "input_audio_tokens": 500,
                "input_image_tokens": 400,
                "cache_audio_read_tokens": 20,
                "output_image_tokens": 9,
            },
            {"service_tier": "priority"},
        ),
        ({"promptTokenCount": 1, "trafficType": "ON_DEMAND"}, None, None),
        (
            {"prompt_tokens_details": {"audio_tokens": "x"}, "server_tool_use": 7, "speed": []},
            None,
            None,
        ),
    ],
)
def test_a_providers_object_tells_what_prices_it(
    raw: dict[str, Any], meters: Any, context: Any
) -> None:
    facts = facts_of_raw_usage(raw)
    assert (facts.meters, facts.price_context) == (meters, context)
    assert not meters or meters.keys() <= METERS


def test_raw_usage_of_a_native_event_tells_too_and_the_caller_tells_better() -> None:
    raw = ANTHROPIC_USAGE | {"service_tier": "batch"}
    told = {"provider": "anthropic", "usage": None, "raw_usage": raw}
    assert facts_of(parse_row(**told)) == (None, {"processing": "batch"})
    assert facts_of(parse_row(**told, price_context={"processing": "sync"})) == (None, None)


def test_litellm_tells_the_tier_that_answered_and_audio() -> None:
    metadata = payload()["metadata"] | {"usage_object": AUDIO}
    event = parse_litellm_call(
        response={"model": "gpt-4o-mini", "service_tier": "flex"}, metadata=metadata
    )
    assert facts_of(event) == (AUDIO_METERS, {"service_tier": "flex"})
    standard = parse_litellm_call(response={"model": "gpt-4o-mini", "service_tier": "default"})
    assert facts_of(standard) == (None, None)


@pytest.mark.parametrize(
    "key", ["openai.response.service_tier", "gen_ai.openai.response.service_tier"]
)
def test_a_span_tells_the_tier_that_answered_and_audio(key: str) -> None:
    attributes = USED | {key: "priority", "llm.token_count.prompt_details.audio": 7}
    asked_for = {"gen_ai.openai.request.service_tier": "flex"}
    (event,) = parse_otlp_traces(json_body(span(attributes=attributes | asked_for)), JSON).events
    assert facts_of(event) == ({"input_audio_tokens": 7}, {"service_tier": "priority"})
