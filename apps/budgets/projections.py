"""How each budget's period is expected to end. Part of services.

Money is asked of the one forecast (apps/insights/forecasts.py), narrowed to the budget's scope;
tokens and requests, which nobody forecasts, go on at their pace. A worker keeps the answers, so
that a page of many budgets reads one table.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, cast

from apps.budgets.book import BudgetBook, BudgetTerms, budget_book
from apps.budgets.core.pace import TOLD, Basis, DayShare, Expected, project_by_pace
from apps.budgets.core.periods import Period
from apps.budgets.core.scopes import Scope
from apps.budgets.models import Projection
from apps.insights.errors import InvalidForecastPeriodError
from apps.insights.forecasts import SpendForecast, read_forecast
from apps.pricing.core.money import plain_decimal
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant, list_departments
from apps.usage.selectors import Dimension, SpendQuery, SpendRow, read_spend

# Kept answers are made anew when they are older than this, so many at a time.
KEPT_FOR: Final = timedelta(minutes=5)
PORTION: Final = 40
# Asked for without a kept answer (a new budget), so many are made at once; the rest wait.
MADE_AT_ONCE: Final = 8

Filters = Mapping[Dimension, tuple[str | None, ...]]


@dataclass(frozen=True, slots=True)
class ProjectionInfo:
    """What is expected of a budget's period, in its unit; `days` are all of its local days."""

    period_start: datetime
    made_at: datetime
    basis: Basis
    expected: Expected
    days: tuple[DayShare, ...]


def refresh_projections(tenant_id: int, *, now: datetime) -> int:
    """Make the oldest answers anew; returns how many. Each in a transaction of its own."""
    book = budget_book(tenant_id)
    with tenant_scope(tenant_id):
        kept = {p.budget_id: (p.period_start, p.made_at) for p in Projection.objects.all()}
        names = ScopeFilters()
        due: list[tuple[datetime | None, BudgetTerms, Period]] = []
        for terms in book.budgets.values():
            period = terms.calendar.at(now)
            if period is None:
                continue
            start, made_at = kept.get(terms.id, (None, None))
            if start != period.start or made_at is None or made_at <= now - KEPT_FOR:
                due.append((made_at if start == period.start else None, terms, period))
    due.sort(key=lambda one: (one[0] is not None, one[0] or now, one[1].id))
    for _, terms, period in due[:PORTION]:
        with tenant_scope(tenant_id):
            made = project(terms, period, names, now=now)
            if made is not None:
                _keep(terms, made)
    return len(due[:PORTION])


def read_projections(
    wanted: Iterable[tuple[BudgetTerms, Period]], *, now: datetime
) -> dict[int, ProjectionInfo]:
    """The kept answers by budget; the first few that are not kept yet are made."""
    running = {terms.id: (terms, period) for terms, period in wanted if period.contains(now)}
    found: dict[int, ProjectionInfo] = {}
    for row in Projection.objects.filter(budget_id__in=running):
        if row.period_start == running[row.budget_id][1].start:
            found[row.budget_id] = _info(row)
    missing = [budget_id for budget_id in sorted(running) if budget_id not in found]
    names = ScopeFilters()
    for budget_id in missing[:MADE_AT_ONCE]:
        made = project(*running[budget_id], names, now=now)
        if made is not None:
            found[budget_id] = made
    return found


def project(
    terms: BudgetTerms, period: Period, names: "ScopeFilters", *, now: datetime
) -> ProjectionInfo | None:
    """What is expected now; None where there is nothing to go by yet."""
    tenant = get_tenant()
    first, end = _local_days(period, tenant)
    filters = names.of(terms.scope)
    if terms.unit == "usd":
        try:
            forecast = read_forecast(filters, now=now, start=first, end=end)
        except InvalidForecastPeriodError:
            # A grant longer than a forecast reaches goes by its pace.
            forecast = None
        if forecast is not None:
            return _of_forecast(period, forecast, now=now)
    return _by_pace(period, _read_days(terms, period, filters, tenant, now), now=now)


class ScopeFilters:
    """Scopes as spend is narrowed: by the names that its rows carry."""

    def __init__(self) -> None:
        self._book: BudgetBook | None = None
        self._codes: dict[int, str] = {}
        self._children: dict[int | None, list[int]] = defaultdict(list)
        self._labels: dict[str, dict[int, str]] = {}

    def of(self, scope: Scope) -> dict[Dimension, tuple[str | None, ...]]:
        # Here: selectors read this module too.
        from apps.budgets.selectors import ScopeNames

        filters: dict[Dimension, tuple[str | None, ...]] = {}
        for name, label in ScopeNames().of(scope).items():
            if name != "department":
                filters[cast("Dimension", name)] = (label,)
        if scope.department_id is not None:
            filters["department"] = self._family(scope.department_id)
        return filters

    def _family(self, department_id: int) -> tuple[str | None, ...]:
        """A department's code and those of all below it."""
        if not self._codes:
            for department in list_departments():
                self._codes[department.id] = department.code
                self._children[department.parent_id].append(department.id)
        family: list[str | None] = []
        ahead = [department_id]
        while ahead and len(family) <= len(self._codes):
            one = ahead.pop()
            family.append(self._codes.get(one, f"#{one}"))
            ahead += self._children[one]
        return tuple(family)


def _local_days(period: Period, tenant: TenantInfo) -> tuple[date, date]:
    """The local days that meet a period, [first, end)."""
    last = tenant.local_date(period.end - timedelta(microseconds=1))
    return tenant.local_date(period.start), last + timedelta(days=1)


def _of_forecast(period: Period, forecast: SpendForecast, *, now: datetime) -> ProjectionInfo:
    total = forecast.total
    expected = Expected(*(_told(v) for v in (total.p10_usd, total.p50_usd, total.p90_usd)))
    days = [
        DayShare(
            day.day, day.usd.p50_usd if day.is_past else _told(day.usd.p50_usd), is_past=day.is_past
        )
        for day in forecast.days
    ]
    return ProjectionInfo(period.start, now, "forecast", expected, tuple(days))


def _by_pace(period: Period, days: Sequence[DayShare], *, now: datetime) -> ProjectionInfo | None:
    spent = sum((day.amount for day in days), Decimal(0))
    expected = project_by_pace(spent, Decimal(period.elapsed(now)).quantize(TOLD))
    if expected is None:
        return None
    ahead = [day for day in days if not day.is_past]
    share = (expected.mid - spent) / len(ahead) if ahead else Decimal(0)
    filled = [
        day if day.is_past else DayShare(day.day, day.amount + _told(share), is_past=False)
        for day in days
    ]
    return ProjectionInfo(period.start, now, "pace", expected, tuple(filled))


def _read_days(
    terms: BudgetTerms, period: Period, filters: Filters, tenant: TenantInfo, now: datetime
) -> list[DayShare]:
    """The period's days with what each brought so far, in the budget's unit."""
    first, end = _local_days(period, tenant)
    query = SpendQuery(
        start=datetime.combine(first, time.min, tenant.zone),
        end=datetime.combine(end, time.min, tenant.zone),
        interval="day",
        filters=filters,
    )
    by_day = {cast("date", row.bucket): _measured(row, terms) for row in read_spend(query).rows}
    today = tenant.local_date(now)
    return [
        DayShare(day, by_day.get(day, Decimal(0)), is_past=day < today)
        for day in (first + timedelta(days=n) for n in range((end - first).days))
    ]


def _measured(row: SpendRow, terms: BudgetTerms) -> Decimal:
    if terms.unit == "usd":
        return row.cost_usd
    return Decimal(row.tokens if terms.unit == "tokens" else row.requests)


def _told(value: Decimal) -> Decimal:
    return value.quantize(TOLD)


def _keep(terms: BudgetTerms, made: ProjectionInfo) -> None:
    Projection.objects.update_or_create(
        budget_id=terms.id,
        tenant_id=current_tenant_id(),
        defaults={
            "period_start": made.period_start,
            "made_at": made.made_at,
            "basis": made.basis,
            "low": _told(made.expected.low),
            "mid": _told(made.expected.mid),
            "high": _told(made.expected.high),
            "days": [[d.day.isoformat(), plain_decimal(d.amount), d.is_past] for d in made.days],
        },
    )


def _info(row: Projection) -> ProjectionInfo:
    return ProjectionInfo(
        period_start=row.period_start,
        made_at=row.made_at,
        basis=cast("Basis", row.basis),
        expected=Expected(row.low, row.mid, row.high),
        days=tuple(
            DayShare(date.fromisoformat(day), Decimal(amount), is_past)
            for day, amount, is_past in row.days
        ),
    )
