"""The production process tree as `make demo --empty` runs it, for tests that kill parts of it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.database_template import copy_template
from tests.processes import descendants, wait_until
from tests.web import free_port

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 90
STOP_LIMIT_S = 30
SERVICES = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")


@dataclass
class DemoTree:
    """A running demo, with what its demo.json says; `folder` is its data folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    environment: dict[str, str]
    facts: dict[str, Any]

    @property
    def url(self) -> str:
        return str(self.facts["url"]).rstrip("/")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.facts['sandbox_api_key']}"}

    def call(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            self.headers | {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def processes(self, *words: str) -> list[int]:
        """Pids below the demo whose command line has these words, parents first."""
        return [
            pid
            for pid, command in descendants(self.process.pid)
            if all(word in command for word in words)
        ]

    def kill(self, *words: str) -> int:
        """kill -9 the first process below the demo whose command line has these words."""
        for pid in self.processes(*words):
            os.kill(pid, signal.SIGKILL)
            return pid
        raise AssertionError(f"no process {words} runs")

    def manage(self, *arguments: str, limit_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a manage.py command on the demo's services."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )


@contextmanager
def running_demo(scratch: Path) -> Iterator[DemoTree]:
    """An empty demo of its own in `scratch`, without live stream, from ready to stopped."""
    environment = {name: value for name, value in os.environ.items() if name not in SERVICES}
    folder = scratch / "d"
    folder.mkdir()
    copy_template(folder)
    environment |= {"COSTBOARD_DATA_DIR": str(folder), "COSTBOARD_PORT": str(free_port())}
    log = scratch / "demo.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--empty", "--no-live"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    ready = folder / "demo.json"
    try:
        wait_until(
            lambda: ready.exists() or process.poll() is not None,
            limit_s=START_LIMIT_S,
            what="demo is ready",
        )
        assert process.poll() is None, log.read_text()[-3000:]
        yield DemoTree(process, folder, environment, json.loads(ready.read_text()))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=STOP_LIMIT_S)
    assert not ready.exists()
