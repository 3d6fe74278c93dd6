"""Spend in the currency that the tenant reports in. A part of selectors.

Rollups know local days, so a sum over any number of events is one statement over days, and one for
the rates; what is shown is this, with the original USD beside it.
"""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from apps.tenants.core.exchange import EXACT, USD, Converted, Rates
from apps.tenants.exchange import read_rates
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.selectors import SpendQuery, SpendRow, read_spend


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
    """
    tenant = get_tenant()
    rates = None if tenant.currency == USD else _rates_of(query, tenant)
    return read_spend(query, rates=rates).rows


def _rates_of(query: SpendQuery, tenant: TenantInfo) -> Rates:
    first = tenant.local_date(query.start)
    last = tenant.local_date(query.end - timedelta(microseconds=1))
    return read_rates(tenant.currency, first=first, last=last)


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
