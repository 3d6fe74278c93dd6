"""What each emitter of GenAI spans sends, in small, and what it counts as.

Every case runs in protobuf and in JSON. The calls are those of real clients: OpenAI's with 1000
input tokens of which 600 cached and 200 output of which 64 reasoning, Anthropic's with 400
uncached, 600 read and 100 written.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from apps.usage.adapters.otlp import parse_otlp_traces
from apps.usage.core.events import UsageEvent
from tests.usage.adapters.bodies import (
    ANTHROPIC_CALL,
    ANTHROPIC_CALL_WITHOUT_AGES,
    ANTHROPIC_USAGE,
    JSON,
    NOTHING,
    OPENAI_CALL,
    OPENAI_CALL_WITHOUT_DETAILS,
    OPENAI_CALL_WITHOUT_REASONING,
    OPENAI_USAGE,
    PROTOBUF,
    START_NS,
    TRACE,
    failed,
    json_body,
    protobuf_body,
    span,
    tokens_of,
)

ANSWERED = "gpt-4o-mini-2024-07-18"
CLAUDE = "claude-sonnet-4-5-20250929"

Parse = Callable[..., list[UsageEvent]]


@pytest.fixture(params=[PROTOBUF, JSON])
def parse(request: pytest.FixtureRequest) -> Parse:
    """The events of spans; every span that is a call must be a good one."""

    def parse_spans(*spans: dict[str, Any], **of_resource: Any) -> list[UsageEvent]:
        make_body = json_body if request.param == JSON else protobuf_body
        parsed = parse_otlp_traces(make_body(*spans, **of_resource), request.param)
        assert parsed.rejections == []
        return parsed.events

    return parse_spans


def gen_ai(**changes: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": ANSWERED,
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 200,
    }
    attributes |= {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in attributes.items() if value is not None}


class Counted(NamedTuple):
    """One emitter's span for one good call."""

    attributes: dict[str, Any]
    tokens: tuple[int, ...]
    model: str = ANSWERED
    scope: str = "test"


CACHED = {"gen_ai.usage.cache_read.input_tokens": 600}
CLAUDE_CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": CLAUDE,
    "gen_ai.response.model": CLAUDE,
    "gen_ai.usage.input_tokens": 1100,
    "gen_ai.usage.output_tokens": 200,
    "gen_ai.usage.cache_read.input_tokens": 600,
}
CALLS = {
    "official openai": Counted(
        gen_ai() | CACHED | {"gen_ai.usage.reasoning.output_tokens": 64}, OPENAI_CALL
    ),
    "official anthropic": Counted(
        CLAUDE_CALL | {"gen_ai.usage.cache_write.input_tokens": 100},
        ANTHROPIC_CALL_WITHOUT_AGES,
        CLAUDE,
    ),
    "official embeddings": Counted(
        {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "text-embedding-3-small",
            "gen_ai.usage.input_tokens": 8,
        },
        (8, 0, 0, 0, 0, 0),
        "text-embedding-3-small",
    ),
    "openai-v2": Counted(
        {k.replace("provider.name", "system"): v for k, v in gen_ai().items()},
        OPENAI_CALL_WITHOUT_DETAILS,
    ),
    "older names": Counted(
        {
            "gen_ai.system": "openai",
            "gen_ai.request.model": ANSWERED,
            "gen_ai.usage.prompt_tokens": 1000,
            "gen_ai.usage.completion_tokens": 200,
            "gen_ai.usage.cache_read_input_tokens": 600,
        },
        OPENAI_CALL_WITHOUT_REASONING,
    ),
    "traceloop openai": Counted(
        gen_ai()
        | CACHED
        | {"gen_ai.usage.reasoning_tokens": 64, "gen_ai.usage.total_tokens": 1200},
        OPENAI_CALL,
    ),
    "traceloop anthropic": Counted(
        CLAUDE_CALL
        | {"gen_ai.usage.cache_creation.input_tokens": 100, "gen_ai.usage.total_tokens": 1300},
        ANTHROPIC_CALL_WITHOUT_AGES,
        CLAUDE,
    ),
    "openlit openai": Counted(
        gen_ai() | CACHED | {"gen_ai.usage.cache_creation.input_tokens": 0},
        OPENAI_CALL_WITHOUT_REASONING,
        scope="openlit.instrumentation.openai",
    ),
    "openlit anthropic, whose input leaves cache out": Counted(
        CLAUDE_CALL
        | {
            "gen_ai.usage.input_tokens": 800,
            "gen_ai.usage.cache_creation.input_tokens": 100,
            "gen_ai.usage.total_tokens": 1000,
        },
        (800, 600, 100, 0, 200, 0),
        CLAUDE,
        scope="openlit.instrumentation.anthropic",
    ),
    "anthropic with more cache than input": Counted(
        CLAUDE_CALL
        | {"gen_ai.usage.input_tokens": 400, "gen_ai.usage.cache_creation.input_tokens": 100},
        ANTHROPIC_CALL_WITHOUT_AGES,
        CLAUDE,
    ),
    "anthropic with a total that shows cache left out": Counted(
        CLAUDE_CALL
        | {
            "gen_ai.usage.input_tokens": 800,
            "gen_ai.usage.cache_creation.input_tokens": 100,
            "gen_ai.usage.total_tokens": 1700,
        },
        (800, 600, 100, 0, 200, 0),
        CLAUDE,
    ),
    "openinference openai": Counted(
        {
            "openinference.span.kind": "LLM",
            "llm.system": "openai",
            "llm.model_name": ANSWERED,
            "llm.token_count.total": 1200,
            "llm.token_count.prompt": 1000,
            "llm.token_count.completion": 200,
            "llm.token_count.prompt_details.cache_read": 600,
            "llm.token_count.prompt_details.audio": 0,
            "llm.token_count.completion_details.reasoning": 64,
        },
        OPENAI_CALL,
    ),
    "openinference anthropic": Counted(
        {
            "openinference.span.kind": "LLM",
            "llm.provider": "anthropic",
            "llm.model_name": CLAUDE,
            "llm.token_count.prompt": 1100,
            "llm.token_count.completion": 200,
            "llm.token_count.prompt_details.cache_read": 600,
            "llm.token_count.prompt_details.cache_write": 100,
        },
        ANTHROPIC_CALL_WITHOUT_AGES,
        CLAUDE,
    ),
    "openinference gemini, whose thoughts stand beside the output": Counted(
        {
            "openinference.span.kind": "LLM",
            "llm.provider": "google",
            "llm.model_name": "gemini-2.5-flash",
            "llm.token_count.total": 1200,
            "llm.token_count.prompt": 1000,
            "llm.token_count.completion": 136,
            "llm.token_count.prompt_details.cache_read": 600,
            "llm.token_count.completion_details.reasoning": 64,
        },
        OPENAI_CALL,
        "gemini-2.5-flash",
    ),
    "openinference embedding": Counted(
        {
            "openinference.span.kind": "EMBEDDING",
            "llm.provider": "openai",
            "embedding.model_name": "text-embedding-3-small",
            "llm.token_count.prompt": 8,
        },
        (8, 0, 0, 0, 0, 0),
        "text-embedding-3-small",
    ),
    "pydantic-ai": Counted(
        gen_ai()
        | CACHED
        | {
            "gen_ai.usage.details.reasoning_tokens": 64,
            "gen_ai.usage.details.cache_read_tokens": 600,
        },
        OPENAI_CALL,
    ),
    "logfire openai": Counted(
        gen_ai() | {"gen_ai.usage.raw": json.dumps(OPENAI_USAGE)}, OPENAI_CALL
    ),
    "logfire anthropic": Counted(
        CLAUDE_CALL | {"gen_ai.usage.raw": json.dumps(ANTHROPIC_USAGE)}, ANTHROPIC_CALL, CLAUDE
    ),
    "logfire with raw usage that cannot be read": Counted(
        gen_ai() | CACHED | {"gen_ai.usage.raw": "{}}"}, OPENAI_CALL_WITHOUT_REASONING
    ),
    "langfuse openai": Counted(
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": ANSWERED,
            "langfuse.observation.usage_details": json.dumps(OPENAI_USAGE),
        },
        OPENAI_CALL,
    ),
    "langfuse's own names, each without the others": Counted(
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": CLAUDE,
            "langfuse.observation.usage_details": json.dumps(
                {
                    "input": 400,
                    "output": 200,
                    "total": 1300,
                    "cache_read_input_tokens": 600,
                    "cache_creation_input_tokens": 100,
                    "cache_creation_ephemeral_5m_input_tokens": 70,
                    "cache_creation_ephemeral_1h_input_tokens": 30,
                }
            ),
        },
        ANTHROPIC_CALL,
        CLAUDE,
    ),
    "langfuse by litellm": Counted(
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": ANSWERED,
            "langfuse.observation.usage_details": json.dumps(
                {
                    "input": 400,
                    "input_cached_tokens": 600,
                    "output": 136,
                    "output_reasoning_tokens": 64,
                    "total": 1200,
                }
            ),
        },
        OPENAI_CALL,
    ),
    "vercel 6": Counted(
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "gen_ai.system": "openai.chat",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": ANSWERED,
            "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 200,
            "ai.usage.inputTokenDetails.noCacheTokens": 400,
            "ai.usage.inputTokenDetails.cacheReadTokens": 600,
            "ai.usage.outputTokenDetails.reasoningTokens": 64,
            "ai.usage.cachedInputTokens": 600,
            "ai.usage.reasoningTokens": 64,
            "ai.usage.totalTokens": 1200,
            "ai.response.providerMetadata": '{"openai":{"acceptedPredictionTokens":0}}',
        },
        OPENAI_CALL,
    ),
    "vercel anthropic": Counted(
        {
            "ai.operationId": "ai.streamText.doStream",
            "gen_ai.system": "anthropic.messages",
            "gen_ai.request.model": CLAUDE,
            "gen_ai.usage.input_tokens": 1100,
            "gen_ai.usage.output_tokens": 200,
            "ai.response.providerMetadata": json.dumps({"anthropic": {"usage": ANTHROPIC_USAGE}}),
        },
        ANTHROPIC_CALL,
        CLAUDE,
    ),
    "vercel 5 anthropic, whose input leaves cache out": Counted(
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "gen_ai.system": "anthropic.messages",
            "gen_ai.request.model": CLAUDE,
            "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 200,
            "ai.usage.cachedInputTokens": 600,
        },
        (1000, 600, 0, 0, 200, 0),
        CLAUDE,
    ),
    "vercel embedding": Counted(
        {
            "ai.operationId": "ai.embed.doEmbed",
            "ai.model.provider": "openai.embedding",
            "ai.model.id": "text-embedding-3-small",
            "ai.usage.tokens": 8,
        },
        (8, 0, 0, 0, 0, 0),
        "text-embedding-3-small",
    ),
    "litellm otel v1": Counted(
        {
            "gen_ai.operation.name": "acompletion",
            "gen_ai.system": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.response.model": ANSWERED,
            "litellm.provider.model": "openai/gpt-4o-mini",
            "gen_ai.usage.input_tokens": 1000,
            "gen_ai.usage.output_tokens": 200,
            "metadata.usage_object": repr(OPENAI_USAGE | {"text_tokens": None}),
        },
        OPENAI_CALL,
    ),
    "litellm otel v2": Counted(
        CLAUDE_CALL
        | {
            "gen_ai.usage.cache_creation.input_tokens": 100,
            "gen_ai.usage.prompt_tokens": 1100,
            "litellm.call_id": "96f155f9",
            "litellm.provider.model": f"anthropic/{CLAUDE}",
        },
        ANTHROPIC_CALL_WITHOUT_AGES,
        CLAUDE,
    ),
    "litellm v1's alias, with the group beside it and no provider": Counted(
        gen_ai(gen_ai__response__model="fast", gen_ai__provider__name=None)
        | {
            "litellm.call_id": "1",
            "litellm.model_group": "fast",
            "litellm.provider.model": f"openai/{ANSWERED}",
        },
        OPENAI_CALL_WITHOUT_DETAILS,
    ),
    "litellm v2's alias over the model that answered": Counted(
        gen_ai(gen_ai__request__model="fast", gen_ai__response__model="fast")
        | {"litellm.call_id": "1", "litellm.provider.model": f"openai/{ANSWERED}"},
        OPENAI_CALL_WITHOUT_DETAILS,
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_emitters_call_counts_with_its_split(name: str, parse: Parse) -> None:
    call = CALLS[name]
    (event,) = parse(span(attributes=call.attributes), scope=call.scope)
    assert (tokens_of(event), event.model) == (call.tokens, call.model)
    assert (event.status, event.latency_ms) == ("success", 2000)


def test_openrouter_counts_its_generation_span_only(parse: Parse) -> None:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "openai/gpt-4o-mini",
        "gen_ai.response.model": f"openai/{ANSWERED}",
        "user.id": "cust-42",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 200,
        "gen_ai.usage.input_tokens.cached": 600,
        "gen_ai.usage.output_tokens.reasoning": 64,
        "gen_ai.usage.total_cost": 0.000225,
        "trace.metadata.openrouter.api_key_name": "checkout-prod",
        "trace.metadata.department": "payments",
    }
    (event,) = parse(
        span("LLM Generation", attributes=attributes),
        span("my trace", attributes=attributes, spanId="00f067aa0ba902b7"),
        resource={"service.name": "openrouter"},
    )
    assert tokens_of(event) == OPENAI_CALL
    assert (event.model, event.requested_model) == (ANSWERED, "gpt-4o-mini")
    assert (event.department, event.customer) == ("payments", "cust-42")
    assert event.reported_cost_usd == Decimal("0.000225")
    assert event.tags == {"openrouter.api_key_name": "checkout-prod"}


def test_openrouters_generations_may_have_other_names(parse: Parse) -> None:
    def generation(name: str, number: int) -> dict[str, Any]:
        attributes = gen_ai() | {"gen_ai.response.id": f"gen-{number}"}
        return span(name, attributes=attributes, spanId=f"{number:016x}")

    spans = [generation("summarise", 1), generation("LLM Generation", 2)]
    assert len(parse(*spans, resource={"service.name": "openrouter"})) == 2


def test_a_model_that_openrouter_resells_is_openrouters(parse: Parse) -> None:
    def named(provider: str, model: str) -> tuple[str, str]:
        attributes = gen_ai(
            gen_ai__provider__name=provider,
            gen_ai__request__model=model,
            gen_ai__response__model=None,
        )
        one = span("LLM Generation", attributes=attributes)
        (event,) = parse(one, resource={"service.name": "openrouter"})
        return event.provider, event.model

    claude = "anthropic/claude-sonnet-4.5"
    assert named("Anthropic", claude) == ("Anthropic", "claude-sonnet-4.5")
    assert named("Amazon Bedrock", claude) == ("openrouter", claude)


NOT_CALLS = {
    "an http span": {"http.method": "POST", "http.status_code": 200},
    "pydantic-ai's agent": {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.aggregated_usage.input_tokens": 1000,
    },
    "an agent by older pydantic-ai": {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 1000,
    },
    "an agent by still older pydantic-ai": {
        "agent_name": "agent",
        "model_name": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 1000,
    },
    "a tool": {"gen_ai.operation.name": "execute_tool", "gen_ai.provider.name": "openai"},
    "logfire's stream before its usage": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
    },
    "the AI SDK's parent": {
        "ai.operationId": "ai.generateText",
        "ai.model.id": "gpt-4o-mini",
        "ai.model.provider": "openai.chat",
        "ai.usage.inputTokens": 1000,
        "ai.usage.outputTokens": 200,
    },
    "litellm's raw request": {
        "llm.openai.model": ANSWERED,
        "llm.openai.usage": repr(OPENAI_USAGE),
        "metadata.user_api_key_team_alias": "Payments",
    },
    "a langfuse span": {
        "langfuse.observation.type": "span",
        "langfuse.observation.usage_details": '{"input": 5}',
        "langfuse.observation.model.name": ANSWERED,
    },
    "an openinference chain": {
        "openinference.span.kind": "CHAIN",
        "llm.model_name": ANSWERED,
        "llm.token_count.prompt": 1000,
    },
}


@pytest.mark.parametrize("name", NOT_CALLS)
def test_spans_that_are_no_call_are_left_out(name: str, parse: Parse) -> None:
    assert parse(span(attributes=NOT_CALLS[name])) == []


@pytest.mark.parametrize(
    "name", ["an http span", "pydantic-ai's agent", "a tool", "the AI SDK's parent"]
)
def test_nor_do_they_count_when_they_fail(name: str, parse: Parse) -> None:
    assert parse(span(attributes=NOT_CALLS[name], status=failed())) == []


def test_litellms_database_span_below_a_request_does_not_count(parse: Parse) -> None:
    attributes = {
        "gen_ai.request.model": "gpt-4o-mini",
        "litellm.provider.model": "openai/gpt-4o-mini",
        "db.system": "redis",
    }
    assert parse(span("redis", attributes=attributes, status=failed("gone"))) == []


FAILURES = {
    "official": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-error429",
        "error.type": "openai.RateLimitError",
    },
    "openinference": {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "llm.invocation_parameters": '{"model": "gpt-error429"}',
    },
    "langfuse": {
        "langfuse.observation.type": "generation",
        "langfuse.observation.level": "ERROR",
        "langfuse.observation.model.name": "gpt-error429",
        "langfuse.observation.cost_details": '{"input": 0, "total": 0}',
    },
    "vercel": {
        "ai.operationId": "ai.generateText.doGenerate",
        "gen_ai.system": "openai.chat",
        "gen_ai.request.model": "gpt-error429",
    },
    "litellm v2, with zeros": {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-error429",
        "gen_ai.usage.input_tokens": 0,
        "gen_ai.usage.output_tokens": 0,
        "litellm.call_id": "14c0d5c2",
        "litellm.cost.total": 0.0,
    },
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_call_counts_with_its_status_and_costs_nothing(name: str, parse: Parse) -> None:
    (event,) = parse(span(attributes=FAILURES[name], status=failed()))
    assert (event.status, event.model, tokens_of(event)) == ("429", "gpt-error429", NOTHING)
    assert event.reported_cost_usd is None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"attributes": {"http.response.status_code": 503}}, "503"),
        ({"attributes": {"error.code": "400"}}, "400"),
        ({"attributes": {"litellm.provider.error.code": "429"}}, "429"),
        ({"attributes": {"error.type": "Timeout"}}, "Timeout"),
        ({"attributes": {}, "status": {"code": 2}}, "error"),
        (
            {
                "attributes": {},
                "status": failed("fake 429"),
                "events": [
                    {
                        "name": "exception",
                        "attributes": [
                            {"key": "exception.type", "value": {"stringValue": "AI_APICallError"}},
                        ],
                    }
                ],
            },
            "AI_APICallError",
        ),
    ],
)
def test_status_is_the_http_status_or_the_errors_class(
    changes: dict[str, Any], status: str, parse: Parse
) -> None:
    asked = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o-mini"}
    one = span(status=failed("")) | changes
    (event,) = parse(one | {"attributes": asked | one["attributes"]})
    assert event.status == status


def test_identity_is_trace_and_span(parse: Parse) -> None:
    (event,) = parse(span(attributes=gen_ai()))
    assert (event.source, event.event_id) == ("otlp", TRACE + "eee19b7ec3c1b174")
    assert event.occurred_at.isoformat() == "2026-11-23T10:36:01.902968+00:00"


def test_a_litellm_call_has_the_identity_that_generic_api_gives_it(parse: Parse) -> None:
    attributes = gen_ai() | {"litellm.call_id": "a4129dea"}
    proxy = span("Received Proxy Server Request", attributes=attributes, spanId="0" * 15 + "1")
    (event,) = parse(span("litellm_request", attributes=attributes), proxy)
    assert (event.source, event.event_id) == ("litellm", "a4129dea")


def nested(outer: dict[str, Any], inner: dict[str, Any]) -> list[dict[str, Any]]:
    """Two calls with a span between them that is none; the inner ends, and is sent, first."""
    return [
        span(attributes=inner, spanId="0" * 15 + "3", parentSpanId="0" * 15 + "2"),
        span("POST", spanId="0" * 15 + "2", parentSpanId="0" * 15 + "1"),
        span(attributes=outer, spanId="0" * 15 + "1"),
    ]


def test_two_instrumentations_of_one_call_count_once(parse: Parse) -> None:
    poor, rich = gen_ai(), gen_ai() | CACHED
    for outer, inner in ((poor, rich), (rich, poor)):
        (event,) = parse(*nested(outer, inner))
        assert tokens_of(event) == OPENAI_CALL_WITHOUT_REASONING
        same_id = {"gen_ai.response.id": "chatcmpl-1"}
        assert len(parse(*nested(outer | same_id, inner | same_id))) == 1


def test_a_failed_span_around_calls_is_none_of_its_own(parse: Parse) -> None:
    unused = {"gen_ai.usage.input_tokens": None, "gen_ai.usage.output_tokens": None}
    asked = {k: v for k, v in (gen_ai() | unused).items() if v is not None}
    spans = nested(asked, gen_ai())
    spans[2]["status"] = failed("the answer could not be read")
    (event,) = parse(*spans)
    assert event.status == "success"
    spans[0] |= {"attributes": asked, "status": failed()}
    (event,) = parse(*spans)
    assert event.status == "429"


def test_a_call_made_within_another_counts_too(parse: Parse) -> None:
    one, other = {"gen_ai.response.id": "r1"}, {"gen_ai.response.id": "r2"}
    assert len(parse(*nested(gen_ai() | one, gen_ai() | other))) == 2
    assert len(parse(*nested(gen_ai(), gen_ai(gen_ai__usage__input_tokens=7)))) == 2


def test_siblings_alike_count_each(parse: Parse) -> None:
    spans = [span(attributes=gen_ai(), spanId=f"{i:016x}", parentSpanId="f" * 16) for i in (1, 2)]
    assert len(parse(*spans)) == 2


def test_the_provider_is_as_reported_or_the_models_maker(parse: Parse) -> None:
    def provider_of(**attributes: Any) -> str:
        dots = {key.replace("__", "."): value for key, value in attributes.items()}
        used = {"gen_ai.usage.input_tokens": 1, "gen_ai.operation.name": "chat"}
        (event,) = parse(span(attributes=used | dots))
        return event.provider

    assert provider_of(gen_ai__system="aws.bedrock", gen_ai__request__model="x") == "aws.bedrock"
    assert provider_of(gen_ai__system="Langchain", gen_ai__request__model="gpt-4o") == "openai"
    assert provider_of(gen_ai__request__model="claude-3-opus") == "anthropic"
    assert provider_of(gen_ai__request__model="my-own") == "unknown"
    assert provider_of(gen_ai__system="litellm", gen_ai__request__model="groq/x") == "litellm"
    assert provider_of(litellm__provider__model="groq/my-own", gen_ai__request__model="x") == "groq"


@pytest.mark.parametrize(
    ("changes", "expected_ms"),
    [
        ({"attributes": {"gen_ai.response.time_to_first_chunk": 0.0064}}, 6),
        ({"attributes": {"gen_ai.server.time_to_first_token": 0.0217}}, 22),
        ({"attributes": {"ai.response.msToFirstChunk": 26.7}}, 27),
        (
            {
                "attributes": {
                    "langfuse.observation.completion_start_time": '"2026-11-23T10:36:02.002968Z"',
                }
            },
            100,
        ),
        (
            {
                "attributes": {},
                "events": [
                    {
                        "name": "First Token Stream Event",
                        "timeUnixNano": str(START_NS + 12_000_000),
                    }
                ],
            },
            12,
        ),
        ({"attributes": {}}, None),
    ],
)
def test_time_to_first_token(
    changes: dict[str, Any], expected_ms: int | None, parse: Parse
) -> None:
    (event,) = parse(span() | changes | {"attributes": gen_ai() | changes["attributes"]})
    assert event.time_to_first_token_ms == expected_ms


def test_logfires_stream_has_the_duration_that_it_states(parse: Parse) -> None:
    one = span(attributes=gen_ai() | {"duration": 0.0067}, endTimeUnixNano=str(START_NS))
    assert parse(one)[0].latency_ms == 7


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"gen_ai.usage.cost": 0}, None),
        ({"operation.cost": 0.000225}, Decimal("0.000225")),
        ({"gen_ai.cost.total_cost": 0.000225}, Decimal("0.000225")),
        ({"litellm.cost.total": 0.0048225}, Decimal("0.0048225")),
        ({"langfuse.observation.cost_details": '{"total": 0.5}'}, Decimal("0.5")),
        ({"gen_ai.usage.cost": -1.0}, None),
        ({"gen_ai.usage.cost": "much"}, None),
    ],
)
def test_reported_cost_of_zero_is_unknown(
    attributes: dict[str, Any], expected: Decimal | None, parse: Parse
) -> None:
    assert parse(span(attributes=gen_ai() | attributes))[0].reported_cost_usd == expected


class Told(NamedTuple):
    span: dict[str, Any]
    resource: dict[str, Any]
    expected: dict[str, Any]


ATTRIBUTIONS = {
    "resource": Told(
        {},
        {
            "department": "payments",
            "team": "core",
            "cost_center": "CC-100",
            "service.name": "checkout-api",
            "deployment.environment.name": "prod",
        },
        {
            "department": "payments",
            "project": "checkout-api",
            "environment": "prod",
            "tags": {"team": "core", "cost_center": "CC-100"},
        },
    ),
    "team before cost center": Told(
        {}, {"team": "core", "cost_center": "CC-100"}, {"department": "core"}
    ),
    "service when there is no better": Told({}, {"service.name": "api"}, {"department": "api"}),
    "a nameless service": Told(
        {}, {"service.name": "unknown_service:python"}, {"department": None, "project": None}
    ),
    "the span before the resource": Told(
        {"department": "search"}, {"department": "payments"}, {"department": "search"}
    ),
    "traceloop": Told(
        {
            "traceloop.association.properties.customer_id": "acme",
            "traceloop.association.properties.department": "payments",
            "traceloop.association.properties.plan": "gold",
            "gen_ai.user": "u-1",
            "traceloop.workflow.name": "answer",
        },
        {},
        {
            "customer": "acme",
            "user": "u-1",
            "department": "payments",
            "task": "answer",
            "tags": {"plan": "gold"},
        },
    ),
    "openinference": Told(
        {
            "openinference.span.kind": "LLM",
            "user.id": "cust-42",
            "metadata": '{"department": "payments", "experiment": 7}',
            "tag.tags": ["prod", "tier:gold"],
        },
        {},
        {
            "customer": "cust-42",
            "user": "cust-42",
            "department": "payments",
            "tags": {"prod": "true", "tier": "gold", "experiment": "7"},
        },
    ),
    "vercel": Told(
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.telemetry.metadata.userId": "cust-42",
            "ai.telemetry.metadata.costCenter": "CC-7",
            "ai.telemetry.functionId": "say-hello",
        },
        {},
        {
            "customer": "cust-42",
            "department": "CC-7",
            "task": "say-hello",
            "tags": {"costCenter": "CC-7"},
        },
    ),
    "langfuse": Told(
        {
            "langfuse.trace.metadata.department": '"payments"',
            "langfuse.trace.tags": ["batch"],
            "langfuse.environment": "staging",
            "user.id": "cust-42",
        },
        {},
        {
            "department": "payments",
            "environment": "staging",
            "customer": "cust-42",
            "tags": {"batch": "true"},
        },
    ),
    "openlit": Told(
        {"gen_ai.request.user": "cust-42", "deployment.environment": "prod"},
        {},
        {"customer": "cust-42", "environment": "prod"},
    ),
    "litellm": Told(
        {
            "litellm.call_id": "1",
            "litellm.team.alias": "Payments",
            "litellm.team.id": "team-7",
            "llm.user": "cust-42",
            "metadata.user_api_key_user_id": "u-9",
        },
        {"service.name": "litellm", "team": "platform"},
        {"department": "Payments", "customer": "cust-42", "user": "u-9", "project": None},
    ),
}


def test_of_too_many_tags_the_first_are_kept(parse: Parse) -> None:
    resource = {"team": "a", "cost_center": "b", "team.name": "c", "cost-center": "d"}
    many = {f"ai.telemetry.metadata.t{i}": "x" for i in range(30)}
    (event,) = parse(span(attributes=gen_ai() | many), resource=resource)
    assert event.tags is not None
    assert list(event.tags) == [*(f"t{i}" for i in range(30)), "team", "cost_center"]


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_a_call_is_attributed_to_whom_its_labels_name(name: str, parse: Parse) -> None:
    told = ATTRIBUTIONS[name]
    (event,) = parse(span(attributes=gen_ai() | told.span), resource=told.resource)
    assert {key: getattr(event, key) for key in told.expected} == told.expected
