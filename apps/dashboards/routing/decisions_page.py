"""The pages of routing decisions: what was decided, whether it held, and one with its reasons."""

import uuid
from datetime import timedelta
from typing import Any, Final, cast, get_args
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from apps.dashboards.page import PageRequest, page
from apps.dashboards.reading import Names
from apps.dashboards.routing import decision_words as words
from apps.dashboards.routing.figures import advised_and_ran
from apps.dashboards.routing.policy_words import money
from apps.dashboards.routing.tabs import routing_tabs
from apps.routing.selectors import (
    Outcome,
    compare_shadows,
    find_decision,
    list_decisions,
    read_estimate_quality,
    read_flows,
)

ROWS: Final = 50
MAX_TEXT: Final = 200
SPANS: Final = {
    "day": ("24 hours", timedelta(days=1)),
    "week": ("7 days", timedelta(days=7)),
    "month": ("30 days", timedelta(days=30)),
}
DEFAULT_SPAN: Final = "day"
OUTCOMES: Final = {
    "followed": "as the policy advised",
    "otherwise": "otherwise than advised",
    "refused": "advised to refuse",
    "explored": "chosen to learn",
}
FIELDS: Final = ("backend", "department", "customer", "task", "outcome", "span")


@page
def decisions(request: PageRequest) -> HttpResponse:
    """Newest first, fifty to a page; the totals are of the whole span."""
    given = {name: request.GET.get(name, "").replace("\0", "")[:MAX_TEXT] for name in FIELDS}
    span = given["span"] if given["span"] in SPANS else DEFAULT_SPAN
    end = request.now + timedelta(seconds=1)
    start = end - SPANS[span][1]
    outcome = given["outcome"] if given["outcome"] in get_args(Outcome) else None
    before = _uuid(request.GET.get("before", ""))
    found = list_decisions(
        start=start,
        end=end,
        backend=given["backend"] or None,
        department=given["department"] or None,
        customer=given["customer"] or None,
        task=given["task"] or None,
        outcome=cast("Outcome | None", outcome),
        before=before,
        limit=ROWS + 1,
    )
    flows = read_flows(start=start, end=end)
    estimates = read_estimate_quality(start=start, end=end)
    names, lines = Names(), words.by_backend(flows)
    query = urlencode({name: text for name, text in given.items() if text})
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "tabs": routing_tabs(request),
        "answer": words.decisions_answer(flows, estimates),
        "given": given | {"span": span},
        "spans": [(slug, name) for slug, (name, _) in SPANS.items()],
        "span_words": SPANS[span][0],
        "outcomes": OUTCOMES.items(),
        "rows": [words.decision_line(one, names, request.tenant.zone) for one in found[:ROWS]],
        "narrowed": any(text for name, text in given.items() if name != "span"),
        "earlier": f"{query}&before={found[ROWS - 1].decision_id}" if len(found) > ROWS else "",
        "flows": lines,
        "flows_title": words.flows_title(lines),
        "figure": advised_and_ran([(line.name, line.advised, line.ran) for line in lines]),
        "drawn": min(len(lines), 10),
        "estimates": estimates,
        "estimates_title": words.estimates_title(estimates),
        "shadows": [
            {
                "name": one.name,
                "decisions": one.decisions,
                "agreed": money(one.agreed / one.decisions),
                "cost_usd": money(one.shadow_cost_usd - one.live_cost_usd),
                "worth_usd": money(one.shadow_worth_usd - one.live_worth_usd),
            }
            for one in compare_shadows(start=start, end=end)
        ],
    }
    return render(request, "dashboards/decisions.html", context)


def decision(request: HttpRequest, decision_id: uuid.UUID) -> HttpResponse:
    """One, with what else could have been."""
    return page(lambda inside: _one(inside, decision_id))(request)


def _one(request: PageRequest, decision_id: uuid.UUID) -> HttpResponse:
    info = find_decision(decision_id)
    if info is None:
        raise Http404
    line = words.decision_line(info, Names(), request.tenant.zone)
    context = {
        "tenant": request.tenant,
        "tabs": routing_tabs(request),
        "answer": words.decision_answer(line),
        "line": line,
        "info": info,
        "value_usd": money(info.value_usd),
        "quality": None if info.quality is None else money(info.quality),
        "scored": None if info.quality_score is None else money(info.quality_score),
        "expected_tokens": money(info.estimated_output_tokens),
        "alternatives": words.alternative_lines(info),
        "shadows": [
            {
                "name": name,
                "backend": row[0] or words.NOWHERE,
                "cost_usd": money(float(row[1])),
                "worth_usd": money(float(row[2])),
            }
            for name, row in sorted(info.shadows.items())
        ],
    }
    return render(request, "dashboards/decision.html", context)


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
