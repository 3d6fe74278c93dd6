"""Events to send: what routers report of chat traffic, each id once."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

MODELS: Final = (
    ("openai", "gpt-4o-mini-2024-07-18"),
    ("openai", "gpt-4.1"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-flash"),
)
DEPARTMENTS: Final = ("support", "search", "sales", "research", "platform")
CUSTOMERS: Final = 20
SECONDS_BACK: Final = 600


def native_events(count: int, seed: int) -> list[dict[str, Any]]:
    """As docs/integrations/native.md has them, over the last minutes, of 400 combinations."""
    chance = random.Random(seed)  # noqa: S311 - the same mix each time
    now = datetime.now(UTC)
    return [_native_event(chance, now) for _ in range(count)]


def _native_event(chance: random.Random, now: datetime) -> dict[str, Any]:
    provider, model = chance.choice(MODELS)
    input_tokens, output_tokens = chance.randrange(1, 20_000), chance.randrange(1, 2000)
    occurred_at = now - timedelta(seconds=chance.uniform(0, SECONDS_BACK))
    return {
        "id": f"req-{uuid.UUID(int=chance.getrandbits(128))}-{now:%H%M%S%f}",
        "timestamp": occurred_at.isoformat(timespec="milliseconds"),
        "source": "router-1",
        "provider": provider,
        "model": model,
        "usage": {
            "input_tokens": input_tokens,
            "cache_read_tokens": input_tokens // 2,
            "output_tokens": output_tokens,
            "reasoning_tokens": output_tokens // 4,
        },
        "customer": f"customer-{chance.randrange(CUSTOMERS)}",
        "department": chance.choice(DEPARTMENTS),
        "user": f"user-{chance.randrange(1000)}",
        "project": "assistant",
        "environment": "production",
        "task": "chat",
        "status": "success",
        "latency_ms": chance.randrange(100, 20_000),
        "time_to_first_token_ms": chance.randrange(50, 2000),
    }


def as_json(events: list[dict[str, Any]]) -> bytes:
    return msgspec.json.encode(events)
