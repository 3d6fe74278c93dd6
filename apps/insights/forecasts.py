"""The one forecast of spend: what budgets, the routing planner, pages and the API read.

Nothing is stored: a forecast is made from rollups each time (docs/decisions/0012).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, cast
from zoneinfo import ZoneInfo

import numpy as np

from apps.insights.core.forecast import (
    MAX_DAYS_AHEAD,
    PeriodForecast,
    Quantiles,
    SpendHistory,
    forecast_period,
    usual_share_gone,
)
from apps.insights.core.known_days import local_midnight
from apps.insights.errors import InvalidForecastPeriodError
from apps.insights.foreknown import Known, read_known
from apps.insights.price_changes import Filters
from apps.insights.selectors import PlannedEventInfo
from apps.tenants.selectors import get_tenant
from apps.usage.selectors import SpendQuery, read_last_event_at, read_spend

HISTORY_DAYS: Final = 180
MAX_PERIOD_DAYS: Final = 400
MAX_DAYS_BACK: Final = 1100
LIKE_DAYS: Final = 4
# Silence up to the first is usual. Up to the second, usage may still be on its way; longer, there
# was none.
LATENESS_ALLOWED: Final = timedelta(minutes=30)
LATENESS_BELIEVED: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class MoneyQuantiles:
    """Eight times of ten spend ends between p10 and p90."""

    p10_usd: Decimal
    p50_usd: Decimal
    p90_usd: Decimal

    @property
    def in_order(self) -> tuple[Decimal, Decimal, Decimal]:
        return self.p10_usd, self.p50_usd, self.p90_usd


@dataclass(frozen=True, slots=True)
class ForecastDay:
    """A local day's whole spend. A past day is known: its three figures are one."""

    day: date
    usd: MoneyQuantiles
    is_past: bool


@dataclass(frozen=True, slots=True)
class SpendForecast:
    """[start, end) in local days. `complete_through` is the moment up to which usage is counted on
    as complete; `events` and `price_changes_at` are what was known beforehand and taken in."""

    start: date
    end: date
    complete_through: datetime
    spent_usd: Decimal
    total: MoneyQuantiles
    days: tuple[ForecastDay, ...]
    events: tuple[PlannedEventInfo, ...]
    price_changes_at: tuple[datetime, ...]

    @property
    def is_over(self) -> bool:
        return all(day.is_past for day in self.days)


def read_forecast(
    filters: Filters,
    *,
    now: datetime,
    start: date | None = None,
    end: date | None = None,
    complete_through: datetime | None = None,
) -> SpendForecast:
    """Forecast the spend that `filters` narrow (as in `read_spend`) over local days [start, end).

    Default: the running month of the tenant in scope. Raises InvalidForecastPeriodError for a
    period of no day, of more than MAX_PERIOD_DAYS, or ending more than 400 days ahead.
    """
    tenant = get_tenant()
    first = start or tenant.local_date(now).replace(day=1)
    last = end or next_month(first)
    _check_period(first, last, tenant.local_date(now))
    cut = complete_through or _complete_through(now)
    today = tenant.local_date(cut)
    begin = min(first, today - timedelta(days=HISTORY_DAYS))
    usd_by_day = read_days(filters, tenant.zone, begin, tenant.local_date(now) + timedelta(days=1))
    known = read_known(filters, tenant, now=now, first=begin, end=max(last, today))
    gone = _share_gone(filters, usd_by_day, tenant.zone, cut)
    forecast = forecast_period(
        history_before(
            usd_by_day, begin, today, today_usd=usd_by_day.get(today, Decimal(0)), today_gone=gone
        ),
        start=first,
        end=last,
        known=known.days,
    )
    return _as_money(forecast, usd_by_day, known, cut)


def next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def read_days(filters: Filters, zone: ZoneInfo, first: date, end: date) -> dict[date, Decimal]:
    """Spend of each local day of [first, end) that has any, from the day rollup."""
    query = SpendQuery(
        start=local_midnight(first, zone),
        end=local_midnight(end, zone),
        interval="day",
        filters=filters,
    )
    rows = read_spend(query).rows
    return {cast("date", row.bucket): row.cost_usd for row in rows}


def history_before(
    usd_by_day: Mapping[date, Decimal],
    first: date,
    today: date,
    *,
    today_usd: Decimal = Decimal(0),
    today_gone: float = 0.0,
) -> SpendHistory:
    """Days [first, today) as the core takes them: what a correction made negative is nothing.

    Without the last two, the cut is the start of `today`.
    """
    days = [usd_by_day.get(first + timedelta(days=n)) for n in range((today - first).days)]
    return SpendHistory(
        usd_by_day=np.array([max(float(usd or 0), 0.0) for usd in days], dtype=np.float64),
        today=today,
        today_usd=max(float(today_usd), 0.0),
        today_gone=today_gone,
    )


def _check_period(start: date, end: date, today: date) -> None:
    if not start < end or (end - start).days > MAX_PERIOD_DAYS:
        raise InvalidForecastPeriodError(
            f"a period ends after it starts, by at most {MAX_PERIOD_DAYS} days;"
            f" got {start} to {end}",
            field="to",
        )
    if (today - start).days > MAX_DAYS_BACK:
        raise InvalidForecastPeriodError(
            f"a period starts at most {MAX_DAYS_BACK} days ago; got {start}", field="from"
        )
    if (end - today).days > MAX_DAYS_AHEAD - 1:
        raise InvalidForecastPeriodError(
            f"a period ends at most {MAX_DAYS_AHEAD - 1} days from today; got {end}", field="to"
        )


def _complete_through(now: datetime) -> datetime:
    """Usage arrives late, and some routers send it in batches: after the newest event nothing is
    known yet. A silent night costs nothing either way: its usual share is as small."""
    newest = read_last_event_at()
    if newest is None or now - newest <= LATENESS_ALLOWED or now - newest > LATENESS_BELIEVED:
        return now
    return newest + LATENESS_ALLOWED


def _share_gone(
    filters: Filters, usd_by_day: Mapping[date, Decimal], zone: ZoneInfo, cut: datetime
) -> float:
    """The part of a usual day's spend that falls before this time of day, by days of its name."""
    local = cut.astimezone(zone)
    midnight = local_midnight(local.date(), zone)
    day_length = local_midnight(local.date() + timedelta(days=1), zone) - midnight
    elapsed = (cut - midnight) / day_length
    by_now: list[float] = []
    whole: list[float] = []
    for weeks in range(1, LIKE_DAYS + 1):
        day = local.date() - timedelta(weeks=weeks)
        usd = usd_by_day.get(day)
        if usd is None or usd <= 0:
            continue
        same_time = datetime.combine(day, local.time(), zone).astimezone(UTC)
        query = SpendQuery(start=local_midnight(day, zone), end=same_time, filters=filters)
        spent = read_spend(query).total.cost_usd if query.start < query.end else Decimal(0)
        by_now.append(min(float(spent), float(usd)))
        whole.append(float(usd))
    return usual_share_gone(by_now, whole, elapsed)


def _as_money(
    forecast: PeriodForecast,
    usd_by_day: Mapping[date, Decimal],
    known: Known,
    cut: datetime,
) -> SpendForecast:
    """What is spent stays exact; estimates are told to the millionth of a USD.

    What came in after the cut is spent too: no figure is below it.
    """
    first, end = forecast.days[0].day, forecast.days[-1].day + timedelta(days=1)
    days = tuple(
        ForecastDay(
            day.day, _money(day.usd, usd_by_day.get(day.day, Decimal(0)), day.is_past), day.is_past
        )
        for day in forecast.days
    )
    spent = sum((usd for day, usd in usd_by_day.items() if first <= day < end), Decimal(0))
    is_over = all(day.is_past for day in days)
    return SpendForecast(
        start=first,
        end=end,
        complete_through=cut,
        spent_usd=spent,
        total=_money(forecast.total_usd, spent, is_over),
        days=days,
        events=tuple(known.events),
        price_changes_at=tuple(step.starts_at for step in known.price_steps),
    )


def _money(usd: Quantiles, spent: Decimal, is_known: bool) -> MoneyQuantiles:
    if is_known:
        return MoneyQuantiles(spent, spent, spent)
    told = (Decimal(f"{value:.6f}") for value in (usd.p10, usd.p50, usd.p90))
    return MoneyQuantiles(*(max(value, spent) for value in told))
