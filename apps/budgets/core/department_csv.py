"""Department budgets as CSV: what a spreadsheet gives back, read line by line. Pure.

Columns by name, in any order: `department` (its code) and `amount_usd` are needed, `on_limit` may
be there; those that the export adds for the reader are passed over. A line without an amount leaves
its department as it is. Comma or semicolon between, UTF-8 with or without a mark.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

MAX_LINES: Final = 2000
MAX_CHARACTERS: Final = 1_000_000
NEEDED: Final = ("department", "amount_usd")
FOR_THE_READER: Final = ("name", "above", "last_month_usd", "this_month_usd", "expected_usd")
KNOWN: Final = (*NEEDED, "on_limit", *FOR_THE_READER)
ON_LIMIT: Final = ("notify", "throttle", "refuse")
AMOUNT: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
# A spreadsheet takes a cell that begins so for a formula.
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class WantedAmount:
    """One line that says something: a month's amount, and what to do at the limit if it says so."""

    line: int
    department: str
    amount_usd: Decimal
    on_limit: str | None


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong with a line; line 0 is the file as a whole, 1 its heading."""

    line: int
    field: str
    detail: str


def read_csv(text: str) -> tuple[list[WantedAmount], list[LineError]]:
    """The lines that can be taken, and what is wrong with the others. No bad line costs a good
    one."""
    if len(text) > MAX_CHARACTERS:
        told = f"{len(text)} characters; at most {MAX_CHARACTERS} are read"
        return [], [LineError(0, "file", told)]
    text = text.removeprefix("\ufeff")
    heading = text.partition("\n")[0]
    delimiter = ";" if heading.count(";") > heading.count(",") else ","
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter, strict=True))
    except csv.Error as error:
        return [], [LineError(0, "file", f"this is no CSV: {error}")]
    if not rows:
        return [], [LineError(0, "file", "the file is empty")]
    names = [name.strip().lower() for name in rows[0]]
    wrong = _check_heading(names)
    if wrong:
        return [], [wrong]
    if len(rows) - 1 > MAX_LINES:
        return [], [LineError(0, "file", f"{len(rows) - 1} lines; at most {MAX_LINES} are read")]
    return _read_lines(names, rows[1:])


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as CSV; no cell of it is taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows([guard(cell) for cell in row] for row in rows)
    return out.getvalue()


def guard(cell: str) -> str:
    """A cell that a spreadsheet shows as it is; a number stays a number."""
    if cell.startswith(FORMULA) and not re.fullmatch(r"-?[0-9.]+", cell):
        return f"'{cell}"
    return cell


def _check_heading(names: Sequence[str]) -> LineError | None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        return LineError(1, missing[0], f"the heading has no column {missing[0]}")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return LineError(1, twice, f"the heading has {twice or 'an empty name'} twice")
    unknown = next((name for name in names if name not in KNOWN), None)
    if unknown is not None:
        return LineError(
            1, unknown[:60], f"{unknown[:60]!r} is no column; there are {', '.join(KNOWN)}"
        )
    return None


def _read_lines(
    names: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[WantedAmount], list[LineError]]:
    wanted: list[WantedAmount] = []
    errors: list[LineError] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        read = _read_line(number, names, row)
        if isinstance(read, LineError):
            errors.append(read)
        elif read is not None:
            first = seen.setdefault(read.department.lower(), number)
            if first != number:
                told = f"{read.department} stands in line {first} already"
                errors.append(LineError(number, "department", told))
            else:
                wanted.append(read)
    return wanted, errors


def _read_line(
    number: int, names: Sequence[str], row: Sequence[str]
) -> WantedAmount | LineError | None:
    if len(row) != len(names):
        told = f"it has {len(row)} cells, the heading {len(names)}"
        return LineError(number, "line", told)
    cells = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
    department = cells["department"]
    if department.startswith("'") and department[1:].startswith(FORMULA):
        department = department[1:]
    if not department:
        return LineError(number, "department", "it names no department")
    amount = cells["amount_usd"]
    if not amount:
        return None
    if not AMOUNT.fullmatch(amount):
        told = f"{amount[:40]!r} is no amount: write it like 1200 or 99.50"
        return LineError(number, "amount_usd", told)
    on_limit = cells.get("on_limit", "").lower() or None
    if on_limit is not None and on_limit not in ON_LIMIT:
        told = f"{on_limit[:40]!r} is none of {', '.join(ON_LIMIT)}"
        return LineError(number, "on_limit", told)
    return WantedAmount(number, department, Decimal(amount), on_limit)
