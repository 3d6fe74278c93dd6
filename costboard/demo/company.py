"""The invented company of the demo: who asks, for what, and which backends answer. Data only."""

from dataclasses import dataclass, field

TENANT_NAME = "Lindwerk Cloud"
TENANT_SLUG = "lindwerk-demo"
TENANT_TIME_ZONE = "Europe/Berlin"
SANDBOX_NAME = "Sandbox"
SANDBOX_SLUG = "sandbox-demo"


@dataclass(frozen=True, slots=True)
class Department:
    code: str
    name: str
    # Which curve of season.py its working hours follow.
    season: str
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Backend:
    """A model somewhere. Speed and quality are typical values, not measurements."""

    provider: str
    model: str
    first_token_ms: int
    ms_per_output_token: float
    # 0 to 1: what a reviewer gives its answers to easy requests.
    quality: float
    cache: str = "none"  # "none", "read" (automatic) or "write" (explicit, writes are billed)
    reasoning_share: float = 0.0
    failure_share: float = 0.0
    max_input_tokens: int = 180_000
    max_output_tokens: int = 32_000


@dataclass(frozen=True, slots=True)
class Task:
    """A class of requests and its typical size. Spread is the sigma of a log-normal."""

    name: str
    input_tokens: int
    output_tokens: int
    spread: float
    # The part of the input that is the same from request to request, and how often it is warm.
    prefix_share: float
    warm_share: float
    difficulty: float
    streams: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """One department's requests of one task, and how they spread over backends."""

    department: str
    task: str
    share: float
    router: str
    project: str
    backends: tuple[tuple[str, float], ...]
    for_customers: bool = False
    # Exists only since the product launch.
    launched: bool = False


@dataclass(frozen=True, slots=True)
class Customer:
    external_id: str
    name: str
    tier: str
    weight: float = field(compare=False, default=1.0)


@dataclass(frozen=True, slots=True)
class RatePerThousand:
    """What 1,000 tokens cost, in USD, as the chapter states its rates."""

    provider: str
    model: str
    input_usd_per_ktok: str
    output_usd_per_ktok: str


DEPARTMENTS = (
    Department("engineering", "Engineering", "office"),
    Department("platform", "Platform", "always", parent="engineering"),
    Department("search", "Search", "evening", parent="engineering"),
    Department("support", "Support", "service"),
    Department("sales", "Sales", "office"),
    Department("research", "Research", "late"),
    Department("marketing", "Marketing", "office"),
    Department("finance-ops", "Finance operations", "night"),
)

BACKENDS = (
    Backend(
        "openai",
        "gpt-4-turbo",
        720,
        24,
        0.87,
        failure_share=0.018,
        max_input_tokens=120_000,
        max_output_tokens=4_096,
    ),
    Backend(
        "openai",
        "gpt-5.2",
        900,
        14,
        0.95,
        "read",
        0.45,
        failure_share=0.012,
        max_output_tokens=100_000,
    ),
    Backend("openai", "gpt-5-mini", 420, 8, 0.88, "read", 0.30, failure_share=0.008),
    Backend(
        "anthropic",
        "claude-3-opus",
        1100,
        32,
        0.93,
        failure_share=0.020,
        max_output_tokens=4_096,
    ),
    Backend("anthropic", "claude-sonnet-4-6", 780, 15, 0.95, "write", failure_share=0.014),
    Backend("anthropic", "claude-haiku-4-5", 380, 7, 0.89, "write", failure_share=0.007),
    Backend("google", "gemini-3.5-flash", 350, 6, 0.90, "read", 0.35, failure_share=0.010),
    Backend("mistral", "mistral-medium-3-5", 460, 11, 0.88, "read", failure_share=0.009),
    Backend("local", "llama-3-70b", 310, 21, 0.85, failure_share=0.004, max_input_tokens=120_000),
    Backend("local", "qwen3-32b", 190, 12, 0.82, failure_share=0.004, max_input_tokens=120_000),
)
# The rates of the chapter's example, and of the other local backend.
EXAMPLE_RATES = (
    RatePerThousand("openai", "gpt-4-turbo", "0.01", "0.03"),
    RatePerThousand("anthropic", "claude-3-opus", "0.015", "0.075"),
    RatePerThousand("local", "llama-3-70b", "0.0001", "0.0001"),
)
OTHER_LOCAL_RATES = (RatePerThousand("local", "qwen3-32b", "0.00006", "0.00006"),)
UNPRICED_MODEL = "acme-internal-7b"

TASKS = (
    Task("chat", 5_200, 640, 0.55, 0.45, 0.70, 0.3, streams=True),
    Task("rag", 34_000, 980, 0.45, 0.62, 0.80, 0.5, streams=True),
    Task("summarise", 25_000, 1_100, 0.50, 0.06, 0.50, 0.3),
    Task("extract", 8_000, 380, 0.45, 0.35, 0.75, 0.2),
    Task("code", 66_000, 3_000, 0.60, 0.72, 0.85, 0.8, streams=True),
    Task("agent", 84_000, 2_600, 0.60, 0.75, 0.85, 1.0),
)

GATEWAY, SUPPORT_BOT, CODE_ASSISTANT, BATCH = (
    "gateway-eu",
    "support-bot-2",
    "code-assistant",
    "batch-pipeline",
)
ROUTERS = (GATEWAY, SUPPORT_BOT, CODE_ASSISTANT, BATCH)

LLAMA, QWEN, TURBO, GPT, MINI = "llama-3-70b", "qwen3-32b", "gpt-4-turbo", "gpt-5.2", "gpt-5-mini"
OPUS, SONNET, HAIKU = "claude-3-opus", "claude-sonnet-4-6", "claude-haiku-4-5"
GEMINI, MISTRAL = "gemini-3.5-flash", "mistral-medium-3-5"

_CHAT = ((LLAMA, 0.50), (MINI, 0.21), (HAIKU, 0.19), (SONNET, 0.06), (TURBO, 0.04))
_RAG = ((LLAMA, 0.40), (SONNET, 0.30), (GEMINI, 0.20), (MINI, 0.10))
_EXTRACT = ((QWEN, 0.58), (MINI, 0.22), (MISTRAL, 0.20))
_CODE = ((SONNET, 0.40), (GPT, 0.34), (QWEN, 0.26))
_AGENT = ((GPT, 0.52), (SONNET, 0.33), (LLAMA, 0.15))
# Summaries on the dearest model: waste for the opportunities page to find.
_SUMMARISE = ((OPUS, 0.38), (LLAMA, 0.40), (GEMINI, 0.22))

FLOWS = (
    Flow("support", "chat", 15.0, SUPPORT_BOT, "helpdesk", _CHAT, for_customers=True),
    Flow("support", "rag", 6.0, SUPPORT_BOT, "helpdesk", _RAG, for_customers=True),
    Flow("support", "summarise", 2.8, SUPPORT_BOT, "ticket-digests", _SUMMARISE, True),
    Flow("support", "agent", 0.7, SUPPORT_BOT, "helpdesk", _AGENT, for_customers=True),
    Flow("search", "rag", 13.0, GATEWAY, "site-search", _RAG, for_customers=True),
    Flow("search", "extract", 5.0, GATEWAY, "indexing", _EXTRACT, for_customers=True),
    Flow("search", "chat", 4.0, GATEWAY, "site-search", _CHAT, for_customers=True),
    Flow("search", "rag", 5.5, GATEWAY, "atlas-assistant", _RAG, True, launched=True),
    Flow("search", "agent", 1.6, GATEWAY, "atlas-assistant", _AGENT, True, launched=True),
    Flow("platform", "extract", 8.0, GATEWAY, "document-api", _EXTRACT, for_customers=True),
    Flow("platform", "rag", 3.0, GATEWAY, "document-api", _RAG, for_customers=True),
    Flow("platform", "agent", 3.0, GATEWAY, "workflow-api", _AGENT, for_customers=True),
    Flow("engineering", "code", 5.4, CODE_ASSISTANT, "ide-assistant", _CODE),
    Flow("engineering", "agent", 1.1, CODE_ASSISTANT, "review-bot", _AGENT),
    Flow("engineering", "chat", 2.0, GATEWAY, "internal-chat", _CHAT),
    Flow("sales", "chat", 4.5, GATEWAY, "proposal-writer", _CHAT, for_customers=True),
    Flow("sales", "summarise", 2.6, GATEWAY, "call-notes", _SUMMARISE, for_customers=True),
    Flow("research", "agent", 1.0, GATEWAY, "eval-lab", _AGENT),
    Flow("research", "code", 0.9, CODE_ASSISTANT, "eval-lab", _CODE),
    Flow("research", "summarise", 2.0, BATCH, "paper-watch", ((GEMINI, 0.7), (TURBO, 0.3))),
    Flow("marketing", "chat", 4.0, GATEWAY, "campaigns", ((LLAMA, 0.5), (TURBO, 0.2), (MINI, 0.3))),
    Flow("marketing", "summarise", 1.2, GATEWAY, "press-review", _SUMMARISE),
    Flow("finance-ops", "extract", 5.0, BATCH, "invoice-reader", ((QWEN, 0.7), (MISTRAL, 0.3))),
    Flow("finance-ops", "summarise", 0.8, BATCH, "monthly-close", ((MISTRAL, 0.6), (LLAMA, 0.4))),
)

_ENTERPRISE = ("Aldermoor Bank", "Kessler Logistik", "Nordhaven Energy", "Vireo Airlines")
_PREMIUM = (
    "Bramble Foods",
    "Castellane Hotels",
    "Dovetail Insurance",
    "Elbtal Motoren",
    "Fjordline Ferries",
    "Granite Telecom",
    "Harrow & Pike",
    "Isarblick Kliniken",
    "Juniper Estates",
    "Kupferberg Chemie",
)
_STANDARD = (
    "Lanternworks",
    "Marlow Books",
    "Nimbus Bikes",
    "Oakhurst Legal",
    "Papierhof",
    "Quillon Games",
    "Rhenus Farmers",
    "Saltmarsh Media",
    "Tideway Tools",
    "Umbra Optics",
    "Velden Pharma",
    "Westerlund Steel",
    "Xanten Textil",
    "Yarrow Clinics",
    "Zephyr Parcels",
    "Amberfield Schools",
    "Birchgate Housing",
    "Corvina Fashion",
)
_FREE = (
    "Dapplegrey Riding",
    "Emberly Bakery",
    "Foxglove Studio",
    "Glimmer Apps",
    "Hazelnut Labs",
    "Inkwell Zines",
    "Jasper Trails",
    "Kiwi Tutors",
    "Larder Club",
    "Mossy Pots",
    "Nettle Radio",
    "Otter Yoga",
)


def _customer_id(name: str) -> str:
    return name.lower().replace(" & ", "-").replace(" ", "-")


def _make_customers() -> tuple[Customer, ...]:
    """Sizes follow Zipf's law over the whole list, the largest tiers first."""
    tiers = (
        ("enterprise", _ENTERPRISE),
        ("premium", _PREMIUM),
        ("standard", _STANDARD),
        ("free", _FREE),
    )
    ranked = [(name, tier) for tier, names in tiers for name in names]
    return tuple(
        Customer(_customer_id(name), name, tier, weight=(rank + 2) ** -0.95)
        for rank, (name, tier) in enumerate(ranked)
    )


CUSTOMERS = _make_customers()
# What some pay a month beside their requests, in USD, since before the history begins.
CONTRACT_USD_PER_MONTH = {
    "aldermoor-bank": "900",
    "vireo-airlines": "650",
    "nordhaven-energy": "400",
    "isarblick-kliniken": "150",
    "larder-club": "20",
}
LAUNCH_CUSTOMERS = frozenset(
    {
        "vireo-airlines",
        "castellane-hotels",
        "fjordline-ferries",
        "marlow-books",
        "nimbus-bikes",
        "zephyr-parcels",
    }
)
RUNAWAY_CUSTOMER = "granite-telecom"
# What a customer pays for one answered request, in USD, by tier.
REQUEST_PRICE_USD = {"enterprise": 0.19, "premium": 0.14, "standard": 0.08, "free": 0.0}
