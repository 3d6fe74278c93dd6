"""Spend allocated to customers or departments, split by model: figure, lines, words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from apps.dashboards import colours, figures, sentences
from apps.dashboards.breakdown import Line, Sums, lines, relative_change, sum_by, total
from apps.dashboards.colours import Series
from apps.dashboards.periods import Period
from apps.dashboards.reading import Filters, Names, read_before, read_period, row_model
from apps.dashboards.spending.model_spend import MODELS_DRAWN, NumbersRow, series_of
from apps.insights.core.spend_change import exact_sum
from apps.pricing.core.money import EXACT
from apps.usage.selectors import SpendRow

MOST_LISTED = 250
Payer = Literal["customer", "department"]
PLURALS: dict[Payer, str] = {"customer": "customers", "department": "departments"}


@dataclass(frozen=True, slots=True)
class PayerLine:
    line: Line
    # A customer's tier; the department above a department.
    remark: str


@dataclass(frozen=True, slots=True)
class Allocation:
    payer: Payer
    lines: list[PayerLine]
    whole: Sums
    before: Sums
    title: str
    answer: sentences.Answer
    legend: list[Series]
    figure: figures.Figure
    numbers: list[NumbersRow]
    rows_drawn: int
    named_count: int
    # What the table sums in one row because it would be too long.
    unlisted_count: int
    unlisted: Sums

    @property
    def change(self) -> Decimal | None:
        return relative_change(self.whole.cost, self.before.cost)

    @property
    def plural(self) -> str:
        return PLURALS[self.payer]


def read_allocation(
    payer: Payer,
    period: Period,
    zone: ZoneInfo,
    filters: Filters,
    *,
    drawn: int,
    compared: bool = True,
    belongs_to: Mapping[str, str] | None = None,
    rows: Sequence[SpendRow] | None = None,
    before_rows: Sequence[SpendRow] | None = None,
) -> Allocation:
    """Who the money was spent on; `compared` reads the period before too. `belongs_to` sums payers
    into others: by their key in small letters, the key they count for. `rows` of the period, with
    payer, model and kind, and `before_rows`, with payer, are read where they are not given."""
    rows = read_period(period, zone, (payer, "model", "kind"), filters) if rows is None else rows
    if before_rows is None:
        before_rows = read_before(period, (payer,), filters) if compared else []
    names = Names()
    name = names.customer if payer == "customer" else names.department
    remark = names.tier if payer == "customer" else names.parent_department

    def row_payer(row: SpendRow) -> str | None:
        key = row.labels[payer]
        return key if key is None or belongs_to is None else belongs_to.get(key.lower(), key)

    sums = sum_by(rows, row_payer)
    before = sum_by(before_rows, row_payer) if compared else None
    made = lines(sums, before, name)
    stacks, labels = _stacks(rows, made, row_payer, drawn, PLURALS[payer])
    whole = total(sums.values())
    nobody = next((line.spend_share for line in made if line.key is None), None)
    return Allocation(
        payer=payer,
        lines=[PayerLine(line, remark(line.key)) for line in made[:MOST_LISTED]],
        whole=whole,
        before=total((before or {}).values()),
        title=sentences.allocation_title(made, PLURALS[payer]),
        answer=sentences.allocation_answer(
            made, period=period, what=payer, unattributed_share=nobody
        ),
        legend=[stack.series for stack in stacks],
        figure=figures.allocation(labels, stacks),
        numbers=_numbers(stacks, labels),
        rows_drawn=len(labels),
        named_count=sum(1 for line in made if line.key is not None and line.now.requests),
        unlisted_count=len(made[MOST_LISTED:]),
        unlisted=total(line.now for line in made[MOST_LISTED:]),
    )


@dataclass(frozen=True, slots=True)
class Payers:
    """Who the money was spent on, without the models: what a small table shows."""

    lines: list[PayerLine]
    title: str


def tell_departments(rows: Sequence[SpendRow], before_rows: Sequence[SpendRow]) -> Payers:
    """From rows of a period and of the time before it, each with its department."""

    def row_payer(row: SpendRow) -> str | None:
        return row.labels["department"]

    names = Names()
    sums, before = sum_by(rows, row_payer), sum_by(before_rows, row_payer)
    made = lines(sums, before, names.department)
    return Payers(
        lines=[PayerLine(line, names.parent_department(line.key)) for line in made],
        title=sentences.allocation_title(made, PLURALS["department"]),
    )


def _stacks(
    rows: Sequence[SpendRow],
    made: Sequence[Line],
    row_payer: Callable[[SpendRow], str | None],
    drawn: int,
    plural: str,
) -> tuple[list[figures.Stack], list[str]]:
    """Bars of the leading payers with their leading models; the rest of both summed.

    What names no payer stands last: it is to be known, not to be ranked.
    """
    spending = [line for line in made if line.now.cost and line.key is not None]
    nobody = [line for line in made if line.now.cost and line.key is None]
    cut = drawn if len(spending) > drawn + 1 else len(spending)
    place_of = {line.key: n for n, line in enumerate(spending[:cut])}
    labels = [line.name for line in spending[:cut]]
    if len(spending) > cut:
        labels.append(f"{len(spending) - cut} more {plural}")
    if nobody:
        place_of[None] = len(labels)
        labels.append(nobody[0].name)
    models = sum_by(rows, row_model)
    leading, rest = colours.leading(models, MODELS_DRAWN)
    series = series_of(leading)
    drawn_series = [series[key] for key in leading]
    if rest:
        drawn_series.append(colours.rest_of(len(rest), "models"))
    trace_of = {key: n for n, key in enumerate(leading)}
    cells: list[list[Decimal | None]] = [[None] * len(labels) for _ in drawn_series]
    for row in rows:
        if not row.cost:
            continue
        trace = trace_of.get(row_model(row), len(leading))
        place = place_of.get(row_payer(row), cut)
        cells[trace][place] = EXACT.add(cells[trace][place] or Decimal(0), row.cost)
    stacks = [
        figures.Stack(one, tuple(values)) for one, values in zip(drawn_series, cells, strict=True)
    ]
    return [stack for stack in stacks if any(stack.values)], labels


def _numbers(stacks: Sequence[figures.Stack], labels: Sequence[str]) -> list[NumbersRow]:
    made = []
    for n, label in enumerate(labels):
        values = tuple(stack.values[n] for stack in stacks)
        summed = exact_sum(value for value in values if value is not None)
        made.append(NumbersRow(label, values, summed))
    return made
