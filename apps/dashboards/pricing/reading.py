"""What the pricing page shows: backends with what they cost now, and how that came about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from apps.dashboards.colours import OTHER_PLACE, Series, backend_series
from apps.dashboards.periods import end_of_day, local_midnight, month_start
from apps.dashboards.pricing import words as pricing_words
from apps.dashboards.sentences import Answer
from apps.dashboards.services import keep_positions
from apps.pricing.core.meters import CACHE_READ, CACHE_WRITE_5M, INPUT, OUTPUT
from apps.pricing.core.rates import Rate
from apps.pricing.rate_history import Recording, read_recordings
from apps.pricing.selectors import (
    BackendInfo,
    CatalogueInfo,
    RateInfo,
    list_backends,
    read_catalogue_info,
    read_rates,
)
from apps.usage.selectors import SpendQuery, SpendRow, read_spend
from apps.usage.unresolved import Unresolved, list_unresolved

MOST_LISTED: Final = 200
MOST_UNPRICED: Final = 20
PER_MILLION: Final = 1_000_000
COLUMNS: Final = (INPUT, CACHE_READ, CACHE_WRITE_5M, OUTPUT)
SOURCES: Final = ("tenant", "catalogue", "default", "unpriced")


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One dated rate. `can_end`: an own rate that has not ended yet."""

    number: int
    meter: str
    condition: str
    usd_per_million: str
    effective_from: str
    effective_to: str
    in_force: bool
    source: str
    source_words: str
    recorded_at: str
    recorded_by: str
    can_end: bool


@dataclass(frozen=True, slots=True)
class BackendRow:
    """`prices` per million by meter, discounts taken off; empty while unpriced.

    `source`: whose they are now. `also`: what own rates beside them are for ("batch").
    """

    info: BackendInfo
    series: Series
    prices: Mapping[str, Decimal]
    source: str
    source_words: str
    since: datetime | None
    since_words: str
    discounted: bool
    also: str
    requests: int
    history: Sequence[HistoryRow] | None = None

    @property
    def key(self) -> str:
        return self.info.key

    @property
    def shown(self) -> tuple[str, ...]:
        """The prices that have a column, in words."""
        return tuple(pricing_words.price_words(self.prices.get(meter)) for meter in COLUMNS)


@dataclass(frozen=True, slots=True)
class PriceFilter:
    """What the list is narrowed to; empty is all."""

    search: str = ""
    source: str = ""
    kind: str = ""

    def lets_through(self, row: BackendRow) -> bool:
        return (
            self.search.lower() in row.key.lower()
            and self.source in ("", row.source, row.info.source)
            and self.kind in ("", row.info.kind)
        )


@dataclass(frozen=True, slots=True)
class PricingReport:
    answer: Answer
    rows: Sequence[BackendRow]
    unlisted_count: int
    whole_count: int
    unresolved: Sequence[Unresolved]
    unresolved_title: str
    catalogue: CatalogueInfo | None

    @property
    def waiting(self) -> bool:
        """Whether some name still has no rate at all."""
        return any(one.priced_as is None for one in self.unresolved)


def read_pricing(
    zone: ZoneInfo, now: datetime, wanted: PriceFilter, open_key: str = ""
) -> PricingReport:
    """Backends by use this month; the one whose key is `open_key` with its history."""
    backends = list_backends()
    spend = _spend_this_month(zone, now)
    rows = [_row(info, series, spend, zone, now) for info, series in _with_series(backends, spend)]
    rows.sort(key=lambda row: (-row.requests, row.key))
    found = [row for row in rows if wanted.lets_through(row)]
    today = now.astimezone(zone).date()
    unresolved = list_unresolved(
        first_day=month_start(today), last_day=today, limit=MOST_UNPRICED + 1
    )
    return PricingReport(
        answer=pricing_words.pricing_answer([_as_price(row) for row in rows], zone),
        rows=[_opened(row, open_key, zone, now) for row in found[:MOST_LISTED]],
        unlisted_count=max(0, len(found) - MOST_LISTED),
        whole_count=len(rows),
        unresolved=unresolved[:MOST_UNPRICED],
        unresolved_title=_unresolved_title(unresolved),
        catalogue=read_catalogue_info(),
    )


def read_backend_row(zone: ZoneInfo, now: datetime, key: str, *, opened: bool) -> BackendRow | None:
    """One backend as the page lists it, with its history where it is opened."""
    backends = [info for info in list_backends() if info.key == key]
    spend = _spend_this_month(zone, now)
    for info, series in _with_series(backends, spend):
        return _opened(_row(info, series, spend, zone, now), key if opened else "", zone, now)
    return None


def _spend_this_month(zone: ZoneInfo, now: datetime) -> list[SpendRow]:
    query = SpendQuery(
        start=local_midnight(month_start(now.astimezone(zone).date()), zone),
        end=end_of_day(now, zone),
        group_by=("backend", "model"),
    )
    return read_spend(query).rows


def _with_series(
    backends: Sequence[BackendInfo], spend: Iterable[SpendRow]
) -> Iterable[tuple[BackendInfo, Series]]:
    """Each backend in its model's colour; grey where nothing was asked of it this month."""
    models: dict[str, str] = {}
    for row in spend:
        models.setdefault(row.labels["backend"] or "", row.labels["model"] or "")
    positions = keep_positions(models.values())
    named = backend_series(
        [(b.key, models[b.key], b.kind) for b in backends if b.key in models], positions
    )
    for info in backends:
        head, _, tail = info.key.partition("/")
        plain = Series(
            key=info.key,
            name=tail or info.key,
            place=OTHER_PLACE,
            is_local=info.kind == "local",
            prefix=f"{head}/" if tail else "",
        )
        yield info, named.get(info.key, plain)


def _row(
    info: BackendInfo, series: Series, spend: Iterable[SpendRow], zone: ZoneInfo, now: datetime
) -> BackendRow:
    prices = info.card.unit_prices(now) if info.card else {}
    standard = _standard_rates(info, now)
    source = _source(info, standard)
    in_force = [rate for rate in standard if rate.meter in (INPUT, OUTPUT)]
    if source == "tenant":
        in_force = [rate for rate in in_force if rate.source == "tenant"] or in_force
    begun = [rate.effective_from for rate in in_force if rate.effective_from]
    since = max(begun, default=None)
    always = "always" if in_force else ""
    return BackendRow(
        info=info,
        series=series,
        prices=prices,
        source=source,
        source_words=pricing_words.SOURCE_WORDS[source],
        since=since,
        since_words=pricing_words.day_words(since, zone) if since else always,
        discounted=any(rate.discount for rate in standard),
        also=pricing_words.conditions_words(_own_conditions(info, now)),
        requests=sum(row.requests for row in spend if row.labels["backend"] == info.key),
    )


def _standard_rates(info: BackendInfo, now: datetime) -> list[Rate]:
    """The rates of every request that are in force now."""
    rates = info.card.rates if info.card else ()
    moment = now.timestamp()
    return [
        rate
        for rate in rates
        if rate.is_in_force(moment) and not rate.when and not rate.tier_start_tokens
    ]


def _source(info: BackendInfo, standard: Sequence[Rate]) -> str:
    """Whose the prices of every request are: own rates may be for batches alone."""
    if info.source != "tenant" or not standard:
        return info.source or "unpriced"
    return "tenant" if any(rate.source == "tenant" for rate in standard) else standard[0].source


def _own_conditions(info: BackendInfo, now: datetime) -> list[str]:
    """What the tenant's own rates are for today, where that is not every request."""
    moment = now.timestamp()
    found = (
        pricing_words.condition_words(
            dict(rate.when), rate.tier_start_tokens, rate.window_start_s, rate.window_end_s
        )
        for rate in (info.card.rates if info.card else ())
        if rate.source == "tenant" and rate.starts_at_s <= moment < rate.ends_at_s
    )
    return sorted(set(found) - {""})


def _opened(row: BackendRow, open_key: str, zone: ZoneInfo, now: datetime) -> BackendRow:
    if row.key != open_key or not open_key:
        return row
    return BackendRow(
        **{name: getattr(row, name) for name in BackendRow.__slots__ if name != "history"},
        history=read_history(row.info, zone, now),
    )


def read_history(info: BackendInfo, zone: ZoneInfo, now: datetime) -> list[HistoryRow]:
    """The rates that price a backend, past and to come too: own first, by meter, newest first."""
    rates = read_rates({rate.reference for rate in info.card.rates}) if info.card else []
    recordings = read_recordings(rates)
    order = {meter: place for place, meter in enumerate(pricing_words.METER_WORDS)}
    rates.sort(
        key=lambda rate: (
            rate.source == "catalogue",
            order.get(rate.meter, len(order)),
            rate.meter,
            rate.tier_start_tokens,
            sorted(rate.when.items()),
            rate.window_start_s,
            -(rate.effective_from.timestamp() if rate.effective_from else float("-inf")),
        )
    )
    return [_history_row(rate, recordings.get(rate.id), zone, now) for rate in rates]


def _history_row(
    rate: RateInfo, recording: Recording | None, zone: ZoneInfo, now: datetime
) -> HistoryRow:
    begun = rate.effective_from is None or rate.effective_from <= now
    ended = rate.effective_to is not None and rate.effective_to <= now
    return HistoryRow(
        number=rate.number,
        meter=pricing_words.meter_words(rate.meter),
        condition=pricing_words.condition_words(
            rate.when, rate.tier_start_tokens, rate.window_start_s, rate.window_end_s
        ),
        usd_per_million=pricing_words.price_words(
            rate.price_usd * PER_MILLION / rate.unit_quantity
        ),
        effective_from=_day_or(rate.effective_from, "always", zone),
        effective_to=_day_or(rate.effective_to, "further notice", zone),
        in_force=begun and not ended,
        source=rate.source,
        source_words=pricing_words.SOURCE_WORDS[rate.source],
        recorded_at=pricing_words.day_words(recording.at, zone) if recording else "",
        recorded_by=recording.by if recording else "",
        can_end=rate.source != "catalogue" and not ended,
    )


def _day_or(moment: datetime | None, otherwise: str, zone: ZoneInfo) -> str:
    return pricing_words.day_words(moment, zone) if moment else otherwise


def _as_price(row: BackendRow) -> pricing_words.BackendPrice:
    return pricing_words.BackendPrice(
        name=row.series.name,
        source=None if row.source == "unpriced" else row.source,
        output_usd_per_mtok=row.prices.get(OUTPUT),
        since=row.since,
    )


def _unresolved_title(unresolved: Sequence[Unresolved]) -> str:
    waiting = [one for one in unresolved if one.priced_as is None]
    counted = waiting or unresolved
    return pricing_words.unpriced_title(len(waiting), sum(one.unpriced_requests for one in counted))
