"""A budget that was ended: what it was, who ended it and why. And the histories of budgets."""

from dataclasses import dataclass

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString

from apps.budgets.core.amounts import Unit, amount_in_force
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.status import BudgetHistory, find_archived, read_history
from apps.dashboards.budgets.budget_words import (
    ACTION_WORDS,
    LIMIT_WORDS,
    PERIOD_WORDS,
    UNIT_WORDS,
    bare,
    beginning,
    change_words,
    day_and_time,
    scope_words,
)
from apps.dashboards.budgets.budgets_page import budget_tabs, scope_names
from apps.dashboards.page import PageRequest
from apps.dashboards.sentences import Phrase


@dataclass(frozen=True, slots=True)
class ChangeLine:
    """One change: when, what, by whom, why."""

    at: str
    what: str
    words: str
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class TopUpLine:
    amount: SafeString
    begins: str
    ends: str
    is_standing: bool
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlanLine:
    """An amount that is planned."""

    id: int
    amount: SafeString
    begins: str
    actor: str
    planned_at: str
    reason: str


def show_archived(request: PageRequest, budget_id: int) -> HttpResponse:
    """Its page; 404 when the tenant never had it."""
    try:
        found = find_archived(budget_id)
        history = read_history(budget_id)
    except InvalidBudgetInput as error:
        raise Http404 from error
    terms, unit = found.terms, found.terms.unit
    lines = change_lines(request, history, unit)
    ended = next((line for line in lines if line.what == ACTION_WORDS["budget.archived"]), None)
    answer = [
        Phrase("It was archived", strong=True),
        Phrase(f" on {day_and_time(found.archived_at, request.tenant.zone)}"),
        Phrase(f" by {ended.actor}" if ended else ""),
        Phrase(f": {ended.reason}." if ended and ended.reason else ", without a reason."),
        Phrase(" Since then it counts and refuses nothing."),
    ]
    amount = amount_in_force(terms.amounts, found.archived_at)
    context = {
        "budget": terms,
        "answer": answer,
        "scope": scope_words(found.scope, scope_names()),
        "period": PERIOD_WORDS[terms.calendar.kind],
        "unit": UNIT_WORDS[unit],
        "amount": bare(amount, unit) if amount is not None else "",
        "at_limit": LIMIT_WORDS[terms.on_limit],
        "changes": lines,
        "top_ups": top_up_lines(request, history, unit),
        "tabs": budget_tabs(""),
        "tenant": request.tenant,
    }
    return render(request, "dashboards/archived_budget.html", context)


def change_lines(request: PageRequest, history: BudgetHistory, unit: Unit) -> list[ChangeLine]:
    return [
        ChangeLine(
            at=day_and_time(change.at, request.tenant.zone),
            what=ACTION_WORDS.get(change.action, change.action),
            words=change_words(
                change.action, change.before, change.after, unit, request.tenant.zone
            ),
            actor=change.actor,
            reason=str((change.after or {}).get("reason", "")),
        )
        for change in history.changes
    ]


def top_up_lines(request: PageRequest, history: BudgetHistory, unit: Unit) -> list[TopUpLine]:
    zone, now = request.tenant.zone, request.now
    return [
        TopUpLine(
            amount=bare(top_up.amount, unit),
            begins=day_and_time(top_up.starts_at, zone),
            ends=day_and_time(top_up.ends_at, zone),
            is_standing=top_up.starts_at <= now < top_up.ends_at,
            actor=top_up.actor,
            reason=top_up.reason,
        )
        for top_up in history.top_ups
    ]


def plan_lines(request: PageRequest, history: BudgetHistory, unit: Unit) -> list[PlanLine]:
    """What is planned, the next first."""
    zone = request.tenant.zone
    return [
        PlanLine(
            id=one.id,
            amount=bare(one.amount, unit),
            begins=beginning(one.effective_from, zone),
            actor=one.actor,
            planned_at=day_and_time(one.recorded_at, zone),
            reason=one.reason,
        )
        for one in reversed(history.amounts)
        if one.is_planned(request.now)
    ]
