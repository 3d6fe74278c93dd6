"""The canonical usage event: what every adapter makes and everything after it reads. Pure."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Final

import msgspec

# Bounds of one event. Larger values are mistakes of unit or attacks, never a request.
MAX_TOKENS = 1_000_000_000
MAX_ID_LENGTH = 200
MAX_NAME_LENGTH = 200
MAX_TAGS = 32
MAX_TAG_LENGTH = 200


class Door(IntEnum):
    """By which dialect an event came in. Kept with its identity: never renumber.

    Two doors may report one call in words of their own; see docs/decisions/0010.
    """

    NATIVE = 0
    LITELLM = 1
    OTLP = 2
    CLOUDEVENTS = 3


# LiteLLM's events have one source, by whichever door they come.
LITELLM_SOURCE: Final = "litellm"


# omit_defaults: an event's content hash must not change when a field is added here.
class UsageEvent(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One request attempt as reported, in our units.

    The three input buckets are disjoint: uncached, cache read, cache write (5 min and 1 h).
    `output_tokens` includes `reasoning_tokens`. Identity is (tenant, source, event_id).
    """

    source: str
    event_id: str
    occurred_at: datetime
    provider: str
    model: str
    uncached_input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    requested_model: str | None = None
    backend: str | None = None
    customer: str | None = None
    department: str | None = None
    user: str | None = None
    project: str | None = None
    environment: str | None = None
    task: str | None = None
    tags: Mapping[str, str] | None = None
    # Quantities beyond the token buckets, by the catalogue's usage keys: {"web_searches": 2}.
    # Audio and image tokens are parts of the buckets, as the providers count them.
    meters: Mapping[str, int] | None = None
    # What chooses a variant of the price: {"service_tier": "flex"}, {"processing": "batch"}.
    price_context: Mapping[str, str] | None = None
    # "success", or what went wrong: an HTTP status or an error's class.
    status: str = "success"
    latency_ms: int | None = None
    time_to_first_token_ms: int | None = None
    decision_id: str | None = None
    policy_version: str | None = None
    revenue_usd: Decimal | None = None
    converted: bool | None = None
    quality_score: float | None = None
    reported_cost_usd: Decimal | None = None
    energy_wh: Decimal | None = None
    door: Door = Door.NATIVE

    @property
    def is_told_by_several_spans(self) -> bool:
        """LiteLLM's proxy and its client each make a span of a call, under its id, and an exporter
        may send them apart: they differ, and contradict nothing (decision 10).
        """
        return self.door is Door.OTLP and self.source == LITELLM_SOURCE

    @property
    def input_tokens(self) -> int:
        """All input, cache included, as OpenTelemetry counts it."""
        return (
            self.uncached_input_tokens
            + self.cache_read_tokens
            + self.cache_write_5m_tokens
            + self.cache_write_1h_tokens
        )


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """Why one row of a body was not taken. `index` counts from 0 within the body."""

    index: int
    code: str
    detail: str
    id: str | None = None
    field: str | None = None


class InvalidUsageError(ValueError):
    """One row cannot be taken; becomes a Rejection with the row's index."""

    def __init__(self, code: str, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """A body, read: good events with the index of their rows, and the rows refused.

    `attributes`: of each event what the tenant's mapping rules asked the adapter for; None when
    they asked for nothing. They stand beside the events: an event's content does not depend on
    rules.
    """

    events: list[UsageEvent]
    indexes: list[int]
    rejections: list[Rejection]
    attributes: list[dict[str, str]] | None = None


def split_input(
    *,
    input_tokens: int,
    cache_read_tokens: int,
    cache_write_5m_tokens: int,
    cache_write_1h_tokens: int,
) -> int:
    """The uncached part of an input total that includes cache.

    Raises InvalidUsageError when the parts exceed the total: such a report cannot be priced.
    """
    cached = cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens
    if cached > input_tokens:
        raise InvalidUsageError(
            "cache_exceeds_input",
            f"cache tokens ({cached}) exceed input_tokens ({input_tokens}),"
            " which must include them",
            field="usage.input_tokens",
        )
    return input_tokens - cached
