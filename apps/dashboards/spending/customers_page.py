"""The customers page and a page per customer: who earns us money, and who costs us."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.http import Http404, HttpRequest, HttpResponse

from apps.dashboards.breakdown import Sums, relative_change, sum_by, total
from apps.dashboards.colours import Series, split_model_key
from apps.dashboards.money import shown
from apps.dashboards.page import PageRequest, render_live, usage_page
from apps.dashboards.page_state import read_state
from apps.dashboards.periods import Period, end_of_day, local_midnight, read_period
from apps.dashboards.reading import read_before, read_period_by_day, read_rows, row_model
from apps.dashboards.spending.allocation import read_allocation
from apps.dashboards.spending.earnings import PartLine, read_customer_earnings
from apps.dashboards.spending.margin_figures import cost_and_revenue
from apps.dashboards.spending.margin_words import customer_answer, customer_title
from apps.dashboards.spending.model_spend import series_of, stack_by_day
from apps.dashboards.ticks import day_label
from apps.dashboards.views import month_forecast, on_course, own_currency_context, page_context
from apps.tenants.contracts import list_contracts
from apps.tenants.core.contracts import Contract, accrued_usd
from apps.tenants.selectors import CustomerInfo, list_customers
from apps.usage.core.margins import Earnings
from apps.usage.margins import settle_margins
from apps.usage.selectors import SpendQuery, SpendRow

PAYERS_DRAWN: Final = 15


@usage_page
def customers(request: PageRequest) -> HttpResponse:
    state = read_state(request.GET)
    zone = request.tenant.zone
    period = read_period(state.period, zone, request.now)
    earned = read_customer_earnings(period, zone, state.spend_filters)
    report = read_allocation(
        "customer",
        period,
        zone,
        state.spend_filters,
        drawn=PAYERS_DRAWN,
        rows=earned.rows,
        before_rows=earned.before_rows,
    )
    forecast = month_forecast(request, state)
    answer = earned.answer or report.answer
    own = own_currency_context(request, period, state.spend_filters)
    context = (
        page_context(request, state)
        | own
        | {
            "report": report,
            "earned": earned,
            "period": period,
            "answer": answer + on_course(forecast, report.whole),
        }
    )
    return render_live(request, "customers", context)


@dataclass(frozen=True, slots=True)
class DayRow:
    label: str
    cost: Decimal
    cost_usd: Decimal
    revenue: Decimal | None


@dataclass(frozen=True, slots=True)
class CustomerReport:
    """One customer over a period; `contract` is the one that holds at its end."""

    customer: CustomerInfo
    contract: Contract | None
    earned: Earnings
    change: Decimal | None
    title: str
    legend: list[Series]
    figure: dict[str, Any]
    days: list[DayRow]
    models: list[PartLine]
    departments: list[PartLine]


def customer(request: HttpRequest, customer_id: int) -> HttpResponse:
    """One customer's page; for its own poll the parts that live."""
    return usage_page(lambda inside: _show_one(inside, customer_id))(request)


def _show_one(request: PageRequest, customer_id: int) -> HttpResponse:
    found = next((one for one in list_customers() if one.id == customer_id), None)
    if found is None:
        raise Http404
    state = read_state({"period": request.GET.get("period", "")})
    period = read_period(state.period, request.tenant.zone, request.now)
    report = read_customer(found, period, request.tenant.zone)
    own = own_currency_context(request, period, {"customer": (found.external_id,)})
    context = (
        page_context(request, state)
        | own
        | {
            "report": report,
            "period": period,
            "own_state": state.with_filter("customer", found.external_id),
            "answer": customer_answer(found.name, report.earned, in_words=period.in_words),
        }
    )
    return render_live(request, "customer", context)


def read_customer(customer: CustomerInfo, period: Period, zone: ZoneInfo) -> CustomerReport:
    """What one customer cost and brought, by day, model and department."""
    own = {"customer": (customer.external_id,)}
    end = end_of_day(period.end, zone)
    query = SpendQuery(
        start=period.start,
        end=end,
        group_by=("model", "kind", "department"),
        filters=own,  # type: ignore[arg-type]
    )
    margins = settle_margins(
        query,
        read_rows(replace(query, group_by=(*query.group_by, "customer"))),
        until=period.end,
        rates=shown().rates,
    )
    rows = read_period_by_day(period, zone, ("model", "kind"), own)  # type: ignore[arg-type]
    before = total(read_before(period, (), own))  # type: ignore[arg-type]
    sums = sum_by(rows, row_model)
    series = series_of(sorted(sums, key=lambda key: -sums[key].cost)) if sums else {}
    stacks = stack_by_day(rows, sums, series, period.days)
    contracts = [one for one in list_contracts() if one.customer == customer.external_id]
    revenue = _revenue_by_day(rows, contracts, period, zone)
    whole = margins.whole
    leader = max(sums, key=lambda key: sums[key].cost) if whole.cost else ""
    last_day = period.end.astimezone(zone).date()
    return CustomerReport(
        customer=customer,
        contract=next((one for one in contracts if one.holds_on(last_day)), None),
        earned=whole,
        change=relative_change(whole.cost, before.cost),
        title=customer_title(
            customer.name,
            (series[leader].name, sums[leader].cost / whole.cost) if leader else None,
        ),
        legend=[stack.series for stack in stacks],
        figure=cost_and_revenue(period.days, stacks, [revenue.get(day) for day in period.days]),
        days=_day_rows(rows, revenue, period),
        models=_by_model(margins.rows, series),
        departments=_by_department(margins.rows),
    )


def _revenue_by_day(
    rows: list[SpendRow], contracts: list[Contract], period: Period, zone: ZoneInfo
) -> dict[date, Decimal]:
    """Events' revenue and what contracts accrued, for each day of the period so far."""
    found: dict[date, Decimal] = {}
    for row in rows:
        if isinstance(row.bucket, date):
            found[row.bucket] = found.get(row.bucket, Decimal(0)) + row.revenue
    for day in period.days:
        start, end = _bounds(day, zone)
        end = min(end, period.end)
        if start >= end:
            continue
        accrued = sum((accrued_usd(one, start, end, zone) for one in contracts), Decimal(0))
        if accrued:
            found[day] = found.get(day, Decimal(0)) + shown().on(day, accrued)
    return found


def _bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    return local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)


def _day_rows(rows: list[SpendRow], revenue: dict[date, Decimal], period: Period) -> list[DayRow]:
    by_day = sum_by(rows, lambda row: row.bucket)
    found = [(day, by_day.get(day, Sums())) for day in reversed(period.days)]
    return [
        DayRow(day_label(day), one.cost, one.cost_usd, revenue.get(day))
        for day, one in found
        if day in by_day or day in revenue
    ]


def _by_model(
    rows: dict[tuple[str | None, ...], Earnings], series: dict[str, Series]
) -> list[PartLine]:
    sums: dict[str, Earnings] = {}
    for (model, kind, _), earned in rows.items():
        key = f"{kind or ''}|{model or ''}"
        sums[key] = sums.get(key, Earnings()).plus(earned)
    lines = [
        PartLine(series[key].name, split_model_key(key)[0], series[key], earned)
        for key, earned in sums.items()
        if key in series
    ]
    return sorted(lines, key=lambda one: -one.earned.cost)


def _by_department(rows: dict[tuple[str | None, ...], Earnings]) -> list[PartLine]:
    sums: dict[str | None, Earnings] = {}
    for (model, _, department), earned in rows.items():
        if model is not None:
            sums[department] = sums.get(department, Earnings()).plus(earned)
    lines = [PartLine(code or "no department", code, None, earned) for code, earned in sums.items()]
    return sorted(lines, key=lambda one: -one.earned.cost)
