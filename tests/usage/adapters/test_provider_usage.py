"""Providers' own usage objects become the same three input buckets, or are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.core.events import MAX_TOKENS, InvalidUsageError
from apps.usage.core.provider_usage import (
    TokenBuckets,
    buckets_from_totals,
    normalise_raw_usage,
)
from tests.usage.adapters.bodies import (
    ANTHROPIC_CALL,
    ANTHROPIC_CALL_WITHOUT_AGES,
    ANTHROPIC_USAGE,
    OPENAI_CALL,
    OPENAI_CALL_WITHOUT_DETAILS,
    OPENAI_CALL_WITHOUT_REASONING,
    OPENAI_USAGE,
)

COUNTS = st.integers(0, 100_000)


def split(provider: str, raw: dict[str, Any]) -> tuple[int, ...]:
    b = normalise_raw_usage(provider, raw)
    return (
        b.uncached_input_tokens,
        b.cache_read_tokens,
        b.cache_write_5m_tokens,
        b.cache_write_1h_tokens,
        b.output_tokens,
        b.reasoning_tokens,
    )


RESPONSES_USAGE = {
    "input_tokens": 1000,
    "input_tokens_details": {"cached_tokens": 600},
    "output_tokens": 200,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 1200,
}
GEMINI_USAGE = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 600,
    "candidatesTokenCount": 136,
    "thoughtsTokenCount": 64,
    "totalTokenCount": 1200,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
}
BEDROCK_USAGE = {
    "inputTokens": 400,
    "outputTokens": 200,
    "totalTokens": 1300,
    "cacheReadInputTokens": 600,
    "cacheWriteInputTokens": 100,
}


@pytest.mark.parametrize(
    ("provider", "raw", "expected"),
    [
        ("openai", OPENAI_USAGE, OPENAI_CALL),
        ("openai", RESPONSES_USAGE, OPENAI_CALL),
        ("openai", {"prompt_tokens": 8, "total_tokens": 8}, (8, 0, 0, 0, 0, 0)),
        ("openai", {"input_tokens": 8, "total_tokens": 8}, (8, 0, 0, 0, 0, 0)),
        (
            "mistral",
            {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
            OPENAI_CALL_WITHOUT_DETAILS,
        ),
        (
            "groq",
            OPENAI_USAGE
            | {"queue_time": 0.018, "prompt_time": 0.002, "total_time": 0.4, "x_groq": None},
            OPENAI_CALL,
        ),
        (
            "openrouter",
            OPENAI_USAGE | {"cost": 0.000225, "is_byok": False, "cost_details": {"a": 1}},
            OPENAI_CALL,
        ),
        (
            "openrouter",
            {
                "prompt_tokens": 1100,
                "completion_tokens": 200,
                "total_tokens": 1300,
                "prompt_tokens_details": {"cached_tokens": 600, "cache_write_tokens": 100},
            },
            ANTHROPIC_CALL_WITHOUT_AGES,
        ),
        (
            "vllm",
            {
                "prompt_tokens": 1000,
                "total_tokens": 1200,
                "completion_tokens": 200,
                "prompt_tokens_details": None,
            },
            OPENAI_CALL_WITHOUT_DETAILS,
        ),
        (
            "deepseek",
            {
                "prompt_tokens": 1000,
                "completion_tokens": 200,
                "total_tokens": 1200,
                "prompt_cache_hit_tokens": 600,
                "prompt_cache_miss_tokens": 400,
            },
            OPENAI_CALL_WITHOUT_REASONING,
        ),
        # xAI counts reasoning beside the completion; the total shows it.
        ("x_ai", OPENAI_USAGE | {"completion_tokens": 136}, OPENAI_CALL),
        # Gemini's OpenAI door leaves thoughts out of the completion; the total has them.
        (
            "gemini",
            {"prompt_tokens": 9, "completion_tokens": 35, "total_tokens": 1204},
            (9, 0, 0, 0, 1195, 1160),
        ),
        ("anthropic", ANTHROPIC_USAGE, ANTHROPIC_CALL),
        ("aws.bedrock", ANTHROPIC_USAGE, ANTHROPIC_CALL),
        (
            "anthropic",
            {k: v for k, v in ANTHROPIC_USAGE.items() if k != "cache_creation"},
            ANTHROPIC_CALL_WITHOUT_AGES,
        ),
        (
            "anthropic",
            {k: v for k, v in ANTHROPIC_USAGE.items() if k != "cache_creation_input_tokens"},
            ANTHROPIC_CALL,
        ),
        ("anthropic", ANTHROPIC_USAGE | {"total_tokens": 1300}, ANTHROPIC_CALL),
        (
            "anthropic",
            {"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": None},
            (5, 0, 0, 0, 6, 0),
        ),
        ("google", GEMINI_USAGE, OPENAI_CALL),
        (
            "vertex_ai",
            {
                "prompt_token_count": 1000,
                "cached_content_token_count": 600,
                "candidates_token_count": 136,
                "thoughts_token_count": 64,
                "total_token_count": 1200,
            },
            OPENAI_CALL,
        ),
        ("google", {"promptTokenCount": 10, "totalTokenCount": 10}, (10, 0, 0, 0, 0, 0)),
        (
            "google",
            {
                "promptTokenCount": 10,
                "toolUsePromptTokenCount": 5,
                "candidatesTokenCount": 2,
                "totalTokenCount": 17,
            },
            (15, 0, 0, 0, 2, 0),
        ),
        ("aws.bedrock", BEDROCK_USAGE, ANTHROPIC_CALL_WITHOUT_AGES),
        ("aws.bedrock", BEDROCK_USAGE | {"totalTokens": 600}, ANTHROPIC_CALL_WITHOUT_AGES),
        (
            "bedrock",
            BEDROCK_USAGE
            | {
                "cacheDetails": [{"ttl": "5m", "inputTokens": 70}, {"ttl": "1h", "inputTokens": 30}]
            },
            ANTHROPIC_CALL,
        ),
        (
            "ollama",
            {"prompt_eval_count": 26, "eval_count": 298, "total_duration": 5_043_500_667},
            (26, 0, 0, 0, 298, 0),
        ),
        ("anything", {"input_tokens": 3, "output_tokens": 4}, (3, 0, 0, 0, 4, 0)),
    ],
)
def test_each_shape_is_normalised(
    provider: str, raw: dict[str, Any], expected: tuple[int, ...]
) -> None:
    assert split(provider, raw) == expected


@pytest.mark.parametrize(
    ("provider", "raw", "code", "field"),
    [
        ("openai", {}, "unknown_usage_shape", "raw_usage"),
        ("cohere", {"billed_units": {"input_tokens": 1}}, "unknown_usage_shape", "raw_usage"),
        (
            "openai",
            {"inputTokens": 1000, "outputTokens": 2, "cachedInputTokens": 600},
            "unknown_usage_shape",
            "raw_usage",
        ),
        (
            "somebody",
            {
                "input_tokens": 700,
                "cache_read_input_tokens": 600,
                "output_tokens": 1,
                "total_tokens": 701,
            },
            "ambiguous_usage_shape",
            "raw_usage.input_tokens",
        ),
        (
            "openai",
            OPENAI_USAGE | {"total_tokens": 1300},
            "totals_disagree",
            "raw_usage.total_tokens",
        ),
        (
            "openai",
            OPENAI_USAGE | {"total_tokens": 100},
            "totals_disagree",
            "raw_usage.total_tokens",
        ),
        (
            "google",
            GEMINI_USAGE | {"totalTokenCount": 1136},
            "totals_disagree",
            "raw_usage.totalTokenCount",
        ),
        (
            "bedrock",
            BEDROCK_USAGE | {"totalTokens": 1200},
            "totals_disagree",
            "raw_usage.totalTokens",
        ),
        (
            "anthropic",
            ANTHROPIC_USAGE | {"cache_creation_input_tokens": 50},
            "totals_disagree",
            "raw_usage.cache_creation_input_tokens",
        ),
        (
            "openai",
            OPENAI_USAGE | {"prompt_tokens": "1000"},
            "wrong_type",
            "raw_usage.prompt_tokens",
        ),
        (
            "openai",
            OPENAI_USAGE | {"prompt_tokens": True},
            "wrong_type",
            "raw_usage.prompt_tokens",
        ),
        ("ollama", {"eval_count": -1}, "out_of_range", "raw_usage.eval_count"),
        ("ollama", {"eval_count": MAX_TOKENS + 1}, "out_of_range", "raw_usage.eval_count"),
        (
            "google",
            {"candidatesTokenCount": MAX_TOKENS, "thoughtsTokenCount": MAX_TOKENS},
            "out_of_range",
            "raw_usage",
        ),
        (
            "openai",
            OPENAI_USAGE | {"prompt_tokens_details": {"cached_tokens": 1001}},
            "cache_exceeds_input",
            "raw_usage",
        ),
        (
            "openai",
            OPENAI_USAGE | {"completion_tokens_details": {"reasoning_tokens": 201}},
            "reasoning_exceeds_output",
            "raw_usage",
        ),
    ],
)
def test_what_cannot_be_normalised_is_refused(
    provider: str, raw: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(InvalidUsageError) as refused:
        normalise_raw_usage(provider, raw)
    assert (refused.value.code, refused.value.field) == (code, field)


@given(st.tuples(*[COUNTS] * 6))
def test_inclusive_and_exclusive_providers_report_one_call_alike(
    counts: tuple[int, int, int, int, int, int],
) -> None:
    uncached, read, five, hour, answer, thoughts = counts
    expected = TokenBuckets(
        uncached_input_tokens=uncached,
        cache_read_tokens=read,
        cache_write_5m_tokens=five,
        cache_write_1h_tokens=hour,
        output_tokens=answer + thoughts,
        reasoning_tokens=thoughts,
    )
    total = uncached + read + five + hour
    assert expected == buckets_from_totals(
        input_tokens=total,
        output_tokens=answer + thoughts,
        cache_read_tokens=read,
        cache_write_tokens=five + hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=thoughts,
    )
    anthropic = {
        "input_tokens": uncached,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": five + hour,
        "cache_creation": {
            "ephemeral_5m_input_tokens": five,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": answer + thoughts,
        "output_tokens_details": {"thinking_tokens": thoughts},
    }
    assert normalise_raw_usage("anthropic", anthropic) == expected
    litellm = {
        "prompt_tokens": total,
        "completion_tokens": answer + thoughts,
        "total_tokens": total + answer + thoughts,
        "prompt_tokens_details": {
            "cached_tokens": read,
            "cache_creation_tokens": five + hour,
            "cache_creation_token_details": {"ephemeral_1h_input_tokens": hour},
        },
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }
    assert normalise_raw_usage("anthropic", litellm) == expected
