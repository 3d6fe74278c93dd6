"""The explorer's table as a file: CSV, XLSX or Parquet of exactly what is shown, unrounded.

Amounts that add up are exact. Means and rates are quotients: a dozen decimals of them.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, Literal

from apps.dashboards.explorer.measures import QUOTIENT_DECIMALS, Kind
from apps.dashboards.explorer.reading import Explorer, ExplorerRow
from apps.pricing.core.money import COST_DECIMALS, plain_decimal

Format = Literal["csv", "xlsx", "parquet"]
CONTENT_TYPES: Final[dict[str, str]] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}
WIDE: Final = Context(prec=120, rounding=ROUND_HALF_EVEN)
# Parquet's widest decimal holds 38 digits: 14 before the point with money's 24 after it.
PARQUET_DIGITS: Final = 38
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Table:
    """`name` heads a sheet. A cell of a text column is a string, of any other a Decimal."""

    name: str
    columns: Sequence[tuple[str, Kind]]
    rows: Sequence[Sequence[Any]]


def shown_tables(report: Explorer) -> list[Table]:
    """What the page shows: the groups with the rest and all, and the figure over time."""
    tables = [_groups(report)]
    if report.over_time:
        tables.append(_over_time(report))
    return tables


def _groups(report: Explorer) -> Table:
    key, kind = report.state.measure.key, report.state.measure.kind
    columns: list[tuple[str, Kind]] = [("row", "text")]
    columns += [(dimension, "text") for dimension in report.state.group_by]
    name = report.state.measure.column
    columns += [(name, kind), (f"{name}_before", kind), (f"{name}_difference", kind)]
    columns += [("share", "quotient"), ("change", "quotient")]
    columns += [("cost_usd", "money")] if key != "cost_usd" else []
    columns += [("requests", "count")] if key != "requests" else []
    rows = [_cells("group", row, report) for row in report.rows]
    rows += [_cells("rest", report.rest, report)] if report.rest else []
    rows.append(_cells("all", report.whole, report))
    return Table("Groups", columns, rows)


def _cells(what: str, row: ExplorerRow, report: Explorer) -> list[Any]:
    key, width = report.state.measure.key, len(report.state.group_by)
    cells: list[Any] = [what, *((row.key or ("",) * width)[:width])]
    cells += [row.value, row.value_before, row.difference, row.share, row.change]
    cells += [row.now.known_usd] if key != "cost_usd" else []
    cells += [Decimal(row.now.requests)] if key != "requests" else []
    return cells


def _over_time(report: Explorer) -> Table:
    kind = report.state.measure.kind
    columns: list[tuple[str, Kind]] = [(report.interval or "bucket", "text")]
    columns += [(series.name, kind) for series in report.legend]
    columns.append(("all", kind))
    rows = [[one.bucket.isoformat(), *one.values, one.total] for one in reversed(report.over_time)]
    return Table("Over time", columns, rows)


def written(value: Decimal | None, kind: Kind) -> Decimal | None:
    """A number as files carry it: a quotient to its dozen decimals, all else to its last digit."""
    if value is None:
        return None
    places = {"quotient": QUOTIENT_DECIMALS, "money": COST_DECIMALS}.get(kind, 0)
    return value.quantize(Decimal(1).scaleb(-places), context=WIDE)


def _text(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    if kind != "text":
        return plain_decimal(written(value, kind) or Decimal(0))
    return f"'{value}" if value.startswith(FORMULA) else value


def as_csv(table: Table) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([_text(name, "text") for name, _ in table.columns])
    for row in table.rows:
        cells = zip(row, table.columns, strict=True)
        writer.writerow([_text(value, kind) for value, (_, kind) in cells])
    return out.getvalue().encode()


def as_xlsx(tables: Sequence[Table]) -> bytes:
    """A sheet a table. Excel keeps 15 digits of a number: CSV and Parquet keep all."""
    # Loaded where it is wanted: it takes a tenth of a second.
    import xlsxwriter

    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False})
    bold = book.add_format({"bold": True})
    for table in tables:
        sheet = book.add_worksheet(table.name)
        sheet.write_row(0, 0, [name for name, _ in table.columns], bold)
        for number, row in enumerate(table.rows, start=1):
            for column, (value, (_, kind)) in enumerate(zip(row, table.columns, strict=True)):
                if value is not None and kind != "text":
                    sheet.write_number(number, column, float(written(value, kind) or 0))
                else:
                    sheet.write_string(number, column, _text(value, "text"))
        sheet.set_column(0, len(table.columns) - 1, 18)
        sheet.freeze_panes(1, 0)
    book.close()
    return out.getvalue()


def as_parquet(table: Table) -> bytes:
    # Loaded where it is wanted: it takes a tenth of a second.
    import pyarrow as pa
    import pyarrow.parquet as pq

    types: dict[Kind, Any] = {
        "text": pa.string(),
        "money": pa.decimal128(PARQUET_DIGITS, COST_DECIMALS),
        "quotient": pa.decimal128(PARQUET_DIGITS, QUOTIENT_DECIMALS),
        "count": pa.decimal128(PARQUET_DIGITS, 0),
    }
    arrays = [
        pa.array(
            [row[n] if kind == "text" else written(row[n], kind) for row in table.rows],
            type=types[kind],
        )
        for n, (_, kind) in enumerate(table.columns)
    ]
    out = io.BytesIO()
    pq.write_table(pa.table(arrays, names=_once_each(table)), out)
    return out.getvalue()


def _once_each(table: Table) -> list[str]:
    """Column names; of two alike the second says so."""
    seen: dict[str, int] = {}
    names = []
    for name, _ in table.columns:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names
