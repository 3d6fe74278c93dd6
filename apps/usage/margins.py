"""Cost to serve against revenue, by any dimensions. Part of selectors."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Final

from apps.tenants.contracts import list_contracts
from apps.tenants.core.contracts import accrued_usd
from apps.tenants.core.exchange import Rates
from apps.tenants.selectors import get_tenant, list_customers
from apps.usage.core.margins import Earnings, contract_part
from apps.usage.selectors import Dimension, SpendQuery, SpendRow, read_spend

# What a customer carries itself: narrowed to these alone, a contract still counts in whole.
_OF_CUSTOMERS: Final[frozenset[Dimension]] = frozenset({"customer", "tier"})

Labels = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Margins:
    """Earnings by the labels of `group_by`, in its order."""

    rows: dict[Labels, Earnings]
    # Whether anything says what is earned: without, a margin is but the cost.
    has_revenue: bool

    @property
    def whole(self) -> Earnings:
        return add_up(self.rows.values())


def read_margins(query: SpendQuery, *, until: datetime) -> Margins:
    """What each group cost and earned; contracts accrue from the query's start to `until`.

    A contract of which nothing was used stands where its customer does, its other labels None.
    """
    asked = query.group_by
    extra = () if "customer" in asked else ("customer",)
    rows = read_spend(replace(query, group_by=(*asked, *extra), interval=None)).rows
    return settle_margins(query, rows, until=until)


def settle_margins(
    query: SpendQuery,
    rows: Sequence[SpendRow],
    *,
    until: datetime,
    rates: Rates | None = None,
) -> Margins:
    """`read_margins` of rows that were read by the query's dimensions and customer; of rows that
    were read with `rates`, in that currency."""
    found = _settle(query, rows, until, None)
    if rates is not None:
        original, found = found, _settle(query, rows, until, rates)
        found = {key: replace(one, original=original[key]) for key, one in found.items()}
    return Margins(found, has_revenue=any(one.revenue for one in found.values()))


def _settle(
    query: SpendQuery, rows: Sequence[SpendRow], until: datetime, rates: Rates | None
) -> dict[Labels, Earnings]:
    asked = query.group_by
    contracts = read_accrued(query.start, min(until, query.end), rates)
    whole = _requests_by_customer(query, rows) if contracts else {}
    found: dict[Labels, Earnings] = {}
    for row in rows:
        customer = row.labels["customer"]
        part = contract_part(
            contracts.get(customer or "", Decimal(0)), row.requests, whole.get(customer, 0)
        )
        labels = tuple(row.labels[dimension] for dimension in asked)
        found[labels] = found.get(labels, Earnings()).plus(_earnings(row, part, rates))
    if query.filters.keys() <= _OF_CUSTOMERS:
        for labels, earned in _unused(query, contracts, whole):
            found[labels] = found.get(labels, Earnings()).plus(earned)
    return found


def read_accrued(start: datetime, end: datetime, rates: Rates | None = None) -> dict[str, Decimal]:
    """By customer: what contracts accrued over [start, end), where that is anything; with `rates`
    each day at its own, or the nearest there is."""
    zone = get_tenant().zone
    # Many contracts ask for the same days.
    rate_on = cache(lambda day: (rates and rates.nearest(day)) or Decimal(1))
    accrued: dict[str, Decimal] = {}
    for contract in list_contracts():
        amount = accrued_usd(contract, start, end, zone, rate_on)
        if amount:
            accrued[contract.customer] = accrued.get(contract.customer, Decimal(0)) + amount
    return accrued


def add_up(parts: Iterable[Earnings]) -> Earnings:
    whole = Earnings()
    for one in parts:
        whole = whole.plus(one)
    return whole


def _earnings(row: SpendRow, contract: Decimal, rates: Rates | None) -> Earnings:
    return Earnings(
        row.cost_usd if rates is None else row.cost,
        row.revenue_usd if rates is None else row.revenue,
        contract,
        row.requests,
        row.conversions,
        row.unpriced_requests,
    )


def _requests_by_customer(query: SpendQuery, rows: Iterable[SpendRow]) -> dict[str | None, int]:
    """All requests of each customer, whatever the query is narrowed to."""
    if not query.filters.keys() <= _OF_CUSTOMERS:
        rows = read_spend(replace(query, group_by=("customer",), interval=None, filters={})).rows
    found: dict[str | None, int] = {}
    for row in rows:
        customer = row.labels["customer"]
        found[customer] = found.get(customer, 0) + row.requests
    return found


def _unused(
    query: SpendQuery, contracts: Mapping[str, Decimal], whole: Mapping[str | None, int]
) -> Iterable[tuple[Labels, Earnings]]:
    """Contracts of customers that asked for nothing."""
    tiers = {one.external_id: one.tier for one in list_customers()}
    for customer, amount in contracts.items():
        own: dict[Dimension, str | None] = {"customer": customer, "tier": tiers.get(customer)}
        wanted = all(own[d] in values for d, values in query.filters.items())
        if wanted and not whole.get(customer):
            yield tuple(own.get(d) for d in query.group_by), Earnings(contract=amount)
