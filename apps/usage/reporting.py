"""Spend in the currency that the tenant reports in. A part of selectors.

Rollups know local days, so a sum over any number of events is one statement by day, and one for the
rates; what is shown is this, with the original USD beside it.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from apps.tenants.core.exchange import EXACT, USD, Converted, Rates
from apps.tenants.exchange import read_rates
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.selectors import MEASURES, Interval, SpendQuery, SpendRow, read_spend


def read_reporting(query: SpendQuery) -> Converted | None:
    """What `query` sums to, each local day at its own rate. None while reports are in USD."""
    tenant = get_tenant()
    if tenant.currency == USD:
        return None
    by_day = replace(query, group_by=(), interval="day", by_minute=False)
    costs: dict[date, Decimal] = {}
    for row in read_spend(by_day).rows:
        if isinstance(row.bucket, date):
            costs[row.bucket] = EXACT.add(costs.get(row.bucket, Decimal(0)), row.cost_usd)
    return _rates_of(query, tenant).convert(costs)


def read_reported(query: SpendQuery) -> list[SpendRow]:
    """The rows of `read_spend`, with what each came to in the tenant's own currency: `reported`,
    each local day at its own rate; None where a day with a cost has no rate, or reports are in USD.

    Read by day (by hour where hours are asked for) and summed here: its cost grows with days times
    groups.
    """
    tenant = get_tenant()
    if tenant.currency == USD:
        return read_spend(query).rows
    finer = replace(query, interval="hour" if query.interval == "hour" else "day")
    rates = _rates_of(query, tenant)
    found: dict[tuple[Any, ...], SpendRow] = {}
    per_usd: dict[date, Decimal | None] = {}
    for row in read_spend(finer).rows:
        bucket = row.bucket
        day = tenant.local_date(bucket) if isinstance(bucket, datetime) else bucket
        assert day is not None  # noqa: S101 - rows by day have one
        if day not in per_usd:
            per_usd[day] = rates.on(day)
        place = bucket if query.interval == "hour" else _bucket_of(day, query.interval)
        one = replace(row, bucket=place, reported=_at(per_usd[day], row.cost_usd))
        key = (place, *row.labels.values())
        found[key] = _plus(found[key], one) if key in found else one
    return list(found.values())


def _rates_of(query: SpendQuery, tenant: TenantInfo) -> Rates:
    first = tenant.local_date(query.start)
    last = tenant.local_date(query.end - timedelta(microseconds=1))
    return read_rates(tenant.currency, first=first, last=last)


def _bucket_of(day: date, interval: Interval | None) -> date | None:
    if interval == "week":
        return day - timedelta(days=day.weekday())
    if interval == "month":
        return day.replace(day=1)
    return day if interval == "day" else None


def _at(per_usd: Decimal | None, cost_usd: Decimal) -> Decimal | None:
    if not cost_usd:
        return Decimal(0)
    return None if per_usd is None else EXACT.multiply(cost_usd, per_usd)


def _plus(row: SpendRow, other: SpendRow) -> SpendRow:
    sums: dict[str, Any] = {}
    for name in MEASURES:
        mine, theirs = getattr(row, name), getattr(other, name)
        sums[name] = EXACT.add(mine, theirs) if isinstance(mine, Decimal) else mine + theirs
    unknown = row.reported is None or other.reported is None
    sums["reported"] = None if unknown else EXACT.add(row.reported or 0, other.reported or 0)
    return replace(row, **sums)


def read_month_average(start: datetime, end: datetime, usd: Decimal) -> Converted | None:
    """`usd` of a statement of the month [start, end), at what the whole month came to.

    A statement holds shares and adjustments, which have no day: they go by the average of the
    month's days, weighed by what each cost. So statements add up in both currencies. None while
    reports are in USD, and for a month that cost nothing: it has no average.
    """
    month = read_reporting(SpendQuery(start=start, end=end))
    if month is None or not month.usd:
        return None
    return replace(month, usd=usd, amount=month.part(usd))
