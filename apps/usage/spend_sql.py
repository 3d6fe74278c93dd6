"""From a question about spend to one SQL statement over few rows of rollups. Part of selectors."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from apps.usage.core.cover import MINUTE, Grain, Span, ceil_to, cover, floor_to, quarter_hours
from apps.usage.dimensions import Dimension
from apps.usage.facets import choose_rollup
from apps.usage.measures import FROM_LEDGER

# Dimension -> the slice's column. Several dimensions may share one: labels differ.
COLUMN_OF: dict[str, str] = {
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


# Cost and revenue in another currency, each local day at its own rate (`x`); and what has none.
CONVERTED = """,
    coalesce(sum(r.cost_usd * x.per_usd), 0),
    coalesce(sum(r.revenue_usd * x.per_usd), 0),
    coalesce(sum(r.cost_usd) FILTER (WHERE x.per_usd IS NULL), 0),
    coalesce(sum(r.revenue_usd) FILTER (WHERE x.per_usd IS NULL), 0)"""
RATES = """
    LEFT JOIN unnest(%(rate_days)s::date[], %(rates)s::numeric[]) AS x(day, per_usd) USING (day)"""


# Where charges were moved away, sums of nothing are left behind.
SOMETHING = "sum(r.requests) <> 0 OR sum(r.cost_usd) <> 0 OR sum(r.unpriced_requests) <> 0"


def column_names(dimensions: Iterable[Dimension]) -> dict[Dimension, str]:
    """What a statement calls the column of each dimension; a tag has a column of its own."""
    return {
        dimension: COLUMN_OF.get(dimension, f"tag_{number}")
        for number, dimension in enumerate(dimensions)
    }


def tag_value(parameter: str) -> str:
    """The value of a tag of a ledger row `l`; `parameter` holds its key. An empty one is none."""
    return f"nullif(l.tags ->> %({parameter})s, '')"


def choose_spans(
    start: datetime,
    end: datetime,
    interval: str | None,
    zone: ZoneInfo,
    *,
    by_minute: bool,
    with_months: bool = True,
) -> tuple[Span, ...]:
    """The buckets that add up to [start, end), which is widened to quarter hours or minutes.
    Without months each knows its local day."""
    if interval == "minute" or by_minute:
        start, end = floor_to(start, MINUTE), ceil_to(end, MINUTE)
        return (Span("minute", start, end),) if start < end else ()
    if interval == "hour":
        return quarter_hours(start, end)
    return cover(start, end, zone, with_months=with_months and interval in (None, "month"))


def bucket_expression(grain: Grain, interval: str | None) -> str:
    """The reported bucket of a rollup row: a date for days, weeks and months, else an instant."""
    if interval is None:
        return "NULL"
    if interval == "minute":
        return "r.bucket"
    if interval == "hour":
        return "date_trunc('hour', r.bucket, %(time_zone)s)"
    local_day = day_expression(grain)
    return local_day if interval == "day" else f"date_trunc('{interval}', {local_day})::date"


def day_expression(grain: Grain) -> str:
    """The local day of a rollup row; of a month its first."""
    if grain in ("day", "month"):
        return "r.bucket"
    return "(r.bucket AT TIME ZONE %(time_zone)s)::date"


def rows_sql(
    spans: Sequence[Span],
    interval: str | None,
    columns: Sequence[str],
    conditions: Sequence[str],
    *,
    filtered: Sequence[str],
    with_day: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Rows of rollups that add up to what is asked: (bucket, *columns, *measures), and bounds.

    Taken away they are negative. `conditions` are about slices `s` and their columns `filtered`.
    """
    parts: list[str] = []
    bounds: dict[str, Any] = {}
    needed = {*columns, *filtered}
    selected = "".join(f", s.{column}" for column in columns)
    where = "".join(f" AND {condition}" for condition in conditions)
    for n, span in enumerate(spans):
        rollup = choose_rollup(span.grain, needed)
        join = (
            f" JOIN {rollup.slices} AS s ON s.tenant_id = r.tenant_id AND s.id = r.slice_id"
            if needed
            else ""
        )
        sign = "-" if span.sign < 0 else ""
        measures = "".join(f", {sign}r.{column} AS {column}" for column in FROM_LEDGER)
        measures += f", {day_expression(span.grain)} AS day" if with_day else ""
        parts.append(
            f"SELECT {bucket_expression(span.grain, interval)} AS bucket{selected}{measures}"
            f" FROM {rollup.table} AS r{join} WHERE r.tenant_id = %(tenant_id)s"
            f" AND r.bucket >= %(start_{n})s AND r.bucket < %(end_{n})s{where}"
        )
        bounds |= {f"start_{n}": span.start, f"end_{n}": span.end}
    return " UNION ALL ".join(parts), bounds


def spend_sql(
    spans: Sequence[Span],
    interval: str | None,
    columns: Sequence[str],
    conditions: Sequence[str],
    *,
    filtered: Sequence[str],
    converted: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Rows of (bucket, *columns, *SUMS), each group once; and the bounds. Needs a span.

    `converted` adds CONVERTED by the parameters `rate_days` and `rates`; spans are without months.
    """
    rows, bounds = rows_sql(
        spans, interval, columns, conditions, filtered=filtered, with_day=converted
    )
    sums, rates = (SUMS + CONVERTED, RATES) if converted else (SUMS, "")
    selected = "".join(f", r.{column}" for column in columns)
    groups = ", ".join(str(n) for n in range(1, len(columns) + 2))
    grouped = f"GROUP BY {groups} HAVING {SOMETHING}"
    return f"SELECT r.bucket{selected}, {sums} FROM ({rows}) AS r{rates} {grouped}", bounds
