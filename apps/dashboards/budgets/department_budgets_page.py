"""The department budgets page: what each spent, is expected to spend, and may; setting it, by hand
or from a spreadsheet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString

from apps.budgets.core.department_csv import (
    MAX_CHARACTERS,
    LineError,
    WantedAmount,
    read_csv,
    write_csv,
)
from apps.budgets.department_budgets import (
    DepartmentPlan,
    DepartmentRow,
    plan_department_budgets,
    read_department_rows,
    set_department_budgets,
)
from apps.budgets.errors import InvalidBudgetInput
from apps.dashboards.budgets.budget_form import LONGEST, read_number, read_planned
from apps.dashboards.budgets.budget_words import LIMIT_CHOICES, LIMIT_WORDS, beginning, day_of
from apps.dashboards.budgets.budgets_page import budget_tabs
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.sentences import Answer, Phrase, capitalised
from apps.dashboards.templatetags.figures_of_speech import in_usd, money_short, usd_short
from apps.dashboards.typed_numbers import as_typed
from apps.pricing.core.money import plain_decimal

CSV_COLUMNS: Final = (
    "department",
    "name",
    "above",
    "last_month_usd",
    "this_month_usd",
    "expected_usd",
    "amount_usd",
    "on_limit",
)


@dataclass(frozen=True, slots=True)
class DepartmentLine:
    """One department as the table has it; `amount` is what stands in its field."""

    id: int
    code: str
    name: str
    depth: int
    last_month: SafeString
    this_month: SafeString
    expected: SafeString | None
    between: tuple[SafeString, SafeString] | None
    amount: str
    on_limit: str
    budget_id: int | None
    others: int
    is_short: bool
    error: str
    planned: list[tuple[SafeString, str]]


@dataclass(frozen=True, slots=True)
class PlanLine:
    """What one line of an import does."""

    line: int
    name: str
    code: str
    words: str
    is_news: bool


@page
def department_budgets(request: PageRequest) -> HttpResponse:
    """The page, or with ?format=csv its table for a spreadsheet."""
    if request.GET.get("format") == "csv":
        return _export(request)
    return _show(request)


@changing
def set_by_hand(request: PageRequest) -> HttpResponse:
    """Sets the amounts that were changed in the table."""
    rows = read_department_rows(now=request.now)
    reason = request.POST.get("reason", "").replace("\0", "").strip()[:LONGEST]
    wanted: list[WantedAmount] = []
    errors: dict[int, str] = {}
    typed: dict[int, tuple[str, str]] = {}
    begins_on = _begins_on(request)
    effective_from, day_error = _effective_from(request, begins_on)
    for row in rows:
        number = row.department.id
        amount = request.POST.get(f"amount-{number}", "").replace("\0", "").strip()[:40]
        on_limit = request.POST.get(f"on-limit-{number}", "")
        on_limit = on_limit if on_limit in LIMIT_WORDS else "notify"
        typed[number] = (amount, on_limit)
        if not amount:
            if row.budget is not None:
                errors[number] = "An empty field takes nothing away: archive the budget instead."
            continue
        try:
            value = read_number({"amount": amount}, "amount")
            standing = (row.amount_usd, row.budget.on_limit) if row.budget else None
            # Fields that nobody touched plan nothing: their amount may be planned otherwise.
            if effective_from is not None and (value, on_limit) == standing:
                continue
            wanted.append(WantedAmount(number, row.department.code, value, on_limit))
        except InvalidBudgetInput as error:
            errors[number] = str(error)
    shown: dict[str, Any] = {"typed": typed, "reason": reason, "begins_on": begins_on}
    if errors or day_error:
        return _show(request, errors=errors, day_error=day_error, status=422, **shown)
    plan = set_department_budgets(
        wanted,
        actor=request.user.get_username(),
        reason=reason,
        now=request.now,
        effective_from=effective_from,
    )
    if plan.errors:
        errors = {error.line: capitalised(error.detail) + "." for error in plan.errors}
        return _show(request, errors=errors, status=422, **shown)
    return _show(request, said=_done(plan, _from_words(request, effective_from)))


@changing
def import_budgets(request: PageRequest) -> HttpResponse:
    """A dry run of a CSV; with `apply`, the same for good. Bad lines cost no good one."""
    upload = request.FILES.get("file")
    if upload is not None:
        raw = upload.read(MAX_CHARACTERS * 4 + 1)
        text = raw.decode("utf-8-sig", errors="replace").replace("\0", "")
    else:
        text = request.POST.get("text", "").replace("\0", "")
    wanted, errors = read_csv(text)
    begins_on = _begins_on(request)
    effective_from, day_error = _effective_from(request, begins_on)
    if "apply" not in request.POST or day_error:
        plan = plan_department_budgets(wanted, now=request.now, effective_from=effective_from)
        plan = DepartmentPlan(plan.changes, [*errors, *plan.errors])
        shown: dict[str, Any] = {
            "plan": plan,
            "text": text,
            "begins_on": begins_on,
            "day_error": day_error,
        }
        return _show(request, status=422 if day_error else 200, **shown)
    reason = request.POST.get("reason", "").replace("\0", "").strip()[:LONGEST]
    plan = set_department_budgets(
        wanted,
        actor=request.user.get_username(),
        reason=reason or "imported from CSV",
        now=request.now,
        effective_from=effective_from,
    )
    plan = DepartmentPlan(plan.changes, [*errors, *plan.errors])
    said = _done(plan, _from_words(request, effective_from))
    return _show(request, said=said, left_out=plan.errors)


def _begins_on(request: PageRequest) -> str:
    return request.POST.get("effective_on", "").replace("\0", "").strip()[:40]


def _effective_from(request: PageRequest, begins_on: str) -> tuple[datetime | None, str]:
    """The moment that a day begins, None for now; and what is wrong with the day."""
    given = {"effective_on": begins_on}
    try:
        return read_planned(given, "effective_on", request.tenant.zone, request.now), ""
    except InvalidBudgetInput as error:
        return None, str(error)


def _from_words(request: PageRequest, effective_from: datetime | None) -> str:
    return day_of(effective_from, request.tenant.zone) if effective_from else "now on"


def _show(
    request: PageRequest,
    *,
    plan: DepartmentPlan | None = None,
    text: str = "",
    said: str = "",
    reason: str = "",
    left_out: Iterable[LineError] = (),
    errors: Mapping[int, str] | None = None,
    typed: Mapping[int, tuple[str, str]] | None = None,
    begins_on: str = "",
    day_error: str = "",
    status: int = 200,
) -> HttpResponse:
    rows = read_department_rows(now=request.now)
    context: dict[str, Any] = {
        "lines": [_line(row, errors or {}, typed or {}, request.tenant.zone) for row in rows],
        "begins_on": begins_on,
        "day_error": day_error,
        "answer": _answer(rows),
        "limits": LIMIT_CHOICES,
        "tabs": budget_tabs("department-budgets"),
        "plan_lines": _plan_lines(plan) if plan else None,
        "plan": plan,
        "text": text,
        "said": said,
        "reason": reason,
        "left_out": sorted(left_out, key=lambda error: error.line),
        "has_errors": bool(errors or day_error) and plan is None,
        "is_part": bool(request.htmx and request.method == "POST"),
        "tenant": request.tenant,
    }
    name = "department_budgets_body" if context["is_part"] else "department_budgets"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _export(request: PageRequest) -> HttpResponse:
    rows = read_department_rows(now=request.now)
    text = write_csv(
        CSV_COLUMNS,
        [
            (
                row.department.code,
                row.department.name,
                row.above,
                plain_decimal(row.last_month_usd),
                plain_decimal(row.this_month_usd),
                plain_decimal(row.expected.mid) if row.expected else "",
                plain_decimal(row.amount_usd) if row.amount_usd is not None else "",
                row.budget.on_limit if row.budget else "",
            )
            for row in rows
        ],
    )
    response = HttpResponse(text, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="department-budgets.csv"'
    return response


def _line(
    row: DepartmentRow,
    errors: Mapping[int, str],
    typed: Mapping[int, tuple[str, str]],
    zone: ZoneInfo,
) -> DepartmentLine:
    number, expected, amount = row.department.id, row.expected, row.amount_usd
    standing = (
        as_typed(amount) if amount is not None else "",
        row.budget.on_limit if row.budget else "notify",
    )
    shown_amount, on_limit = typed.get(number, standing)
    return DepartmentLine(
        id=number,
        code=row.department.code,
        name=row.department.name,
        depth=row.depth,
        last_month=money_short(row.last_month_usd),
        this_month=money_short(row.this_month_usd),
        expected=money_short(expected.mid) if expected else None,
        between=(money_short(expected.low), money_short(expected.high))
        if expected and expected.low != expected.high
        else None,
        amount=shown_amount,
        on_limit=on_limit,
        budget_id=row.budget.id if row.budget else None,
        others=row.others,
        is_short=bool(expected and amount is not None and expected.mid > amount),
        error=errors.get(number, ""),
        planned=[(money_short(a.amount), beginning(a.effective_from, zone)) for a in row.planned],
    )


def _answer(rows: list[DepartmentRow]) -> Answer:
    with_budget = [row for row in rows if row.amount_usd is not None]
    short = [
        row
        for row in with_budget
        if row.expected and row.amount_usd is not None and row.expected.mid > row.amount_usd
    ]
    if not rows:
        return (Phrase("No usage has named a department yet."),)
    parts = [
        Phrase(f"{len(with_budget)} of {len(rows)} departments", strong=True),
        Phrase(" have a monthly budget"),
    ]
    top = [row for row in with_budget if row.depth == 0 and row.amount_usd is not None]
    whole = sum((row.amount_usd or Decimal(0) for row in top), Decimal(0))
    if top:
        parts.append(Phrase(f", {in_usd(usd_short(whole))} at the top of the tree"))
    parts.append(Phrase("."))
    if short:
        verb = "is" if len(short) == 1 else "are"
        parts.append(Phrase(f" {len(short)} {verb} expected to need more", strong=True))
        parts.append(Phrase(" than that."))
    return tuple(parts)


def _plan_lines(plan: DepartmentPlan) -> list[PlanLine]:
    lines = []
    for change in plan.changes:
        before = f"{usd_short(change.before)} → " if change.before is not None else "new: "
        words = f"{before}{in_usd(usd_short(change.after))}"
        if change.on_limit != change.on_limit_before:
            words += f", at the limit it {LIMIT_WORDS[change.on_limit]}"
        is_news = change.what != "same"
        lines.append(
            PlanLine(
                change.line, change.name, change.code, words if is_news else "as it is", is_news
            )
        )
    return lines


def _done(plan: DepartmentPlan, since: str) -> str:
    failed = {error.line for error in plan.errors}
    done = sum(1 for change in plan.news if change.line not in failed)
    if not done:
        return "Nothing was changed: everything stands as it was."
    return f"{done} budget{'s' if done != 1 else ''} set, from {since}."
