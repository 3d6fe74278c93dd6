"""The rows that bodies are made of: good ones as clients send them, and the same to be spoilt."""

import random
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from apps.usage.adapters.cloudevents import BATCH, STRUCTURED
from tests.malformed.values import SECRET
from tests.usage.adapters.bodies import ANTHROPIC_USAGE, JSON, OPENAI_USAGE

NDJSON: Final = "application/x-ndjson"
ROW_DOORS: Final = {
    "native": ("/api/v1/usage/events", (JSON, NDJSON)),
    "litellm": ("/api/v1/usage/litellm", (JSON, NDJSON)),
    "cloudevents": ("/api/v1/events", (STRUCTURED, BATCH, JSON)),
}


@dataclass(frozen=True, slots=True)
class Body:
    """A request as it is sent; `planted` are ids of good rows, `rows` all rows if known."""

    door: str
    path: str
    headers: dict[str, str]
    wire: bytes
    planted: tuple[str, ...] = ()
    rows: int | None = None
    # Which damage was done, to tell of it when something is wrong.
    damage: str = ""


@dataclass(frozen=True, slots=True)
class Lot:
    """What bodies of one run have in common. Ids of good rows start with `prefix`."""

    seed: int
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def prefix(self) -> str:
        return f"good-{self.seed:x}-"


@dataclass
class Draft:
    """The rows of one body before it is put together."""

    lot: Lot
    number: int
    chance: random.Random
    made: int = 0

    def good_id(self) -> str:
        self.made += 1
        return f"{self.lot.prefix}{self.number}-{self.made}"

    def good(self, door: str) -> tuple[str, dict[str, Any]]:
        """An id, and a row of it that must be taken."""
        row_id = self.good_id()
        at = self.lot.now.isoformat()
        if door == "native":
            return row_id, _native(row_id, at, self.chance)
        if door == "litellm":
            return row_id, _litellm(row_id, at)
        return row_id, _cloudevent(row_id, at)

    def bad(self, door: str) -> dict[str, Any]:
        row = self.good(door)[1]
        key = "litellm_call_id" if door == "litellm" else "id"
        row[key] = row[key].replace("good", "bad")
        if door == "native" and self.chance.random() < 0.5:
            row |= NATIVE_EXTRAS
        return row

    def span(self, *, is_good: bool) -> tuple[str, dict[str, Any]]:
        """(event id, span as OTLP's JSON has it)."""
        self.made += 1
        kind = "90" if is_good else "bd"
        trace_id = f"{kind}{self.lot.seed & 0xFFFFFFFF:014x}{self.number:016x}"
        span_id = f"{self.made:016x}"
        start_ns = int(self.lot.now.timestamp()) * 1_000_000_000
        span = {
            "traceId": trace_id,
            "spanId": span_id,
            "name": "chat gpt-4o-mini",
            "startTimeUnixNano": str(start_ns),
            "endTimeUnixNano": str(start_ns + 10**9),
            "attributes": [
                {"key": key, "value": {kind: deepcopy(value)}}
                for key, kind, value in SPAN_ATTRIBUTES
            ],
            "events": [{"name": "exception", "timeUnixNano": "1", "attributes": []}],
            "status": {"code": 1, "message": SECRET},
        }
        return trace_id + span_id, span


NATIVE_EXTRAS: Final[dict[str, Any]] = {
    "source": "router-1", "requested_model": "auto", "backend": "openai/eu", "project": "p",
    "environment": "prod", "task": "summary", "user": "u-1", "status": 200, "revenue": "1.5",
    "converted": True, "quality_score": 0.5, "reported_cost": 0.01, "energy_wh": "0.3",
    "time_to_first_token_ms": 12.5, "decision_id": "d", "policy_version": 3,
    "price_context": {"service_tier": "flex"},
}  # fmt: skip
SPAN_ATTRIBUTES: Final = (
    ("gen_ai.operation.name", "stringValue", "chat"),
    ("gen_ai.provider.name", "stringValue", "openai"),
    ("gen_ai.request.model", "stringValue", "gpt-4o-mini"),
    ("gen_ai.usage.input_tokens", "intValue", "1000"),
    ("gen_ai.usage.output_tokens", "intValue", "200"),
    ("gen_ai.prompt.0.content", "stringValue", SECRET),
    ("gen_ai.input.messages", "stringValue", f'[{{"content": "{SECRET}"}}]'),
    ("user.id", "stringValue", "u-1"),
    ("metadata", "stringValue", '{"team": "search", "project": "p"}'),
    ("tag.tags", "arrayValue", {"values": [{"stringValue": "a:b"}]}),
)


def _native(row_id: str, at: str, chance: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": row_id,
        "timestamp": at,
        "provider": "openai",
        "model": "gpt-4o-mini",
        "customer": "acme",
        "department": "support",
        "tags": {"release": "r7"},
        "latency_ms": 812.5,
    }
    shape = chance.randrange(3)
    if shape == 0:
        row["usage"] = {
            "input_tokens": 1000,
            "output_tokens": 200,
            "cache_read_tokens": 600,
            "cache_write_tokens": 10,
            "reasoning_tokens": 64,
            "meters": {"web_searches": 2},
        }
    elif shape == 1:
        row["raw_usage"] = deepcopy(OPENAI_USAGE)
    else:
        row["raw_usage"] = deepcopy(ANTHROPIC_USAGE)
        row |= {"provider": "anthropic", "model": "claude-haiku-4-5"}
    return row


def _litellm(row_id: str, at: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "litellm_call_id": row_id,
        "status": "success",
        "custom_llm_provider": "openai",
        "startTime": at,
        "endTime": 1795430713.064623,
        "model": "gpt-4o-mini",
        "model_group": "",
        "response_cost": 0.000225,
        "cache_hit": None,
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "total_tokens": 1200,
        "request_tags": ["prod", "team:search"],
        "end_user": "cust-42",
        "messages": [{"role": "user", "content": SECRET}],
        "response": {"model": "gpt-4o-mini", "choices": [{"message": {"content": SECRET}}]},
        "metadata": {
            "user_api_key_team_alias": "Payments",
            "user_api_key_user_id": "u-9",
            "spend_logs_metadata": {"cost_center": "CC-100"},
            "usage_object": deepcopy(OPENAI_USAGE),
        },
        "error_information": {"error_code": "", "error_class": "", "error_message": SECRET},
    }


def _cloudevent(row_id: str, at: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": row_id,
        "source": "//checkout-api",
        "type": "llm.usage",
        "subject": "cust-42",
        "time": at,
        "data": {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "input_tokens": 1000,
            "cache_read_input_tokens": 600,
            "output_tokens": 200,
            "tags": {"a": "b"},
            "prompt": SECRET,
        },
    }
