"""kill -9 of web, worker and PostgreSQL in mid-load: what was acknowledged is counted once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, native_event
from tests.processes import descendants, wait_until
from tests.web import free_port

BATCH = 20
SENDERS = 4


@dataclass
class Demo:
    """A running `make demo --empty`, with what its demo.json says."""

    process: subprocess.Popen[bytes]
    environment: dict[str, str]
    facts: dict[str, Any]
    acknowledged: int = 0
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.facts["url"].rstrip("/") + path,
            None if body is None else json.dumps(body).encode(),
            {
                "Authorization": f"Bearer {self.facts['sandbox_api_key']}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def kill(self, *words: str) -> int:
        """kill -9 the first process below the demo whose command line has these words."""
        for pid, command in descendants(self.process.pid):
            if all(word in command for word in words):
                os.kill(pid, signal.SIGKILL)
                return pid
        raise AssertionError(f"no process {words} runs")


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
    }
    environment |= {"COSTBOARD_DATA_DIR": str(tmp_path / "d"), "COSTBOARD_PORT": str(free_port())}
    log = (tmp_path / "demo.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--empty", "--no-live"],
        cwd=ROOT,
        env=environment,
        stdout=log,
        stderr=log,
    )
    ready = tmp_path / "d" / "demo.json"
    try:
        wait_until(
            lambda: ready.exists() or process.poll() is not None, limit_s=90, what="demo is ready"
        )
        assert process.poll() is None, (tmp_path / "demo.log").read_text()[-3000:]
        yield Demo(process, environment, json.loads(ready.read_text()))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert not ready.exists()


def send_until(demo: Demo, stop: threading.Event) -> None:
    """Post batches as a router would: the same batch again until it is acknowledged."""
    while not stop.is_set():
        events = [native_event(customer=uuid.uuid4().hex[:2]) for _ in range(BATCH)]
        while True:
            try:
                answer = demo.call("/api/v1/usage/events", events)
            except (urllib.error.URLError, OSError, json.JSONDecodeError):
                with demo.lock:
                    demo.retries += 1
                time.sleep(0.2)
                continue
            assert answer["rejected"] == []
            with demo.lock:
                demo.acknowledged += BATCH
            break


def test_every_acknowledged_event_counts_exactly_once_through_kills(demo: Demo) -> None:
    stop = threading.Event()
    senders = [threading.Thread(target=send_until, args=(demo, stop)) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        for victim in (("granian",), ("celery", "worker"), ("postgres", "-D"), ("granian",)):
            time.sleep(2)
            demo.kill(*victim)
            before = demo.acknowledged
            wait_until(
                lambda before=before: demo.acknowledged > before + 10 * BATCH,  # type: ignore[misc]
                limit_s=40,
                what=f"load goes on after kill -9 of {victim}",
            )
    finally:
        stop.set()
        for sender in senders:
            sender.join(timeout=60)
    assert demo.retries > 0
    reconciled = subprocess.run(
        [sys.executable, "manage.py", "reconcile"],
        cwd=ROOT,
        env=demo.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr
    assert "zero drift" in reconciled.stdout
    total = demo.call("/api/v1/spend")["total"]
    assert total["requests"] == demo.acknowledged
    assert total["unpriced_requests"] == 0
