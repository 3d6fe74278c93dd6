"""`manage.py demo` as a whole: services, data, web, worker, beat; and nothing left behind."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import psycopg
import pytest
import redis

from tests.web import ROOT, free_port

READY_LIMIT_S = 90
STOP_LIMIT_S = 15


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="costboard-demo-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running_demo(
    data_dir: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    """The process and demo.json of a demo that is ready; killed if the test leaves it running."""
    without = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
    env = {name: value for name, value in os.environ.items() if name not in without}
    env |= {"COSTBOARD_DATA_DIR": str(data_dir), "COSTBOARD_PORT": str(free_port())}
    out = data_dir / "demo.out"
    with out.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", *options],
            cwd=ROOT,
            env=env,
            stdout=file,
            stderr=file,
        )
    try:
        yield process, wait_until_ready(process, data_dir, out)
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        finally:
            process.kill()


def wait_until_ready(process: subprocess.Popen[bytes], data_dir: Path, out: Path) -> dict[str, Any]:
    path = data_dir / "demo.json"
    deadline = time.monotonic() + READY_LIMIT_S
    while not path.exists():
        assert process.poll() is None, out.read_text()
        assert time.monotonic() < deadline, out.read_text()
        time.sleep(0.1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def stop(process: subprocess.Popen[bytes], number: signal.Signals) -> float:
    """Seconds until the demo was gone."""
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(STOP_LIMIT_S) == 0
    return time.monotonic() - started


def processes_of(data_dir: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            if str(data_dir) in words or process.environ().get("COSTBOARD_DATA_DIR") == str(
                data_dir
            ):
                found.append(words)
        except psutil.Error:
            continue
    return found


def sign_in(url: str, email: str, password: str) -> str:
    """The page about models, as a person sees it after the login form."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(f"{url}/login", timeout=10) as response:
        assert response.status == 200
        form = response.read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token is not None
    fields = {
        "csrfmiddlewaretoken": token[1],
        "email": email,
        "password": password,
        "next": "/models",
    }
    request = urllib.request.Request(
        f"{url}/login", urlencode(fields).encode(), headers={"Referer": f"{url}/login"}
    )
    with opener.open(request, timeout=10) as response:
        assert "/login" not in response.url
        return str(response.read().decode())


def requests_of(told: dict[str, Any], key: str) -> int:
    """Requests of the last days by the API."""
    start, end = (
        time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * 86_400)) for days in (-4, 2)
    )
    request = urllib.request.Request(
        f"{told['url']}/api/v1/spend?from={start}&to={end}",
        headers={"Authorization": f"Bearer {told[key]}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return int(json.load(response)["total"]["requests"])


def ledger_rows(told: dict[str, Any]) -> int:
    with psycopg.connect(told["database_url"]) as connection:
        row = connection.execute("SELECT count(*) FROM usage_ledger").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.slow
def test_demo_starts_answers_stops_and_starts_again_with_its_data(data_dir: Path) -> None:
    options = ("--days", "2", "--events", "2000", "--no-live")
    with running_demo(data_dir, *options) as (process, told):
        assert {login["role"] for login in told["logins"]} == {"viewer", "admin", "owner"}
        login = told["logins"][0]
        assert "Lindwerk Cloud" in sign_in(told["url"], login["email"], login["password"])
        requests = requests_of(told, "api_key")
        assert 1_500 < requests < 2_600
        assert requests_of(told, "sandbox_api_key") == 0
        assert ledger_rows(told) == requests
        assert redis.Redis.from_url(told["redis_url"]).ping()
        assert stop(process, signal.SIGTERM) < 10
    assert not (data_dir / "demo.json").exists()
    assert processes_of(data_dir) == []

    with running_demo(data_dir) as (process, again):
        assert again["api_key"] == told["api_key"]
        # The gap since then is short, and the live stream sends a few events a second.
        assert requests <= requests_of(again, "api_key") < requests + 500
        wait_for_more(again, requests_of(again, "api_key"))
        stop(process, signal.SIGINT)
    assert processes_of(data_dir) == []


def wait_for_more(told: dict[str, Any], requests: int) -> None:
    deadline = time.monotonic() + 10
    while requests_of(told, "api_key") <= requests:
        assert time.monotonic() < deadline
        time.sleep(0.2)
