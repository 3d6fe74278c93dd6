"""The department budgets page: what each spent, is expected to spend, and may; setting it, by hand
or from a spreadsheet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

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
from apps.dashboards.budgets.budget_form import LONGEST, read_number
from apps.dashboards.budgets.budget_words import LIMIT_CHOICES, LIMIT_WORDS
from apps.dashboards.budgets.budgets_page import budget_tabs
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.sentences import Answer, Phrase
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
            wanted.append(WantedAmount(number, row.department.code, value, on_limit))
        except InvalidBudgetInput as error:
            errors[number] = str(error)
    if errors:
        return _show(request, errors=errors, typed=typed, reason=reason, status=422)
    plan = set_department_budgets(
        wanted, actor=request.user.get_username(), reason=reason, now=request.now
    )
    if plan.errors:
        errors = {error.line: error.detail for error in plan.errors}
        return _show(request, errors=errors, typed=typed, reason=reason, status=422)
    return _show(request, said=_done(plan))


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
    if "apply" not in request.POST:
        plan = plan_department_budgets(wanted, now=request.now)
        plan = DepartmentPlan(plan.changes, [*errors, *plan.errors])
        return _show(request, plan=plan, text=text)
    reason = request.POST.get("reason", "").replace("\0", "").strip()[:LONGEST]
    plan = set_department_budgets(
        wanted,
        actor=request.user.get_username(),
        reason=reason or "imported from CSV",
        now=request.now,
    )
    plan = DepartmentPlan(plan.changes, [*errors, *plan.errors])
    return _show(request, said=_done(plan), left_out=plan.errors)


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
    status: int = 200,
) -> HttpResponse:
    rows = read_department_rows(now=request.now)
    context: dict[str, Any] = {
        "lines": [_line(row, errors or {}, typed or {}) for row in rows],
        "answer": _answer(rows),
        "limits": LIMIT_CHOICES,
        "tabs": budget_tabs("department-budgets"),
        "plan_lines": _plan_lines(plan) if plan else None,
        "plan": plan,
        "text": text,
        "said": said,
        "reason": reason,
        "left_out": sorted(left_out, key=lambda error: error.line),
        "has_errors": bool(errors),
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
    row: DepartmentRow, errors: Mapping[int, str], typed: Mapping[int, tuple[str, str]]
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


def _done(plan: DepartmentPlan) -> str:
    failed = {error.line for error in plan.errors}
    done = sum(1 for change in plan.news if change.line not in failed)
    if not done:
        return "Nothing was changed: everything stands as it was."
    return f"{done} budget{'s' if done != 1 else ''} set, from now on."
