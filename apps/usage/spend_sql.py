"""From a question about spend to one SQL statement over one rollup. Part of selectors."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

QUARTER_HOUR = timedelta(minutes=15)

# Dimension -> the slice's column. Several dimensions may share one: labels differ.
COLUMN_OF = {
    "model": "model",
    "provider": "provider",
    "backend": "backend_id",
    "kind": "backend_id",
    "customer": "customer_id",
    "tier": "customer_id",
    "department": "department_id",
    "department_tree": "department_id",
    "project": "project",
    "environment": "environment",
    "task": "task",
    "router": "api_key_id",
    "status": "status",
}

SUMS = """sum(r.cost_usd), sum(r.requests)::bigint,
    sum(r.uncached_input_tokens + r.cache_read_tokens + r.cache_write_5m_tokens
        + r.cache_write_1h_tokens)::bigint,
    sum(r.cache_read_tokens)::bigint,
    sum(r.cache_write_5m_tokens + r.cache_write_1h_tokens)::bigint,
    sum(r.output_tokens)::bigint, sum(r.unpriced_requests)::bigint,
    sum(r.revenue_usd), sum(r.conversions)::bigint, sum(r.reasoning_tokens)::bigint,
    sum(r.latency_ms_sum)::bigint, sum(r.latency_count)::bigint"""


# Where charges were moved away, sums of nothing are left behind.
SOMETHING = "sum(r.requests) <> 0 OR sum(r.cost_usd) <> 0 OR sum(r.unpriced_requests) <> 0"


@dataclass(frozen=True, slots=True)
class Source:
    """The rollup that answers, and the bounds as its buckets have them: [start, end)."""

    table: str
    start: Any
    end: Any


def floor_to(moment: datetime, step: timedelta) -> datetime:
    return moment - (moment - datetime(2000, 1, 1, tzinfo=UTC)) % step


def ceil_to(moment: datetime, step: timedelta) -> datetime:
    return moment + (datetime(2000, 1, 1, tzinfo=UTC) - moment) % step


def is_local_midnight(moment: datetime, zone: ZoneInfo) -> bool:
    return moment.astimezone(zone).time() == time.min


def choose_source(
    start: datetime, end: datetime, interval: str | None, zone: ZoneInfo, *, by_minute: bool
) -> Source:
    """The coarsest rollup whose buckets can answer; bounds are widened to its buckets."""
    if interval == "minute" or by_minute:
        minute = timedelta(minutes=1)
        return Source("usage_rollup_minute", floor_to(start, minute), ceil_to(end, minute))
    whole_days = is_local_midnight(start, zone) and is_local_midnight(end, zone)
    if whole_days and interval in (None, "day", "week", "month"):
        return Source(
            "usage_rollup_day", start.astimezone(zone).date(), end.astimezone(zone).date()
        )
    return Source(
        "usage_rollup_quarter_hour",
        floor_to(start, QUARTER_HOUR),
        ceil_to(end, QUARTER_HOUR),
    )


def bucket_expression(table: str, interval: str | None) -> str:
    """The reported bucket of a rollup row: a date for days, weeks and months, else an instant."""
    if interval is None:
        return "NULL"
    if interval == "minute":
        return "r.bucket"
    if interval == "hour":
        return "date_trunc('hour', r.bucket, %(time_zone)s)"
    local_day = (
        "r.bucket" if table == "usage_rollup_day" else "(r.bucket AT TIME ZONE %(time_zone)s)::date"
    )
    return local_day if interval == "day" else f"date_trunc('{interval}', {local_day})::date"


def spend_sql(
    source: Source, interval: str | None, columns: list[str], conditions: list[str]
) -> str:
    """Rows of (bucket, *columns, *SUMS), each group once."""
    bucket = bucket_expression(source.table, interval)
    selected = "".join(f", s.{column}" for column in columns)
    join = (
        " JOIN usage_slice AS s ON s.tenant_id = r.tenant_id AND s.id = r.slice_id"
        if columns or conditions
        else ""
    )
    where = "".join(f" AND {condition}" for condition in conditions)
    groups = ", ".join(str(n) for n in range(1, len(columns) + 2))
    return (
        f"SELECT {bucket}{selected}, {SUMS} FROM {source.table} AS r{join}"
        " WHERE r.tenant_id = %(tenant_id)s AND r.bucket >= %(start)s AND r.bucket < %(end)s"
        f"{where} GROUP BY {groups} HAVING {SOMETHING}"
    )
