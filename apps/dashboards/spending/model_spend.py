"""Spend by model over a period: lines of a table, a figure, the finding, the numbers behind it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from apps.dashboards import colours, figures, sentences
from apps.dashboards.breakdown import Line, Sums, lines, relative_change, sum_by, total
from apps.dashboards.colours import Series
from apps.dashboards.insights.forecast_figures import Expected, expect
from apps.dashboards.periods import Period, short_day
from apps.dashboards.reading import Filters, read_before, read_period_by_day, row_model
from apps.dashboards.services import keep_positions
from apps.dashboards.ticks import day_label
from apps.insights.core.spend_change import exact_sum
from apps.insights.forecasts import SpendForecast
from apps.pricing.core.money import EXACT
from apps.usage.selectors import SpendRow

MODELS_DRAWN = 8
RECENT_DAYS = 7
DAYS_FOR_A_TREND = 14


@dataclass(frozen=True, slots=True)
class ModelLine:
    line: Line
    series: Series

    @property
    def model(self) -> str:
        """What a filter calls it."""
        return colours.split_model_key(self.line.key or "")[0]


@dataclass(frozen=True, slots=True)
class NumbersRow:
    label: str
    values: tuple[Decimal | None, ...]
    total: Decimal


@dataclass(frozen=True, slots=True)
class SpendByModel:
    lines: list[ModelLine]
    whole: Sums
    before: Sums
    title: str
    legend: list[Series]
    figure: figures.Figure
    numbers: list[NumbersRow]
    # What the figure says of days to come, soonest first.
    expected: list[tuple[str, Expected]]
    # What it was made from: rows with model, kind and backend, and those of the time before.
    rows: list[SpendRow]
    before_rows: list[SpendRow]

    @property
    def change(self) -> Decimal | None:
        return relative_change(self.whole.cost, self.before.cost)

    @property
    def plain_lines(self) -> list[Line]:
        return [line.line for line in self.lines]


def read_spend_by_model(
    period: Period,
    zone: ZoneInfo,
    now: datetime,
    filters: Filters,
    *,
    forecast: SpendForecast | None = None,
    before_rows: list[SpendRow] | None = None,
) -> SpendByModel:
    """`forecast` is drawn over the days of the period still to come. Rows of the time before,
    with model, kind and backend, are read where they are not given."""
    # The backend comes with the kind: both are one column of the slice.
    rows = read_period_by_day(period, zone, ("model", "kind", "backend"), filters)
    if before_rows is None:
        before_rows = read_before(period, ("model", "kind", "backend"), filters)
    sums, before = sum_by(rows, row_model), sum_by(before_rows, row_model)
    series = series_of([*colours.leading(sums, len(sums))[0], *before])
    drawn = lines(dict(sums.items()), dict(before.items()), lambda key: series[key or ""].name)
    stacks = stack_by_day(rows, sums, series, period.days)
    today = now.astimezone(zone).date()
    whole = total(sums.values())
    return SpendByModel(
        lines=[ModelLine(line, series[line.key or ""]) for line in drawn],
        whole=whole,
        before=total(before.values()),
        title=sentences.spend_title(
            drawn, _recent_share(rows, drawn, today), _day_mixes(rows, series, today)
        ),
        legend=[stack.series for stack in stacks],
        figure=figures.spend_by_day(period.days, stacks, days_to_come(forecast)),
        numbers=_numbers(stacks, period.days, today),
        expected=[(day_label(day), one) for day, one in days_to_come(forecast).items()],
        rows=rows,
        before_rows=before_rows,
    )


def series_of(keys: Sequence[str]) -> dict[str, Series]:
    """Series of model keys, new models getting their colour in the order given."""
    wanted = list(dict.fromkeys(keys))
    positions = keep_positions(colours.split_model_key(key)[0] for key in wanted)
    return colours.model_series(wanted, positions)


def stack_by_day(
    rows: Iterable[SpendRow],
    sums: dict[str, Sums],
    series: dict[str, Series],
    days: Sequence[date],
) -> list[figures.Stack]:
    """The leading models' money per day, and the others' together; a day without is a gap."""
    leading, rest = colours.leading(sums, MODELS_DRAWN)
    cells: dict[str, dict[object, Decimal]] = {key: {} for key in [*leading, ""]}
    for row in rows:
        key = row_model(row)
        cell = cells[key] if key in cells else cells[""]
        cell[row.bucket] = EXACT.add(cell.get(row.bucket, Decimal(0)), row.cost)
    drawn = [(series[key], cells[key]) for key in leading]
    if rest:
        drawn.append((colours.rest_of(len(rest), "models"), cells[""]))
    return [figures.Stack(one, tuple(cell.get(day) for day in days)) for one, cell in drawn]


def _recent_share(rows: Sequence[SpendRow], drawn: Sequence[Line], today: date) -> Decimal | None:
    """The leading model's share of the last seven whole days, where there are two weeks of them."""
    past = [row for row in rows if isinstance(row.bucket, date) and row.bucket < today]
    if not drawn or len({row.bucket for row in past}) < DAYS_FOR_A_TREND:
        return None
    since = today - timedelta(days=RECENT_DAYS)
    recent = [row for row in past if isinstance(row.bucket, date) and row.bucket >= since]
    whole = total(recent).cost
    if not whole:
        return None
    return total(row for row in recent if row_model(row) == drawn[0].key).cost / whole


def _day_mixes(
    rows: Iterable[SpendRow], series: dict[str, Series], today: date
) -> list[sentences.DayMix]:
    """The whole days so far: today's is not told apart from a quiet day."""
    by_day: dict[date, list[SpendRow]] = {}
    for row in rows:
        if isinstance(row.bucket, date) and row.bucket < today:
            by_day.setdefault(row.bucket, []).append(row)
    return [
        sentences.DayMix(
            label=short_day(day),
            is_weekend=day.weekday() >= 5,
            by_model={series[row_model(row)].name: row.cost for row in found},
            requests=sum(row.requests for row in found),
            local_requests=sum(r.requests for r in found if r.labels["kind"] == colours.LOCAL),
        )
        for day, found in sorted(by_day.items())
    ]


def days_to_come(forecast: SpendForecast | None) -> dict[date, Expected]:
    """Today's whole and each day after it, where there is a forecast."""
    if forecast is None:
        return {}
    return {day.day: expect(day.usd) for day in forecast.days if not day.is_past}


def _numbers(
    stacks: Sequence[figures.Stack], days: Sequence[date], today: date
) -> list[NumbersRow]:
    """The figure as a table, newest day first."""
    made = []
    for n, day in enumerate(days):
        values = tuple(stack.values[n] for stack in stacks)
        if day <= today and any(value is not None for value in values):
            summed = exact_sum(value for value in values if value is not None)
            made.append(NumbersRow(day_label(day), values, summed))
    return made[::-1]
