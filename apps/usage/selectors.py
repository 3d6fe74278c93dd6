"""The only reader of ledger and rollups. Spend is read from rollups; by tags, from the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any, Literal

from django.db import connection

from apps.pricing.core.money import EXACT
from apps.tenants.core.exchange import Rates
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.dimensions import Dimension, are_of_slices
from apps.usage.slice_labels import SliceLabels, slice_conditions
from apps.usage.spend_sql import COLUMN_OF, choose_spans, column_names, spend_sql
from apps.usage.tagged_sums import (
    TaggedSums,
    TooMuchToReadError,
    read_tagged_sums,
    refuse_long,
    refuse_many,
    tags_among,
)

__all__ = [
    "MEASURES",
    "Dimension",
    "Interval",
    "Spend",
    "SpendQuery",
    "SpendRow",
    "TooMuchToReadError",
    "list_tenants_with_pending_usage",
    "list_tenants_with_usage_since",
    "read_last_event_at",
    "read_spend",
]

Interval = Literal["minute", "hour", "day", "week", "month"]


@dataclass(frozen=True, slots=True)
class SpendQuery:
    """What to sum: [start, end) in time, by which dimensions, in which buckets, which rows.

    Buckets are the tenant's local days, weeks (from Monday) and months. Filter values are those
    that rows carry; None among them means "not attributed". Bounds are widened to whole quarter
    hours, or to minutes with `by_minute` or interval "minute", which reach back 48 hours.

    A tag is a dimension as any other, `tag.KEY`; what names one is read from the ledger, within
    limits (tagged_sums.py).
    """

    start: datetime
    end: datetime
    group_by: tuple[Dimension, ...] = ()
    interval: Interval | None = None
    filters: Mapping[Dimension, tuple[str | None, ...]] = field(default_factory=dict)
    by_minute: bool = False


@dataclass(frozen=True, slots=True)
class SpendRow:
    """Sums over one group. `labels` holds the group's dimension values (None: not attributed)."""

    labels: Mapping[str, str | None]
    bucket: date | datetime | None
    cost_usd: Decimal
    requests: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    unpriced_requests: int
    # What events said they earned; a customer's contract is not in it.
    revenue_usd: Decimal
    conversions: int
    reasoning_tokens: int = 0
    latency_ms_sum: int = 0
    latency_count: int = 0
    # Cost and revenue in another currency, each day at its own rate; None where no rates were
    # given, or a day with any has none.
    reported: Decimal | None = None
    reported_revenue: Decimal | None = None

    @property
    def cost(self) -> Decimal:
        """In the currency that it was read in."""
        return self.cost_usd if self.reported is None else self.reported

    @property
    def revenue(self) -> Decimal:
        return self.revenue_usd if self.reported_revenue is None else self.reported_revenue

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Spend:
    total: SpendRow
    rows: list[SpendRow]


MEASURES = (
    "cost_usd",
    "requests",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "output_tokens",
    "unpriced_requests",
    "revenue_usd",
    "conversions",
    "reasoning_tokens",
    "latency_ms_sum",
    "latency_count",
)
NOTHING: tuple[Any, ...] = (Decimal(0), 0, 0, 0, 0, 0, 0, Decimal(0), 0, 0, 0, 0)
# Cost and revenue converted, and of both what has no rate.
NOTHING_CONVERTED: tuple[Any, ...] = (Decimal(0),) * 4


def read_spend(query: SpendQuery, *, rates: Rates | None = None) -> Spend:
    """Sums of the tenant in scope; rows by bucket, then cost, highest first. With `rates` each
    local day is converted at its own, in the database: `reported` of the rows, where no tag is
    asked for.

    Raises TooMuchToReadError where tags are asked for and the ledger holds too much to look.
    """
    tenant = get_tenant()
    labels = SliceLabels()
    place = column_names(query.group_by)
    columns = sorted(set(place.values()))
    if are_of_slices((*query.group_by, *query.filters)):
        found = _read_sums(query, columns, tenant, labels, rates)
    else:
        rates = None
        found = _read_tagged(query, columns, tenant, labels)
    sums: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for bucket, *rest in found:
        values = dict(zip(columns, rest[: len(columns)], strict=True))
        # Dimensions that share a column (customer, tier) may fold several rows into one.
        group = (bucket, *(labels.of(d, values[place[d]]) for d in query.group_by))
        measures = tuple(rest[len(columns) :])
        known = sums.get(group)
        sums[group] = measures if known is None else _add(known, measures)
    rows = [_row(query.group_by, group, measures) for group, measures in sums.items()]
    rows.sort(key=lambda row: (str(row.bucket or ""), -row.cost_usd, -row.requests))
    nothing = NOTHING if rates is None else NOTHING + NOTHING_CONVERTED
    return Spend(total=_row((), (None,), _add(nothing, *sums.values())), rows=rows)


def _read_sums(
    query: SpendQuery,
    columns: list[str],
    tenant: TenantInfo,
    labels: SliceLabels,
    rates: Rates | None,
) -> list[tuple[Any, ...]]:
    """Rows of (bucket, *columns, *MEASURES), and with rates what they come to at them."""
    spans = choose_spans(
        query.start,
        query.end,
        query.interval,
        tenant.zone,
        by_minute=query.by_minute,
        with_months=rates is None,
    )
    if not spans:
        return []
    conditions, wanted = slice_conditions(query.filters, labels)
    filtered = [COLUMN_OF[dimension] for dimension in query.filters]
    statement, bounds = spend_sql(
        spans,
        query.interval,
        columns,
        conditions,
        filtered=filtered,
        converted=rates is not None,
    )
    parameters = {"tenant_id": tenant.id, "time_zone": tenant.time_zone, **bounds, **wanted}
    if rates is not None:
        # A cover may take a whole day and give back the quarter hours that were not asked for.
        first, last = tenant.local_date(query.start), tenant.local_date(query.end)
        known = rates.by_day(first - timedelta(days=1), last + timedelta(days=1))
        parameters |= {"rate_days": list(known), "rates": list(known.values())}
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def _read_tagged(
    query: SpendQuery, columns: list[str], tenant: TenantInfo, labels: SliceLabels
) -> list[tuple[Any, ...]]:
    """As `_read_sums`, request by request. How many there are to look at, rollups know."""
    refuse_long(query.start, query.end)
    within = {d: wanted for d, wanted in query.filters.items() if are_of_slices([d])}
    whole = replace(query, group_by=(), interval=None, filters=within)
    refuse_many(sum(row[2] for row in _read_sums(whole, [], tenant, labels, None)))
    conditions, parameters = slice_conditions(query.filters, labels)
    return read_tagged_sums(
        TaggedSums(
            start=query.start,
            end=query.end,
            interval=query.interval,
            by_minute=query.by_minute,
            columns=columns,
            tags=tags_among(column_names(query.group_by)),
            conditions=conditions,
            parameters=parameters,
            time_zone=tenant.time_zone,
        )
    )


def read_last_event_at() -> datetime | None:
    """The minute (quarter hour, if older than two days) of the newest event rolled up."""
    for table in ("usage_rollup_minute", "usage_rollup_quarter_hour"):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT bucket FROM {table} WHERE tenant_id = %s ORDER BY bucket DESC LIMIT 1",
                [current_tenant_id()],
            )
            row = cursor.fetchone()
        if row:
            found: datetime = row[0]
            return found
    return None


def list_tenants_with_usage_since(first_day: date) -> list[int]:
    """Tenants whose rollups hold anything of that local day or later. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_usage_since(%s)", [first_day])
        return [row[0] for row in cursor.fetchall()]


def list_tenants_with_pending_usage() -> list[int]:
    """Tenants whose newest events are not in the rollups yet. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_pending_usage()")
        return [row[0] for row in cursor.fetchall()]


def _add(*rows: tuple[Any, ...]) -> tuple[Any, ...]:
    # Python's usual 28 digits would round a sum of exact amounts.
    return tuple(
        reduce(EXACT.add, column) if isinstance(column[0], Decimal) else sum(column)
        for column in zip(*rows, strict=True)
    )


def _row(
    group_by: tuple[Dimension, ...], group: tuple[Any, ...], measures: tuple[Any, ...]
) -> SpendRow:
    # By place, in MEASURES' order: a page makes thousands of these.
    labels = dict(zip(group_by, group[1:], strict=True))
    if len(measures) == len(MEASURES):
        return SpendRow(labels, group[0], *measures)
    cost, revenue, cost_left, revenue_left = measures[len(MEASURES) :]
    row = SpendRow(labels, group[0], *measures[: len(MEASURES)])
    return replace(
        row,
        reported=None if cost_left else cost,
        reported_revenue=None if revenue_left else revenue,
    )
