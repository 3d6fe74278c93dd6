"""The budgets page: will they hold? Those at risk first, drawn; all in a table; adding one."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.safestring import SafeString

from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.selectors import read_choices
from apps.budgets.services import create_budget, set_choices
from apps.budgets.status import BudgetStatus, list_archived, read_statuses
from apps.dashboards.budgets.budget_figures import BurnUp, burn_up
from apps.dashboards.budgets.budget_form import (
    Given,
    error_at,
    new_fields,
    read_given,
    read_new,
    read_number,
    settings_fields,
)
from apps.dashboards.budgets.budget_words import (
    HEALTH_WORDS,
    LIMIT_WORDS,
    PERIOD_WORDS,
    UNIT_WORDS,
    bare,
    day_and_time,
    finding,
    list_answer,
    pace_words,
    reserved_words,
    scope_words,
    settings_words,
)
from apps.dashboards.page import PageRequest, changing, page, render_live
from apps.dashboards.page_state import Chip
from apps.dashboards.periods import short_day
from apps.tenants.selectors import list_customers, list_departments

DRAWN: Final = 4
MOST_ARCHIVED: Final = 50
REFRESH_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget as the table and its card have it."""

    id: int
    name: str
    scope: str
    period: str
    unit: str
    amount: SafeString
    spent: SafeString
    held: SafeString
    leased: SafeString | None
    left: SafeString
    spent_share: Decimal | None
    elapsed: Decimal
    pace: str
    expected: SafeString | None
    between: tuple[SafeString, SafeString] | None
    runs_out: str
    reserved_share: Decimal | None
    reserved: str
    health: str
    health_words: str
    at_limit: str
    is_live: bool
    finding: str


@dataclass(frozen=True, slots=True)
class BudgetCard:
    """A budget drawn."""

    row: BudgetRow
    burn_up: BurnUp

    @property
    def key(self) -> str:
        return f"b{self.row.id}"


@page
def budgets(request: PageRequest) -> HttpResponse:
    """The page; for its own poll the parts that live."""
    return _show(request)


@changing
def add_budget(request: PageRequest) -> HttpResponse:
    given = read_given(request.POST.dict())
    try:
        wanted = read_new(given, request.tenant.zone)
        budget_id = create_budget(wanted, actor=request.user.get_username(), now=request.now)
    except InvalidBudgetInput as error:
        return _show(request, given=given, errors=error_at(error, given), status=422)
    context = _context(request, {}, {}) | {"said_id": budget_id}
    return _render(request, context, status=200)


@changing
def set_settings(request: PageRequest) -> HttpResponse:
    """What happens while caps are not known, and how long a hold lasts."""
    given = read_given(request.POST.dict())
    try:
        seconds = read_number(given, "hold_seconds")
        if seconds != seconds.to_integral_value():
            raise InvalidBudgetInput("Give whole seconds.", field="hold_seconds")
        set_choices(
            cloud_while_unknown=given.get("cloud_while_unknown", ""),
            local_while_unknown=given.get("local_while_unknown", ""),
            hold_seconds=int(seconds),
            actor=request.user.get_username(),
            now=request.now,
        )
    except InvalidBudgetInput as error:
        wrong = error_at(error, given)
        context = _context(request, {}, {}) | _settings(given, wrong)
        return _render(request, context, status=422)
    context = _context(request, {}, {}) | {"said": "That is how it is done from now on."}
    return _render(request, context, status=200)


def _settings(given: Given, errors: Given) -> dict[str, Any]:
    """The form of settings, and what they say in words."""
    choices = read_choices()
    return {
        "settings_fields": settings_fields(choices, given, errors),
        "settings_errors": errors,
        "settings_words": settings_words(choices),
    }


def budget_rows(statuses: Iterable[BudgetStatus]) -> list[BudgetRow]:
    """Budgets by the names that people use."""
    names = scope_names()
    return [_row(status, names) for status in statuses]


def scope_names() -> dict[tuple[str, str], str]:
    """What people call what scopes name, by (field, value)."""
    names = {("department", d.code): d.name for d in list_departments()}
    return names | {("customer", c.external_id): c.name for c in list_customers()}


def _row(status: BudgetStatus, names: dict[tuple[str, str], str]) -> BudgetRow:
    standing, terms, expected = status.standing, status.terms, status.expected
    out = status.runs_out_on
    return BudgetRow(
        id=terms.id,
        name=terms.name,
        scope=scope_words(standing.scope, names),
        period=PERIOD_WORDS[terms.calendar.kind],
        unit=UNIT_WORDS[terms.unit],
        amount=bare(standing.amount, terms.unit),
        spent=bare(standing.spent, terms.unit),
        held=bare(standing.held, terms.unit),
        leased=bare(status.leased, terms.unit) if status.leased else None,
        left=bare(standing.left, terms.unit),
        spent_share=status.spent_share,
        elapsed=status.elapsed,
        pace=pace_words(status),
        expected=bare(expected.mid, terms.unit) if expected else None,
        between=(bare(expected.low, terms.unit), bare(expected.high, terms.unit))
        if expected and expected.low != expected.high
        else None,
        runs_out=short_day(out) if out and status.health != "over" else "",
        reserved_share=status.reserved_share,
        reserved=reserved_words(status),
        health=status.health,
        health_words=HEALTH_WORDS[status.health],
        at_limit=LIMIT_WORDS[terms.on_limit],
        is_live=standing.is_live,
        finding=finding(status),
    )


def _show(
    request: PageRequest,
    *,
    given: Given | None = None,
    errors: Given | None = None,
    status: int = 200,
) -> HttpResponse:
    context = _context(request, given or {}, errors or {})
    if request.method == "GET":
        return render_live(request, "budgets", context)
    return _render(request, context, status=status)


def _render(request: PageRequest, context: dict[str, Any], *, status: int) -> HttpResponse:
    context |= {"seen": "", "is_part": bool(request.htmx)}
    name = "budgets_body" if request.htmx else "budgets"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _context(request: PageRequest, given: Given, errors: Given) -> dict[str, Any]:
    statuses = read_statuses(now=request.now)
    today = request.tenant.local_date(request.now)
    rows = budget_rows(statuses)
    cards: list[BudgetCard] = []
    for status, row in zip(statuses, rows, strict=True):
        drawn = burn_up(status, today) if len(cards) < DRAWN else None
        if drawn is not None:
            cards.append(BudgetCard(row, drawn))
    parts = ["#answer", "#budgets-part"]
    parts += [f"#{card.key}-{part}" for card in cards for part in ("head", "data", "numbers")]
    return {
        "rows": rows,
        "cards": cards,
        "answer": list_answer(statuses),
        "archived": _archived(request),
        "fields": new_fields(given, errors, {}),
        "errors": errors,
        **_settings({}, {}),
        "tabs": budget_tabs("budgets"),
        "parts": ",".join(parts),
        "live_ms": REFRESH_MS,
        "live_url": request.path,
        "tenant": request.tenant,
    }


def _archived(request: PageRequest) -> list[tuple[int, str, str]]:
    """(id, name, since when) of those ended last."""
    return [
        (one.terms.id, one.terms.name, day_and_time(one.archived_at, request.tenant.zone))
        for one in list_archived()[:MOST_ARCHIVED]
    ]


def budget_tabs(here: str) -> list[Chip]:
    """The pages about budgets, as chips beside the title."""
    pages = (
        ("budgets", "All budgets"),
        ("department-budgets", "Departments"),
        ("statements", "Statements"),
    )
    return [Chip(label, reverse(name), name == here) for name, label in pages]
