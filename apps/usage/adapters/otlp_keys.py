"""Every attribute that is read of a span, by what it says; the first present of a row wins.

Nothing else of a span is decoded, so prompts and answers stay bytes. Each row goes from the current
OpenTelemetry GenAI name to older names and other vocabularies: traceloop, openlit, pydantic-ai
(`gen_ai.usage.details`), OpenRouter, OpenInference (`llm.token_count`), the Vercel AI SDK (`ai.`),
Langfuse and LiteLLM.
"""

from typing import Final

INPUT_TOKENS: Final = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
    "ai.usage.tokens",
)
OUTPUT_TOKENS: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
)
TOTAL_TOKENS: Final = (
    "gen_ai.usage.total_tokens",
    "llm.usage.total_tokens",
    "llm.token_count.total",
    "ai.usage.totalTokens",
)
CACHE_READ_TOKENS: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.input_tokens.cached",
    "gen_ai.usage.prompt_tokens_details.cached_tokens",
    "gen_ai.usage.details.cache_read_tokens",
    "gen_ai.usage.details.cached_tokens",
    "llm.token_count.prompt_details.cache_read",
    "llm.usage.cache_read_input_tokens",
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
)
CACHE_WRITE_TOKENS: Final = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.input_tokens.cache_write",
    "gen_ai.usage.prompt_tokens_details.cache_creation_tokens",
    "gen_ai.usage.details.cache_write_tokens",
    "llm.token_count.prompt_details.cache_write",
    "llm.usage.cache_creation_input_tokens",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
)
REASONING_TOKENS: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.output_tokens.reasoning",
    "gen_ai.usage.completion_tokens_details.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "llm.usage.reasoning_tokens",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
)
# Said by the AI SDK since version 6, whose input total includes cache for every provider.
UNCACHED_INPUT_TOKENS: Final = "ai.usage.inputTokenDetails.noCacheTokens"

# Usage as text. The provider's own object, or Langfuse's.
RAW_USAGE: Final = ("gen_ai.usage.raw", "langfuse.observation.usage_details")
# The AI SDK's {"anthropic": {"usage": {...}}}; LiteLLM's usage object as Python writes it.
PROVIDER_METADATA: Final = "ai.response.providerMetadata"
LITELLM_USAGE: Final = "metadata.usage_object"

# Audio tokens, parts of the input and the output.
AUDIO_TOKENS: Final = {
    "gen_ai.usage.details.input_audio_tokens": "input_audio_tokens",
    "gen_ai.usage.details.output_audio_tokens": "output_audio_tokens",
    "gen_ai.usage.details.cache_audio_read_tokens": "cache_audio_read_tokens",
    "llm.token_count.prompt_details.audio": "input_audio_tokens",
    "llm.token_count.completion_details.audio": "output_audio_tokens",
}
# The tier that answered; the one asked for may not have been given.
SERVICE_TIER: Final = (
    "openai.response.service_tier",
    "gen_ai.openai.response.service_tier",
    "gen_ai.response.service_tier",
)

COST_USD: Final = (
    "gen_ai.usage.total_cost",
    "gen_ai.usage.cost",
    "gen_ai.cost.total_cost",
    "litellm.cost.total",
    "llm.cost.total",
    "operation.cost",
)
COST_DETAILS: Final = "langfuse.observation.cost_details"

PROVIDER: Final = (
    "gen_ai.provider.name",
    "gen_ai.system",
    "llm.provider",
    "llm.system",
    "ai.model.provider",
    "langfuse.observation.metadata.provider",
)
RESPONSE_MODEL: Final = ("gen_ai.response.model", "ai.response.model")
REQUEST_MODEL: Final = (
    "gen_ai.request.model",
    "llm.model_name",
    "embedding.model_name",
    "langfuse.observation.model.name",
    "ai.model.id",
)
INVOCATION_PARAMETERS: Final = "llm.invocation_parameters"
DEPLOYED_MODEL: Final = "litellm.provider.model"
MODEL_GROUP: Final = "litellm.model_group"
RESPONSE_ID: Final = ("gen_ai.response.id", "ai.response.id")

OPERATION: Final = "gen_ai.operation.name"
OPENINFERENCE_KIND: Final = "openinference.span.kind"
LANGFUSE_TYPE: Final = "langfuse.observation.type"
LANGFUSE_LEVEL: Final = "langfuse.observation.level"
AI_SDK_OPERATION: Final = "ai.operationId"
LITELLM_CALL_ID: Final = "litellm.call_id"

ERROR_CODE: Final = (
    "error.code",
    "litellm.provider.error.code",
    "http.response.status_code",
    "http.status_code",
)
ERROR_TYPE: Final = "error.type"
ERROR_MESSAGE: Final = "langfuse.observation.status_message"

FIRST_CHUNK_SECONDS: Final = (
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.server.time_to_first_token",
)
FIRST_CHUNK_MS: Final = "ai.response.msToFirstChunk"
FIRST_CHUNK_AT: Final = "langfuse.observation.completion_start_time"
# logfire writes a stream's usage in a span of no length, with its duration beside it.
DURATION_SECONDS: Final = "duration"

# The end user whom the call was made for: OpenAI's `user`, and what carries it.
END_USER: Final = (
    "litellm.end_user.id",
    "metadata.user_api_key_end_user_id",
    "litellm.metadata.user_api_key_end_user_id",
    "user.id",
    "enduser.id",
    "langfuse.user.id",
    "gen_ai.user",
    "gen_ai.request.user",
    "llm.user",
)
KEY_OWNER: Final = ("metadata.user_api_key_user_id", "litellm.metadata.user_api_key_user_id")
LITELLM_TEAM: Final = (
    "litellm.team.alias",
    "metadata.user_api_key_team_alias",
    "litellm.team.id",
    "metadata.user_api_key_team_id",
    "metadata.user_api_key_org_alias",
    "metadata.user_api_key_org_id",
    "litellm.metadata.user_api_key_org_id",
)
ENVIRONMENT: Final = (
    "deployment.environment.name",
    "deployment.environment",
    "langfuse.environment",
)
SERVICE: Final = "service.name"
TASK: Final = ("ai.telemetry.functionId", "traceloop.workflow.name", "gen_ai.workflow.name")
TAG_LISTS: Final = ("tag.tags", "langfuse.trace.tags")
# Maps of labels: JSON text, and attributes whose names begin so.
LABELS_AS_JSON: Final = "metadata"
LABEL_PREFIXES: Final = (
    "traceloop.association.properties.",
    "ai.telemetry.metadata.",
    "trace.metadata.",
    "langfuse.trace.metadata.",
    "langfuse.observation.metadata.",
)
# Labels that may stand as attributes of their own, on the span or the resource.
PLAIN_LABELS: Final = frozenset({
    "department", "team", "team.name", "cost_center", "cost.center", "costcenter", "cost-center",
    "customer", "customer_id", "customer.id", "customer.name", "user", "user_id", "project",
    "project.name", "project_id", "openinference.project.name", "environment", "env", "task",
})  # fmt: skip

_WANTED: Final = PLAIN_LABELS.union(
    INPUT_TOKENS, OUTPUT_TOKENS, TOTAL_TOKENS, CACHE_READ_TOKENS, CACHE_WRITE_TOKENS,
    REASONING_TOKENS, RAW_USAGE, COST_USD, PROVIDER, RESPONSE_MODEL, REQUEST_MODEL, RESPONSE_ID,
    AUDIO_TOKENS, SERVICE_TIER, ERROR_CODE, FIRST_CHUNK_SECONDS, END_USER, KEY_OWNER, LITELLM_TEAM,
    ENVIRONMENT, TASK, TAG_LISTS,
    {
        UNCACHED_INPUT_TOKENS, PROVIDER_METADATA, LITELLM_USAGE, COST_DETAILS,
        INVOCATION_PARAMETERS, DEPLOYED_MODEL, MODEL_GROUP, OPERATION, OPENINFERENCE_KIND,
        LANGFUSE_TYPE, LANGFUSE_LEVEL, AI_SDK_OPERATION, LITELLM_CALL_ID, ERROR_TYPE, ERROR_MESSAGE,
        FIRST_CHUNK_MS, FIRST_CHUNK_AT, DURATION_SECONDS, SERVICE, LABELS_AS_JSON,
    },
)  # fmt: skip


def is_wanted(key: str) -> bool:
    return key in _WANTED or key.startswith(LABEL_PREFIXES)
