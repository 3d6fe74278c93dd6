"""How forecasts did on the tenant's own months: words, a figure, and the rows behind. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from apps.dashboards.insights.forecast_figures import Figure, Miss, misses
from apps.dashboards.periods import month_name
from apps.dashboards.sentences import Answer, Phrase
from apps.dashboards.templatetags.figures_of_speech import percent
from apps.insights.backtests import Backtest, CutRecord, PastForecast

# The day whose forecasts are drawn: late enough to know the month, early enough to act.
DRAWN_DAY = 10


@dataclass(frozen=True, slots=True)
class PastRow:
    """One forecast of the table; `miss` is (forecast - spent) / spent."""

    month: str
    past: PastForecast
    miss: Decimal | None


@dataclass(frozen=True, slots=True)
class ForecastRecord:
    answer: Answer
    title: str
    figure: Figure
    drawn: int
    cuts: Sequence[CutRecord]
    rows: Sequence[PastRow]


def tell_record(backtest: Backtest) -> ForecastRecord:
    drawn = [past for past in backtest.forecasts if past.day == DRAWN_DAY and past.actual_usd > 0]
    cut = next((cut for cut in backtest.cuts if cut.day == DRAWN_DAY and cut.months), None)
    return ForecastRecord(
        answer=_answer(backtest, cut),
        title=_title(cut),
        figure=misses([_miss(past) for past in drawn]),
        drawn=len(drawn),
        cuts=[cut for cut in backtest.cuts if cut.months],
        rows=[PastRow(month_label(past.month), past, past.error) for past in backtest.forecasts],
    )


def month_label(month: date) -> str:
    return f"{month_name(month)} {month.year}"


def _miss(past: PastForecast) -> Miss:
    spent = past.actual_usd
    low, middle, high = (
        (value - spent) / spent for value in (past.p10_usd, past.p50_usd, past.p90_usd)
    )
    return Miss(month_label(past.month), low, middle, high)


def _title(cut: CutRecord | None) -> str:
    if cut is None:
        return "No month to look back on yet"
    return f"{cut.inside} of {cut.months} months ended inside the band told on day {cut.day}"


def _answer(backtest: Backtest, cut: CutRecord | None) -> Answer:
    if cut is None or cut.error is None:
        return (
            Phrase("Nobody knows yet: ", strong=True),
            Phrase("a month is judged once it is over and a week of spend stands before it."),
        )
    months = "month" if backtest.months == 1 else f"{backtest.months} months"
    parts = [
        Phrase(f"On day {cut.day}"),
        Phrase(f" of the last {months} the forecast of the month’s end was "),
        Phrase(f"{percent(cut.error)} off", strong=True),
    ]
    if cut.run_rate_error is not None:
        parts.append(Phrase(f"; going on as so far would have been {percent(cut.run_rate_error)}"))
    return (*parts, Phrase("."))
