"""The native usage event as the demo's routers send it (docs: POST /api/v1/usage/events)."""

import msgspec


class Usage(msgspec.Struct, omit_defaults=True, gc=False):
    """Totals as in OpenTelemetry GenAI: input includes cache, output includes reasoning."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0


class Event(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One request attempt. `timestamp` is RFC 3339 in UTC with milliseconds: it sorts as text."""

    id: str
    timestamp: str
    source: str
    provider: str
    model: str
    usage: Usage
    requested_model: str | None = None
    customer: str | None = None
    department: str | None = None
    user: str | None = None
    project: str | None = None
    environment: str | None = None
    task: str | None = None
    tags: dict[str, str] | None = None
    status: str | None = None
    latency_ms: int | None = None
    time_to_first_token_ms: int | None = None
    revenue: str | None = None
    converted: bool | None = None
    quality_score: float | None = None
    energy_wh: str | None = None
    decision_id: str | None = None
    policy_version: str | None = None


_encoder = msgspec.json.Encoder()


def to_json_lines(events: list[Event]) -> bytes:
    """Newline-delimited JSON, as routers post it."""
    return _encoder.encode_lines(events)
