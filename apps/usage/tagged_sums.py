"""Sums by tags, and of what carries a tag, from the ledger. A part of selectors.

Rollups know no tags: a rollup by tag would have a row for every request id that somebody puts into
one (docs/decisions/0023). So what names a tag is summed request by request: of few days, of not too
many requests, and for no longer than LONGEST_READ_MS; past that it is refused by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import OperationalError, connection, transaction

from apps.tenants.scoping import current_tenant_id
from apps.usage.core.cover import MINUTE, QUARTER_HOUR, ceil_to, floor_to
from apps.usage.dimensions import Dimension, tag_of
from apps.usage.measures import SUMS_FROM_LEDGER
from apps.usage.spend_sql import SOMETHING, SUMS, tag_value

MAX_DAYS: Final = 31
MAX_REQUESTS: Final = 1_000_000
LONGEST_READ_MS: Final = 5_000
# Sums of so many groups are made in memory, not on disk.
WORK_MEMORY: Final = "64MB"
# Of the requests recorded last, to see which tags there are.
LOOKED_AT: Final = 2_000
LOOKED_BACK: Final = timedelta(days=62)
MAX_KEYS: Final = 50

_LOCAL_DAY: Final = "(l.occurred_at AT TIME ZONE %(time_zone)s)::date"
_BUCKETS: Final = {
    None: "NULL::date",
    "minute": "date_trunc('minute', l.occurred_at)",
    "hour": "date_trunc('hour', l.occurred_at, %(time_zone)s)",
    "day": _LOCAL_DAY,
    "week": f"date_trunc('week', {_LOCAL_DAY})::date",
    "month": f"date_trunc('month', {_LOCAL_DAY})::date",
}
_COLUMNS: Final = """l.slice_id, l.occurred_at, l.kind, l.request_change, l.unpriced_change,
    l.uncached_input_tokens, l.cache_read_tokens, l.cache_write_5m_tokens, l.cache_write_1h_tokens,
    l.output_tokens, l.reasoning_tokens, l.cost_usd, l.revenue_usd, l.converted, l.latency_ms"""
_SPAN: Final = """l.tenant_id = %(tenant_id)s
            AND l.occurred_at >= %(start)s AND l.occurred_at < %(end)s"""
# A correction carries no tags: it goes where the request that it corrects goes.
_READ: Final = f"""
SELECT r.bucket{{outer}}, {SUMS} FROM (
    SELECT {{bucket}} AS bucket{{inner}}, {SUMS_FROM_LEDGER}
    FROM (
        SELECT {_COLUMNS}, l.tags FROM usage_ledger AS l WHERE {_SPAN} AND l.kind = 0
        UNION ALL
        SELECT {_COLUMNS}, coalesce(l.tags, o.tags) FROM usage_ledger AS l
        LEFT JOIN usage_ledger AS o ON o.tenant_id = l.tenant_id AND o.id = l.corrects_id
            AND o.occurred_at = l.occurred_at
            AND o.occurred_at >= %(start)s AND o.occurred_at < %(end)s
        WHERE {_SPAN} AND l.kind > 0
    ) AS l
    JOIN usage_slice AS s ON s.tenant_id = %(tenant_id)s AND s.id = l.slice_id
    {{where}}
    GROUP BY {{groups}}
) AS r GROUP BY {{groups}} HAVING {SOMETHING}
"""
_KEYS: Final = """
SELECT key FROM (
    SELECT tags FROM usage_ledger
    WHERE tenant_id = %s AND occurred_at >= %s ORDER BY id DESC LIMIT %s
) AS newest CROSS JOIN LATERAL jsonb_object_keys(newest.tags) AS key
WHERE key <> '' GROUP BY key ORDER BY count(*) DESC, key LIMIT %s
"""


class TooMuchToReadError(Exception):
    """A question about tags that would read too much of the ledger; says so for people."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"Tags are looked up request by request, {MAX_DAYS} days and"
            f" {MAX_REQUESTS:,} requests at most, for at most {LONGEST_READ_MS // 1000} seconds:"
            f" {why}. Choose fewer days, or narrow it to a model, customer or department as well."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedSums:
    """[start, end), widened as rollups would; `columns` of slices, or tags by their own names."""

    start: datetime
    end: datetime
    interval: str | None
    by_minute: bool
    columns: Sequence[str]
    tags: Mapping[str, str]
    conditions: Sequence[str]
    parameters: Mapping[str, Any]
    time_zone: str


def refuse_long(start: datetime, end: datetime) -> None:
    """Raises TooMuchToReadError. An hour more: a clock may have been set back."""
    days = (end - start - timedelta(hours=1)) / timedelta(days=1)
    if days > MAX_DAYS:
        raise TooMuchToReadError(f"this is about {days:,.0f} days")


def refuse_many(requests: int) -> None:
    """Raises TooMuchToReadError."""
    if requests > MAX_REQUESTS:
        raise TooMuchToReadError(f"this is about {requests:,} requests")


def read_tagged_sums(asked: TaggedSums) -> list[tuple[Any, ...]]:
    """Rows of (bucket, *columns, *MEASURES). Raises TooMuchToReadError where it takes too long."""
    step = MINUTE if asked.by_minute or asked.interval == "minute" else QUARTER_HOUR
    of = {c: tag_value(f"key_{c}") if c in asked.tags else f"s.{c}" for c in asked.columns}
    sql = _READ.format(
        bucket=_BUCKETS[asked.interval],
        outer="".join(f", r.{column}" for column in asked.columns),
        inner="".join(f", {of[column]} AS {column}" for column in asked.columns),
        where=f"WHERE {' AND '.join(asked.conditions)}" if asked.conditions else "",
        groups=", ".join(str(n) for n in range(1, len(asked.columns) + 2)),
    )
    parameters: dict[str, Any] = {
        "tenant_id": current_tenant_id(),
        "time_zone": asked.time_zone,
        "start": floor_to(asked.start, step),
        "end": ceil_to(asked.end, step),
        **{f"key_{column}": key for column, key in asked.tags.items()},
        **asked.parameters,
    }
    try:
        return _within_limits(sql, parameters)
    except OperationalError as error:
        if "statement timeout" not in str(error):
            raise
        raise TooMuchToReadError("this takes longer") from error


def _within_limits(sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    # A savepoint: a statement that is given up takes its limits with it, and the scope goes on.
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('work_mem')")
        before = cursor.fetchone()
        _set(cursor, str(LONGEST_READ_MS), WORK_MEMORY)
        cursor.execute(sql, parameters)
        found = list(cursor.fetchall())
        _set(cursor, *before)
    return found


def _set(cursor: Any, statement_timeout: str, work_memory: str) -> None:
    cursor.execute(
        "SELECT set_config('statement_timeout', %s, true), set_config('work_mem', %s, true)",
        [statement_timeout, work_memory],
    )


def list_tag_keys(now: datetime) -> list[str]:
    """Tags that the requests recorded last carry, the commonest first."""
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, [current_tenant_id(), now - LOOKED_BACK, LOOKED_AT, MAX_KEYS])
        return [row[0] for row in cursor.fetchall()]


def tags_among(columns: Mapping[Dimension, str]) -> dict[str, str]:
    """Column -> key, of those dimensions (dimension -> column) that are tags."""
    return {column: key for name, column in columns.items() if (key := tag_of(name)) is not None}
