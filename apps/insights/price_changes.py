"""Price changes that are on record: what the recent mix costs at the rates of other days."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from apps.insights.core.known_days import PriceStep, local_midnight
from apps.pricing.core.rate_card import MeteredUsage, RateCard
from apps.pricing.selectors import list_backends
from apps.tenants.selectors import TenantInfo
from apps.usage.hourly import BETWEEN, SeriesKey, read_department_parents
from apps.usage.selectors import Dimension, Spend, SpendQuery, SpendRow, read_spend

Filters = Mapping[Dimension, tuple[str | None, ...]]
Factors = Mapping[SeriesKey, float]

MIX_LENGTH: Final = timedelta(days=28)
MAX_STEPS: Final = 50
LEAST_CHANGE: Final = 1e-6
SERIES_COLUMNS: Final[Mapping[str, tuple[Dimension, ...]]] = {
    "all": (),
    "model": ("model",),
    "backend": ("backend",),
    "customer": ("customer",),
    "department": ("department",),
    "project": ("project",),
    "model_task": ("model", "task"),
}


def read_price_steps(
    filters: Filters, tenant: TenantInfo, *, start: datetime, end: datetime, now: datetime
) -> list[PriceStep]:
    """How rates on record between `start` and `end` make a scope's recent usage dearer or cheaper.

    Usage of the last four weeks is rated again, backend by backend, at standard prices. Own
    hardware is left out: its prices follow from its use. Nothing is read when no rate changes.
    """
    cards = _cloud_cards()
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


def read_price_factors(tenant: TenantInfo, *, at: datetime, until: datetime) -> Factors:
    """By how much rates that begin or end from `at` to before `until` change what each watched
    series costs, by its usage of the four weeks before; series that they do not change are left
    out. A statement for each kind of series, whatever their number."""
    cards = _cloud_cards()
    before = at - timedelta(seconds=1)
    moments = {moment for card in cards.values() for moment in _edges(card, before, until)}
    if not moments:
        return {}
    parents = read_department_parents()
    factors: dict[SeriesKey, float] = {}
    for dimension, columns in SERIES_COLUMNS.items():
        mixes: dict[SeriesKey, list[SpendRow]] = {}
        mix = read_recent({}, tenant, now=at, group_by=tuple(dict.fromkeys((*columns, "backend"))))
        for row in mix.rows:
            values = [row.labels[column] for column in columns]
            for key in _keys_of(dimension, values, parents):
                mixes.setdefault((dimension, key), []).append(row)
        for series, rows in mixes.items():
            factor = _factor(rows, cards, (before, max(moments)), at)
            if factor > 0 and abs(factor - 1) > LEAST_CHANGE:
                factors[series] = factor
    return factors


def _keys_of(dimension: str, values: list[str | None], parents: Mapping[str, str]) -> Iterator[str]:
    """The series that a row belongs to: one, or a department and those above it; none where it is
    not attributed."""
    if None in values:
        return
    key: str | None = BETWEEN.join(value for value in values if value is not None)
    for _ in range(len(parents) + 1):
        if key is None:
            return
        yield key
        key = parents.get(key) if dimension == "department" else None


def _factor(
    mix: list[SpendRow],
    cards: Mapping[str, RateCard],
    moments: tuple[datetime, datetime],
    now: datetime,
) -> float:
    whole = sum((row.cost_usd for row in mix if row.cost_usd > 0), Decimal(0))
    if not whole:
        return 1.0
    then, after = (_multiplier(mix, cards, moment, now, whole) for moment in moments)
    return after / then if then > 0 else 1.0


def _cloud_cards() -> dict[str, RateCard]:
    return {b.key: b.card for b in list_backends() if b.card is not None and b.kind == "cloud"}


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
