"""Statements as tables: for a spreadsheet, line by line. Pure but for the file it makes."""

import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import xlsxwriter

from apps.budgets.chargeback import MonthStatements
from apps.budgets.core.department_csv import guard, write_csv
from apps.budgets.core.statements import SharedLine
from apps.budgets.statement_bodies import StatementInfo
from apps.pricing.core.money import plain_decimal

SUMMARY: Final = (
    "month",
    "payer",
    "code",
    "name",
    "opening_budget_usd",
    "budget_change_usd",
    "own_usd",
    "adjustment_usd",
    "shared_usd",
    "total_usd",
    "charged_below_usd",
    "closing_balance_usd",
)
LINES: Final = ("month", "payer", "code", "name", "section", "item", "of_month", "requests", "usd")
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
RULE_WORDS: Final = {"even": "evenly", "usage": "by usage", "fixed": "by fixed shares"}
# Excel keeps 15 digits: beside each amount stands its exact text.
MONEY_FORMAT: Final = "#,##0.00####"


def split_words(line: SharedLine) -> str:
    """How a part of a pool came about: "evenly: 1 of 4 parts of 12.5"."""
    weight, whole = plain_decimal(line.weight), plain_decimal(line.whole_weight)
    parts = "USD" if line.rule == "usage" else "parts"
    pool = plain_decimal(line.pool_usd)
    return f"{RULE_WORDS[line.rule]}: {weight} of {whole} {parts}, of {pool} USD shared"


def summary_rows(month: MonthStatements) -> list[list[str]]:
    """One row a payer, exact."""
    return [
        [
            f"{month.month:%Y-%m}",
            one.kind,
            one.code,
            one.name,
            _text(one.opening_usd),
            _text(one.budget_change_usd),
            plain_decimal(one.sums.own_usd),
            plain_decimal(one.sums.adjustment_usd),
            plain_decimal(one.sums.shared_usd),
            plain_decimal(one.total_usd),
            plain_decimal(one.below_usd),
            _text(one.closing_usd),
        ]
        for one in month.statements
    ]


def line_rows(month: MonthStatements) -> list[list[str]]:
    """Every line of every statement, exact. Their sum is the month's."""
    return [
        [f"{month.month:%Y-%m}", one.kind, one.code, one.name, *line]
        for one in month.statements
        for line in _lines(one)
    ]


def as_csv(month: MonthStatements) -> str:
    return write_csv(LINES, line_rows(month))


def as_xlsx(month: MonthStatements) -> bytes:
    """A workbook of two sheets: a row a payer, and every line."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False})
    for name, columns, rows in (
        ("Statements", SUMMARY, summary_rows(month)),
        ("Lines", LINES, line_rows(month)),
    ):
        _sheet(book, name, columns, rows)
    book.close()
    return out.getvalue()


def _sheet(
    book: xlsxwriter.Workbook, name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    sheet = book.add_worksheet(name)
    bold, money = book.add_format({"bold": True}), book.add_format({"num_format": MONEY_FORMAT})
    amounts = [n for n, column in enumerate(columns) if column.endswith("usd")]
    headings = [*columns, *(f"{columns[n]} (exact)" for n in amounts)]
    sheet.write_row(0, 0, headings, bold)
    for number, row in enumerate(rows, start=1):
        for column, cell in enumerate(row):
            if column in amounts and cell:
                sheet.write_number(number, column, float(Decimal(cell)), money)
            elif columns[column] == "requests" and cell:
                sheet.write_number(number, column, int(cell))
            else:
                sheet.write_string(number, column, guard(cell))
        for place, column in enumerate(amounts):
            sheet.write_string(number, len(columns) + place, row[column])
    sheet.set_column(0, len(headings) - 1, 18)
    sheet.freeze_panes(1, 0)


def _lines(one: StatementInfo) -> list[list[str]]:
    """(section, item, of month, requests, USD)."""
    sums = one.sums
    lines = [
        ["spend", line.model, "", str(line.requests), plain_decimal(line.cost_usd)]
        for line in sums.models
    ]
    lines += [
        [
            "adjustment",
            line.model,
            f"{line.of_month:%Y-%m}" if line.of_month else "",
            str(line.requests),
            plain_decimal(line.cost_usd),
        ]
        for line in sums.adjustments
    ]
    lines += [
        ["shared", f"{line.name}, {split_words(line)}", "", "", plain_decimal(line.cost_usd)]
        for line in sums.shared
    ]
    return lines


def _text(value: Decimal | None) -> str:
    return plain_decimal(value) if value is not None else ""
