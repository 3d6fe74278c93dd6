"""`manage.py detect_series`: reads what it can, says what it cannot, and sees nothing ahead."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.insights.holiday_calendars import UTC_OFFSETS, ZONES, holiday_hours
from apps.insights.series_csv import SeriesCsvError, SeriesRow, read_series
from apps.insights.series_detection import detect_rows, threshold_of
from bench.spend_series import SpendSeries, spend_series
from tests.insights.hours import START, START_HOUR, office, spend_of
from tests.web import ROOT

SHORT_DAYS = 45


def lines_of(series: list[SpendSeries]) -> list[str]:
    lines = []
    for one in series:
        for n in np.flatnonzero(~np.isnan(one.spend)):
            at = (one.start + timedelta(hours=int(n))).strftime("%Y-%m-%dT%H:%M:%SZ")
            lines.append(f"{one.id},{at},{one.spend[n]:.6f},{one.requests[n]:.0f}\n")
    return lines


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return lines_of(list(spend_series(3, "counted", count=6, days=SHORT_DAYS)))


def command(stdin: str, data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    without = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
    env = {name: value for name, value in os.environ.items() if name not in without}
    return subprocess.run(
        [sys.executable, "manage.py", "detect_series", *options],
        cwd=ROOT,
        env=env | {"COSTBOARD_DATA_DIR": str(data_dir)},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_command_finds_a_spike_and_starts_no_service(tmp_path: Path) -> None:
    requests = office(40 * 24)
    spike = 37 * 24 + 9
    requests[spike : spike + 3] *= 6
    text = "series_id,ts,value,requests\n" + "".join(
        f"a,{(START + timedelta(hours=n)).isoformat()},{spend_of(requests)[n]},{requests[n]}\n"
        for n in range(len(requests))
    )
    result = command(text, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    head, *rows = result.stdout.splitlines()
    assert head == "series_id,ts,score,is_anomaly"
    anomalies = [row.split(",") for row in rows if row.endswith(",1")]
    assert anomalies[0][1] == (START + timedelta(hours=spike)).isoformat()
    assert all(float(row[2]) >= 1 for row in anomalies)
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"secret_key"}  # no PostgreSQL, no Valkey


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,2026-01-05T00:00:00Z,1\na,2026-01-05T00:00:00Z,1\n", "line 2: ts"),
        ("a,2026-01-05T01:00:00Z,1\na,2026-01-05T00:00:00Z,1\n", "is before the row above it"),
        ("series_id,ts,value\na,2026-01-05T00:00:00Z,-1\n", "line 2: value is -1"),
        ("a,2026-01-05T00:00:00Z,nan\n", "line 1: value is nan"),
        ("a,2026-01-05T00:00:00Z,inf\n", "must be finite"),
        ("a,2026-01-05T00:00:00Z,x\n", "'x' is no number"),
        ("a,2026-01-05T00:00:00Z,1,-2\n", "requests is -2"),
        ("a,2026-01-05T00:30:00Z,1\n", "is not a whole hour"),
        ("a,2026-01-05T00:00:00,1\n", "is not in UTC"),
        ("a,2026-01-05T00:00:00+01:00,1\n", "is not in UTC"),
        ("a,monday,1\n", "no RFC 3339 time"),
        (",2026-01-05T00:00:00Z,1\n", "series_id is empty"),
        ("a,2026-01-05T00:00:00Z\n", "2 fields"),
        ("a,2026-01-05T00:00:00Z,1\nb,2126-01-05T00:00:00Z,1\n", "more than 20 years"),
    ],
)
def test_a_bad_row_is_named_with_its_line(text: str, said: str) -> None:
    with pytest.raises(SeriesCsvError, match=r"^line \d+: ") as caught:
        list(read_series(text.splitlines(keepends=True)))
    assert said in str(caught.value)


def test_a_bad_row_and_a_bad_option_end_the_command(tmp_path: Path) -> None:
    bad = command("a,2026-01-05T00:00:00Z,1\na,2026-01-05T01:00:00Z,-3\n", tmp_path)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "line 2: value is -3" in bad.stderr
    option = command("", tmp_path, "--sensitivity", "0")
    assert option.returncode == 2
    assert "above zero" in option.stderr


def test_nothing_in_gives_only_the_heading(tmp_path: Path) -> None:
    assert command("", tmp_path).stdout == "series_id,ts,score,is_anomaly\n"


def scored(lines: list[str]) -> list[tuple[SeriesRow, float, bool]]:
    found = detect_rows(list(read_series(lines)))
    return [(f.row, round(f.score, 4), f.is_anomaly) for f in found]


@pytest.fixture(scope="module")
def whole(lines: list[str]) -> list[tuple[SeriesRow, float, bool]]:
    return scored(lines)


def test_something_is_scored(whole: list[tuple[SeriesRow, float, bool]]) -> None:
    assert sum(score > 0 for _, score, _ in whole) > 50


def close(
    one: list[tuple[SeriesRow, float, bool]], other: list[tuple[SeriesRow, float, bool]]
) -> None:
    assert [(repr(a[0]), a[2]) for a in one] == [(repr(b[0]), b[2]) for b in other]
    np.testing.assert_allclose([a[1] for a in one], [b[1] for b in other], rtol=1e-3, atol=1e-3)


@settings(max_examples=6, deadline=None)
@given(st.floats(0.05, 0.999))
def test_a_prefix_gives_the_same_rows_as_the_whole(
    lines: list[str], whole: list[tuple[SeriesRow, float, bool]], share: float
) -> None:
    cut = int(len(lines) * share)
    close(scored(lines[:cut]), whole[:cut])


@settings(max_examples=6, deadline=None)
@given(st.floats(0.3, 0.999))
def test_a_prefix_in_time_gives_the_same_rows_as_the_whole(
    lines: list[str], whole: list[tuple[SeriesRow, float, bool]], share: float
) -> None:
    by_time = sorted(range(len(lines)), key=lambda n: lines[n].split(",")[1])
    cut = by_time[: int(len(lines) * share)]
    close(scored([lines[n] for n in cut]), [whole[n] for n in cut])


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf")])
def test_a_sensitivity_is_above_zero(bad: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        threshold_of(bad)


def test_holidays_are_hours_of_local_days() -> None:
    assert len(UTC_OFFSETS) == len(ZONES)
    hours = holiday_hours(START_HOUR, 150 * 24)
    japan = list(ZONES).index("JP")
    # Coming of Age Day, 12 January 2026, is 11 January 15:00 to 12 January 15:00 in UTC.
    first = 6 * 24 + 15
    assert hours[japan, first : first + 24].all()
    assert not hours[japan, first - 1]
    assert not hours[japan, first + 24]
