"""One budget: how it stands and where it is heading, its history, and changing it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.services import (
    add_top_up,
    archive_budget,
    change_amount,
    change_budget,
    withdraw_amount,
)
from apps.budgets.status import (
    BudgetStatus,
    find_status,
    list_crossings,
    read_history,
)
from apps.dashboards.budgets.archived_budget import (
    change_lines,
    plan_lines,
    show_archived,
    top_up_lines,
)
from apps.dashboards.budgets.budget_figures import burn_up
from apps.dashboards.budgets.budget_form import (
    Given,
    change_fields,
    error_at,
    read_end,
    read_given,
    read_number,
    read_on_limit,
    read_percents,
    read_planned,
    read_start,
    top_up_fields,
)
from apps.dashboards.budgets.budget_words import (
    day_and_time,
    day_of,
    status_answer,
)
from apps.dashboards.budgets.budgets_page import budget_rows, budget_tabs
from apps.dashboards.page import PageRequest, changing, page, render_live
from apps.dashboards.templatetags.figures_of_speech import in_percent, localised
from apps.pricing.core.money import plain_decimal
from apps.tenants.scoping import tenant_scope

REFRESH_MS: Final = 10_000
MAX_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ThresholdLine:
    """A threshold of the running period, and when it was told."""

    words: str
    told: str


def budget(request: HttpRequest, budget_id: int) -> HttpResponse:
    """The page; for its own poll the parts that live."""
    return page(lambda inside: _show(inside, budget_id))(request)


def change_one(request: HttpRequest, budget_id: int) -> HttpResponse:
    """Change its amount, what it does at its limit, when it tells."""

    def change(inside: PageRequest, given: Given) -> str:
        actor, zone = inside.user.get_username(), inside.tenant.zone
        effective_from = read_planned(given, "effective_on", zone, inside.now)
        is_news = change_amount(
            budget_id,
            read_number(given, "amount"),
            actor=actor,
            reason=given.get("reason", ""),
            now=inside.now,
            effective_from=effective_from,
        )
        change_budget(
            budget_id,
            actor=actor,
            now=inside.now,
            name=given.get("name", "")[:200] or None,
            on_limit=read_on_limit(given),
            rollover=bool(given.get("rollover")),
            thresholds=read_percents(given, "thresholds"),
            projected_thresholds=read_percents(given, "projected_thresholds"),
        )
        if effective_from is not None:
            begins = day_of(effective_from, zone)
            if not is_news:
                return f"That is its amount on {begins} already: nothing was planned."
            return f"The amount is planned from {begins}; until then it stays."
        return "It is changed, from now on for the whole running period; what was spent stays so."

    return changing(lambda inside: _change(inside, budget_id, "change", change))(request)


def withdraw_one(request: HttpRequest, budget_id: int) -> HttpResponse:
    """Take back a planned amount before it begins."""

    def withdraw(inside: PageRequest, given: Given) -> str:
        number = given.get("amount_id", "")
        withdraw_amount(
            budget_id,
            int(number) if re.fullmatch(r"[0-9]{1,18}", number) else 0,
            actor=inside.user.get_username(),
            reason=given.get("reason", ""),
            now=inside.now,
        )
        return "The plan is withdrawn: the amount before it goes on."

    return changing(lambda inside: _change(inside, budget_id, "withdraw", withdraw))(request)


def top_up_one(request: HttpRequest, budget_id: int) -> HttpResponse:
    """Allow more for a while."""

    def top_up(inside: PageRequest, given: Given) -> str:
        starts_at = read_start(given, "starts_on", inside.tenant.zone)
        add_top_up(
            budget_id,
            read_number(given, "amount"),
            starts_at=starts_at,
            ends_at=read_end(given, "ends_on", inside.tenant.zone),
            actor=inside.user.get_username(),
            reason=given.get("reason", ""),
            now=inside.now,
        )
        return "The top-up is recorded: it counts while it stands."

    return changing(lambda inside: _change(inside, budget_id, "top_up", top_up))(request)


@changing
def archive_one(request: PageRequest) -> HttpResponse:
    """End a budget for good; its page says so from then on."""
    number = request.POST.get("budget_id", "")
    budget_id = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
    try:
        archive_budget(
            budget_id,
            actor=request.user.get_username(),
            reason=request.POST.get("reason", ""),
            now=request.now,
        )
    except InvalidBudgetInput as error:
        raise Http404 from error
    there = reverse("budget", args=[budget_id])
    return HttpResponseClientRedirect(there) if request.htmx else HttpResponseRedirect(there)


def _change(
    request: PageRequest, budget_id: int, form: str, act: Callable[[PageRequest, Given], str]
) -> HttpResponse:
    """All of a change or nothing of it; then the page with what it did, or with what is wrong."""
    given = read_given(request.POST.dict())
    try:
        with tenant_scope(request.tenant.id):
            said = act(request, given)
    except InvalidBudgetInput as error:
        if error.field == "budget_id":
            raise Http404 from error
        errors = error_at(error, given)
        return _show(request, budget_id, form=form, given=given, errors=errors, status=422)
    return _show(request, budget_id, said=said)


def _show(
    request: PageRequest,
    budget_id: int,
    *,
    form: str = "",
    given: Given | None = None,
    errors: Given | None = None,
    said: str = "",
    status: int = 200,
) -> HttpResponse:
    try:
        found = find_status(min(budget_id, MAX_ID), now=request.now)
    except InvalidBudgetInput as error:
        if request.method != "GET":
            raise Http404 from error
        return show_archived(request, min(budget_id, MAX_ID))
    context = _context(request, found) | {"said": said, "form": form, "errors": errors or {}}
    today = request.tenant.local_date(request.now)
    changed = (given or {}, errors or {}) if form == "change" else ({}, {})
    topped = (given or {}, errors or {}) if form == "top_up" else ({}, {})
    amounts = context["history"].amounts
    # What is in force: amounts may be planned for moments to come, or have been withdrawn.
    begun = [a for a in amounts if a.withdrawn_at is None and a.effective_from <= request.now]
    amount = (begun or amounts[-1:])[0].amount
    context["change_fields"] = change_fields(found.terms, amount, *changed)
    context["top_up_fields"] = top_up_fields(today, *topped)
    if request.method == "GET":
        return render_live(request, "budget", context)
    context |= {"seen": "", "is_part": bool(request.htmx)}
    name = "budget_body" if request.htmx else "budget"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _context(request: PageRequest, status: BudgetStatus) -> dict[str, Any]:
    history, unit = read_history(status.terms.id), status.terms.unit
    return {
        "row": budget_rows([status])[0],
        "status": status,
        "answer": status_answer(status),
        "drawn": burn_up(status, request.tenant.local_date(request.now)),
        "thresholds": _thresholds(request, status),
        "history": history,
        "changes": change_lines(request, history, unit),
        "top_ups": top_up_lines(request, history, unit),
        "planned": plan_lines(request, history, unit),
        "period": day_of(status.standing.period.start, request.tenant.zone),
        "tabs": budget_tabs(""),
        "parts": "#answer,#budget-cards,#budget-head,#budget-data,#budget-numbers,#thresholds-part",
        "live_ms": REFRESH_MS,
        "live_url": request.path,
        "tenant": request.tenant,
    }


def _thresholds(request: PageRequest, status: BudgetStatus) -> list[ThresholdLine]:
    """Each threshold of the running period's amount, and since when it is reached."""
    terms = status.terms
    allowed = terms.allowed(status.standing.period, request.now)
    told = {
        (one.basis, one.threshold): day_and_time(one.crossed_at, request.tenant.zone)
        for one in list_crossings(terms.id, status.standing.period.start)
        if one.amount == allowed
    }
    lines: list[ThresholdLine] = []
    for basis, words, thresholds in (
        ("actual", "spent", terms.thresholds),
        ("projected", "projected", terms.projected_thresholds),
    ):
        lines += [
            ThresholdLine(
                f"{in_percent(localised(plain_decimal(percent)))} {words}",
                told.get((basis, percent), ""),
            )
            for percent in thresholds
        ]
    return lines
