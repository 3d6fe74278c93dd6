"""The explorer: any question about usage, its answer, its charges, its file, its saved views."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, cast
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse

from apps.dashboards.charges.filter import where_pairs
from apps.dashboards.explorer import export as explorer_export
from apps.dashboards.explorer.measures import MEASURES, REPORTED
from apps.dashboards.explorer.reading import (
    Explorer,
    ExplorerRow,
    ValueNames,
    read_explorer,
    unread_explorer,
)
from apps.dashboards.explorer.saved_views import (
    Person,
    SavedViewError,
    delete_view,
    list_views,
    rename_view,
    save_view,
)
from apps.dashboards.explorer.state import (
    DAYS,
    DIMENSIONS,
    INTERVALS,
    TOPS,
    ExplorerState,
    dimension_label,
    dimension_words,
    is_dimension,
    read_explorer_state,
)
from apps.dashboards.page import PageRequest, page, usage_page
from apps.dashboards.page_state import Chip
from apps.dashboards.periods import PERIOD_LABELS, end_of_day
from apps.dashboards.reading import read_in_usd, read_period
from apps.tenants.core.access import role_allows_changes
from apps.tenants.core.exchange import Converted
from apps.usage.dimensions import Dimension, are_of_slices, tag_dimension, tag_of
from apps.usage.reporting import read_reporting
from apps.usage.selectors import SpendQuery, TooMuchToReadError
from apps.usage.tagged_sums import list_tag_keys

VALUES_OFFERED: Final = 200
# A tag may be called anything.
UNFIT_FOR_A_FILE: Final = re.compile(r"[^A-Za-z0-9._-]+")
# A year by day and group is summed in moments; more would not be.
MOST_REPORTED_DAYS: Final = 400


@dataclass(frozen=True, slots=True)
class TableRow:
    """A group with where its names and its charges lead."""

    row: ExplorerRow
    names: list[tuple[str, str]]
    charges: str


@usage_page
def explorer(request: PageRequest) -> HttpResponse:
    """The page; for its own controls the parts that change, with the address to show."""
    state = read_explorer_state(request.GET, request.tenant.currency)
    response = _show(request, state)
    if request.htmx and not request.htmx.boosted:
        response.headers["HX-Push-Url"] = reverse("explorer") + state.query()
    return response


def _show(
    request: PageRequest,
    state: ExplorerState,
    *,
    said: str = "",
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    too_much = ""
    try:
        shown, reporting = _in_own_currency(request, state)
        report = read_explorer(shown, request.tenant.zone, request.now)
    except TooMuchToReadError as refused:
        reporting, too_much = None, str(refused)
        report = unread_explorer(state, request.tenant.zone, request.now)
    is_part = bool(request.htmx) and not request.htmx.boosted
    name = "explorer_body" if is_part else "explorer"
    context = _context(request, report) | {
        "said": said,
        "error": error,
        "reporting": reporting,
        "too_much": too_much,
        "fewer_days": reverse("explorer") + replace(state, period="7d", first=None).query(),
    }
    return render(request, f"dashboards/{name}.html", context, status=status)


def _in_own_currency(
    request: PageRequest, state: ExplorerState
) -> tuple[ExplorerState, Converted | None]:
    """What is shown, and the whole in both currencies. Without a rate for each day, or for more
    days than can be told one by one, it is USD."""
    period = state.read_period(request.tenant.zone, request.now)
    reporting = read_reporting(
        SpendQuery(
            start=period.start,
            end=end_of_day(period.end, request.tenant.zone),
            filters=state.spend_filters,
        )
    )
    is_told = reporting is not None and reporting.amount is not None
    # What names a tag is summed from the ledger, in USD alone.
    is_told = is_told and are_of_slices((*state.group_by, *state.spend_filters))
    is_told = is_told and len(period.days) <= MOST_REPORTED_DAYS
    if state.measure.key == REPORTED and not is_told:
        state = replace(state, measure=MEASURES["cost_usd"])
    return state, reporting


def _context(request: PageRequest, report: Explorer) -> dict[str, Any]:
    state, path = report.state, reverse("explorer")
    return {
        "report": report,
        "state": state,
        "answer": report.answer,
        "too_long_to_report": state.at_rest.key == REPORTED
        and len(report.period.days) > MOST_REPORTED_DAYS,
        "most_days": MOST_REPORTED_DAYS,
        "measures": list({one.key: one for one in (state.at_rest, *MEASURES.values())}.values()),
        "dimensions": DIMENSIONS.items(),
        "tag_dimensions": _tag_dimensions(request, state),
        "group_words": [dimension_words(one) for one in state.group_by],
        "second": state.group_by[1] if len(state.group_by) > 1 else "",
        "intervals": INTERVALS.items(),
        "periods": [*PERIOD_LABELS.items(), (DAYS, "Days of my own")],
        "period": DAYS if state.first else state.period,
        "first": report.period.days[0],
        "last": min(report.period.days[-1], request.tenant.local_date(request.now)),
        "tops": TOPS,
        "narrowing": state.filter_pairs(),
        "filter_chips": [
            Chip(
                f"{dimension_label(dimension)}: {report.names.of(dimension, value)}",
                path + state.without(dimension, value).query(),
                is_on=True,
            )
            for dimension, value in state.filters
        ],
        "rows": [_table_row(report, row) for row in report.rows],
        "all_charges": _charges_address(report, ()),
        "export": state.query(),
        "interval_words": "" if report.interval in (None, state.interval) else report.interval,
        "views": _views(request),
        "here": state.query(),
    }


def _tag_dimensions(request: PageRequest, state: ExplorerState) -> list[tuple[str, str]]:
    """(dimension, key) of the tags that are there, and of those that are shown."""
    shown = [key for one in state.group_by if (key := tag_of(one)) is not None]
    # A comma stands between dimensions.
    found = [key for key in list_tag_keys(request.now) if "," not in key]
    return [(tag_dimension(key), key) for key in dict.fromkeys([*found, *shown])]


def _views(request: PageRequest) -> Any:
    return list_views(_person(request))


def _person(request: PageRequest) -> Person:
    is_admin = role_allows_changes(request.membership.role)
    return Person(cast("int", request.user.pk), is_admin)


def _table_row(report: Explorer, row: ExplorerRow) -> TableRow:
    state, path = report.state, reverse("explorer")
    key = row.key or ()
    return TableRow(
        row=row,
        names=[
            (name, path + state.drilled(dimension, value).query())
            for dimension, value, name in zip(state.group_by, key, row.names, strict=True)
        ],
        charges=_charges_address(report, tuple(zip(state.group_by, key, strict=True))),
    )


def _charges_address(report: Explorer, of: tuple[tuple[Dimension, str | None], ...]) -> str:
    """The charges behind a group: the page's days and filters, and the group's own values."""
    days = report.period.days
    filtered = {dimension for dimension, _ in report.state.filters}
    pairs = [("first", days[0].isoformat()), ("last", days[-1].isoformat())]
    # A group lies within a filter on its own dimension; the top of a tree may be wider than it.
    own = [pair for pair in of if pair[0] != "department_tree" or pair[0] not in filtered]
    split = {dimension for dimension, _ in own}
    kept = [pair for pair in report.state.filters if pair[0] not in split]
    pairs += where_pairs((*kept, *own))
    return f"{reverse('charges')}?{urlencode(pairs)}"


@page
def explorer_values(request: PageRequest) -> HttpResponse:
    """What a dimension can be narrowed to in the period shown, the dearest first."""
    state = read_explorer_state(request.GET)
    dimension = request.GET.get("narrow", "")
    if not is_dimension(dimension):
        return render(request, "dashboards/explorer_values.html", {"values": []})
    of = cast("Dimension", dimension)
    others = {d: v for d, v in state.spend_filters.items() if d != of}
    zone = request.tenant.zone
    period = state.read_period(zone, request.now)
    try:
        rows = read_period(period, zone, (of,), others, read=read_in_usd)
    except TooMuchToReadError:
        return render(request, "dashboards/explorer_values.html", {"too_many": True})
    rows.sort(key=lambda row: (-row.cost_usd, -row.requests))
    names = ValueNames()
    values = [(row.labels[of] or "", names.of(of, row.labels[of])) for row in rows]
    context = {"values": values[:VALUES_OFFERED], "more": len(values) - VALUES_OFFERED}
    return render(request, "dashboards/explorer_values.html", context)


def explorer_export_file(request: HttpRequest, form: str) -> HttpResponse:
    """The table shown as a file; of CSV and Parquet, `of=time` is the figure's table."""
    return page(lambda inside: _export(inside, form))(request)


def _export(request: PageRequest, form: str) -> HttpResponse:
    if form not in explorer_export.CONTENT_TYPES:
        raise Http404
    asked = read_explorer_state(request.GET, request.tenant.currency)
    try:
        state, _ = _in_own_currency(request, asked)
        report = read_explorer(state, request.tenant.zone, request.now)
    except TooMuchToReadError as error:
        return HttpResponse(str(error), status=422, content_type="text/plain; charset=utf-8")
    tables = explorer_export.shown_tables(report)
    one = tables[-1] if request.GET.get("of") == "time" else tables[0]
    if form == "xlsx":
        body = explorer_export.as_xlsx(tables)
    else:
        body = (explorer_export.as_csv if form == "csv" else explorer_export.as_parquet)(one)
    response = HttpResponse(body, content_type=explorer_export.CONTENT_TYPES[form])
    groups = UNFIT_FOR_A_FILE.sub("_", "-".join(state.group_by))
    name = f"{state.measure.column}-by-{groups}.{form}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@page
def change_view(request: PageRequest) -> HttpResponse:
    """Save what is shown as a view, rename one or take one away: POST alone."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    here = request.POST.get("here", "").removeprefix("?")
    state = read_explorer_state(QueryDict(here), request.tenant.currency)
    try:
        said = _change(request, state)
    except SavedViewError as error:
        return _show(request, state, error=str(error), status=422)
    if not request.htmx:
        return redirect(reverse("explorer") + state.query())
    return _show(request, state, said=said)


def _change(request: PageRequest, state: ExplorerState) -> str:
    name, view_id = request.POST.get("name", ""), request.POST.get("view_id", "")
    person = _person(request)
    number = int(view_id) if view_id.isascii() and view_id.isdigit() and len(view_id) < 19 else 0
    if request.POST.get("action") == "rename":
        rename_view(person, number, name=name)
        return "The view has its new name."
    if request.POST.get("action") == "delete":
        delete_view(person, number)
        return "The view is gone."
    is_shared = bool(request.POST.get("shared"))
    save_view(
        person,
        name=name,
        query=state.query(),
        is_shared=is_shared,
        now=request.now,
    )
    return "Kept: everybody here finds it below." if is_shared else "Kept: you find it below."
