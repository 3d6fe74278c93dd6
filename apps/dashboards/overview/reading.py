"""The overview's figures: where the money went, so far and by the end of the month."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from apps.dashboards import figures, sentences
from apps.dashboards.breakdown import Sums, relative_change, total
from apps.dashboards.insights.anomaly_words import waiting_sentence
from apps.dashboards.insights.forecast_figures import Expected, expect
from apps.dashboards.overview.now import Attention, Live, read_attention, read_live
from apps.dashboards.overview.today import Today, compare_today, days_compared
from apps.dashboards.overview.why import Why, read_why
from apps.dashboards.periods import (
    Period,
    local_midnight,
    month_name,
    next_month,
    previous_month,
    read_period,
)
from apps.dashboards.reading import read_before
from apps.dashboards.reading import read_period as read_rows
from apps.dashboards.reading import read_rows as read_in_money
from apps.dashboards.spending.allocation import (
    Allocation,
    Payers,
    read_allocation,
    tell_departments,
)
from apps.dashboards.spending.model_spend import SpendByModel, read_spend_by_model
from apps.insights.finding_selectors import count_waiting
from apps.insights.forecasts import SpendForecast, read_forecast
from apps.usage.selectors import SpendQuery

CUSTOMERS_DRAWN = 8


@dataclass(frozen=True, slots=True)
class MonthCards:
    """The month so far, whatever period the page shows."""

    spent: Sums
    before: Sums
    before_in_words: str
    forecast: SpendForecast
    previous_month: str
    previous: Decimal
    gone_share: Decimal

    @property
    def change(self) -> Decimal | None:
        return relative_change(self.spent.cost, self.before.cost)

    @property
    def expected(self) -> Expected:
        """By the end of the month: what is to come at the latest rate."""
        spent = self.spent
        return expect(self.forecast.total, spent=spent.cost, spent_usd=spent.cost_usd)

    @property
    def forecast_change(self) -> Decimal | None:
        return relative_change(self.expected.middle, self.previous)


@dataclass(frozen=True, slots=True)
class Overview:
    period: Period
    waiting: str
    answer: sentences.Answer
    month: MonthCards
    today: Today
    today_usd: Decimal
    spark: figures.Figure
    models: SpendByModel
    customers: Allocation
    departments: Payers
    why: Why | None
    live: Live
    attention: Attention

    @property
    def projected_share(self) -> Decimal | None:
        """Of the whole tenant's monthly budget, where there is one."""
        budget_usd = self.attention.month_usd
        return self.month.forecast.total.p50_usd / budget_usd if budget_usd else None


def read_overview(slug: str, zone: ZoneInfo, now: datetime) -> Overview:
    period = read_period(slug, zone, now)
    is_month = period.slug == "month"
    forecast = read_forecast({}, now=now)
    # Two questions about payers: by customer and department together there are thousands of rows.
    customers = read_rows(period, zone, ("customer", "model", "kind"), {})
    departments = read_rows(period, zone, ("department",), {})
    # Read once for several parts of the page.
    before_rows = read_before(period, ("department", "model", "kind", "backend"), {})
    models = read_spend_by_model(
        period, zone, now, {}, forecast=forecast if is_month else None, before_rows=before_rows
    )
    month = _month_cards(period, models, forecast, zone, now)
    today, today_usd = _today(zone, now)
    return Overview(
        period=period,
        waiting=waiting_sentence(*count_waiting(now=now)),
        answer=sentences.overview_answer(
            period=period,
            spent=models.whole.cost,
            before=models.before.cost,
            forecast=month.expected if is_month else None,
            lines=models.plain_lines,
            unpriced_requests=models.whole.unpriced_requests,
        ),
        month=month,
        today=today,
        today_usd=today_usd,
        spark=figures.spark(today.running, today.usual_running),
        models=models,
        customers=read_allocation(
            "customer", period, zone, {}, drawn=CUSTOMERS_DRAWN, compared=False, rows=customers
        ),
        departments=tell_departments(departments, before_rows),
        why=read_why(models.rows, models.before_rows, period=period, at=period.end),
        live=read_live(now),
        attention=read_attention(zone, now),
    )


def _month_cards(
    period: Period, models: SpendByModel, forecast: SpendForecast, zone: ZoneInfo, now: datetime
) -> MonthCards:
    month = period if period.slug == "month" else read_period("month", zone, now)
    if month is period:
        spent, before = models.whole, models.before
    else:
        spent = total(read_rows(month, zone, (), {}))
        before = total(read_before(month, (), {}))
    first = month.days[0]
    previous = previous_month(first)
    end = local_midnight(next_month(first), zone)
    whole_previous = total(
        read_in_money(SpendQuery(start=local_midnight(previous, zone), end=month.start))
    )
    return MonthCards(
        spent=spent,
        before=before,
        before_in_words=month.before_in_words,
        forecast=forecast,
        previous_month=month_name(previous),
        previous=whole_previous.cost,
        gone_share=Decimal((now - month.start).total_seconds())
        / Decimal((end - month.start).total_seconds()),
    )


def _today(zone: ZoneInfo, now: datetime) -> tuple[Today, Decimal]:
    """And in USD. Five days of hours, a day each: four weeks of them would be six times as much."""
    hours: dict[datetime, Decimal] = {}
    today_usd = Decimal(0)
    for day in days_compared(zone, now):
        start, end = local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)
        rows = read_in_money(SpendQuery(start=start, end=end, interval="hour"))
        hours |= {r.bucket: r.cost for r in rows if isinstance(r.bucket, datetime)}
        today_usd = total(rows).cost_usd if start <= now < end else today_usd
    return compare_today(hours, zone, now), today_usd
