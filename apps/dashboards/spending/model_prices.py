"""Models by what their tokens cost, what caches saved, and how prices changed: for their pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from apps.dashboards.breakdown import Sums, total
from apps.dashboards.colours import LOCAL, Series, model_key
from apps.dashboards.figures import Figure
from apps.dashboards.periods import Period, end_of_day, short_day
from apps.dashboards.reading import Filters
from apps.dashboards.sentences import Answer, Phrase
from apps.dashboards.spending.model_spend import ModelLine
from apps.dashboards.templatetags.figures_of_speech import in_usd, unit_price, usd_short
from apps.dashboards.ticks import day_axis, day_label
from apps.pricing.core.meters import CACHE_READ, CACHE_WRITE_1H, CACHE_WRITE_5M, INPUT, OUTPUT
from apps.pricing.selectors import list_backends
from apps.usage.core.cache_savings import NOTHING_LISTED, Listed
from apps.usage.selectors import SpendRow
from apps.usage.unit_prices import PriceChange, read_listed, read_price_history

METER_WORDS: Final = {
    INPUT: "input",
    CACHE_READ: "cache read",
    CACHE_WRITE_5M: "cache write",
    CACHE_WRITE_1H: "cache write, 1 h",
    OUTPUT: "output",
}
DAYS_LOOKED_BACK: Final = 365


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A model of the table with its unit prices by meter, in METER_WORDS' order."""

    line: ModelLine
    unit_prices: tuple[Decimal | None, ...]
    saved_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class ModelPrices:
    lines: list[PricedLine]
    saved_usd: Decimal | None
    meters: tuple[str, ...] = tuple(METER_WORDS.values())

    @property
    def answer(self) -> Answer:
        if not self.saved_usd:
            return ()
        if self.saved_usd < 0:
            told = f" Caches cost {in_usd(usd_short(-self.saved_usd))} more than they saved"
        else:
            told = f" Caches saved {in_usd(usd_short(self.saved_usd))}"
        return (Phrase(told, strong=True), Phrase("."))


def read_model_prices(
    lines: Sequence[ModelLine], period: Period, zone: ZoneInfo, filters: Filters
) -> ModelPrices:
    """What the tokens of each model's line cost by meter over the period's days."""
    found = listed_of(period, zone, filters)
    priced = [_priced(line, found.get(line.line.key or "", NOTHING_LISTED)) for line in lines]
    saved = [one.saved_usd for one in priced if one.saved_usd is not None]
    return ModelPrices(priced, sum(saved, Decimal(0)) if saved else None)


def listed_of(period: Period, zone: ZoneInfo, filters: Filters) -> dict[str, Listed]:
    """By model key."""
    first = period.start.astimezone(zone).date()
    end = end_of_day(period.end, zone).astimezone(zone).date()
    found = read_listed(first, end, zone, filters)
    return {model_key(model, kind): listed for (model, kind), listed in found.items()}


def _priced(line: ModelLine, listed: Listed) -> PricedLine:
    prices = tuple(listed.unit_price(meter) for meter in METER_WORDS)
    return PricedLine(line, prices, listed.saved_usd)


@dataclass(frozen=True, slots=True)
class MeterRow:
    """One meter of one model over a period."""

    name: str
    tokens: int
    usd_per_mtok: Decimal | None
    usd: Decimal


def meter_rows(listed: Sequence[Listed]) -> list[MeterRow]:
    """Meters that were used, of one or two kinds of one model together."""
    rows = []
    for meter, name in METER_WORDS.items():
        tokens = sum(one.tokens.get(meter, 0) for one in listed)
        if tokens:
            usd = sum((one.usd.get(meter, Decimal(0)) for one in listed), Decimal(0))
            rows.append(MeterRow(name, tokens, usd * 1_000_000 / tokens, usd))
    return rows


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Prices of a backend since a day, newest first; `prices` in METER_WORDS' order."""

    backend: str
    since: str
    prices: tuple[Decimal | None, ...]


def price_history(
    model: str, backends: set[str], *, today: date, zone: ZoneInfo
) -> list[HistoryRow]:
    """How the standard prices of a model's backends changed over a year: of those that answered for
    it, by key, and of those called as it is."""
    wanted = {one.id for one in list_backends() if one.model == model or one.key in backends}
    changes = read_price_history(wanted, today=today, days=DAYS_LOOKED_BACK, zone=zone)
    return [_history_row(change, today) for change in changes]


def _history_row(change: PriceChange, today: date) -> HistoryRow:
    if change.since is None:
        since = "for a year or longer"
    else:
        since = f"since {short_day(change.since)}"
        since += "" if change.since.year == today.year else f" {change.since.year}"
    return HistoryRow(change.backend, since, tuple(change.prices.get(m) for m in METER_WORDS))


@dataclass(frozen=True, slots=True)
class UnitDay:
    label: str
    usd_per_mtok: Decimal | None
    sums: Sums


def unit_days(rows: Sequence[SpendRow], days: Sequence[date], today: date) -> list[UnitDay]:
    """What a million tokens really cost on each day; newest first."""
    by_day: dict[date, list[SpendRow]] = {}
    for row in rows:
        if isinstance(row.bucket, date):
            by_day.setdefault(row.bucket, []).append(row)
    made = []
    for day in days:
        if day <= today and day in by_day:
            sums = total(by_day[day])
            made.append(UnitDay(day_label(day), sums.usd_per_mtok, sums))
    return made[::-1]


def unit_price_figure(days: Sequence[date], found: Sequence[UnitDay], series: Series) -> Figure:
    """A line of effective USD per million tokens, gaps where nothing was priced."""
    axis = day_axis(days)
    by_label = {one.label: one.usd_per_mtok for one in found}
    values = [by_label.get(label) for label in axis.labels]
    ticks = [{"at": [n for n, _ in tier], "text": [t for _, t in tier]} for tier in axis.tiers]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "USD per million tokens",
        "x": list(axis.labels),
        "y": [None if value is None else float(value) for value in values],
        "customdata": [in_usd(unit_price(value)) for value in values],
        "hovertemplate": "%{customdata} per million tokens<extra></extra>",
        "meta": series.as_meta() | {"role": "unit"},
    }
    return {
        "data": [trace],
        "layout": {
            "hovermode": "x unified",
            "xaxis": {
                "type": "category",
                "categoryorder": "array",
                "categoryarray": list(axis.labels),
                "range": [-0.5, len(axis.labels) - 0.5],
            },
            "yaxis": {"rangemode": "tozero"},
            "meta": {"kind": "days", "ticks": ticks, "empty": not found},
        },
    }


def kind_words(keys: Mapping[str, object]) -> str:
    """Where a model runs."""
    kinds = {key.partition("|")[0] for key in keys}
    if kinds == {LOCAL}:
        return "on own hardware"
    return "in the cloud and on own hardware" if LOCAL in kinds else "in the cloud"
