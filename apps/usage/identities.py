"""Which events the ledger holds already: identities, in segments by arrival. Part of services.

New identities go into the one segment that is open; one that is full is sealed, and never changes.
So the index that ingest writes stays small however large the ledger grows. Of each sealed segment
a process remembers a filter that says what it certainly does not hold: a new event is looked up
nowhere (decision 34).

Writers hold HOLD_OPEN_SQL's lock from before their statement until their commit, and write only if
the segment they knew is still the open one: then what they did not find in sealed ones is new.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import psycopg
from django.db import OperationalError, connection

from apps.tenants.scoping import execute_in_scope
from apps.usage.core.bloom import Filters, build

# A segment is sealed when it holds so much (about 500,000 identities), or this share of all: so
# their number stays small.
SEGMENT_BYTES: Final = 40 << 20
SEGMENT_SHARE: Final = 0.05
# Filters that a process remembers, the newest first; into segments beyond them it looks.
MOST_FILTER_BYTES: Final = 512 << 20
# Read at once, so that no request waits for all of them; the others a little later.
FILTERS_AT_ONCE: Final = 8
ASK_AGAIN_S: Final = 0.5

HOLD_OPEN_SQL: Final = "pg_advisory_xact_lock_shared(hashtext('usage_identity'))"
# The segment that a writer knew, if it is still the open one.
OPEN_SQL: Final = """
SELECT segment FROM usage_identity_segment
WHERE sealed_at IS NULL AND segment = %(segment)s AND opened_at = %(segment_opened_at)s
"""

_SEGMENTS: Final = """
SELECT segment, opened_at, sealed_at, octet_length(bloom_filter)
FROM usage_identity_segment ORDER BY segment DESC
"""
_FILTERS: Final = """
SELECT segment, opened_at, bloom_filter FROM usage_identity_segment WHERE segment = ANY(%s)
"""
# By segment, so that one index is looked into and the others are not even planned.
_LOOK_UP: Final = """
SELECT identity, content_hash FROM usage_identity
WHERE segment = {segment:d} AND tenant_id = %(tenant_id)s AND identity = ANY(%(identities)s::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Segments:
    """What a process knows of the segments. `unfiltered`: sealed ones to look into every time."""

    open: int
    opened_at: datetime
    filtered: dict[int, datetime]
    unfiltered: list[int]
    filters: Filters
    read_at_s: float

    @property
    def as_parameters(self) -> dict[str, int | datetime]:
        """For OPEN_SQL."""
        return {"segment": self.open, "segment_opened_at": self.opened_at}


class _Memory:
    """This process's segments; read again when one was sealed, and while filters are missing."""

    def __init__(self) -> None:
        self._known: Segments | None = None
        self._lock = threading.Lock()

    def get(self) -> Segments:
        known = self._known
        if known is None:
            return self.renew(None)
        is_due = known.unfiltered and time.monotonic() - known.read_at_s > ASK_AGAIN_S
        # One thread reads; meanwhile the others go on with what is known.
        if is_due and self._lock.acquire(blocking=False):
            try:
                self._known = known = _read_segments(known)
            finally:
                self._lock.release()
        return known

    def renew(self, outdated: Segments | None) -> Segments:
        """The segments as they are, if `outdated` is all that is known here."""
        with self._lock:
            if self._known is None or self._known is outdated:
                self._known = _read_segments(self._known)
            return self._known


_memory: Final = _Memory()


def known_segments() -> Segments:
    """As this process last read them. Raises OperationalError when it has to, and cannot."""
    return _memory.get()


def remember_filters() -> None:
    """Read every filter there is, before anybody waits."""
    known = known_segments()
    while known.unfiltered:
        before = len(known.filtered)
        known = renew_segments(known)
        if len(known.filtered) == before:
            return


def renew_segments(outdated: Segments) -> Segments:
    """As they are now, once for all who found the same ones outdated."""
    return _memory.renew(outdated)


def hold_open_segment() -> Segments:
    """Keep the open segment open until the caller's transaction ends; it and those before it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {HOLD_OPEN_SQL}")
        segments = known_segments()
        cursor.execute(OPEN_SQL, segments.as_parameters)
        return segments if cursor.fetchone() else renew_segments(segments)


def find_sealed(
    tenant_id: int,
    identities: Sequence[bytes],
    segments: Segments,
    *,
    statement_limit_s: float,
) -> dict[int, int]:
    """Content hashes, by row, of the identities that sealed segments hold for this tenant."""
    joined = b"".join(identities)
    rows_of: defaultdict[int, list[int]] = defaultdict(list)
    for row, segment in segments.filters.may_hold(joined):
        rows_of[segment].append(row)
    for segment in segments.unfiltered:
        rows_of[segment] = list(range(len(identities)))
    found: dict[int, int] = {}
    for segment, rows in rows_of.items():
        wanted = [identities[row].hex() for row in rows]
        known = {
            identity.bytes: content_hash
            for identity, content_hash in execute_in_scope(
                tenant_id,
                _LOOK_UP.format(segment=segment),
                {"tenant_id": tenant_id, "identities": wanted},
                statement_limit_s=statement_limit_s,
            )
        }
        if known:
            found |= {row: known[identities[row]] for row in rows if identities[row] in known}
    return found


def keep_segments(*, now: datetime) -> None:
    """Seal the open segment if it is full, and make the filters that sealed ones lack."""
    seal_full_segment(now=now)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT segment FROM usage_identity_segment"
            " WHERE sealed_at IS NOT NULL AND bloom_filter IS NULL ORDER BY segment"
        )
        for (segment,) in cursor.fetchall():
            cursor.execute(
                "UPDATE usage_identity_segment SET bloom_filter = %s WHERE segment = %s",
                [build(_identities_of(segment)), segment],
            )


def seal_full_segment(
    *, now: datetime, capacity_bytes: int = SEGMENT_BYTES, share_of_all: float = SEGMENT_SHARE
) -> int | None:
    """The segment that was sealed; None if it is not full, or too busy: ask again later."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT seal_usage_identities(%s, %s, %s)", [capacity_bytes, share_of_all, now]
            )
            (sealed,) = cursor.fetchone()
            return sealed  # type: ignore[no-any-return]
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            return None
        raise


def _read_segments(before: Segments | None) -> Segments:
    """The segments there are; filters that `before` has are not read again."""
    with connection.cursor() as cursor:
        cursor.execute(_SEGMENTS)
        rows = cursor.fetchall()
        ((segment, opened_at),) = [row[:2] for row in rows if row[2] is None]
        stands = {row[0]: row[1] for row in rows}
        if before is None or any(stands.get(one) != at for one, at in before.filtered.items()):
            filters, filtered = Filters(), {}
        else:
            filters, filtered = before.filters, dict(before.filtered)
        room = MOST_FILTER_BYTES - filters.held_bytes
        wanted: list[int] = []
        for one, _, _, size in rows:
            is_wanted = size is not None and one not in filtered and size <= room
            if is_wanted and len(wanted) < FILTERS_AT_ONCE:
                room -= size
                wanted.append(one)
        cursor.execute(_FILTERS, [wanted])
        for one, one_opened_at, bits in cursor.fetchall():
            filters.add(one, bytes(bits))
            filtered[one] = one_opened_at
    unfiltered = [row[0] for row in rows if row[2] is not None and row[0] not in filtered]
    return Segments(segment, opened_at, filtered, unfiltered, filters, time.monotonic())


def _identities_of(segment: int) -> memoryview:
    """All of a segment's, of all tenants: 16 bytes each. Binary COPY gives rows of one length."""
    connection.ensure_connection()
    raw: psycopg.Connection[object] = connection.connection
    with connection.wrap_database_errors, raw.cursor() as cursor:
        statement = psycopg.sql.SQL(
            "COPY (SELECT usage_identities_of({})) TO STDOUT (FORMAT binary)"
        ).format(segment)
        with cursor.copy(statement) as copy:
            data = b"".join(bytes(block) for block in copy)
    header_bytes, trailer_bytes = 19, 2
    row = np.dtype([("fields", ">i2"), ("length", ">i4"), ("identity", "V16")])
    rows = np.frombuffer(data[header_bytes:-trailer_bytes], dtype=row)
    return memoryview(np.ascontiguousarray(rows["identity"]).tobytes())
