"""Parquet as a table of past usage: record batches, a column within a struct by its path."""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from apps.usage.core.import_mapping import ImportRefusedError
from apps.usage.import_readers import BadRow, Format, Position, Row, check_headings

ROWS_PER_BATCH: Final = 2_000
# Uncompressed, as the file states it: what a reader may have to hold.
MAX_GROUP_BYTES: Final = 1024**3


class ParquetTable:
    format: Format = "parquet"

    def __init__(self, raw: BinaryIO) -> None:
        raw.seek(0, 2)
        self._size_bytes = raw.tell()
        raw.seek(0)
        try:
            self._file = pq.ParquetFile(pa.PythonFile(raw, mode="r"), pre_buffer=False)
            schema = _flattened(self._file.schema_arrow.empty_table()).schema
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ImportRefusedError("this is no Parquet file, or a broken one") from error
        self._refuse_too_large()
        self.headings = check_headings(list(schema.names))
        self.position = Position()
        self.done_bytes = 0

    def rows(self, start: Position) -> Iterator[Row | BadRow]:
        group, number = self._group_of(start.row)
        groups = list(range(group, self._file.num_row_groups))
        try:
            for batch in self._file.iter_batches(
                ROWS_PER_BATCH, row_groups=groups, use_threads=False
            ):
                if number + len(batch) <= start.row:
                    number += len(batch)
                    continue
                for cells in _cells(batch):
                    number += 1
                    if number > start.row:
                        self._at(number)
                        yield Row(number, cells, cells)
        except (pa.ArrowException, OSError) as error:
            raise ImportRefusedError(
                f"the Parquet file cannot be read after row {number}; it is broken"
            ) from error

    def _at(self, number: int) -> None:
        self.position = Position(number)
        self.done_bytes = self._size_bytes * number // max(self._file.metadata.num_rows, 1)

    def _group_of(self, row: int) -> tuple[int, int]:
        """The row group in which the row after `row` lies, and how many rows stand before it."""
        before = 0
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            if before + rows > row:
                return group, before
            before += rows
        return self._file.num_row_groups, before

    def _refuse_too_large(self) -> None:
        for group in range(self._file.num_row_groups):
            size = self._file.metadata.row_group(group).total_byte_size
            if size > MAX_GROUP_BYTES:
                raise ImportRefusedError(
                    f"row group {group} unpacks to {size // 1024**2} MiB; write the file with"
                    f" smaller ones, of at most {MAX_GROUP_BYTES // 1024**2} MiB"
                )


def _flattened(table: Any) -> Any:
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def _cells(batch: Any) -> Iterator[tuple[Any, ...]]:
    table = _flattened(pa.Table.from_batches([batch]))
    return zip(*(_values(column) for column in table.columns), strict=True)


def _values(column: Any) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's times end at microseconds.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    values: list[Any] = column.to_pylist()
    return values
