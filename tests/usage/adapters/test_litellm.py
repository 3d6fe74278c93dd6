"""LiteLLM's generic_api payloads: what each kind of call becomes."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from apps.usage.adapters import loose
from apps.usage.adapters.litellm import parse_litellm
from apps.usage.core.events import Door, InvalidUsageError, UsageEvent
from tests.usage.adapters.bodies import (
    ANTHROPIC_CALL,
    NOTHING,
    OPENAI_CALL,
    OPENAI_CALL_WITHOUT_DETAILS,
    OPENAI_USAGE,
    tokens_of,
)

PROMPT = "a prompt that is nobody's business"


def payload(**changes: Any) -> dict[str, Any]:
    """As LiteLLM 1.106 sends it, in part."""
    return {
        "id": "chatcmpl-1",
        "litellm_call_id": "837e62a9-433d-4b06-a37b-dbfe476b53aa",
        "trace_id": "6340f27d",
        "call_type": "acompletion",
        "cache_hit": None,
        "stream": None,
        "status": "success",
        "custom_llm_provider": "openai",
        "startTime": 1795430711.006897,
        "endTime": 1795430713.064623,
        "completionStartTime": 1795430712.942159,
        "response_time": 1.9352619647979736,
        "model": "gpt-4o-mini",
        "model_group": "",
        "response_cost": 0.000225,
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "total_tokens": 1200,
        "request_tags": ["prod", "team:search", "User-Agent: curl/8"],
        "end_user": "cust-42",
        "messages": [{"role": "user", "content": PROMPT}],
        "response": {
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"message": {"content": PROMPT}}],
        },
        "metadata": {
            "user_api_key_team_alias": "Payments",
            "user_api_key_team_id": "team-7",
            "user_api_key_org_id": "org-1",
            "user_api_key_user_id": "u-9",
            "spend_logs_metadata": {"cost_center": "CC-100"},
            "usage_object": OPENAI_USAGE,
        },
        "error_information": {"error_code": "", "error_class": ""},
    } | changes


def parse_one(**changes: Any) -> UsageEvent:
    parsed = parse_litellm(json.dumps([payload(**changes)]).encode())
    assert parsed.rejections == []
    return parsed.events[0]


def test_a_streamed_call_arrives_whole() -> None:
    assert parse_one(stream=True) == UsageEvent(
        source="litellm",
        event_id="837e62a9-433d-4b06-a37b-dbfe476b53aa",
        occurred_at=datetime(2026, 11, 23, 10, 45, 11, 6897, UTC),
        provider="openai",
        model="gpt-4o-mini-2024-07-18",
        uncached_input_tokens=400,
        cache_read_tokens=600,
        output_tokens=200,
        reasoning_tokens=64,
        requested_model="gpt-4o-mini",
        customer="cust-42",
        department="Payments",
        user="u-9",
        tags={"prod": "true", "team": "search", "cost_center": "CC-100"},
        latency_ms=2058,
        time_to_first_token_ms=1935,
        reported_cost_usd=Decimal("0.000225"),
        door=Door.LITELLM,
    )


def test_array_ndjson_and_single_are_one() -> None:
    rows = [json.dumps(payload(litellm_call_id=f"c{i}")) for i in range(3)]
    for body in ("[" + ",".join(rows) + "]", "\n".join(rows)):
        parsed = parse_litellm(body.encode())
        assert [event.event_id for event in parsed.events] == ["c0", "c1", "c2"]
    assert len(parse_litellm(rows[0].encode()).events) == 1


def test_anthropic_writes_are_split_by_age() -> None:
    event = parse_one(
        custom_llm_provider="anthropic",
        model="claude-sonnet-4-5-20250929",
        response={"model": "claude-sonnet-4-5-20250929"},
        prompt_tokens=1100,
        total_tokens=1300,
        metadata={
            "usage_object": {
                "prompt_tokens": 1100,
                "completion_tokens": 200,
                "total_tokens": 1300,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "prompt_tokens_details": {
                    "cached_tokens": 600,
                    "cache_creation_tokens": 100,
                    "cache_write_tokens": 100,
                    "cache_creation_token_details": {
                        "ephemeral_5m_input_tokens": 70,
                        "ephemeral_1h_input_tokens": 30,
                    },
                },
                "cache_creation_input_tokens": 100,
                "cache_read_input_tokens": 600,
            }
        },
    )
    assert tokens_of(event) == ANTHROPIC_CALL


def test_an_embedding_has_input_only() -> None:
    event = parse_one(
        call_type="aembedding",
        model="text-embedding-3-small",
        response={"model": "text-embedding-3-small", "data": [{"embedding": [0.1]}]},
        prompt_tokens=8,
        completion_tokens=0,
        total_tokens=8,
        response_cost=1.6e-07,
        metadata={"usage_object": {"prompt_tokens": 8, "completion_tokens": 0}},
    )
    assert tokens_of(event) == (8, 0, 0, 0, 0, 0)
    assert event.reported_cost_usd == Decimal("1.6E-7")


def test_a_failure_counts_with_its_code_and_costs_nothing() -> None:
    event = parse_one(
        status="failure",
        model="gpt-error429",
        response={},
        response_cost=0.0,
        prompt_tokens=12,
        completion_tokens=0,
        total_tokens=12,
        metadata={},
        error_information={"error_code": "429", "error_class": "RateLimitError"},
    )
    assert (event.status, event.model, tokens_of(event)) == ("429", "gpt-error429", NOTHING)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error_code": 503}, "503"),
        ({"error_code": "", "error_class": "Timeout"}, "Timeout"),
        ({}, "failure"),
        ("", "failure"),
        (None, "failure"),
    ],
)
def test_a_failure_is_named_as_well_as_it_can_be(error: Any, status: str) -> None:
    assert parse_one(status="failure", error_information=error).status == status


def test_a_call_refused_before_a_provider_was_chosen_counts() -> None:
    event = parse_one(status="failure", custom_llm_provider="", model="anthropic/claude-x")
    assert (event.provider, event.status) == ("anthropic", "failure")
    assert parse_one(status="failure", custom_llm_provider=None, model="mine").provider == "unknown"


def test_an_answer_from_litellms_own_cache_costs_nothing() -> None:
    event = parse_one(cache_hit=True, response_cost=0.0)
    assert tokens_of(event) == NOTHING
    assert event.tags is not None
    assert event.tags["litellm_cache"] == "hit"


@pytest.mark.parametrize(
    ("answered", "deployed", "group", "model", "requested"),
    [
        # Without a router there is no group.
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", "", "gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        # The proxy writes the group's alias over the model that answered.
        ("my-fast", "openai/gpt-4o-mini", "my-fast", "gpt-4o-mini", "my-fast"),
        ("gpt-4o-2024-08-06", "azure/my-own", "my-fast", "gpt-4o-2024-08-06", "my-fast"),
        ("", "openai/gpt-4o-mini", "my-fast", "gpt-4o-mini", "my-fast"),
        ("openai/gpt-4o-mini", "gpt-4o-mini", "openai/gpt-4o-mini", "gpt-4o-mini", "gpt-4o-mini"),
        (None, "openai/responses/gpt-5-codex", None, "gpt-5-codex", "gpt-5-codex"),
        ("", "", "my-fast", "my-fast", "my-fast"),
        ("meta-llama/Llama-3", "meta-llama/Llama-3", "local", "meta-llama/Llama-3", "local"),
    ],
)  # fmt: skip
def test_the_model_that_answered_is_named_never_an_alias(
    answered: Any, deployed: str, group: Any, model: str, requested: str
) -> None:
    event = parse_one(response={"model": answered}, model=deployed, model_group=group)
    assert (event.model, event.requested_model) == (model, requested)


@pytest.mark.parametrize("absent", ["", None, {}, []])
def test_absent_values_come_in_many_types(absent: Any) -> None:
    event = parse_one(
        metadata=absent,
        end_user=absent,
        request_tags=absent,
        model_group=absent,
        error_information=absent,
        response_cost=absent,
        endTime=absent,
        response_time=absent,
        response=absent,
    )
    assert tokens_of(event) == OPENAI_CALL_WITHOUT_DETAILS
    assert (event.customer, event.department, event.tags) == (None, None, None)
    assert (event.latency_ms, event.reported_cost_usd) == (None, None)


@pytest.mark.parametrize(
    ("metadata", "department"),
    [
        ({"user_api_key_team_alias": "", "user_api_key_team_id": "team-7"}, "team-7"),
        ({"user_api_key_team_id": None, "user_api_key_org_id": "org-1"}, "org-1"),
        ({"spend_logs_metadata": {"department": "support", "cost_center": "C"}}, "support"),
        ({"spend_logs_metadata": {"cost_center": "C"}}, "C"),
        ({"spend_logs_metadata": "text"}, None),
    ],
)
def test_department_is_the_team_of_the_key_or_the_logged_one(
    metadata: dict[str, Any], department: str | None
) -> None:
    assert parse_one(metadata=metadata).department == department


def test_a_cost_of_zero_for_used_tokens_is_unknown() -> None:
    assert parse_one(response_cost=0.0).reported_cost_usd is None


def test_totals_win_over_an_empty_usage_object() -> None:
    assert tokens_of(parse_one(metadata={"usage_object": {}})) == OPENAI_CALL_WITHOUT_DETAILS


def test_counts_as_floats_or_digits_are_counts() -> None:
    event = parse_one(prompt_tokens=1000.0, completion_tokens="200")
    assert tokens_of(event) == OPENAI_CALL


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"litellm_call_id": None, "id": ""}, "missing_field", "litellm_call_id"),
        ({"litellm_call_id": "x" * 201}, "too_long", "litellm_call_id"),
        ({"litellm_call_id": "a\x00"}, "control_character", "litellm_call_id"),
        ({"model": "", "response": {}}, "missing_field", "model"),
        ({"startTime": None}, "missing_field", "startTime"),
        ({"startTime": "soon"}, "out_of_range", "startTime"),
        ({"startTime": 1e300}, "out_of_range", "startTime"),
        ({"prompt_tokens": -5}, "out_of_range", "metadata.usage_object.prompt_tokens"),
        ({"prompt_tokens": "many"}, "wrong_type", "metadata.usage_object.prompt_tokens"),
        ({"prompt_tokens": 500}, "cache_exceeds_input", "metadata.usage_object"),
    ],
)
def test_what_cannot_be_counted_is_refused_alone(
    changes: dict[str, Any], code: str, field: str
) -> None:
    rows = [payload(litellm_call_id="good"), payload(**changes), None]
    parsed = parse_litellm(json.dumps(rows).encode())
    assert [event.event_id for event in parsed.events] == ["good"]
    first, null_row = parsed.rejections
    assert (first.index, first.code, first.field) == (1, code, field)
    assert (null_row.index, null_row.code) == (2, "wrong_type")


def test_half_a_surrogate_or_nan_in_a_prompt_costs_nothing() -> None:
    odd = payload(messages=[{"content": "\ud83d"}], logprob=float("nan"), end_user="a\ud83db")
    good = payload(litellm_call_id="good")
    for body in (json.dumps([odd, good]), json.dumps(odd) + "\n" + json.dumps(good)):
        parsed = parse_litellm(body.encode())
        assert (len(parsed.events), parsed.rejections) == (2, [])
        assert parsed.events[0].customer == "a b"


def test_describing_texts_are_cut_to_fit() -> None:
    event = parse_one(end_user="c" * 500 + "\x00", request_tags=[f"t{i}" for i in range(99)])
    assert event.customer == "c" * 200
    assert event.tags is not None
    assert len(event.tags) == 32


def test_no_prompt_reaches_an_event_or_a_rejection() -> None:
    rows = [payload(), payload(prompt_tokens=PROMPT), payload(startTime=PROMPT)]
    assert PROMPT not in repr(parse_litellm(json.dumps(rows).encode()))


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[nonsense]"])
def test_a_body_without_rows_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidUsageError):
        parse_litellm(body)


def test_a_cost_of_zero_with_any_exponent_is_zero() -> None:
    assert str(loose.usd("0E+999999999")) == "0"
    assert str(loose.usd("0.00")) == "0.00"
    assert loose.usd("1E+999999999") is None
