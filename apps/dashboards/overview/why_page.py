"""Why spend changed, per model, customer or department, each leading further in."""

from dataclasses import replace
from typing import Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.dashboards.explorer.state import DIMENSIONS, ExplorerState
from apps.dashboards.overview.why import read_why
from apps.dashboards.page import PageRequest, usage_page
from apps.dashboards.page_state import Chip, filter_chips, period_chips, read_state
from apps.dashboards.periods import read_period
from apps.dashboards.reading import Names, read_before
from apps.dashboards.reading import read_period as read_rows
from apps.dashboards.views import own_currency_context
from apps.usage.selectors import Dimension

LINES: Final[tuple[Dimension, ...]] = ("model", "customer", "department")


@usage_page
def why(request: PageRequest) -> HttpResponse:
    """A line narrows to its value, and splits it by the next that is not narrowed yet."""
    state, zone = read_state(request.GET), request.tenant.zone
    free = [one for one in LINES if one not in state.filters] or list(LINES)
    wanted = request.GET.get("by", "")
    by = next((one for one in free if one == wanted), free[0])
    period = read_period(state.period, zone, request.now)
    group_by: tuple[Dimension, ...] = ("backend", by)
    names = Names()
    value_names = {"customer": names.customer, "department": names.department}
    report = read_why(
        read_rows(period, zone, group_by, state.spend_filters),
        read_before(period, group_by, state.spend_filters),
        period=period,
        at=period.end,
        by=by,
        name=value_names.get(by, lambda value: value or f"no {by}"),
        href=lambda value: request.path + state.with_filter(by, value).query(),
    )
    labels = {d: value_names[d](v) for d, v in state.filters.items() if d in value_names}
    explorer = ExplorerState(
        group_by=(by,), period=state.period, filters=tuple(state.filters.items())
    )
    context = {
        "why": report,
        "period": period,
        "answer": report.sentence if report else (),
        "state": state,
        "chips": period_chips(request.path, state),
        "filter_chips": filter_chips(request.path, state, labels),
        "by_label": DIMENSIONS[by],
        "by_chips": [
            Chip(
                f"Per {DIMENSIONS[one].lower()}",
                _with_by(request.path, state.query(), one),
                one == by,
            )
            for one in free
        ],
        "explorer_href": reverse("explorer") + replace(explorer, interval="none").query(),
    }
    context |= own_currency_context(request, period, state.spend_filters)
    return render(request, "dashboards/why.html", context)


def _with_by(path: str, query: str, by: str) -> str:
    return f"{path}{query}{'&' if query else '?'}by={by}"
