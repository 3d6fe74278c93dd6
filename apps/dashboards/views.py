"""The pages about spend. Each reads its figures and hands them to its template."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponse

from apps.dashboards.breakdown import Sums
from apps.dashboards.insights.forecast_figures import expect
from apps.dashboards.overview.reading import read_overview
from apps.dashboards.page import PageRequest, render_live, usage_page
from apps.dashboards.page_state import Chip, PageState, filter_chips, period_chips, read_state
from apps.dashboards.periods import (
    DEFAULT_WINDOW,
    WINDOW_LABELS,
    Period,
    end_of_day,
    read_window,
)
from apps.dashboards.reading import Filters, Names
from apps.dashboards.routing.buckets import INTERVALS
from apps.dashboards.routing.decision_words import by_backend, flows_title
from apps.dashboards.routing.live import MEASURES, read_routing
from apps.dashboards.routing.tabs import routing_tabs
from apps.dashboards.routing.would_send_words import would_lines, would_title
from apps.dashboards.sentences import Answer, forecast_sentence
from apps.insights.forecasts import SpendForecast, read_forecast
from apps.routing.selectors import read_flows
from apps.routing.would_send import read_would_send
from apps.usage.reporting import read_reporting
from apps.usage.selectors import Dimension, SpendQuery

ROUTING_REFRESH_MS = 2_000
# A week and a month hardly move in two seconds, and cost more to read.
LONG_WINDOWS, LONG_WINDOW_REFRESH_MS = ("week", "month"), 4_000
REFRESH_MS = 15_000
DEFAULT_MEASURE = "requests"


@usage_page
def overview(request: PageRequest) -> HttpResponse:
    # The whole is never narrowed: filters belong to the pages that split it.
    state = PageState(read_state(request.GET).period, {})
    report = read_overview(state.period, request.tenant.zone, request.now)
    context = (
        page_context(request, state)
        | {
            "report": report,
            "period": report.period,
            "answer": report.answer,
        }
        | own_currency_context(request, report.period, {})
    )
    return render_live(request, "overview", context)


def month_forecast(request: PageRequest, state: PageState) -> SpendForecast | None:
    """Where the running month ends for what the page is narrowed to; None on other periods."""
    if state.period != "month":
        return None
    return read_forecast(state.spend_filters, now=request.now)


def on_course(forecast: SpendForecast | None, spent: Sums) -> Answer:
    """`spent` is what the page's month has cost so far."""
    if forecast is None:
        return ()
    course = expect(forecast.total, spent=spent.cost, spent_usd=spent.cost_usd)
    return forecast_sentence(spent.cost, course)


@usage_page
def routing(request: PageRequest) -> HttpResponse:
    window = read_window(
        request.GET.get("window", DEFAULT_WINDOW), request.tenant.zone, request.now
    )
    of = request.GET.get("of", "")
    of = of if of in MEASURES else DEFAULT_MEASURE
    report = read_routing(window, request.tenant.zone, of)
    # A month of decisions is too much to read every few seconds.
    is_short = window.slug not in LONG_WINDOWS
    flows = by_backend(read_flows(start=window.start, end=window.end)) if is_short else []
    would = read_would_send(window.start, window.end, by_minute=INTERVALS[window.slug] == "minute")
    context = {
        "report": report,
        "answer": report.answer,
        "flows": flows,
        "flows_title": flows_title(flows),
        "would": would_lines(would),
        "would_title": would_title(would),
        "tabs": routing_tabs(request),
        "chips": [
            Chip(label, _routing_address(request, slug, of), slug == window.slug)
            for slug, label in WINDOW_LABELS.items()
        ],
        "measures": [
            Chip(one.label, _routing_address(request, window.slug, key), key == of)
            for key, one in MEASURES.items()
        ],
        "live_ms": LONG_WINDOW_REFRESH_MS if window.slug in LONG_WINDOWS else ROUTING_REFRESH_MS,
        "live_url": _routing_address(request, window.slug, of),
    }
    return render_live(request, "routing", context)


def _routing_address(request: PageRequest, slug: str, of: str) -> str:
    asked = {} if slug == DEFAULT_WINDOW else {"window": slug}
    asked |= {} if of == DEFAULT_MEASURE else {"of": of}
    return f"{request.path}?{urlencode(asked)}" if asked else request.path


def own_currency_context(request: PageRequest, period: Period, filters: Filters) -> dict[str, Any]:
    """The whole in the tenant's own currency beside the USD, or why it is shown in USD; nothing
    where reports are in USD."""
    end = end_of_day(period.end, request.tenant.zone)
    query = SpendQuery(start=period.start, end=end, filters=filters)
    return {"reporting": read_reporting(query)}


def page_context(request: PageRequest, state: PageState) -> dict[str, Any]:
    names = _filter_names(state)
    return {
        "state": state,
        "chips": period_chips(request.path, state),
        "filter_chips": filter_chips(request.path, state, names),
        "live_ms": REFRESH_MS,
        "live_url": request.path + state.query(),
    }


def _filter_names(state: PageState) -> dict[Dimension, str]:
    """What the values of filters are called, read only where there are some."""
    if not state.filters.keys() & {"customer", "department"}:
        return {}
    names = Names()
    found: dict[Dimension, str] = {}
    if "customer" in state.filters:
        found["customer"] = names.customer(state.filters["customer"])
    if "department" in state.filters:
        found["department"] = names.department(state.filters["department"])
    return found
