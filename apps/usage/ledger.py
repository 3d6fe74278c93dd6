"""Writing to the ledger: one transaction a batch, each event counted once. Part of services."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import msgspec
from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.usage.core.events import UsageEvent

ROW_BITS = 16
MAX_ROWS_PER_COMMIT = 1 << ROW_BITS

# COPY into a table with row-level security is refused: it goes through a session's own table.
STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS usage_stage (
    row integer, identity uuid, content_hash bigint, occurred_at timestamptz, slice_id bigint,
    source text, event_id text,
    uncached_input_tokens bigint, cache_read_tokens bigint, cache_write_5m_tokens bigint,
    cache_write_1h_tokens bigint, output_tokens bigint, reasoning_tokens bigint,
    cost_units numeric,
    requested_model text, end_user text, tags jsonb, meters jsonb, price_context jsonb,
    latency_ms integer, time_to_first_token_ms integer, decision_id text, policy_version text,
    revenue_usd numeric, converted boolean, quality_score real, reported_cost_usd numeric,
    energy_wh numeric
) ON COMMIT DELETE ROWS
"""
COPY = "COPY pg_temp.usage_stage FROM STDIN"

CARRIED = """slice_id, source, event_id, uncached_input_tokens, cache_read_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens,
    requested_model, end_user, tags, meters, price_context, latency_ms,
    time_to_first_token_ms, decision_id, policy_version, revenue_usd, converted,
    quality_score, reported_cost_usd, energy_wh"""

# Identities are taken in order, so that two commits with the same ones wait and never deadlock.
COMMIT = f"""
WITH fresh AS (
    INSERT INTO usage_identity (tenant_id, identity, content_hash, ledger_id, occurred_at)
    SELECT %(tenant_id)s, identity, content_hash, %(first_id)s + row, occurred_at
    FROM pg_temp.usage_stage ORDER BY identity, row
    ON CONFLICT (tenant_id, identity) DO NOTHING
    RETURNING ledger_id
), written AS (
    INSERT INTO usage_ledger (
        tenant_id, id, occurred_at, received_at, cost_usd, rate_revision, {CARRIED}
    )
    SELECT %(tenant_id)s, fresh.ledger_id, occurred_at, %(now)s, cost_units * 1e-24,
        %(rate_revision)s, {CARRIED}
    FROM fresh JOIN pg_temp.usage_stage ON row = fresh.ledger_id - %(first_id)s
    RETURNING occurred_at
)
INSERT INTO usage_commit (tenant_id, id, rows, first_occurred_at, last_occurred_at)
SELECT %(tenant_id)s, %(commit_number)s, count(*), min(occurred_at), max(occurred_at)
FROM written HAVING count(*) > 0
RETURNING rows
"""

# Where charge `l` belongs since it was last re-attributed; NULL when it never was. The moves of
# a charge stand at its own time, so their partition is its own.
LEFT_JOIN_MOVED = """LEFT JOIN LATERAL (
    -- No ORDER BY ... LIMIT: PostgreSQL would walk an index in its order to find the first.
    SELECT (array_agg(m.slice_id ORDER BY m.id DESC))[1] AS slice_id FROM usage_ledger AS m
    WHERE m.tenant_id = l.tenant_id AND m.kind = 2 AND m.corrects_id = l.id
        AND m.occurred_at = l.occurred_at AND m.request_change = 1
) AS moved ON true"""

# The low byte of a content hash is the door: reports by two doors are of one event, whatever each
# says of it (decision 10); only within one door does other content contradict.
SEEN_BEFORE = """
SELECT stage.row, known.content_hash = stage.content_hash
    OR (known.content_hash & 255) <> (stage.content_hash & 255)
FROM pg_temp.usage_stage AS stage
JOIN usage_identity AS known ON known.tenant_id = %(tenant_id)s
    AND known.identity = stage.identity
WHERE known.ledger_id <> %(first_id)s + stage.row
ORDER BY stage.row
"""


@dataclass(frozen=True, slots=True)
class StagedEvent:
    """An event with where it belongs and what it costs (units of 1e-24 USD; -1: unpriced)."""

    event: UsageEvent
    slice_id: int
    cost_units: int


class Seen(Enum):
    """How a row that is in the ledger already compares with what stands there."""

    SAME_CONTENT = "same content"
    OTHER_CONTENT = "other content"


@dataclass(frozen=True, slots=True)
class Written:
    """A commit's number, and which of its rows were in the ledger before: all others are new."""

    commit_number: int
    seen: list[tuple[int, Seen]]


def write_commit(staged: Sequence[StagedEvent], *, rate_revision: int, now: datetime) -> Written:
    """Write up to MAX_ROWS_PER_COMMIT events.

    Runs in the scope's transaction; durable when that commits.
    """
    with connection.cursor() as cursor:
        cursor.execute(f"{STAGE}; SELECT nextval('usage_commit_number')")
        cursor.nextset()
        (commit_number,) = cursor.fetchone()
        with cursor.copy(COPY) as copy:
            copy.write("".join(_copy_lines(staged)))
        parameters = {
            "tenant_id": current_tenant_id(),
            "commit_number": commit_number,
            "first_id": commit_number << ROW_BITS,
            "rate_revision": rate_revision,
            "now": now,
        }
        cursor.execute(COMMIT, parameters)
        written = cursor.fetchone()
        count = int(written[0]) if written else 0
        if count == len(staged):
            return Written(commit_number, [])
        cursor.execute(SEEN_BEFORE, parameters)
        seen = [
            (row, Seen.SAME_CONTENT if same else Seen.OTHER_CONTENT)
            for row, same in cursor.fetchall()
        ]
        return Written(commit_number, seen)


def ensure_partitions(first: datetime, last: datetime) -> int:
    """Make the ledger's monthly partitions for this span of time; returns how many were made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ensure_usage_partitions(%s, %s)", [first.date(), last.date()])
        return int(cursor.fetchone()[0])


def fingerprint_of(event: UsageEvent) -> tuple[str, int]:
    """(identity as hex, content hash) of an event as `write_commit` writes them."""
    identity = hashlib.blake2b(f"{event.source}\0{event.event_id}".encode(), digest_size=16)
    said = msgspec.msgpack.encode(event, order="deterministic")
    digest = hashlib.blake2b(said, digest_size=7).digest()
    return identity.hexdigest(), int.from_bytes(digest, signed=True) << 8 | event.door


def is_same_report(stands: int, content: int) -> bool:
    """Whether content hashes of one identity agree, as SEEN_BEFORE compares them."""
    return stands == content or (stands & 255) != (content & 255)


# COPY's text format: tab, newline and backslash are its own.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _text(value: str | None) -> str:
    return r"\N" if value is None else value.translate(_ESCAPES)


def _plain(value: Any) -> str:
    return r"\N" if value is None else str(value)


def _copy_lines(staged: Iterable[StagedEvent]) -> Iterator[str]:
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    to_json = msgspec.json.Encoder(order="sorted").encode
    blake2b = hashlib.blake2b
    for row, item in enumerate(staged):
        e = item.event
        identity = blake2b(f"{e.source}\0{e.event_id}".encode(), digest_size=16).hexdigest()
        digest = blake2b(encode(e), digest_size=7).digest()
        content = int.from_bytes(digest, signed=True) << 8 | e.door
        cost = r"\N" if item.cost_units < 0 else item.cost_units
        tags = r"\N" if not e.tags else _text(to_json(e.tags).decode())
        meters = r"\N" if not e.meters else _text(to_json(e.meters).decode())
        context = r"\N" if not e.price_context else _text(to_json(e.price_context).decode())
        yield (
            f"{row}\t{identity}\t{content}\t{e.occurred_at.isoformat()}\t{item.slice_id}\t"
            f"{_text(e.source)}\t{_text(e.event_id)}\t"
            f"{e.uncached_input_tokens}\t{e.cache_read_tokens}\t{e.cache_write_5m_tokens}\t"
            f"{e.cache_write_1h_tokens}\t{e.output_tokens}\t{e.reasoning_tokens}\t{cost}\t"
            f"{_text(e.requested_model)}\t{_text(e.user)}\t{tags}\t{meters}\t{context}\t"
            f"{_plain(e.latency_ms)}\t{_plain(e.time_to_first_token_ms)}\t{_text(e.decision_id)}\t"
            f"{_text(e.policy_version)}\t{_plain(e.revenue_usd)}\t{_plain(e.converted)}\t"
            f"{_plain(e.quality_score)}\t{_plain(e.reported_cost_usd)}\t{_plain(e.energy_wh)}\n"
        )
