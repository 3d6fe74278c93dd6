"""The departments page: the tree, what each part of it spends, and how its budget burns down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from django.http import HttpResponse

from apps.budgets.status import BudgetStatus, read_statuses
from apps.dashboards.breakdown import Line, Sums, total
from apps.dashboards.budgets.budgets_page import BudgetRow, budget_rows
from apps.dashboards.page import PageRequest, render_live, usage_page
from apps.dashboards.page_state import read_state
from apps.dashboards.periods import Period, read_period
from apps.dashboards.reading import read_before, read_period_by_day
from apps.dashboards.sentences import Answer, Phrase, listed
from apps.dashboards.spending.allocation import read_allocation
from apps.dashboards.spending.department_tree import days_of, families, in_tree, roots
from apps.dashboards.trends import Burn, Trend, burn_of, trend_of
from apps.dashboards.views import month_forecast, on_course, own_currency_context, page_context
from apps.tenants.selectors import DepartmentInfo, list_departments
from apps.usage.selectors import SpendRow

ROOTS_DRAWN: Final = 15
NAMED_AT_MOST: Final = 3


@dataclass(frozen=True, slots=True)
class DepartmentBudget:
    """Its monthly budget in USD, or the first other one; how it burns down."""

    row: BudgetRow
    burn: Burn | None
    others: int


@dataclass(frozen=True, slots=True)
class DepartmentLine:
    """A department with all below it. `has_own` where it also spends itself, beside its parts."""

    code: str
    depth: int
    line: Line
    trend: Trend | None
    own: Sums
    has_parts: bool
    budget: DepartmentBudget | None


@dataclass(frozen=True, slots=True)
class DepartmentReport:
    lines: list[DepartmentLine]
    nobody: Line | None
    whole: Sums
    at_risk: Answer


@usage_page
def departments(request: PageRequest) -> HttpResponse:
    state = read_state(request.GET)
    zone = request.tenant.zone
    period = read_period(state.period, zone, request.now)
    listed_departments = list_departments()
    filters = state.spend_filters
    rows = read_period_by_day(period, zone, ("department", "model", "kind"), filters)
    before_rows = read_before(period, ("department",), filters)
    allocation = read_allocation(
        "department",
        period,
        zone,
        filters,
        drawn=ROOTS_DRAWN,
        belongs_to=roots(listed_departments),
        rows=rows,
        before_rows=before_rows,
    )
    tree = read_tree(listed_departments, rows, before_rows, period, now=request.now)
    context = (
        page_context(request, state)
        | own_currency_context(request, period, filters)
        | {
            "report": allocation,
            "tree": tree,
            "period": period,
            "answer": allocation.answer
            + tree.at_risk
            + on_course(month_forecast(request, state), tree.whole),
        }
    )
    return render_live(request, "departments", context)


def read_tree(
    departments: Sequence[DepartmentInfo],
    rows: Sequence[SpendRow],
    before_rows: Sequence[SpendRow],
    period: Period,
    *,
    now: datetime,
) -> DepartmentReport:
    """Every department that spent or has a budget, below its parent; `rows` are by day."""
    own, by_day = _sums(rows), _days(rows)
    before = _sums(before_rows)
    is_compared = bool(total(before.values()).cost)
    whole = total(own.values())
    family = families(departments)
    statuses = read_statuses(now=now)
    budgets = _budgets(statuses, departments)
    lines = []
    for department, depth in in_tree(departments):
        codes = family[department.id]
        budget = budgets.get(department.code.lower())
        now_sums = total(own[code] for code in codes if code in own)
        before_sums = total(before[code] for code in codes if code in before)
        if not now_sums.requests and not before_sums.requests and budget is None:
            continue
        lines.append(
            DepartmentLine(
                code=department.code,
                depth=depth,
                line=Line(
                    key=department.code,
                    name=department.name,
                    now=now_sums,
                    whole=whole,
                    before=before_sums if is_compared else None,
                ),
                trend=trend_of(days_of(codes, by_day), period.days),
                own=own.get(department.code.lower(), Sums()),
                has_parts=len(codes) > 1,
                budget=budget,
            )
        )
    nobody = own.get("")
    return DepartmentReport(
        lines=lines,
        nobody=Line(None, "no department", nobody, whole, before.get("")) if nobody else None,
        whole=whole,
        at_risk=_at_risk(lines),
    )


def _sums(rows: Sequence[SpendRow]) -> dict[str, Sums]:
    """By code in small letters; "" for what names none."""
    found: dict[str, Sums] = {}
    for row in rows:
        code = (row.labels["department"] or "").lower()
        found[code] = found.get(code, Sums()).plus(row)
    return found


def _days(rows: Sequence[SpendRow]) -> dict[str, dict[date, Decimal]]:
    found: dict[str, dict[date, Decimal]] = {}
    for row in rows:
        if isinstance(row.bucket, date):
            days = found.setdefault((row.labels["department"] or "").lower(), {})
            days[row.bucket] = days.get(row.bucket, Decimal(0)) + row.cost
    return found


def _budgets(
    statuses: Sequence[BudgetStatus], departments: Sequence[DepartmentInfo]
) -> Mapping[str, DepartmentBudget]:
    """By code: budgets about one department and nothing else."""
    codes = {one.code.lower() for one in departments}
    found: dict[str, list[tuple[BudgetStatus, BudgetRow]]] = {}
    for status, row in zip(statuses, budget_rows(statuses), strict=True):
        scope = status.standing.scope
        code = scope.get("department", "").lower()
        if len(scope) == 1 and code in codes:
            found.setdefault(code, []).append((status, row))
    made = {}
    for code, candidates in found.items():
        status, row = next(
            (one for one in candidates if _is_usual(one[0])),
            candidates[0],
        )
        burn = burn_of(
            [(d.day, d.total.mid, d.is_past) for d in status.days], status.standing.amount
        )
        made[code] = DepartmentBudget(row, burn, len(candidates) - 1)
    return made


def _is_usual(status: BudgetStatus) -> bool:
    return status.terms.unit == "usd" and status.terms.calendar.kind == "month"


def _at_risk(lines: Sequence[DepartmentLine]) -> Answer:
    """Which budgets will not hold, by name where they are few."""
    short = [
        one.line.name
        for one in lines
        if one.budget and one.budget.row.health in ("over", "at_risk")
    ]
    if not short:
        return ()
    verb, budgets = ("is", "budget") if len(short) == 1 else ("are", "budgets")
    if len(short) <= NAMED_AT_MOST:
        return (
            Phrase(f" The {budgets} of {listed(short)} {verb} used up or at risk", strong=True),
            Phrase("."),
        )
    return (Phrase(f" {len(short)} budgets are used up or at risk", strong=True), Phrase("."))
