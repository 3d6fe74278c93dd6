"""Files of past usage as tables: CSV, NDJSON and Parquet, read in a stream from any row on.

A bad row is told of and costs no other. A position is where the row after it begins: reading goes
on from there after a crash, with the numbers of rows it would have had.
"""

import csv
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Final, Literal, NamedTuple, Protocol, get_args

import msgspec

from apps.usage.core.import_mapping import (
    MAX_COLUMNS,
    MAX_HEADING,
    ImportRefusedError,
    RowError,
)
from apps.usage.import_lines import BYTE_ORDER_MARK, MAX_ROW_BYTES, LineSource, check_text

Format = Literal["csv", "ndjson", "parquet"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
PARQUET: Final = b"PAR1"
DELIMITERS: Final = ",;\t|"
SNIFFED_BYTES: Final = 64 * 1024
# Rows of NDJSON whose keys are its columns.
ROWS_FOR_COLUMNS: Final = 1000
MAX_DEPTH: Final = 4
MAX_FIELD: Final = 1024 * 1024
csv.field_size_limit(MAX_FIELD)


class Position(NamedTuple):
    """`row` rows were read; the next begins at byte `offset` (of text, unpacked; 0: at the top)."""

    row: int = 0
    offset: int = 0


class Row(NamedTuple):
    """`number` counts from 1 without headings and empty lines. `content` is what a row without an
    id is known by."""

    number: int
    cells: Sequence[Any]
    content: Any


class BadRow(NamedTuple):
    number: int
    error: RowError


class Table(Protocol):
    """An open file. `position` and `done_bytes` are those after the row last yielded."""

    format: Format
    headings: list[str]
    position: Position
    done_bytes: int

    def rows(self, start: Position) -> Iterator[Row | BadRow]: ...


def open_table(raw: BinaryIO, *, form: Format | None = None) -> Table:
    """The table in a file that can be sought in. Raises ImportRefusedError with a sentence."""
    raw.seek(0)
    if form == "parquet" or (form is None and raw.read(4) == PARQUET):
        # pyarrow takes a tenth of a second to load: only those wait who have such a file.
        from apps.usage.import_parquet import ParquetTable

        return ParquetTable(raw)
    lines = LineSource(raw)
    head = _head(lines)
    check_text(head)
    start = head.removeprefix(BYTE_ORDER_MARK).lstrip()[:1]
    if not start:
        raise ImportRefusedError("the file is empty")
    if start == b"[" and form != "csv":
        raise ImportRefusedError(
            "the file is a JSON array; write one object a line: jq -c '.[]' FILE"
        )
    if form == "ndjson" or (form is None and start == b"{"):
        return NdjsonTable(raw)
    return CsvTable(raw)


def _head(lines: LineSource) -> bytes:
    head = bytearray()
    while len(head) < SNIFFED_BYTES and (line := lines.readline()):
        head += line
    return bytes(head[:SNIFFED_BYTES])


class _Feed:
    """Lines as text for csv.reader, which takes as many as its record has."""

    def __init__(self, lines: LineSource) -> None:
        self.lines = lines
        self.record: list[bytes] = []
        self.record_bytes = 0
        self.is_utf8 = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.lines.readline()
        if not line:
            raise StopIteration
        self.record.append(line)
        self.record_bytes += len(line)
        if self.lines.offset == len(line):
            line = line.removeprefix(BYTE_ORDER_MARK)
        if self.record_bytes > MAX_ROW_BYTES:
            raise csv.Error(f"longer than {MAX_ROW_BYTES // 1024**2} MiB")
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.is_utf8 = False
            return line.decode(errors="replace")

    def next_record(self) -> None:
        self.record.clear()
        self.record_bytes = 0
        self.is_utf8 = True

    def drop_first_line(self) -> None:
        """Give up a record that cannot be read: what follows its first line may be good rows."""
        self.lines.push_back(self.record[1:])
        self.next_record()


class CsvTable:
    format: Format = "csv"

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        lines = LineSource(raw)
        feed = _Feed(lines)
        first = next((line for line in feed if line.strip()), "")
        self.delimiter = _delimiter(first)
        lines.push_back([feed.record[-1]] if feed.record else [])
        feed.next_record()
        try:
            names = next(csv.reader(feed, delimiter=self.delimiter, strict=True), [])
        except csv.Error as error:
            raise ImportRefusedError(f"the first line is no line of headings: {error}") from error
        self.headings = check_headings([name.strip() for name in names])
        self._data_offset = lines.offset
        self.position = Position(0, self._data_offset)
        self.done_bytes = 0

    def rows(self, start: Position) -> Iterator[Row | BadRow]:
        lines = LineSource(self._raw, offset=start.offset or self._data_offset)
        feed = _Feed(lines)
        number, wanted = start.row, len(self.headings)
        reader = csv.reader(feed, delimiter=self.delimiter, strict=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                feed.drop_first_line()
                reader = csv.reader(feed, delimiter=self.delimiter, strict=True)
                number += 1
                self._at(number, lines)
                yield BadRow(number, RowError("unreadable_row", f"the row cannot be read: {error}"))
                continue
            is_utf8 = feed.is_utf8
            feed.next_record()
            if not any(cells):
                continue
            number += 1
            self._at(number, lines)
            if not is_utf8:
                yield BadRow(number, RowError("not_utf8", "the row is not UTF-8"))
            elif len(cells) != wanted:
                detail = f"the row has {len(cells)} fields, the headings are {wanted}"
                yield BadRow(number, RowError("wrong_columns", detail))
            else:
                yield Row(number, cells, cells)

    def _at(self, number: int, lines: LineSource) -> None:
        self.position = Position(number, lines.offset)
        self.done_bytes = lines.done_bytes


def _delimiter(line: str) -> str:
    """What parts the headings into the most columns."""

    def columns(mark: str) -> int:
        return len(next(csv.reader([line], delimiter=mark), []))

    return max(DELIMITERS, key=columns)


def check_headings(names: list[str]) -> list[str]:
    """The headings; columns without one are called by their number."""
    if len(names) > MAX_COLUMNS:
        raise ImportRefusedError(
            f"the file has {len(names)} columns; at most {MAX_COLUMNS} are read"
        )
    named = [name[:MAX_HEADING] or f"column {place}" for place, name in enumerate(names, 1)]
    seen: dict[str, int] = {}
    for place, name in enumerate(named, 1):
        if name in seen:
            raise ImportRefusedError(
                f"the heading {name!r} stands twice, over columns {seen[name]} and {place};"
                " rename one of them",
                field=name,
            )
        seen[name] = place
    if not named or all(_is_number(name) for name in named):
        raise ImportRefusedError("the first line must be headings that name the columns")
    return named


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


class NdjsonTable:
    """One object a line; columns are its keys, nested ones by a path with dots.

    With `raw` set, rows are not read: their content is the line.
    """

    format: Format = "ndjson"

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self.raw = False
        self.position = Position()
        self.done_bytes = 0
        self.headings = []
        names: dict[str, None] = {}
        self.first_objects: list[dict[str, Any]] = []
        for row in itertools.islice(self.rows(Position()), ROWS_FOR_COLUMNS):
            if isinstance(row, Row):
                self.first_objects.append(row.content)
                names |= dict.fromkeys(flat(row.content))
        self.headings = [name for name in names if len(name) <= MAX_HEADING][:MAX_COLUMNS]
        self.position, self.done_bytes = Position(), 0

    def rows(self, start: Position) -> Iterator[Row | BadRow]:
        lines = LineSource(self._raw, offset=start.offset)
        number = start.row
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        while line := lines.readline():
            if len(line) > MAX_ROW_BYTES:
                number += 1
                self._at(number, lines)
                detail = f"the row is longer than {MAX_ROW_BYTES // 1024**2} MiB"
                yield BadRow(number, RowError("unreadable_row", detail))
                continue
            line = line.removeprefix(BYTE_ORDER_MARK).strip()
            if not line:
                continue
            number += 1
            self._at(number, lines)
            if self.raw:
                yield Row(number, (), line)
                continue
            try:
                content = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
                yield BadRow(number, RowError("invalid_json", "the row is not a JSON object"))
                continue
            paths = flat(content)
            yield Row(number, [paths.get(name) for name in self.headings], content)

    def _at(self, number: int, lines: LineSource) -> None:
        self.position = Position(number, lines.offset)
        self.done_bytes = lines.done_bytes


def flat(content: dict[str, Any], depth: int = MAX_DEPTH) -> dict[str, Any]:
    """An object's values by their path: {"usage": {"input": 1}} is {"usage.input": 1}."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict) and depth > 1:
            found |= {f"{key}.{path}": part for path, part in flat(value, depth - 1).items()}
        else:
            found[key] = value
    return found
