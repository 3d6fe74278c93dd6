"""Writing to the ledger: one transaction a batch, each event counted once. Part of services.

Events go to PostgreSQL by column, as arrays: one statement a commit whatever its size, and a column
that no event of the batch has costs nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import partial
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from django.db import OperationalError, connection

from apps.tenants.scoping import execute_in_scope, tenant_scope
from apps.usage.core.events import UsageEvent
from apps.usage.identities import (
    HOLD_OPEN_SQL,
    OPEN_SQL,
    Segments,
    find_sealed,
    known_segments,
    renew_segments,
)

Item = TypeVar("Item")

ROW_BITS = 16
# How often one commit may meet a segment that was sealed since it looked.
MOST_TURNS: Final = 3
MAX_ROWS_PER_COMMIT = 1 << ROW_BITS

# The ledger's columns that are an event's own words -> (type, the event's field).
_EVENT_COLUMNS: Final = {
    "source": ("text", "source"),
    "event_id": ("text", "event_id"),
    "uncached_input_tokens": ("bigint", "uncached_input_tokens"),
    "cache_read_tokens": ("bigint", "cache_read_tokens"),
    "cache_write_5m_tokens": ("bigint", "cache_write_5m_tokens"),
    "cache_write_1h_tokens": ("bigint", "cache_write_1h_tokens"),
    "output_tokens": ("bigint", "output_tokens"),
    "reasoning_tokens": ("bigint", "reasoning_tokens"),
    "requested_model": ("text", "requested_model"),
    "end_user": ("text", "user"),
    "tags": ("jsonb", "tags"),
    "meters": ("jsonb", "meters"),
    "price_context": ("jsonb", "price_context"),
    "latency_ms": ("integer", "latency_ms"),
    "time_to_first_token_ms": ("integer", "time_to_first_token_ms"),
    "decision_id": ("text", "decision_id"),
    "policy_version": ("text", "policy_version"),
    "revenue_usd": ("numeric", "revenue_usd"),
    "converted": ("boolean", "converted"),
    "quality_score": ("real", "quality_score"),
    "reported_cost_usd": ("numeric", "reported_cost_usd"),
    "energy_wh": ("numeric", "energy_wh"),
}
_NAMES: Final = ", ".join(_EVENT_COLUMNS)
_ARRAYS: Final = ", ".join(f"%({name})s::{kind}[]" for name, (kind, _) in _EVENT_COLUMNS.items())

# Where charge `l` belongs since it was last re-attributed; NULL when it never was. The moves of
# a charge stand at its own time, so their partition is its own.
LEFT_JOIN_MOVED = """LEFT JOIN LATERAL (
    -- No ORDER BY ... LIMIT: PostgreSQL would walk an index in its order to find the first.
    SELECT (array_agg(m.slice_id ORDER BY m.id DESC))[1] AS slice_id FROM usage_ledger AS m
    WHERE m.tenant_id = l.tenant_id AND m.kind = 2 AND m.corrects_id = l.id
        AND m.occurred_at = l.occurred_at AND m.request_change = 1
) AS moved ON true"""

# Rows whose identity another row took, of this commit or of one before it in the open segment.
SEEN_BEFORE: Final = """
SELECT event.row - 1, known.content_hash, event.content_hash
FROM unnest(%(identity)s::uuid[], %(content_hash)s::bigint[])
    WITH ORDINALITY AS event (identity, content_hash, row)
JOIN usage_identity AS known ON known.tenant_id = %(tenant_id)s
    AND known.identity = event.identity AND known.segment = {segment:d}
WHERE known.ledger_id <> %(first_id)s + event.row - 1
ORDER BY event.row
"""

# Puts a commit in the queue of the rollups; `written` are the ledger rows of the same statement.
QUEUE_COMMIT: Final = """
INSERT INTO usage_commit (tenant_id, id, rows, first_occurred_at, last_occurred_at)
SELECT %(tenant_id)s, %(commit_number)s, count(*), min(occurred_at), max(occurred_at)
FROM written HAVING count(*) > 0
"""

# Identities are taken in order, so that two commits with the same ones wait and never deadlock.
# Rows whose identity was taken before are left out of the ledger. That is looked up only when there
# are any, and by hash: nothing is joined, so no plan depends on a guess of how many rows come.
# No row at all is written, and none returned, if the segment is not the open one any more.
WRITE: Final = f"""
WITH this_commit AS MATERIALIZED (
    SELECT nextval('usage_commit_number') AS number, segment FROM ({OPEN_SQL}) AS opened
), fresh AS (
    INSERT INTO usage_identity (tenant_id, identity, content_hash, ledger_id, occurred_at, segment)
    SELECT %(tenant_id)s, identity, content_hash, (number << {ROW_BITS}) + row - 1, occurred_at,
        segment
    FROM this_commit, unnest(
        %(identity)s::uuid[], %(content_hash)s::bigint[], %(occurred_at)s::timestamptz[]
    ) WITH ORDINALITY AS event (identity, content_hash, occurred_at, row)
    ORDER BY identity, row
    ON CONFLICT (tenant_id, identity, segment) DO NOTHING
    RETURNING ledger_id
), counted AS MATERIALIZED (
    SELECT count(*) AS fresh_count FROM fresh
), written AS (
    INSERT INTO usage_ledger (
        tenant_id, id, occurred_at, received_at, cost_usd, rate_revision, slice_id, {_NAMES}
    )
    SELECT %(tenant_id)s, (number << {ROW_BITS}) + row - 1, occurred_at, %(now)s,
        cost_units * 1e-24, %(rate_revision)s, slice_id, {_NAMES}
    FROM this_commit, counted, unnest(
        %(occurred_at)s::timestamptz[], %(cost_units)s::numeric[], %(slice_id)s::bigint[], {_ARRAYS}
    ) WITH ORDINALITY AS event (occurred_at, cost_units, slice_id, {_NAMES}, row)
    WHERE fresh_count = %(row_count)s
        OR (number << {ROW_BITS}) + row - 1 IN (SELECT ledger_id FROM fresh)
    RETURNING occurred_at
), queued AS ({QUEUE_COMMIT.replace("%(commit_number)s", "(SELECT number FROM this_commit)")})
SELECT number, fresh_count FROM this_commit, counted
"""
# Up to so many rows the statement is sent with its values in it, in one message with its scope:
# planning it anew costs less than the round trips. More go by a statement that stands prepared, as
# PostgreSQL writes one that fails into its log, values and all.
MAX_ROWS_AT_ONCE: Final = 200


class StagedEvent(msgspec.Struct, frozen=True, gc=False):
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


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that no sealed segment holds."""

    tenant_id: int
    segments: Segments
    staged: Sequence[StagedEvent]
    names: Sequence[bytes]
    contents: Sequence[int]


def write_commit(
    tenant_id: int,
    staged: Sequence[StagedEvent],
    *,
    rate_revision: int,
    now: datetime,
    statement_limit_s: float,
) -> Written:
    """Write up to MAX_ROWS_PER_COMMIT events in a transaction in the tenant's scope.

    Durable when this returns, or when the caller's transaction commits if there is one.
    Raises OperationalError when the database does not keep up.
    """
    names, contents = _fingerprints(staged)
    for _ in range(MOST_TURNS):
        segments = known_segments()
        sealed = find_sealed(tenant_id, names, segments, statement_limit_s=statement_limit_s)
        rows = [row for row in range(len(staged)) if row not in sealed]
        batch = _Batch(
            tenant_id, segments, _pick(staged, rows), _pick(names, rows), _pick(contents, rows)
        )
        written = _write(batch, rate_revision, now, statement_limit_s)
        if written is not None:
            seen = [(row, _compare(stands, contents[row])) for row, stands in sealed.items()]
            seen += [(rows[row], how) for row, how in written.seen]
            return Written(written.commit_number, sorted(seen, key=itemgetter(0)))
        renew_segments(segments)
    raise OperationalError(
        f"identity segments were sealed {MOST_TURNS} times while a commit waited"
    )


def _write(
    batch: _Batch, rate_revision: int, now: datetime, statement_limit_s: float
) -> Written | None:
    """What no sealed segment holds; None if the segment that was open is not any more."""
    identities = {
        "tenant_id": batch.tenant_id,
        "identity": _array([name.hex() for name in batch.names]),
        "content_hash": _array(list(batch.contents)),
    }
    parameters = {
        **identities,
        **batch.segments.as_parameters,
        "row_count": len(batch.staged),
        "rate_revision": rate_revision,
        "now": now,
        **_ledger_columns(batch.staged),
    }
    in_scope = partial(execute_in_scope, batch.tenant_id, statement_limit_s=statement_limit_s)
    if len(batch.staged) <= MAX_ROWS_AT_ONCE:
        found = in_scope(WRITE, parameters, hold=HOLD_OPEN_SQL)
    else:
        limit_s = statement_limit_s
        with tenant_scope(batch.tenant_id, statement_limit_s=limit_s, hold=HOLD_OPEN_SQL):
            found = _run_prepared(WRITE, parameters)
    if not found:
        return None
    ((commit_number, fresh_count),) = found
    if fresh_count == len(batch.staged):
        return Written(commit_number, [])
    # Asked after the commit: identities stay, and those that another commit took meanwhile are
    # visible to a later statement only.
    statement = SEEN_BEFORE.format(segment=batch.segments.open)
    compared = in_scope(statement, {**identities, "first_id": commit_number << ROW_BITS})
    return Written(commit_number, [(row, _compare(*hashes)) for row, *hashes in compared])


def _run_prepared(statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    # Not Django's cursor: that sends the arrays as a part of the statement, parsed each time.
    with connection.wrap_database_errors, psycopg.Cursor(_psycopg_connection()) as cursor:
        return cursor.execute(statement, parameters, prepare=True).fetchall()


def ensure_partitions(first: datetime, last: datetime) -> int:
    """Make the ledger's monthly partitions for this span of time; returns how many were made."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT ensure_usage_partitions(%s, %s)", [first.date(), last.date()])
        return int(cursor.fetchone()[0])


def fingerprint_of(event: UsageEvent) -> tuple[str, int]:
    """(identity as hex, content hash) of an event as `write_commit` writes them."""
    (name,), (content,) = _fingerprints([StagedEvent(event, 0, 0)])
    return name.hex(), content


def identity_of(source: str, event_id: str) -> bytes:
    """By what an event is known, whatever it says: 16 bytes."""
    return hashlib.blake2b(f"{source}\0{event_id}".encode(), digest_size=16).digest()


def is_same_report(stands: int, content: int) -> bool:
    """Whether content hashes of one identity agree.

    The low byte is the door: reports by two doors are of one event, whatever each says of it
    (decision 10); only within one door does other content contradict.
    """
    return stands == content or (stands & 255) != (content & 255)


def _compare(stands: int, content: int) -> Seen:
    return Seen.SAME_CONTENT if is_same_report(stands, content) else Seen.OTHER_CONTENT


def _psycopg_connection() -> psycopg.Connection[Any]:
    connection.ensure_connection()
    return connection.connection  # type: ignore[no-any-return]


def _fingerprints(staged: Sequence[StagedEvent]) -> tuple[list[bytes], list[int]]:
    """Identities and content hashes."""
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    names, contents = [], []
    for item in staged:
        event = item.event
        digest = hashlib.blake2b(encode(event), digest_size=7).digest()
        names.append(identity_of(event.source, event.event_id))
        contents.append(int.from_bytes(digest, signed=True) << 8 | event.door)
    return names, contents


def _pick(values: Sequence[Item], rows: Sequence[int]) -> Sequence[Item]:
    return values if len(rows) == len(values) else [values[row] for row in rows]


def _ledger_columns(staged: Sequence[StagedEvent]) -> dict[str, str | None]:
    events = [item.event for item in staged]
    columns = {
        "occurred_at": _array([event.occurred_at for event in events]),
        "cost_units": _array([c if (c := item.cost_units) >= 0 else None for item in staged]),
        "slice_id": _array([item.slice_id for item in staged]),
    }
    for name, (kind, field) in _EVENT_COLUMNS.items():
        values = list(map(attrgetter(field), events))
        if kind == "jsonb":
            values = _texts_of_json(values) if any(values) else []
        columns[name] = _array(values)
    return columns


_encode: Final = msgspec.json.Encoder().encode
_encode_sorted: Final = msgspec.json.Encoder(order="sorted").encode


def _texts_of_json(values: list[Any]) -> list[str | None]:
    return [_encode_sorted(value).decode() if value else None for value in values]


def _array(values: list[Any]) -> str | None:
    """As PostgreSQL writes an array; None when it holds nothing.

    That is JSON but for its brackets, and for what a backslash means.
    """
    if values.count(None) == len(values):
        return None
    encoded = _encode(values)
    if b"\\" not in encoded:
        return f"{{{encoded[1:-1].decode()}}}"
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
