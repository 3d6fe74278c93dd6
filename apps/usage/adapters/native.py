"""Costboard's own dialect: POST /api/v1/usage/events. The hot path of ingest."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from apps.pricing.core.variants import MAX_CONTEXT_LENGTH
from apps.usage.adapters.refusals import missing_field
from apps.usage.adapters.rows import RowDecoder, parse_rows
from apps.usage.core.events import (
    MAX_ID_LENGTH,
    MAX_NAME_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
    MAX_TOKENS,
    InvalidUsageError,
    Parsed,
    UsageEvent,
)
from apps.usage.core.pricing_facts import (
    MAX_METERS,
    NO_FACTS,
    PricingFacts,
    check_context,
    check_meters,
    facts_of_raw_usage,
)
from apps.usage.core.provider_usage import (
    TokenBuckets,
    buckets_from_totals,
    normalise_raw_usage,
)

MAX_LATENCY_MS: Final = 2_147_483_647
MAX_DECIMAL_PLACES: Final = 24
MAX_INTEGER_DIGITS: Final = 14

Name = Annotated[str, Meta(max_length=MAX_NAME_LENGTH)]
Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
Milliseconds = Annotated[float, Meta(ge=0, le=MAX_LATENCY_MS)]
SmallInteger = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Tags = Annotated[
    dict[
        Annotated[str, Meta(max_length=MAX_TAG_LENGTH)],
        Annotated[str, Meta(max_length=MAX_TAG_LENGTH)],
    ],
    Meta(max_length=MAX_TAGS),
]
Meters = Annotated[dict[Name, Tokens], Meta(max_length=MAX_METERS)]
PriceContext = Annotated[
    dict[Name, Annotated[str, Meta(max_length=MAX_CONTEXT_LENGTH)]], Meta(max_length=8)
]


class NativeUsage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Totals as OpenTelemetry counts them: input with cache, output with reasoning."""

    input_tokens: Tokens
    output_tokens: Tokens
    cache_read_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None
    cache_write_1h_tokens: Tokens | None = None
    reasoning_tokens: Tokens | None = None
    meters: Meters | None = None


class NativeEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False, kw_only=True):
    """One row of a body; bounds are checked while it is decoded."""

    id: Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
    timestamp: datetime
    provider: Name
    model: Name
    usage: NativeUsage | None = None
    raw_usage: dict[str, Any] | None = None
    price_context: PriceContext | None = None
    source: Name | None = None
    backend: Name | None = None
    requested_model: Name | None = None
    customer: Name | None = None
    department: Name | None = None
    user: Name | None = None
    project: Name | None = None
    environment: Name | None = None
    task: Name | None = None
    tags: Tags | None = None
    status: Name | SmallInteger | None = None
    latency_ms: Milliseconds | None = None
    time_to_first_token_ms: Milliseconds | None = None
    decision_id: Name | None = None
    policy_version: Name | SmallInteger | None = None
    revenue: Decimal | None = None
    converted: bool | None = None
    quality_score: Annotated[float, Meta(ge=0, le=1)] | None = None
    reported_cost: Decimal | None = None
    energy_wh: Decimal | None = None


_DECODER: Final = RowDecoder(NativeEvent, id_key="id")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_REQUIRED_TEXT: Final = ("id", "provider", "model")
_OPTIONAL_TEXT: Final = (
    "source", "backend", "requested_model", "customer", "department", "user", "project",
    "environment", "task", "status", "decision_id", "policy_version",
)  # fmt: skip
# Without any of these bytes no string of the body can be blank, open with a space or hold a
# control character: JSON can bring those in by an escape only, except DEL.
_NEED_TIDYING: Final = (b'""', b'" ', b"\\", b"\x7f")


def parse_native(body: bytes) -> Parsed:
    """One event, an array of them, or one a line.

    Raises InvalidUsageError when the body has no row that is JSON ("invalid_json") or none at all
    ("empty_body"); everything else that is wrong is the row's own rejection.
    """
    rows = _DECODER.decode(body)
    # Backwards: of two bytes of which one is on every word that takes a quarter of the time.
    needs_tidying = any(body.rfind(mark) >= 0 for mark in _NEED_TIDYING)
    return parse_rows(rows, _to_tidy_event if needs_tidying else _to_event, _id_of)


def _id_of(row: NativeEvent) -> str | None:
    return row.id if row.id and not _CONTROL.search(row.id) else None


def _to_tidy_event(row: NativeEvent) -> UsageEvent:
    """As _to_event, for text that may be blank, which is absent, or unfit to keep."""
    for field in _REQUIRED_TEXT:
        if not _tidy_text(field, getattr(row, field)):
            raise missing_field(field)
    for field in _OPTIONAL_TEXT:
        value = getattr(row, field)
        if isinstance(value, str):
            setattr(row, field, _tidy_text(field, value))
    if row.tags:
        row.tags = _tidy_tags(row.tags)
    return _to_event(row)


def _to_event(row: NativeEvent) -> UsageEvent:
    tokens = _tokens_of(row)
    facts = _facts_of(row, tokens)
    status, version = row.status, row.policy_version
    latency_ms, first_token_ms = row.latency_ms, row.time_to_first_token_ms
    revenue, reported_cost, energy_wh = row.revenue, row.reported_cost, row.energy_wh
    return UsageEvent(
        source=row.source or "default",
        event_id=row.id,
        occurred_at=row.timestamp if row.timestamp.tzinfo is UTC else _in_utc(row.timestamp),
        provider=row.provider,
        model=row.model,
        uncached_input_tokens=tokens.uncached_input_tokens,
        cache_read_tokens=tokens.cache_read_tokens,
        cache_write_5m_tokens=tokens.cache_write_5m_tokens,
        cache_write_1h_tokens=tokens.cache_write_1h_tokens,
        output_tokens=tokens.output_tokens,
        reasoning_tokens=tokens.reasoning_tokens,
        requested_model=row.requested_model,
        backend=row.backend,
        customer=row.customer,
        department=row.department,
        user=row.user,
        project=row.project,
        environment=row.environment,
        task=row.task,
        tags=row.tags or None,
        meters=facts.meters,
        price_context=facts.price_context,
        status="success" if status is None else str(status),
        latency_ms=None if latency_ms is None else round(latency_ms),
        time_to_first_token_ms=None if first_token_ms is None else round(first_token_ms),
        decision_id=row.decision_id,
        policy_version=None if version is None else str(version),
        revenue_usd=None if revenue is None else _amount("revenue", revenue),
        converted=row.converted,
        # Stored in single precision, which the smallest doubles are out of range for.
        quality_score=None if row.quality_score is None else round(row.quality_score, 6),
        reported_cost_usd=None
        if reported_cost is None
        else _amount("reported_cost", reported_cost),
        energy_wh=None if energy_wh is None else _amount("energy_wh", energy_wh),
    )


def _tokens_of(row: NativeEvent) -> TokenBuckets:
    usage = row.usage
    if usage is None:
        if row.raw_usage is None:
            raise InvalidUsageError(
                "missing_field",
                "add `usage`, or `raw_usage` with the provider's own usage object",
                field="usage",
            )
        return normalise_raw_usage(row.provider, row.raw_usage)
    if row.raw_usage is not None:
        raise InvalidUsageError(
            "usage_twice", "send either `usage` or `raw_usage`, not both", field="raw_usage"
        )
    return buckets_from_totals(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens or 0,
        cache_write_tokens=usage.cache_write_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens or 0,
        reasoning_tokens=usage.reasoning_tokens or 0,
    )


def _facts_of(row: NativeEvent, tokens: TokenBuckets) -> PricingFacts:
    """What the caller states; of a raw object, also what that states."""
    usage, context = row.usage, row.price_context
    facts = NO_FACTS if row.raw_usage is None else facts_of_raw_usage(row.raw_usage)
    if usage is not None and usage.meters:
        facts = facts._replace(meters=check_meters(usage.meters, tokens, field="usage.meters"))
    if context:
        facts = facts._replace(price_context=check_context(context))
    return facts


def _tidy_text(field: str, value: str) -> str | None:
    if _CONTROL.search(value):
        raise _control_character(field)
    return value if value.strip(" ") else None


def _tidy_tags(tags: dict[str, str]) -> dict[str, str]:
    kept = {}
    for key, value in tags.items():
        if _tidy_text("tags", key) is None:
            raise InvalidUsageError("missing_field", "give every tag a name", field="tags")
        if _tidy_text("tags", value) is not None:
            kept[key] = value
    return kept


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidUsageError(
            "timestamp_without_zone",
            "end `timestamp` with Z or an offset such as +01:00",
            field="timestamp",
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidUsageError(
            "out_of_range", "`timestamp` is outside the calendar", field="timestamp"
        ) from None


def _amount(field: str, value: Decimal) -> Decimal:
    """Refuses what is no amount: negative, not finite, or of more digits than the ledger keeps."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or value < 0:
        raise InvalidUsageError(
            "out_of_range", f"`{field}` must be zero or a positive number", field=field
        )
    if exponent < -MAX_DECIMAL_PLACES or (value and value.adjusted() >= MAX_INTEGER_DIGITS):
        raise InvalidUsageError(
            "out_of_range",
            f"`{field}` must have at most {MAX_INTEGER_DIGITS} digits before the point and"
            f" {MAX_DECIMAL_PLACES} after it",
            field=field,
        )
    # A zero may have any exponent, and PostgreSQL's numeric has not.
    return value.copy_abs() if value or exponent <= 0 else Decimal(0)


def _control_character(field: str) -> InvalidUsageError:
    return InvalidUsageError(
        "control_character",
        f"`{field}` holds a control character; send plain text on one line",
        field=field,
    )
