"""`manage.py forecast_series` as acceptance runs it: CSV in, CSV out, no database, no tenant."""

import csv
import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
START = datetime(2026, 5, 1, tzinfo=UTC)


def run(text: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    unwanted = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
    environment = {k: v for k, v in os.environ.items() if k not in unwanted}
    return subprocess.run(
        [sys.executable, "manage.py", "forecast_series", *arguments],
        input=text,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment | {"COSTBOARD_DATA_DIR": str(folder)},
        timeout=120,
        check=False,
    )


def rows(case_id: str, hours: int, usd: float, start: datetime = START) -> list[str]:
    return [f"{case_id},{(start + timedelta(hours=n)).isoformat()},{usd}\n" for n in range(hours)]


def test_each_case_gets_its_months_total_and_interval(tmp_path: Path) -> None:
    steady = rows("steady", 24 * 41, 2.0)
    newcomer = rows("newcomer", 5, 1.0, START + timedelta(days=9))
    # Cases may come mixed; what is asked for is each case's own month, in UTC.
    mixed = [row for pair in zip(steady, newcomer, strict=False) for row in pair]
    text = "case_id,ts,value\n" + "".join([*mixed, *steady[5:]])
    done = run(text, tmp_path)
    assert done.returncode == 0, done.stderr
    found = {row["case_id"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
    assert list(found) == ["steady", "newcomer"]
    # 41 days from 1 May: ten days of June are known, and June has thirty.
    total, low, high = (float(found["steady"][name]) for name in ("total", "lo80", "hi80"))
    assert total == pytest.approx(30 * 48, rel=0.01)
    assert 480 <= low <= total <= high
    total, low, high = (float(found["newcomer"][name]) for name in ("total", "lo80", "hi80"))
    assert 5 <= low < total < high
    assert high > 1.5 * low
    assert not (tmp_path / "postgres").exists()


def test_a_month_that_is_over_is_known(tmp_path: Path) -> None:
    done = run("case_id,ts,value\n" + "".join(rows("a", 24 * 31, 1.0)), tmp_path)
    assert done.stdout.splitlines()[1] == "a,744.000000,744.000000,744.000000"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,2026-05-01T00:00:00,1", "line 2: ts '2026-05-01T00:00:00' has no offset"),
        ("a,yesterday,1", "line 2"),
        ("a,2026-05-01T00:00:00Z", "line 2"),
        ("a,2026-05-01T00:00:00Z,nan", "line 2: value is 'nan'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    done = run(f"case_id,ts,value\n{line}\n", tmp_path)
    assert done.returncode != 0
    assert said in done.stderr


def test_a_country_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    done = run("case_id,ts,value\n" + rows("a", 1, 1.0)[0], tmp_path, "--country", "ZZ")
    assert done.returncode != 0
    assert "'ZZ'" in done.stderr
