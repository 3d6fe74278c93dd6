"""The monthly budgets of departments, all at once: what each spent and is expected to, and setting
them. Part of services.

A department's budget here is the one in USD per month for the department alone (its children
included); where there are several, the oldest.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Literal, cast
from zoneinfo import ZoneInfo

from django.db import transaction

from apps.budgets.book import BudgetTerms, OnLimit, read_book
from apps.budgets.core.amounts import DatedAmount, amount_in_force
from apps.budgets.core.department_csv import LineError, WantedAmount
from apps.budgets.core.pace import Expected
from apps.budgets.core.periods import Calendar
from apps.budgets.core.scopes import Scope
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.projections import ScopeFilters, project, read_projections
from apps.budgets.services import BudgetTermsInput, change_amount, change_budget, create_budget
from apps.pricing.core.sharing import exact_sum
from apps.tenants.selectors import DepartmentInfo, get_tenant, list_departments
from apps.usage.selectors import SpendQuery, read_spend

# Forecasts for departments without a budget, whose answers nobody keeps: so many at once.
FORECAST_AT_ONCE: Final = 12
THRESHOLDS: Final = (Decimal(50), Decimal(80), Decimal(100))
PROJECTED_THRESHOLDS: Final = (Decimal(100),)
Change = Literal["make", "change", "same"]


@dataclass(frozen=True, slots=True)
class DepartmentRow:
    """A department in its tree, all below it included. `expected` is the running month's end, None
    where it was not asked for. `others`: further budgets about this department; `planned`: its
    amounts from moments to come, the next first."""

    department: DepartmentInfo
    depth: int
    above: str
    last_month_usd: Decimal
    this_month_usd: Decimal
    expected: Expected | None
    budget: BudgetTerms | None
    amount_usd: Decimal | None
    others: int
    planned: tuple[DatedAmount, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """What one line does. `before` None where there is no budget yet."""

    line: int
    code: str
    name: str
    before: Decimal | None
    after: Decimal
    on_limit: OnLimit
    on_limit_before: OnLimit | None
    budget_id: int | None

    @property
    def what(self) -> Change:
        if self.budget_id is None:
            return "make"
        is_same = self.before == self.after and self.on_limit == self.on_limit_before
        return "same" if is_same else "change"


@dataclass(frozen=True, slots=True)
class DepartmentPlan:
    """What would be done, line by line, and what cannot be."""

    changes: list[PlannedChange]
    errors: list[LineError]

    @property
    def news(self) -> list[PlannedChange]:
        return [change for change in self.changes if change.what != "same"]


def read_department_rows(*, now: datetime) -> list[DepartmentRow]:
    """Every department of the tenant in scope, children below their parents."""
    departments = list_departments()
    terms = _terms_by_department(now)
    last, this = _spend_of_months(now)
    families = _families(departments)
    expected = _expected({d.id: terms.get(d.id) for d in departments}, now=now)
    names = {d.id: d.name for d in departments}
    rows = []
    for department, depth in _tree(departments):
        found = terms.get(department.id)
        family = families[department.id]
        rows.append(
            DepartmentRow(
                department=department,
                depth=depth,
                above=names.get(department.parent_id or 0, ""),
                last_month_usd=_sum(last, family),
                this_month_usd=_sum(this, family),
                expected=_not_below(expected.get(department.id), _sum(this, family)),
                budget=found.terms if found else None,
                amount_usd=found.amount if found else None,
                others=found.others if found else 0,
                planned=tuple(a for a in found.terms.amounts if a.effective_from > now)
                if found
                else (),
            )
        )
    return rows


def plan_department_budgets(
    wanted: Iterable[WantedAmount], *, now: datetime, effective_from: datetime | None = None
) -> DepartmentPlan:
    """What these amounts would change, now or from a moment to come; nothing is written. A moment
    to come is for amounts of budgets that there are: all else begins at once."""
    departments = {d.code.lower(): d for d in list_departments()}
    terms = _terms_by_department(effective_from or now)
    changes: list[PlannedChange] = []
    errors: list[LineError] = []
    for one in wanted:
        department = departments.get(one.department.lower())
        if department is None:
            told = f"there is no department {one.department[:100]!r}; see how usage names it"
            errors.append(LineError(one.line, "department", told))
            continue
        found = terms.get(department.id)
        before = found.terms.on_limit if found else None
        if effective_from is not None and found is None:
            told = "it has no budget yet, and a new one begins at once: leave the day empty"
            errors.append(LineError(one.line, "amount_usd", told))
            continue
        if effective_from is not None and one.on_limit not in (None, before):
            told = "what it does at its limit changes at once: leave the day empty for that"
            errors.append(LineError(one.line, "on_limit", told))
            continue
        changes.append(
            PlannedChange(
                line=one.line,
                code=department.code,
                name=department.name,
                before=found.amount if found else None,
                after=one.amount_usd,
                on_limit=cast("OnLimit", one.on_limit) if one.on_limit else before or "notify",
                on_limit_before=before,
                budget_id=found.terms.id if found else None,
            )
        )
    return DepartmentPlan(changes, errors)


def set_department_budgets(
    wanted: Iterable[WantedAmount],
    *,
    actor: str,
    reason: str,
    now: datetime,
    effective_from: datetime | None = None,
) -> DepartmentPlan:
    """Do what the plan says, but for lines that cannot be: those are its errors."""
    plan = plan_department_budgets(wanted, now=now, effective_from=effective_from)
    errors = list(plan.errors)
    for change in plan.news:
        try:
            # All of a line or nothing of it.
            with transaction.atomic():
                _apply(change, actor=actor, reason=reason, now=now, effective_from=effective_from)
        except InvalidBudgetInput as error:
            errors.append(LineError(change.line, error.field, str(error)))
    return DepartmentPlan(plan.changes, errors)


@dataclass(slots=True)
class _Found:
    """A department's budget, its amount now, and how many more there are about it."""

    terms: BudgetTerms
    amount: Decimal
    others: int = 0


def _apply(
    change: PlannedChange,
    *,
    actor: str,
    reason: str,
    now: datetime,
    effective_from: datetime | None,
) -> None:
    if change.budget_id is None:
        create_budget(
            BudgetTermsInput(
                scope={"department": change.code},
                period="month",
                unit="usd",
                amount=change.after,
                on_limit=change.on_limit,
                name=f"{change.name} per month"[:200],
                thresholds=THRESHOLDS,
                projected_thresholds=PROJECTED_THRESHOLDS,
            ),
            actor=actor,
            now=now,
        )
        return
    if change.on_limit != change.on_limit_before:
        change_budget(change.budget_id, actor=actor, now=now, on_limit=change.on_limit)
    change_amount(
        change.budget_id,
        change.after,
        actor=actor,
        reason=reason,
        now=now,
        effective_from=effective_from,
    )


def _terms_by_department(now: datetime) -> dict[int, _Found]:
    found: dict[int, _Found] = {}
    for terms in read_book().budgets.values():
        department_id = terms.scope.department_id
        if department_id is None or terms.scope != Scope(department_id=department_id):
            continue
        if terms.calendar.kind == "month" and terms.unit == "usd":
            amount = amount_in_force(terms.amounts, now) or Decimal(0)
            known = found.get(department_id)
            if known is None:
                found[department_id] = _Found(terms, amount)
            else:
                known.others += 1
    return found


def _spend_of_months(now: datetime) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """USD by department's code in lower case: of the last month, and of the running one so far."""
    tenant = get_tenant()
    today = tenant.local_date(now)
    first = today.replace(day=1)
    before = (first - timedelta(days=1)).replace(day=1)
    after = (first + timedelta(days=32)).replace(day=1)
    return _spend(before, first, tenant.zone), _spend(first, after, tenant.zone)


def _spend(first: date, end: date, zone: ZoneInfo) -> dict[str, Decimal]:
    query = SpendQuery(
        start=datetime.combine(first, time.min, zone).astimezone(UTC),
        end=datetime.combine(end, time.min, zone).astimezone(UTC),
        group_by=("department",),
    )
    rows = read_spend(query).rows
    return {(row.labels["department"] or "").lower(): row.cost_usd for row in rows}


def _expected(terms: Mapping[int, _Found | None], *, now: datetime) -> dict[int, Expected]:
    """How the running month is expected to end, by department."""
    budgets = {found.terms.id: department for department, found in terms.items() if found}
    running = []
    for found in terms.values():
        period = found.terms.calendar.at(now) if found else None
        if found and period:
            running.append((found.terms, period))
    kept = read_projections(running, now=now)
    expected = {budgets[budget_id]: made.expected for budget_id, made in kept.items()}
    without = [department for department, found in terms.items() if found is None]
    names, month = ScopeFilters(), _a_month(now)
    for department_id in without[:FORECAST_AT_ONCE]:
        period = month.calendar.at(now)
        scoped = replace(month, scope=Scope(department_id=department_id))
        made = project(scoped, period, names, now=now) if period else None
        if made is not None:
            expected[department_id] = made.expected
    return expected


def _a_month(now: datetime) -> BudgetTerms:
    """A budget that is not there: what its month would be expected to be."""
    return BudgetTerms(
        id=0,
        name="",
        scope=Scope(),
        unit="usd",
        calendar=Calendar("month", get_tenant().zone),
        on_limit="notify",
        rollover=False,
        thresholds=(),
        projected_thresholds=(),
        created_at=now,
        amounts=(),
        top_ups=(),
    )


def _families(departments: Iterable[DepartmentInfo]) -> dict[int, list[str]]:
    """The codes of each department and of all below it."""
    parents = {d.id: d.parent_id for d in departments}
    families: dict[int, list[str]] = defaultdict(list)
    for department in departments:
        above: int | None = department.id
        seen: set[int] = set()
        while above is not None and above not in seen:
            seen.add(above)
            families[above].append(department.code.lower())
            above = parents.get(above)
    return families


def _tree(departments: Iterable[DepartmentInfo]) -> list[tuple[DepartmentInfo, int]]:
    """Departments below their parents, by name, with how deep they stand."""
    children: dict[int | None, list[DepartmentInfo]] = defaultdict(list)
    for department in departments:
        children[department.parent_id].append(department)
    rows: list[tuple[DepartmentInfo, int]] = []

    def walk(parent: int | None, depth: int) -> None:
        for department in children[parent]:
            rows.append((department, depth))
            walk(department.id, depth + 1)

    walk(None, 0)
    return rows


def _sum(usd_by_code: Mapping[str, Decimal], family: Iterable[str]) -> Decimal:
    return exact_sum(usd_by_code.get(code, Decimal(0)) for code in family)


def _not_below(expected: Expected | None, spent: Decimal) -> Expected | None:
    return expected.at_least(spent) if expected else None
