"""How forecasts have done on the tenant's own past: whole months, forecast as on their days
then."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from apps.insights.core.forecast import Quantiles, forecast_period
from apps.insights.core.known_days import local_midnight
from apps.insights.forecasts import HISTORY_DAYS, history_before, next_month, read_days
from apps.insights.foreknown import read_known
from apps.insights.price_changes import Filters
from apps.tenants.selectors import get_tenant

CUT_DAYS: Final = (5, 10, 20)
MAX_MONTHS: Final = 12
# A month is judged when so much was known before its first cut.
MIN_DAYS_BEFORE: Final = 7


@dataclass(frozen=True, slots=True)
class PastForecast:
    """What would have been said of a month at the end of one of its days, beside what it came
    to."""

    month: date
    day: int
    p10_usd: Decimal
    p50_usd: Decimal
    p90_usd: Decimal
    run_rate_usd: Decimal
    actual_usd: Decimal

    @property
    def error(self) -> Decimal | None:
        """(forecast - actual) / actual; None for a month that cost nothing."""
        return (self.p50_usd - self.actual_usd) / self.actual_usd if self.actual_usd > 0 else None

    @property
    def is_inside(self) -> bool:
        return self.p10_usd <= self.actual_usd <= self.p90_usd


@dataclass(frozen=True, slots=True)
class CutRecord:
    """Forecasts made on one day of each month. Errors are weighted by money (WAPE), None
    without."""

    day: int
    months: int
    error: Decimal | None
    run_rate_error: Decimal | None
    inside: int


@dataclass(frozen=True, slots=True)
class Backtest:
    """Newest month first in `forecasts`."""

    forecasts: tuple[PastForecast, ...]
    cuts: tuple[CutRecord, ...]

    @property
    def months(self) -> int:
        return len({forecast.month for forecast in self.forecasts})


def read_backtest(filters: Filters, *, now: datetime, months: int = MAX_MONTHS) -> Backtest:
    """Replay forecasts of the tenant in scope's last whole months, at most MAX_MONTHS of them.

    Each sees what was spent before its cut and was announced by then; prices that changed later,
    and usage that arrived later, it cannot tell from what was known.
    """
    tenant = get_tenant()
    this_month = tenant.local_date(now).replace(day=1)
    first = this_month
    for _ in range(min(months, MAX_MONTHS)):
        first = (first - timedelta(days=1)).replace(day=1)
    begin = first - timedelta(days=HISTORY_DAYS)
    usd_by_day = read_days(filters, tenant.zone, begin, this_month)
    spending = [day for day, usd in usd_by_day.items() if usd > 0]
    forecasts = []
    month = first
    while spending and month < this_month:
        if month + timedelta(days=CUT_DAYS[0] - MIN_DAYS_BEFORE) >= min(spending):
            for cut_day in CUT_DAYS:
                cut = month + timedelta(days=cut_day)
                known = read_known(
                    filters,
                    tenant,
                    now=local_midnight(cut, tenant.zone),
                    first=begin,
                    end=next_month(month),
                )
                history = history_before(usd_by_day, begin, cut)
                forecast = forecast_period(
                    history, start=month, end=next_month(month), known=known.days
                )
                forecasts.append(_past_forecast(usd_by_day, month, cut_day, forecast.total_usd))
        month = next_month(month)
    return Backtest(
        forecasts=tuple(sorted(forecasts, key=lambda f: (f.month, -f.day), reverse=True)),
        cuts=tuple(_record(day, [f for f in forecasts if f.day == day]) for day in CUT_DAYS),
    )


def _past_forecast(
    usd_by_day: dict[date, Decimal], month: date, cut_day: int, total: Quantiles
) -> PastForecast:
    cut, end = month + timedelta(days=cut_day), next_month(month)
    spent = sum((usd for day, usd in usd_by_day.items() if month <= day < cut), Decimal(0))
    actual = sum((usd for day, usd in usd_by_day.items() if month <= day < end), Decimal(0))
    p10, p50, p90 = (Decimal(f"{value:.6f}") for value in (total.p10, total.p50, total.p90))
    run_rate = spent / cut_day * (end - month).days
    return PastForecast(month, cut_day, p10, p50, p90, run_rate, actual)


def _record(day: int, forecasts: list[PastForecast]) -> CutRecord:
    actual = sum((f.actual_usd for f in forecasts), Decimal(0))
    missed = sum((abs(f.p50_usd - f.actual_usd) for f in forecasts), Decimal(0))
    run_rate = sum((abs(f.run_rate_usd - f.actual_usd) for f in forecasts), Decimal(0))
    return CutRecord(
        day=day,
        months=len(forecasts),
        error=missed / actual if actual > 0 else None,
        run_rate_error=run_rate / actual if actual > 0 else None,
        inside=sum(f.is_inside for f in forecasts),
    )
