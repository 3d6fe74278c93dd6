"""What clients call a provider, and what the catalogue calls it. Pure.

Sources: OpenTelemetry's gen_ai.provider.name values, LiteLLM's custom_llm_provider, the Vercel AI
SDK's provider ids, LangChain's ls_provider. First an operation suffix is taken off, then ALIASES
apply, then the catalogue's own ids, then its match rules for provider names.
"""

from typing import Final

OPERATION_SUFFIXES: Final = (
    ".chat",
    ".responses",
    ".messages",
    ".completion",
    ".completions",
    ".embedding",
    ".embeddings",
    ".textembedding",
)

_NAMES: Final = {
    # genai-prices' rules would take azure.ai.openai for openai; the bill comes from Azure.
    "azure": "azure.ai.openai azure.ai.inference azure-openai azure_openai azureopenai azure_ai"
    " azure-ai azure_text az.ai.openai az.ai.inference",
    "google": "gcp.vertex_ai gcp.gemini gcp.gen_ai vertex_ai vertex_ai_beta vertex google-vertex"
    " google.vertex google_vertexai gemini google_genai google.generative-ai google-gla",
    "aws": "aws.bedrock aws_bedrock bedrock bedrock_converse amazon-bedrock amazon_bedrock",
    "x-ai": "x_ai xai",
    "mistral": "mistral_ai mistralai codestral text-completion-codestral",
    "moonshotai": "moonshot_ai moonshot",
    "together": "together_ai togetherai together-ai",
    "fireworks": "fireworks_ai fireworks-ai",
    "cohere": "cohere_chat",
    "openai": "text-completion-openai",
    "github-copilot": "github_copilot",
    "novita": "novita_ai novita-ai",
    "voyageai": "voyage",
    "zai": "z_ai z.ai",
}
ALIASES: Final = {alias: name for name, aliases in _NAMES.items() for alias in aliases.split()}

# Runtimes on one's own hardware: never in the catalogue, priced by the tenant alone.
LOCAL: Final = frozenset({
    "docker_model_runner", "hosted_vllm", "llama.cpp", "llama_cpp", "llamacpp", "llamafile",
    "lm_studio", "lmstudio", "local", "localai", "mlx", "ollama", "ollama_chat", "self-hosted",
    "self_hosted", "sglang", "tgi", "vllm", "xinference",
})  # fmt: skip
# Anyone's endpoint that speaks a known protocol: its name says nothing about whose prices apply.
PROTOCOLS: Final = frozenset(
    {
        "custom",
        "custom_openai",
        "openai-compatible",
        "openai-like",
        "openai_compatible",
        "openai_like",
    }
)
# Gateways that put the real provider before the model: "anthropic/claude-...".
PREFIXING_GATEWAYS: Final = frozenset({"litellm", "litellm_proxy"})


def normalise_provider(name: str) -> str:
    """The provider's id by the stated names; an unknown name is kept, in lower case."""
    # The one letter that lower() makes longer, to two: names stay within their length.
    name = name.strip().replace("İ", "i").lower()
    for suffix in OPERATION_SUFFIXES:
        if name.endswith(suffix):
            name = name.removesuffix(suffix)
            break
    return ALIASES.get(name, name)


def never_in_catalogue(provider: str) -> bool:
    """Whether matching this provider by its name would be a guess."""
    return provider in LOCAL or provider in PROTOCOLS
