"""Price changes that are on record: what the recent mix costs at the rates of other days."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from apps.insights.core.known_days import PriceStep, local_midnight
from apps.pricing.core.rate_card import MeteredUsage, RateCard
from apps.pricing.selectors import list_backends
from apps.tenants.selectors import TenantInfo
from apps.usage.selectors import Dimension, Spend, SpendQuery, SpendRow, read_spend

Filters = Mapping[Dimension, tuple[str | None, ...]]

MIX_LENGTH: Final = timedelta(days=28)
MAX_STEPS: Final = 50


def read_price_steps(
    filters: Filters, tenant: TenantInfo, *, start: datetime, end: datetime, now: datetime
) -> list[PriceStep]:
    """How rates on record between `start` and `end` make a scope's recent usage dearer or cheaper.

    Usage of the last four weeks is rated again, backend by backend, at standard prices. Own
    hardware is left out: its prices follow from its use. Nothing is read when no rate changes.
    """
    cards = {b.key: b.card for b in list_backends() if b.card is not None and b.kind == "cloud"}
    edges = {key: _edges(card, start, end) for key, card in cards.items()}
    moments = sorted({moment for found in edges.values() for moment in found})[-MAX_STEPS:]
    if not moments:
        return []
    mix = read_recent(filters, tenant, now=now, group_by=("backend",)).rows
    whole = sum((row.cost_usd for row in mix if row.cost_usd > 0), Decimal(0))
    if not whole:
        return []
    steps = [PriceStep(start, _multiplier(mix, cards, start, now, whole))]
    steps += [PriceStep(at, _multiplier(mix, cards, at, now, whole)) for at in moments]
    return steps if any(abs(step.multiplier - 1) > 1e-9 for step in steps) else []


def read_recent(
    filters: Filters, tenant: TenantInfo, *, now: datetime, group_by: tuple[Dimension, ...] = ()
) -> Spend:
    """The last four weeks of whole local days: the day rollup answers, which is small."""
    today = tenant.local_date(now)
    query = SpendQuery(
        start=local_midnight(today - MIX_LENGTH, tenant.zone),
        end=local_midnight(today + timedelta(days=1), tenant.zone),
        group_by=group_by,
        filters=filters,
    )
    return read_spend(query)


def _edges(card: RateCard, start: datetime, end: datetime) -> set[datetime]:
    dates = {date for rate in card.rates for date in (rate.effective_from, rate.effective_to)}
    return {date for date in dates if date is not None and start < date < end}


def _multiplier(
    mix: list[SpendRow],
    cards: Mapping[str, RateCard],
    at: datetime,
    now: datetime,
    whole: Decimal,
) -> float:
    changed = Decimal(0)
    for row in mix:
        card = cards.get(row.labels["backend"] or "")
        if card is None or row.cost_usd <= 0 or not row.requests:
            continue
        today, then = _request_cost(row, card, now), _request_cost(row, card, at)
        if today > 0 and then > 0:
            changed += row.cost_usd * (Decimal(then) / today - 1)
    return float(max(1 + changed / whole, Decimal(0)))


def _request_cost(row: SpendRow, card: RateCard, at: datetime) -> int:
    """The mean request of a row at that time, in 1e-24 USD; -1 when it has no price then."""
    read, written = row.cache_read_tokens, row.cache_write_tokens
    uncached = max(row.input_tokens - read - written, 0)
    mean = MeteredUsage(
        uncached_input_tokens=round(uncached / row.requests),
        cache_read_tokens=round(read / row.requests),
        cache_write_5m_tokens=round(written / row.requests),
        output_tokens=round(row.output_tokens / row.requests),
    )
    return card.cost_units_of(mean, at.timestamp())
