"""`manage.py simulate_routing`, on files of one's own."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bench.routing_trace import Trace, make_trace, write_trace
from costboard.command_line import needs_services


@pytest.fixture(scope="module")
def trace() -> Trace:
    return make_trace(21, requests=1200)


@pytest.fixture
def files(trace: Trace, tmp_path: Path) -> Path:
    write_trace(trace, tmp_path)
    return tmp_path


def simulate_files(folder: Path) -> tuple[str, list[list[str]]]:
    said = StringIO()
    call_command(
        "simulate_routing",
        catalog=folder / "catalog.json",
        trace=folder / "trace.csv",
        outcomes=folder / "outcomes.csv",
        out=folder / "decisions.csv",
        stdout=said,
    )
    with (folder / "decisions.csv").open() as file:
        return said.getvalue(), list(csv.reader(file))


def rewrite(path: Path, change: Any) -> None:
    with path.open() as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(change(rows))


def test_it_runs_without_services() -> None:
    assert not needs_services(["manage.py", "simulate_routing", "--catalog", "x"])


def test_it_writes_a_decision_for_each_request_and_says_what_it_was_worth(
    files: Path, trace: Trace
) -> None:
    said, decisions = simulate_files(files)
    assert decisions[0] == ["request_id", "backend"]
    assert [row[0] for row in decisions[1:]] == [f"r{n}" for n in range(len(trace.requests))]
    names = [backend.name for backend in trace.catalog.backends]
    assert {row[1] for row in decisions[1:]} <= {*names, "none"}
    # What it says is what the decisions say.
    value = month_usd = 0.0
    for n, (_, name) in enumerate(decisions[1:]):
        request = trace.requests[n]
        if name == "none":
            value -= 0.5 * request.value_usd
            continue
        b = names.index(name)
        fail = trace.catalog.fail_multiplier[request.tier]
        success = trace.success[n, b]
        value += request.value_usd * (success - fail * (1 - success)) - trace.cost[n, b]
        month_usd += trace.cost[n, b] if b else 0.0
    assert f"value              {value:,.2f} USD" in said
    assert f"spend month        {month_usd:,.6f} of" in said
    assert "floors violated    0" in said
    assert said.count("over by 0.000000000") == 2 + len(trace.catalog.departments)
    assert "hindsight bound" in said
    assert "share" in said


def test_columns_of_backends_that_did_not_run_are_not_looked_at(files: Path) -> None:
    _, before = simulate_files(files)
    ran = dict(before[1:])

    def poison(rows: list[list[str]]) -> list[list[str]]:
        head = rows[0]
        return [head] + [
            [
                cell
                if name in ("request_id", f"cost_{ran[row[0]]}", f"success_{ran[row[0]]}")
                else "?"
                for name, cell in zip(head, row, strict=True)
            ]
            for row in rows[1:]
        ]

    rewrite(files / "outcomes.csv", poison)
    said, after = simulate_files(files)
    assert after == before
    assert "hindsight bound    none" in said


def test_no_outcome_is_known_before_its_request_is_decided(files: Path) -> None:
    _, before = simulate_files(files)

    def other_ends(rows: list[list[str]]) -> list[list[str]]:
        # From request 600 on everything fails and costs ten times as much.
        return rows[:601] + [
            [row[0], *(str(10 * float(c)) for c in row[1:7]), *("0" for _ in row[7:])]
            for row in rows[601:]
        ]

    rewrite(files / "outcomes.csv", other_ends)
    _, after = simulate_files(files)
    assert after[:602] == before[:602]
    assert after != before


def test_what_costs_more_than_it_could_makes_no_cap_break_twice(files: Path) -> None:
    """A charge above its worst case is remembered: later holds are as large."""
    rewrite(
        files / "outcomes.csv",
        lambda rows: (
            [rows[0]]
            + [[row[0], *(str(1.5 * float(c)) for c in row[1:7]), *row[7:]] for row in rows[1:]]
        ),
    )
    said, _ = simulate_files(files)
    assert "floors violated    0" in said


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "trace.csv",
            lambda rows: [row[:-1] for row in rows],
            "no column 'difficulty_hat'",
        ),
        (
            "trace.csv",
            lambda rows: [rows[0], ["x", "0", "nobody", *rows[1][3:]]],
            "row 2: department",
        ),
        ("trace.csv", lambda rows: [rows[0], rows[9], rows[1]], "row 3: ts_s"),
        (
            "trace.csv",
            lambda rows: [rows[0], [*rows[1][:5], "-4", *rows[1][6:]]],
            "tokens_in is '-4'",
        ),
        ("outcomes.csv", lambda rows: rows[:5], "no row for request 'r4'"),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_its_row(
    files: Path, name: str, change: Any, message: str
) -> None:
    rewrite(files / name, change)
    with pytest.raises(CommandError, match=message):
        simulate_files(files)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("backends", [], "backends: 0 given"),
        ("month_budget", -1, "month_budget is -1"),
        ("floors_reason", {}, "floors_reason: nothing for the tier"),
        ("forecast_requests_per_hour", [[1]], "needs 5 numbers"),
        ("quality_table", {"chat": {}}, "quality_table\\[chat\\]: local/qwen3-32b"),
    ],
)
def test_a_catalogue_that_is_not_right_is_refused_with_its_key(
    files: Path, key: str, value: Any, message: str
) -> None:
    path = files / "catalog.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(CommandError, match=message):
        simulate_files(files)
