"""Reading files in a stream: odd CSVs, bad rows, and going on from any row."""

import gzip
import io
import tracemalloc
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.usage.core.import_mapping import ImportRefusedError
from apps.usage.import_lines import MAX_ROW_BYTES
from apps.usage.import_readers import BadRow, CsvTable, Position, Row, Table, open_table

MIB = 1024 * 1024


def read(table: Table, start: Position | None = None) -> list[tuple[int, Any]]:
    return [
        (row.number, row.error.code if isinstance(row, BadRow) else list(row.cells))
        for row in table.rows(start or Position())
    ]


def table_of(data: bytes) -> Table:
    return open_table(io.BytesIO(data))


def goes_on_from_anywhere(data: bytes) -> None:
    """From each position the rest is what it was."""
    table = table_of(data)
    seen = [(row, table.position) for row in table.rows(Position())]
    for index, (_, position) in enumerate(seen):
        rest = list(table_of(data).rows(position))
        assert rest == [row for row, _ in seen[index + 1 :]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_odd_csv_is_read_as_it_is_meant(delimiter: str) -> None:
    lines = ["", "a,b", "1,2", "", '"x\ny","say ""hi"""', " ,", ",", "3,4"]
    data = b"\xef\xbb\xbf" + "\r\n".join(lines).replace(",", delimiter).encode()
    rows = [["1", "2"], ["x\ny", 'say "hi"'], [" ", ""], ["3", "4"]]
    assert read(table_of(data)) == list(enumerate(rows, 1))
    assert table_of(data).headings == ["a", "b"]
    goes_on_from_anywhere(data)
    goes_on_from_anywhere(gzip.compress(data))


def test_a_bad_row_of_csv_costs_only_itself() -> None:
    data = b'a,b\n1,2\n"open,3\n4,5\n6\n7,"x"y\n8,\xe9\n9,10\n'
    assert read(CsvTable(io.BytesIO(data))) == [
        (1, ["1", "2"]),
        (2, "unreadable_row"),
        (3, ["4", "5"]),
        (4, "wrong_columns"),
        (5, "unreadable_row"),
        (6, "not_utf8"),
        (7, ["9", "10"]),
    ]


def test_a_quote_that_never_ends_costs_one_row_and_bounded_memory() -> None:
    line = b"1," + b"x" * 1000 + b"\n"
    data = b'a,b\n"open,1\n' + line * 30_000
    table = CsvTable(io.BytesIO(data))
    tracemalloc.start()
    found = [row.number for row in table.rows(Position()) if isinstance(row, Row)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == list(range(2, 30_002))
    assert peak < 16 * MIB


def test_a_row_that_is_too_long_is_passed_over() -> None:
    for data, good in (
        (b"a,b\n1," + b"x" * (MAX_ROW_BYTES + 9) + b"\n3,4\n", ["3", "4"]),
        (b'{"a":1}\n{"a":"' + b"x" * (3 * MAX_ROW_BYTES) + b'"}\n{"a":3}\n', [3]),
    ):
        rows = read(table_of(data))
        assert rows[-1][1] == good
        assert rows[-2][1] == "unreadable_row"
        goes_on_from_anywhere(data)


def test_ndjson_has_its_keys_as_columns_and_bad_lines_cost_themselves() -> None:
    data = b'{"a":1,"u":{"b":2}}\n\n{"a":\n[1]\n{"u":{"b":3},"tags":["x"]}'
    table = table_of(data)
    assert table.headings == ["a", "u.b", "tags"]
    assert read(table) == [
        (1, [1, 2, None]),
        (2, "invalid_json"),
        (3, "invalid_json"),
        (4, [None, 3, ["x"]]),
    ]
    goes_on_from_anywhere(data)


def test_parquet_is_read_across_its_groups_with_structs_by_their_paths() -> None:
    out = io.BytesIO()
    rows = [{"n": n, "s": {"x": {"y": str(n)}}} for n in range(5003)]
    pq.write_table(pa.Table.from_pylist(rows), out, row_group_size=999)
    data = out.getvalue()
    assert table_of(data).headings == ["n", "s.x.y"]
    assert read(table_of(data)) == [(n + 1, [n, str(n)]) for n in range(5003)]
    for start in (0, 1, 998, 999, 1000, 4321, 5002, 5003):
        assert len(read(table_of(data), Position(start))) == 5003 - start


def test_a_parquet_file_cut_or_broken_is_refused() -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"n": list(range(10_000))}), out, compression="none")
    data = out.getvalue()
    with pytest.raises(ImportRefusedError, match="no Parquet file"):
        table_of(data[:-9])
    broken = bytearray(data)
    broken[10:60] = b"\xff" * 50
    with pytest.raises(ImportRefusedError, match="cannot be read after row"):
        read(table_of(bytes(broken)))


def test_a_large_gzip_is_read_in_bounded_memory() -> None:
    data = gzip.compress(b"a,b\n" + b"1,2\n" * 10_000_000, compresslevel=1)
    table = table_of(data)
    tracemalloc.start()
    for row in table.rows(Position()):
        if row.number == 200_000:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB


cells = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8)


@given(st.lists(st.tuples(cells, cells), max_size=12), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=150, deadline=None)
def test_any_csv_is_read_back_and_gone_on_with(rows: list[tuple[str, str]], end: str) -> None:
    import csv

    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("first", "second"), *rows])
    data = text.getvalue().encode()
    wanted = [list(row) for row in rows if any(row)]
    assert [row for _, row in read(table_of(data))] == wanted
    goes_on_from_anywhere(data)


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_table_or_refused_with_a_sentence(data: bytes) -> None:
    for body in (data, b"a,b\n" + data, b'{"a":1}\n' + data, b"PAR1" + data, b"\x1f\x8b" + data):
        with suppress(ImportRefusedError):
            read(table_of(body))
