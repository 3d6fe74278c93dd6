"""Charge-back pages: a month of statements, one of them to print, closing it, shared costs."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final, cast

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from apps.budgets.chargeback import (
    MonthStatements,
    close_month,
    list_closings,
    list_months,
    read_statements,
)
from apps.budgets.core.statements import PayerKind, Rule, SharingRule, Source
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.sharing import SharingInput, add_sharing, end_sharing, list_rules
from apps.budgets.statement_bodies import StatementInfo
from apps.budgets.statement_tables import RULE_WORDS, XLSX, as_csv, as_xlsx, split_words
from apps.dashboards.budgets.budget_form import Field, Given, error_at, read_given, read_number
from apps.dashboards.budgets.budget_words import day_and_time
from apps.dashboards.budgets.budgets_page import budget_tabs
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.page_state import Chip
from apps.dashboards.periods import local_midnight, month_name, next_month
from apps.dashboards.sentences import Answer, Phrase
from apps.dashboards.templatetags.figures_of_speech import fixed, in_percent, in_usd, usd_short
from apps.pricing.core.sharing import exact_sum
from apps.tenants.core.exchange import Converted
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant, list_departments
from apps.usage.reporting import read_month_average

SOURCE_CHOICES: Final = (
    ("unattributed", "what names nobody"),
    ("department", "a department’s spend"),
    ("project", "a project’s spend"),
)
RULE_CHOICES: Final = (
    ("usage", "by usage"),
    ("even", "evenly between those that spend"),
    ("fixed", "by fixed shares"),
)
KIND_WORDS: Final = {"department": "Departments", "customer": "Customers"}


@dataclass(frozen=True, slots=True)
class PoolLine:
    """One rule's costs of the month, and each payer's part."""

    name: str
    rule: str
    pool_usd: Decimal
    parts: list[tuple[str, str, Decimal]]


@dataclass(frozen=True, slots=True)
class RuleLine:
    id: int
    name: str
    words: str


@page
def statements(request: PageRequest) -> HttpResponse:
    """The page; with ?format=csv or xlsx the month as a file."""
    kind, month = _wanted(request)
    form = request.GET.get("format", "")
    if form in ("csv", "xlsx"):
        return _file(_read(request, month, kind), form)
    return _show(request, kind, month)


def statement(request: HttpRequest, payer: str, payer_id: int) -> HttpResponse:
    """One payer's month, to print."""
    return page(lambda inside: _one(inside, payer, payer_id))(request)


@changing
def close_one(request: PageRequest) -> HttpResponse:
    """Close a month, and those before it that are open."""
    kind, _ = _wanted(request)
    given = read_given(request.POST.dict())
    try:
        with tenant_scope(request.tenant.id):
            months = close_month(
                request.tenant.id,
                _month(given.get("month", "")),
                actor=request.user.get_username(),
                reason=given.get("reason", ""),
                now=request.now,
            )
        request.tenant = get_tenant()
    except InvalidBudgetInput as error:
        errors = error_at(error, given)
        return _show(request, kind, None, form="close", given=given, errors=errors, status=422)
    said = f"Closed: {', '.join(_in_words(month) for month in months)}. Its statements are kept."
    return _show(request, kind, months[-1], said=said)


@changing
def add_rule(request: PageRequest) -> HttpResponse:
    """Share costs from the open month on."""
    kind, _ = _wanted(request)
    given = read_given(request.POST.dict())
    try:
        add_sharing(
            SharingInput(
                name=given.get("name", ""),
                kind=kind,
                source=cast("Source", given.get("source", "")),
                rule=cast("Rule", given.get("rule", "")),
                value=given.get("value", ""),
                weights=_weights(given.get("weights", "")),
            ),
            actor=request.user.get_username(),
            now=request.now,
        )
    except InvalidBudgetInput as error:
        errors = error_at(error, given)
        return _show(request, kind, None, form="share", given=given, errors=errors, status=422)
    return _show(request, kind, None, said="These costs are shared from the open month on.")


@changing
def end_rule(request: PageRequest) -> HttpResponse:
    kind, _ = _wanted(request)
    number = request.POST.get("rule_id", "")
    rule_id = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else 0
    try:
        end_sharing(rule_id, actor=request.user.get_username(), now=request.now)
    except InvalidBudgetInput as error:
        raise Http404 from error
    return _show(request, kind, None, said="They are shared no more, from the open month on.")


def _one(request: PageRequest, payer: str, payer_id: int) -> HttpResponse:
    if payer not in KIND_WORDS:
        raise Http404
    _, month = _wanted(request)
    found = _read(request, month, cast("PayerKind", payer))
    one = next((one for one in found.statements if one.payer_id == payer_id), None)
    if one is None:
        raise Http404
    context = {
        "one": one,
        "sums": one.sums,
        "adjustments": [(_in_words(line.of_month), line) for line in one.sums.adjustments],
        "shared": [(line, split_words(line)) for line in one.sums.shared],
        "month": _in_words(found.month),
        "closing": found.closing,
        "closed_at": day_and_time(found.closing.closed_at, request.tenant.zone)
        if found.closing
        else "",
        "answer": _statement_answer(one, found),
        "back": f"{reverse('statements')}?payer={payer}&month={found.month:%Y-%m}",
        "made_at": day_and_time(request.now, request.tenant.zone),
        "reporting": _in_own_currency(request, found.month, one.total_usd),
        "tenant": request.tenant,
    }
    return render(request, "dashboards/statement.html", context)


def _in_own_currency(request: PageRequest, month: date, usd: Decimal) -> Converted | None:
    zone = request.tenant.zone
    start, end = local_midnight(month, zone), local_midnight(next_month(month), zone)
    return read_month_average(start, end, usd)


def _show(
    request: PageRequest,
    kind: PayerKind,
    month: date | None,
    *,
    form: str = "",
    given: Given | None = None,
    errors: Given | None = None,
    said: str = "",
    status: int = 200,
) -> HttpResponse:
    found = _read(request, month, kind)
    closed = {one.month for one in list_closings()}
    months = list_months(now=request.now)
    own = _in_own_currency(request, found.month, found.total_usd)
    context: dict[str, Any] = {
        "found": found,
        "month": _in_words(found.month),
        "slug": f"{found.month:%Y-%m}",
        "kind": kind,
        "pools": _pools(found),
        "own_usd": exact_sum(one.sums.own_usd for one in found.statements),
        "adjustment_usd": exact_sum(one.sums.adjustment_usd for one in found.statements),
        "shared_usd": exact_sum(one.sums.shared_usd for one in found.statements),
        "answer": _answer(found),
        "months": [(f"{m:%Y-%m}", _in_words(m), m in closed) for m in months],
        "can_close": [
            (f"{m:%Y-%m}", _in_words(m)) for m in months[1:] if not closed or m > max(closed)
        ],
        "rules": _rules(kind),
        "rule_fields": _rule_fields(kind, given if form == "share" else {}, errors or {}),
        "close_given": given if form == "close" else {},
        "form": form,
        "errors": errors or {},
        "said": said,
        "tabs": budget_tabs("statements"),
        "reporting": own,
        "lines": [(one, own and own.part(one.total_usd)) for one in found.statements],
        "kinds": [
            Chip(words, f"{reverse('statements')}?payer={k}&month={found.month:%Y-%m}", k == kind)
            for k, words in KIND_WORDS.items()
        ],
        "is_part": bool(request.htmx and request.method == "POST"),
        "tenant": request.tenant,
    }
    name = "statements_body" if context["is_part"] else "statements"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _wanted(request: PageRequest) -> tuple[PayerKind, date | None]:
    """Payers and month by the address; what it gets wrong falls back."""
    kind: PayerKind = "customer" if request.GET.get("payer") == "customer" else "department"
    try:
        return kind, _month(request.GET.get("month", ""))
    except InvalidBudgetInput:
        return kind, None


def _read(request: PageRequest, month: date | None, kind: PayerKind) -> MonthStatements:
    this = request.tenant.local_date(request.now).replace(day=1)
    try:
        return read_statements(month or this, kind, now=request.now)
    except InvalidBudgetInput:
        return read_statements(this, kind, now=request.now)


def _month(text: str) -> date:
    try:
        if len(text) != len("2026-11"):
            raise ValueError
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise InvalidBudgetInput("Choose a month.", field="month") from None


def _weights(text: str) -> dict[str, Decimal]:
    """ "sales=2, support=1" """
    weights: dict[str, Decimal] = {}
    for part in text.replace(";", ",").split(","):
        if part.strip():
            code, sign, weight = part.rpartition("=")
            if not sign:
                raise InvalidBudgetInput("Write them as sales=2, support=1.", field="weights")
            weights[code.strip()] = read_number({"weights": weight.strip()}, "weights")
    return weights


def _file(found: MonthStatements, form: str) -> HttpResponse:
    if form == "csv":
        response = HttpResponse(as_csv(found), content_type="text/csv; charset=utf-8")
    else:
        response = HttpResponse(as_xlsx(found), content_type=XLSX)
    name = f"statements-{found.month:%Y-%m}-{found.kind}.{form}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _pools(found: MonthStatements) -> list[PoolLine]:
    """What was shared in the month, and with whom."""
    pools: dict[str, PoolLine] = {}
    for one in found.statements:
        for line in one.sums.shared:
            pool = pools.setdefault(
                line.name, PoolLine(line.name, RULE_WORDS[line.rule], line.pool_usd, [])
            )
            share = line.weight / line.whole_weight if line.whole_weight else Decimal(0)
            pool.parts.append((one.name, in_percent(fixed(share * 100, 1)), line.cost_usd))
    return list(pools.values())


def _rules(kind: PayerKind) -> list[RuleLine]:
    names = {d.id: d.name for d in list_departments()}
    return [RuleLine(rule.id, rule.name, _rule_words(rule, names)) for rule in list_rules(kind)]


def _rule_words(rule: SharingRule, names: dict[int, str]) -> str:
    what = {
        "unattributed": "what names nobody",
        "department": f"spend of department {names.get(rule.department_id or 0, '')}",
        "project": f"spend of project {rule.project}",
    }[rule.source]
    return f"{what}, {RULE_WORDS[rule.rule]}"


def _rule_fields(kind: PayerKind, given: Given | None, errors: Given) -> list[Field]:
    typed = given or {}
    hint = "sales=2, support=1" if kind == "department" else "acme=2, globex=1"
    fields = (
        ("name", "Name", "text", (), "stands on the statements"),
        ("source", "Shared is", "select", SOURCE_CHOICES, ""),
        ("value", "which", "text", (), "a department’s code or a project"),
        ("rule", "split", "select", RULE_CHOICES, ""),
        ("weights", "Fixed shares", "text", (), hint),
    )
    return [
        Field(
            name,
            label,
            field_kind,
            value=typed.get(name, ""),
            hint=told,
            error=errors.get(name, ""),
            choices=choices,
        )
        for name, label, field_kind, choices, told in fields
    ]


def _answer(found: MonthStatements) -> Answer:
    what = f"{len(found.statements)} statements charge "
    parts = [Phrase(what), Phrase(f"{in_usd(usd_short(found.total_usd))}", strong=True)]
    changed = exact_sum(one.sums.adjustment_usd for one in found.statements)
    if changed:
        parts.append(Phrase(f", {usd_short(changed)} of it changes of closed months"))
    if found.closing is None:
        return (*parts, Phrase(": the month is open, and they move with it."))
    return (*parts, Phrase(": the month is closed, and they stay as they are."))


def _statement_answer(one: StatementInfo, found: MonthStatements) -> Answer:
    parts = [
        Phrase(f"{in_usd(usd_short(one.total_usd))}", strong=True),
        Phrase(f" charged for {_in_words(found.month)}"),
    ]
    left = one.closing_usd
    if left is not None:
        under = "left of the budget" if left >= 0 else "more than the budget"
        parts.append(Phrase(f", {usd_short(abs(left))} {under}"))
    return (*parts, Phrase("." if found.closing else " so far."))


def _in_words(month: date | None) -> str:
    return f"{month_name(month)} {month.year}" if month else ""
