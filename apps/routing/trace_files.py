"""The files of `simulate_routing`: read as they are needed, a row at a time."""

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.routing.core.caps import DAY_S
from apps.routing.core.catalog import Catalog, CatalogError, read_catalog
from apps.routing.core.rule import Request
from apps.routing.core.simulation import Outcome

COLUMNS: Final = (
    "request_id",
    "ts_s",
    "department",
    "tier",
    "task",
    "tokens_in",
    "est_tokens_out",
    "max_tokens_out",
    "value_usd",
    "difficulty_hat",
)
# A time beyond this is no time within a month.
LONGEST_S: Final = 400 * DAY_S


class TraceError(ValueError):
    """A file is not what it should be: names it, the row, the column, and what is due."""


def load_catalog(path: Path) -> Catalog:
    try:
        data = json.loads(path.read_text())
    except ValueError as error:
        raise TraceError(f"{path}: this is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise TraceError(f"{path}: needs to be an object")
    try:
        return read_catalog(data)
    except CatalogError as error:
        raise TraceError(f"{path}: {error}") from error


def read_requests(path: Path, catalog: Catalog) -> Iterator[tuple[str, float, Request]]:
    """Each request with its id and time, in the order of the file, which is that of time."""
    known = (
        ("department", set(catalog.departments)),
        ("tier", set(catalog.tiers)),
        ("task", set(catalog.tasks)),
    )
    last_s, origin_s = 0.0, None
    with path.open(newline="") as file:
        rows = csv.reader(file)
        places = _places(next(rows, []), COLUMNS, path)
        for number, row in enumerate(rows, start=2):
            if not row:
                continue
            cells = _cells(row, places, path, number)
            for name, names in known:
                if cells[name] not in names:
                    raise TraceError(
                        f"{path}, row {number}: {name} {cells[name]!r} is not in the catalogue"
                    )
            numbers = {name: _number(cells, name, path, number) for name in COLUMNS[5:]}
            ts_s = _number(cells, "ts_s", path, number)
            if ts_s < last_s:
                raise TraceError(
                    f"{path}, row {number}: ts_s {ts_s} is before {last_s} in the row above;"
                    " sort the trace by time, from 0"
                )
            last_s = ts_s
            if origin_s is None:
                # Seconds of the epoch, or of the month: the month begins with the day of the first.
                origin_s = ts_s - ts_s % DAY_S if ts_s > LONGEST_S else 0.0
            yield (
                cells["request_id"],
                ts_s - origin_s,
                Request(
                    cells["department"],
                    cells["tier"],
                    cells["task"],
                    int(numbers["tokens_in"]),
                    numbers["est_tokens_out"],
                    numbers["max_tokens_out"],
                    numbers["value_usd"],
                    numbers["difficulty_hat"],
                ),
            )


class Outcomes:
    """outcomes.csv, in the order of the trace. The row of a request is read when it is asked for,
    and of it only what the backend that was chosen cost and brought."""

    def __init__(self, path: Path, backends: Sequence[str]) -> None:
        self._path = path
        self._file = path.open(newline="")
        self._rows = csv.reader(self._file)
        wanted = [f"{kind}_{name}" for kind in ("cost", "success") for name in backends]
        places = _places(next(self._rows, []), ("request_id", *wanted), path)
        self._id = places["request_id"]
        self._columns = {
            name: (places[f"cost_{name}"], places[f"success_{name}"]) for name in backends
        }
        self._number = 1

    def close(self) -> None:
        self._file.close()

    def of(self, request_id: str, backend: str) -> Outcome:
        """Passes over the rows of requests that were refused."""
        for row in self._rows:
            self._number += 1
            if not row or row[self._id] != request_id:
                continue
            cost, success = (row[place] for place in self._columns[backend])
            return Outcome(
                _number({"cost": cost}, "cost", self._path, self._number),
                None if success == "" else self._success(success),
            )
        raise TraceError(
            f"{self._path}: no row for request {request_id!r} after row {self._number};"
            " the rows need to be in the order of the trace"
        )

    def _success(self, text: str) -> float:
        told = {"true": "1", "false": "0"}.get(text.lower(), text)
        value = _number({"success": told}, "success", self._path, self._number)
        if value > 1.0:
            raise TraceError(f"{self._path}, row {self._number}: success {text} is not in 0 to 1")
        return value


def read_all_outcomes(
    path: Path, backends: Sequence[str], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every backend's costs and successes, for the hindsight bound: once all is decided.

    NaN where nobody says. Raises TraceError for what is no number.
    """
    cost = np.full((count, len(backends)), np.nan)
    success = np.full((count, len(backends)), np.nan)
    with path.open(newline="") as file:
        rows = csv.reader(file)
        wanted = [f"{kind}_{name}" for kind in ("cost", "success") for name in backends]
        places = _places(next(rows, []), ("request_id", *wanted), path)
        costs = [places[f"cost_{name}"] for name in backends]
        successes = [places[f"success_{name}"] for name in backends]
        for n, row in enumerate(row for row in rows if row):
            try:
                cost[n] = [float(row[place]) for place in costs]
                success[n] = [
                    float({"": "nan", "true": "1", "false": "0"}.get(row[p].lower(), row[p]))
                    for p in successes
                ]
            except (ValueError, IndexError) as error:
                raise TraceError(f"{path}, row {n + 2}: {error}") from error
    return cost, success


def _places(header: Sequence[str], wanted: Sequence[str], path: Path) -> dict[str, int]:
    places = {name: n for n, name in enumerate(header)}
    missing = [name for name in wanted if name not in places]
    if missing:
        raise TraceError(f"{path}: no column {missing[0]!r} in {', '.join(header)[:500]}")
    return places


def _cells(row: Sequence[str], places: dict[str, int], path: Path, number: int) -> dict[str, str]:
    try:
        return {name: row[place] for name, place in places.items()}
    except IndexError as error:
        raise TraceError(f"{path}, row {number}: has {len(row)} cells, too few") from error


def _number(cells: dict[str, Any], name: str, path: Path, number: int) -> float:
    try:
        value = float(cells[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0.0:
        raise TraceError(
            f"{path}, row {number}: {name} is {cells[name]!r}, and needs to be a number from 0 up"
        )
    return value
