"""A throwaway installation to measure: services with their data safe on disk, one web worker.

Imported first by an entry: it says where the services are before Django's settings are read.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
START_LIMIT_S: Final = 60
STARTED_AT: Final = time.time()


def _point_settings_at(folder: Path) -> None:
    (folder / "static").mkdir()
    os.environ["COSTBOARD_DATA_DIR"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "costboard.settings"
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "COSTBOARD_EMBEDDED_FSYNC"):
        os.environ.pop(name, None)


if "BENCH_FOLDER" not in os.environ:
    os.environ["BENCH_FOLDER"] = tempfile.mkdtemp(prefix="costboard-bench-")
    _point_settings_at(Path(os.environ["BENCH_FOLDER"]))

import django  # noqa: E402
import psutil  # type: ignore[import-untyped,unused-ignore]  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402

from apps.tenants.scoping import tenant_scope  # noqa: E402
from apps.tenants.services import create_tenant, issue_api_key  # noqa: E402
from apps.usage.identities import keep_segments as keep_segments  # noqa: E402, PLC0414
from costboard.demo.children import beat, web, workers  # noqa: E402
from costboard.embedded import EmbeddedServices, default_data_dir  # noqa: E402
from costboard.processes import processes_in, spawn  # noqa: E402
from costboard.supervisor import ChildSpec  # noqa: E402


@dataclass(frozen=True, slots=True)
class Installation:
    """Where it answers, and a key of its one tenant."""

    port: int
    tenant_id: int
    secret: str
    web_pid: int


@contextmanager
def services() -> Iterator[int]:
    """PostgreSQL and Valkey, their data safe on disk, and the id of a tenant; no web server."""
    folder = default_data_dir()
    try:
        with ExitStack() as stack:
            stack.enter_context(EmbeddedServices(folder, durable=True))
            call_command("migrate", verbosity=0)
            stack.callback(connections.close_all)
            yield _make_tenant()[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def database_processes() -> list[psutil.Process]:
    return processes_in(default_data_dir() / "postgres")


def cpu_seconds(here: Installation) -> float:
    """CPU time of the web worker and PostgreSQL so far: it says what a shared machine hides."""
    web_process = psutil.Process(here.web_pid)
    found = [web_process, *web_process.children(recursive=True)]
    total_s = 0.0
    for process in [*found, *database_processes()]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            # Theirs, and that of helpers of a query that have ended.
            total_s += sum(times[:4])
    return total_s


class BusyMeter:
    """How much of the machine others take, from its making on."""

    def __init__(self, here: Installation) -> None:
        self.here = here
        self.before = self._seconds()

    def _seconds(self) -> tuple[float, float, float]:
        """All of the machine's so far; the busy ones; ours."""
        all_cpus, own = psutil.cpu_times(), psutil.Process().cpu_times()
        idle_s = all_cpus.idle + getattr(all_cpus, "iowait", 0.0)
        # The kernel counts what guests use twice.
        total_s = sum(all_cpus) - getattr(all_cpus, "guest", 0) - getattr(all_cpus, "guest_nice", 0)
        return total_s, total_s - idle_s, cpu_seconds(self.here) + own.user + own.system

    def others_percent(self) -> float:
        total_s, busy_s, ours_s = (
            now - then for now, then in zip(self._seconds(), self.before, strict=True)
        )
        return max(0.0, 100 * (busy_s - ours_s) / total_s) if total_s else 0.0


@contextmanager
def running(*, with_worker: bool = False) -> Iterator[Installation]:
    """Services and the web server as production starts them, and Celery's too if wanted."""
    folder = default_data_dir()
    port = _free_port()
    try:
        with ExitStack() as stack:
            stack.enter_context(EmbeddedServices(folder, durable=True))
            call_command("migrate", verbosity=0)
            call_command("sync_catalogue", verbosity=0)
            tenant_id, secret = _make_tenant()
            spec = replace(web(port), env={"DJANGO_SETTINGS_MODULE": "bench.web_settings"})
            process = stack.enter_context(_child(spec, folder))
            _wait_until_ready(port)
            if with_worker:
                for spec in (*workers(port), beat(folder)):
                    stack.enter_context(_child(spec, folder))
            stack.callback(connections.close_all)
            yield Installation(port, tenant_id, secret, process.pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_tenant() -> tuple[int, str]:
    now = datetime.now(UTC)
    tenant_id = create_tenant(name="Bench", time_zone="Europe/Berlin", slug="bench", now=now)
    with tenant_scope(tenant_id):
        scopes = ("ingest", "route", "read")
        return tenant_id, issue_api_key(name="bench", scopes=scopes, actor="bench", now=now)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _child(spec: ChildSpec, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = spawn(
        spec.argv,
        log=folder / f"{spec.name}.log",
        env={**os.environ, **spec.env},
        folder=ROOT,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"the web server did not start; see {default_data_dir() / 'web.log'}")
