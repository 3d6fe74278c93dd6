"""The overview's figures: where the money went, so far and by the end of the month."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from apps.dashboards import figures, sentences
from apps.dashboards.breakdown import Sums, relative_change, total
from apps.dashboards.insights.anomaly_words import waiting_sentence
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
from apps.dashboards.spending.allocation import (
    Allocation,
    Payers,
    read_allocation,
    tell_departments,
)
from apps.dashboards.spending.model_spend import SpendByModel, read_spend_by_model
from apps.insights.finding_selectors import count_waiting
from apps.insights.forecasts import SpendForecast, read_forecast
from apps.usage.selectors import SpendQuery, read_spend

CUSTOMERS_DRAWN = 8


@dataclass(frozen=True, slots=True)
class MonthCards:
    """The month so far, whatever period the page shows."""

    spent: Sums
    before: Sums
    before_in_words: str
    forecast: SpendForecast
    previous_month: str
    previous_usd: Decimal
    gone_share: Decimal

    @property
    def change(self) -> Decimal | None:
        return relative_change(self.spent.cost_usd, self.before.cost_usd)

    @property
    def forecast_change(self) -> Decimal | None:
        return relative_change(self.forecast.total.p50_usd, self.previous_usd)


@dataclass(frozen=True, slots=True)
class Overview:
    period: Period
    waiting: str
    answer: sentences.Answer
    month: MonthCards
    today: Today
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
    today = _today(zone, now)
    return Overview(
        period=period,
        waiting=waiting_sentence(*count_waiting(now=now)),
        answer=sentences.overview_answer(
            period=period,
            spent_usd=models.whole.cost_usd,
            before_usd=models.before.cost_usd,
            forecast=forecast.total if is_month else None,
            lines=models.plain_lines,
            unpriced_requests=models.whole.unpriced_requests,
        ),
        month=month,
        today=today,
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
    whole_previous = read_spend(SpendQuery(start=local_midnight(previous, zone), end=month.start))
    return MonthCards(
        spent=spent,
        before=before,
        before_in_words=month.before_in_words,
        forecast=forecast,
        previous_month=month_name(previous),
        previous_usd=whole_previous.total.cost_usd,
        gone_share=Decimal((now - month.start).total_seconds())
        / Decimal((end - month.start).total_seconds()),
    )


def _today(zone: ZoneInfo, now: datetime) -> Today:
    """Five days of hours, read a day each: four weeks of them would be six times as much."""
    hours: dict[datetime, Decimal] = {}
    for day in days_compared(zone, now):
        start, end = local_midnight(day, zone), local_midnight(day + timedelta(days=1), zone)
        rows = read_spend(SpendQuery(start=start, end=end, interval="hour")).rows
        hours |= {r.bucket: r.cost_usd for r in rows if isinstance(r.bucket, datetime)}
    return compare_today(hours, zone, now)
