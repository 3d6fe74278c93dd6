"""The page of opportunities: what could be saved, what was decided, closed days in hindsight."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from kombu.exceptions import OperationalError as NoBrokerError

from apps.dashboards.corrections.run_requests import NO_WORKER
from apps.dashboards.page import PageRequest, changing, usage_page
from apps.dashboards.pricing.words import moment_words
from apps.dashboards.routing import savings_words as words
from apps.dashboards.routing.savings_figures import hindsight_days, savings
from apps.routing.errors import InvalidRoutingInput, UnknownOpportunity
from apps.routing.hindsights import list_hindsights
from apps.routing.opportunities import list_opportunities, read_computed_at
from apps.routing.opportunity_actions import accept_opportunity, dismiss_opportunity
from apps.routing.tasks import find_tenant_opportunities

LONGEST_LABEL = 46
DAYS_SHOWN = 31


@usage_page
def opportunities(request: PageRequest) -> HttpResponse:
    return _show(request)


@changing
def look_again(request: PageRequest) -> HttpResponse:
    """Hands the search to a worker."""
    try:
        find_tenant_opportunities.delay(request.tenant.id)
    except NoBrokerError:
        return _show(request, refusal=NO_WORKER, status=422)
    return _show(request, said="A worker looks through the last 30 days; this takes a minute.")


def decide(request: HttpRequest, opportunity_id: int) -> HttpResponse:
    """Accept or dismiss, by the form's `action`."""
    return changing(lambda inside: _decide(inside, opportunity_id))(request)


def _decide(request: PageRequest, opportunity_id: int) -> HttpResponse:
    actor, now = request.user.get_username(), request.now
    reason = request.POST.get("reason", "").replace("\0", "")[:600]
    try:
        if request.POST.get("action") == "accept":
            accept_opportunity(opportunity_id, actor=actor, now=now)
            return _show(request, said="Accepted. What it saves is measured from now on.")
        dismiss_opportunity(opportunity_id, reason=reason, actor=actor, now=now)
    except UnknownOpportunity as error:
        raise Http404 from error
    except InvalidRoutingInput as error:
        return _show(request, refusal=str(error), refused_id=opportunity_id, status=422)
    return _show(request, said="Dismissed: it is not brought up again for 30 days.")


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    zone = request.tenant.zone
    lines = [words.opportunity_line(info) for info in list_opportunities()]
    accepted = [words.opportunity_line(info) for info in list_opportunities(state="accepted")]
    days = list_hindsights(limit=DAYS_SHOWN)
    computed_at = read_computed_at()
    drawn = sorted(lines, key=lambda line: -line.info.saving_usd)
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "answer": words.opportunities_answer(lines),
        "lines": lines,
        "looked_at": moment_words(computed_at, zone) if computed_at else "",
        "chart_title": words.chart_title(lines),
        "figure": savings(
            [
                (
                    _label(line.title),
                    line.info.saving_low_usd,
                    line.info.saving_usd,
                    line.info.saving_high_usd,
                )
                for line in drawn
            ]
        ),
        "rows": min(len(lines), 10),
        "accepted": [
            (line, moment_words(line.info.decided_at or request.now, zone)) for line in accepted
        ],
        "accepted_title": words.accepted_title(accepted),
        "hindsight_title": words.hindsight_title(days),
        "hindsight": [
            (row, [words.cause_words(cause) for cause in row.causes[:2]]) for row in days
        ],
        "months": [
            (row, [words.cause_words(cause) for cause in row.causes[:2]])
            for row in list_hindsights(period="month", limit=12)
        ],
        "hindsight_figure": hindsight_days(days),
    }
    is_part = request.htmx and not request.htmx.boosted
    name = "opportunities_body" if is_part else "opportunities"
    return render(request, f"dashboards/{name}.html", context | more, status=status)


def _label(title: str) -> str:
    return title if len(title) <= LONGEST_LABEL else f"{title[: LONGEST_LABEL - 1]}…"
