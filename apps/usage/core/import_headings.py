"""What the columns of well-known exports mean, guessed from their headings. Pure.

Each guess is shown before anything is read by it. Sources: LiteLLM's `LiteLLM_SpendLogs` table
(its schema.prisma), OpenAI's usage API (`organization.usage.completions.result`), Langfuse's blob
storage export (enriched observations), Helicone's export tool (its CSV fields).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from apps.usage.core.import_mapping import FIELDS, LATENCY_S, UNCACHED, ColumnMapping, reader_of


@dataclass(frozen=True, slots=True)
class KnownExport:
    """An export known by its `signature`, headings that it always has."""

    name: str
    signature: frozenset[str]
    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    zone: str | None = None


KNOWN_EXPORTS: Final = (
    KnownExport(
        name="LiteLLM spend logs",
        signature=frozenset({"request_id", "startTime", "custom_llm_provider", "prompt_tokens"}),
        columns={
            "request_id": "id",
            "startTime": "timestamp",
            "custom_llm_provider": "provider",
            "model": "model",
            "model_group": "requested_model",
            "prompt_tokens": "usage.input_tokens",
            "completion_tokens": "usage.output_tokens",
            "spend": "reported_cost",
            "end_user": "customer",
            "team_id": "department",
            "user": "user",
            "status": "status",
            "request_duration_ms": "latency_ms",
        },
        constants={"source": "litellm-spend-logs"},
        # Prisma writes times in UTC, in columns that know no zone.
        zone="UTC",
    ),
    KnownExport(
        name="OpenAI usage",
        signature=frozenset({"start_time", "input_tokens", "output_tokens", "num_model_requests"}),
        columns={
            "start_time": "timestamp",
            "model": "model",
            "input_tokens": "usage.input_tokens",
            "output_tokens": "usage.output_tokens",
            "input_cached_tokens": "usage.cache_read_tokens",
            "project_id": "project",
            "user_id": "user",
            "api_key_id": "tags.api_key_id",
            "num_model_requests": "tags.requests",
        },
        constants={"provider": "openai", "source": "openai-usage"},
    ),
    KnownExport(
        name="Langfuse observations",
        signature=frozenset({"id", "start_time", "provided_model_name"}),
        columns={
            "id": "id",
            "start_time": "timestamp",
            "provided_model_name": "model",
            "usage_details.input": UNCACHED,
            "usage_details.input_cached_tokens": "usage.cache_read_tokens",
            "usage_details.cache_read_input_tokens": "usage.cache_read_tokens",
            "usage_details.input_cache_creation": "usage.cache_write_tokens",
            "usage_details.cache_creation_input_tokens": "usage.cache_write_tokens",
            "usage_details.output": "usage.output_tokens",
            "total_cost": "reported_cost",
            "user_id": "user",
            "environment": "environment",
            "latency": LATENCY_S,
        },
        constants={"source": "langfuse"},
        zone="UTC",
    ),
    KnownExport(
        name="Helicone requests",
        signature=frozenset({"response_id", "request_created_at", "prompt_tokens"}),
        columns={
            "response_id": "id",
            "request_created_at": "timestamp",
            "response_status": "status",
            "request_user_id": "user",
            "model": "model",
            "prompt_tokens": "usage.input_tokens",
            "completion_tokens": "usage.output_tokens",
            "latency": "latency_ms",
            "cost": "reported_cost",
        },
        constants={"source": "helicone"},
    ),
)

# How people name a field, by their heading in small letters with _ for what is no letter.
_ALIASES: Final = {
    **{name: name for name in FIELDS},
    **{name.removeprefix("usage."): name for name in FIELDS if name.startswith("usage.")},
    **dict.fromkeys(("event_id", "request_id", "call_id", "uuid"), "id"),
    **dict.fromkeys(
        ("time", "date", "datetime", "created_at", "created", "occurred_at", "start_time",
         "starttime", "started_at", "request_time"),
        "timestamp",
    ),
    **dict.fromkeys(("provider_name", "vendor"), "provider"),
    **dict.fromkeys(("model_name", "model_id"), "model"),
    **dict.fromkeys(("prompt_tokens", "tokens_in", "input", "tokens_input"), "usage.input_tokens"),
    **dict.fromkeys(
        ("completion_tokens", "tokens_out", "output", "tokens_output"), "usage.output_tokens"
    ),
    **dict.fromkeys(
        ("cached_tokens", "cache_read_input_tokens", "input_cached_tokens", "cached_input_tokens"),
        "usage.cache_read_tokens",
    ),
    "cache_creation_input_tokens": "usage.cache_write_tokens",
    **dict.fromkeys(("customer_id", "client", "end_user", "account"), "customer"),
    **dict.fromkeys(("team", "cost_center", "cost_centre", "team_id", "team_alias"), "department"),
    **dict.fromkeys(("user_id", "user_email"), "user"),
    **dict.fromkeys(("project_id", "project_name", "app", "application"), "project"),
    "env": "environment",
    **dict.fromkeys(("cost", "spend", "cost_usd", "total_cost"), "reported_cost"),
    **dict.fromkeys(("duration_ms", "request_duration_ms"), "latency_ms"),
    "latency_seconds": LATENCY_S,
    **dict.fromkeys(("ttft_ms", "ttft"), "time_to_first_token_ms"),
    "revenue_usd": "revenue",
    "status_code": "status",
}  # fmt: skip
_NATIVE_NEEDS: Final = frozenset({"id", "timestamp", "provider", "model"})
_NOT_A_WORD: Final = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True, slots=True)
class Guess:
    """A mapping, and the export it is known from; "" when it comes from single headings."""

    mapping: ColumnMapping
    export: str = ""


def guess_mapping(headings: Sequence[str]) -> Guess:
    """What these columns mean, as far as their headings tell. No field is guessed twice."""
    present = set(headings)
    for known in KNOWN_EXPORTS:
        if known.signature <= present:
            columns = {h: known.columns[h] for h in known.columns if h in present}
            mapping = ColumnMapping(
                columns=_once(columns), constants=dict(known.constants), zone=known.zone
            )
            return Guess(mapping, known.name)
    return Guess(ColumnMapping(columns=_once({h: _field_of(h) for h in headings})))


def is_native(rows: Sequence[object]) -> bool:
    """Whether rows of NDJSON are native events: what POST /usage/events takes."""
    return bool(rows) and all(
        isinstance(row, dict)
        and row.keys() >= _NATIVE_NEEDS
        and ("raw_usage" in row or isinstance(row.get("usage"), dict))
        for row in rows
    )


def _once(columns: Mapping[str, str]) -> dict[str, str]:
    """The first column of each field, exact names before others."""
    taken: dict[str, str] = {}
    for heading, name in sorted(columns.items(), key=lambda item: item[0] != item[1]):
        if name:
            taken.setdefault(name, heading)
    if "usage.input_tokens" in taken:
        taken.pop(UNCACHED, None)
    if "latency_ms" in taken:
        taken.pop(LATENCY_S, None)
    chosen = set(taken.values())
    return {heading: name for heading, name in columns.items() if heading in chosen and name}


def _field_of(heading: str) -> str:
    if "." in heading and reader_of(heading) is not None:
        return heading
    return _ALIASES.get(_NOT_A_WORD.sub("_", heading.strip().lower()).strip("_"), "")
