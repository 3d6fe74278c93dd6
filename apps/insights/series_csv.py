"""Hourly series as CSV: `series_id,ts,value[,requests]`, in time order within each series."""

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

HOUR_S: Final = 3600
MAX_SPAN_HOURS: Final = 20 * 366 * 24
MAX_SERIES: Final = 100_000
HEADERS: Final = (["series_id", "ts", "value"], ["series_id", "ts", "value", "requests"])


class SeriesCsvError(ValueError):
    """A row that cannot be read: its line, and what to do about it."""

    def __init__(self, line: int, detail: str) -> None:
        super().__init__(f"line {line}: {detail}")
        self.line = line


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """`hour` since 1970 UTC; `requests` is NaN where not given. `ts` as it was written."""

    series_id: str
    ts: str
    hour: int
    value: float
    requests: float


def read_series(lines: Iterable[str]) -> Iterator[SeriesRow]:
    """Yield row by row, series mixed or one after the other. Raises SeriesCsvError.

    Times are whole hours in UTC (RFC 3339). A missing hour is an absent row.
    """
    hours: dict[str, int] = {}
    last: dict[str, int] = {}
    first: int | None = None
    reader = csv.reader(lines)
    for fields in reader:
        line = reader.line_num
        if not fields or (line == 1 and [f.strip().lower() for f in fields] in HEADERS):
            continue
        if len(fields) not in (3, 4):
            raise SeriesCsvError(
                line, f"{len(fields)} fields; a row is series_id,ts,value or ...,requests"
            )
        series_id, ts = fields[0], fields[1]
        if not series_id:
            raise SeriesCsvError(line, "series_id is empty")
        hour = hours.get(ts)
        if hour is None:
            hour = hours[ts] = _hour(line, ts)
        first = hour if first is None else first
        if abs(hour - first) > MAX_SPAN_HOURS:
            raise SeriesCsvError(line, f"ts {ts} is more than 20 years from the first row's")
        before = last.get(series_id)
        if before is None and len(last) == MAX_SERIES:
            raise SeriesCsvError(line, f"more than {MAX_SERIES} series; split the input")
        if before is not None and hour <= before:
            what = "repeats an hour" if hour == before else "is before the row above it"
            raise SeriesCsvError(line, f"ts {ts} {what} of series {series_id}; sort by time")
        last[series_id] = hour
        requests = fields[3] if len(fields) == 4 else ""
        yield SeriesRow(
            series_id,
            ts,
            hour,
            _number(line, "value", fields[2]),
            _number(line, "requests", requests) if requests else math.nan,
        )


def _hour(line: int, ts: str) -> int:
    try:
        at = datetime.fromisoformat(ts)
    except ValueError as error:
        raise SeriesCsvError(line, f"ts {ts!r} is no RFC 3339 time in UTC") from error
    if at.tzinfo is None or at.utcoffset() != UTC.utcoffset(None):
        raise SeriesCsvError(line, f"ts {ts} is not in UTC; write 2026-11-01T13:00:00Z")
    if at.minute or at.second or at.microsecond:
        raise SeriesCsvError(line, f"ts {ts} is not a whole hour")
    return int(at.timestamp()) // HOUR_S


def _number(line: int, name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise SeriesCsvError(line, f"{name} {text!r} is no number") from error
    if not math.isfinite(number) or number < 0:
        raise SeriesCsvError(line, f"{name} is {text}; it must be finite and not below zero")
    return number
