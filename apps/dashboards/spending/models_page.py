"""The models page and a page per model: what a token really costs, and what caches save."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.http import Http404, HttpResponse

from apps.dashboards.breakdown import Line, Sums, relative_change, sum_by, total
from apps.dashboards.colours import Series, model_key
from apps.dashboards.figures import Figure
from apps.dashboards.page import PageRequest, render_live, usage_page
from apps.dashboards.page_state import read_state
from apps.dashboards.periods import Period, read_period
from apps.dashboards.reading import Filters, read_before, read_period_by_day, row_model
from apps.dashboards.sentences import Answer, Phrase, models_answer, unpriced_sentence
from apps.dashboards.spending.model_prices import (
    METER_WORDS,
    HistoryRow,
    MeterRow,
    UnitDay,
    kind_words,
    listed_of,
    meter_rows,
    price_history,
    read_model_prices,
    unit_days,
    unit_price_figure,
)
from apps.dashboards.spending.model_spend import read_spend_by_model, series_of
from apps.dashboards.templatetags.figures_of_speech import (
    in_money,
    in_usd,
    percent,
    unit_price,
    usd_short,
)
from apps.dashboards.views import month_forecast, on_course, own_currency_context, page_context
from apps.usage.core.cache_savings import Listed

MOST_NAME: Final = 200


@usage_page
def models(request: PageRequest) -> HttpResponse:
    state = read_state(request.GET)
    zone = request.tenant.zone
    period = read_period(state.period, zone, request.now)
    forecast = month_forecast(request, state)
    report = read_spend_by_model(period, zone, request.now, state.spend_filters, forecast=forecast)
    prices = read_model_prices(report.lines, period, zone, state.spend_filters)
    own = own_currency_context(request, period, state.spend_filters)
    context = (
        page_context(request, state)
        | own
        | {
            "report": report,
            "prices": prices,
            "period": period,
            "answer": models_answer(report.plain_lines)
            + prices.answer
            + on_course(forecast, report.whole),
        }
    )
    return render_live(request, "models", context)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model over a period, wherever it runs."""

    model: str
    now: Sums
    whole: Sums
    change: Decimal | None
    series: Series
    kinds: str
    title: str
    figure: Figure
    days: list[UnitDay]
    meters: list[MeterRow]
    history: list[HistoryRow]
    saved_usd: Decimal | None
    meter_names: tuple[str, ...] = tuple(METER_WORDS.values())

    @property
    def line(self) -> Line:
        return Line(self.model, self.model, self.now, self.whole)


@usage_page
def model(request: PageRequest) -> HttpResponse:
    """One model's page, by `?model=`: names have slashes in them."""
    name = request.GET.get("model", "")
    state = read_state({"period": request.GET.get("period", "")})
    if not name or len(name) > MOST_NAME or "\0" in name:
        raise Http404
    zone = request.tenant.zone
    period = read_period(state.period, zone, request.now)
    report = read_model(name, period, zone)
    own = state.with_filter("model", name)
    in_own = own_currency_context(request, period, own.spend_filters)
    context = (
        page_context(request, own)
        | in_own
        | {
            "report": report,
            "period": period,
            "filter_chips": [],
            "answer": model_answer(report, period),
        }
    )
    return render_live(request, "model", context)


def read_model(name: str, period: Period, zone: ZoneInfo) -> ModelReport:
    """Raises Http404 for a model that nothing was ever asked of in the period and before."""
    own: Filters = {"model": (name,)}
    rows = read_period_by_day(period, zone, ("model", "kind", "backend"), {})
    mine = [row for row in rows if row.labels["model"] == name]
    before_rows = read_before(period, ("backend",), own)
    before = total(before_rows)
    listed = listed_of(period, zone, own)
    today = period.end.astimezone(zone).date()
    backends = {row.labels["backend"] or "" for row in [*mine, *before_rows]}
    history = price_history(name, backends, today=today, zone=zone)
    if not mine and not before.requests and not history:
        raise Http404
    sums = sum_by(mine, row_model)
    keys = list(sums) or [model_key(name, "cloud")]
    series = series_of(keys)[keys[0]]
    days = unit_days(mine, period.days, today)
    now = total(mine)
    return ModelReport(
        model=name,
        now=now,
        whole=total(rows),
        change=relative_change(now.cost, before.cost),
        series=series,
        kinds=kind_words(dict.fromkeys(keys)),
        title=unit_title(days),
        figure=unit_price_figure(period.days, days, series),
        days=days,
        meters=meter_rows(list(listed.values())),
        history=history,
        saved_usd=_saved(listed.values()),
    )


def _saved(listed: Iterable[Listed]) -> Decimal | None:
    known = [one.saved_usd for one in listed if one.saved_usd is not None]
    return sum(known, Decimal(0)) if known else None


def unit_title(days: list[UnitDay]) -> str:
    """The finding of unit prices by day: between what they lay."""
    priced = [one for one in days if one.usd_per_mtok]
    if not priced:
        return "No day has a price yet"
    low = min(priced, key=lambda one: one.usd_per_mtok or 0)
    high = max(priced, key=lambda one: one.usd_per_mtok or 0)
    least, most = unit_price(low.usd_per_mtok), unit_price(high.usd_per_mtok)
    if least == most:
        return f"A million tokens cost {in_usd(least)} throughout"
    return f"A million tokens cost from {in_usd(least)} on {low.label} to {most} on {high.label}"


def model_answer(report: ModelReport, period: Period) -> Answer:
    """What one model costs: in all, of all, and a million tokens of it."""
    now = report.now
    if not now.requests:
        return (Phrase(f"Nothing was asked of {report.model} {period.in_words}."),)
    parts = [
        Phrase(f"{report.model} cost "),
        Phrase(f"{in_money(usd_short(now.known))}", strong=True),
        Phrase(f" {period.in_words}, {percent(report.line.spend_share)} of all."),
    ]
    if now.usd_per_mtok is not None:
        parts.append(Phrase(f" A million tokens cost {in_usd(unit_price(now.usd_per_mtok))}"))
        share = now.cache_read_share
        parts.append(
            Phrase(f"; {percent(share)} of its input came from a cache." if share else ".")
        )
    if report.saved_usd:
        saved = "saved" if report.saved_usd > 0 else "cost"
        more = "" if report.saved_usd > 0 else " more than they saved"
        told = f" Caches {saved} {in_usd(usd_short(abs(report.saved_usd)))}{more}"
        parts += [Phrase(told, strong=True), Phrase(".")]
    return (*parts, *unpriced_sentence(now.unpriced_requests))
