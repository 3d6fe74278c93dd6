"""kill -9 of web, worker and PostgreSQL in mid-load: what was acknowledged is counted once."""

import json
import threading
import time
import urllib.error
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import native_event
from tests.demo_tree import DemoTree, running_demo
from tests.processes import wait_until

BATCH = 20
SENDERS = 4


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[DemoTree]:
    with running_demo(tmp_path) as demo:
        yield demo


@dataclass
class Load:
    """What the senders did, all together."""

    acknowledged: int = 0
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def send_until(demo: DemoTree, load: Load, stop: threading.Event) -> None:
    """Post batches as a router would: the same batch again until it is acknowledged."""
    while not stop.is_set():
        events = [native_event(customer=uuid.uuid4().hex[:2]) for _ in range(BATCH)]
        while True:
            try:
                answer = demo.call("/api/v1/usage/events", events)
            except (urllib.error.URLError, OSError, json.JSONDecodeError):
                with load.lock:
                    load.retries += 1
                time.sleep(0.2)
                continue
            assert answer["rejected"] == []
            with load.lock:
                load.acknowledged += BATCH
            break


def test_every_acknowledged_event_counts_exactly_once_through_kills(demo: DemoTree) -> None:
    load, stop = Load(), threading.Event()
    senders = [threading.Thread(target=send_until, args=(demo, load, stop)) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        for victim in (("granian",), ("celery", "worker"), ("postgres", "-D"), ("granian",)):
            time.sleep(2)
            demo.kill(*victim)
            before = load.acknowledged
            wait_until(
                lambda before=before: load.acknowledged > before + 10 * BATCH,  # type: ignore[misc]
                limit_s=40,
                what=f"load goes on after kill -9 of {victim}",
            )
    finally:
        stop.set()
        for sender in senders:
            sender.join(timeout=60)
    assert load.retries > 0
    reconciled = demo.manage("reconcile")
    assert reconciled.returncode == 0, reconciled.stdout + reconciled.stderr
    assert "zero drift" in reconciled.stdout
    total = demo.call("/api/v1/spend")["total"]
    assert total["requests"] == load.acknowledged
    assert total["unpriced_requests"] == 0
