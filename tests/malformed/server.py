"""The production web server under malformed bodies: is it the same, how much does it hold."""

from pathlib import Path

import psutil
from django.db import connection

from apps.tenants.scoping import tenant_scope
from tests.malformed.findings import Findings
from tests.malformed.values import SECRET
from tests.web import WebServer

MIB = 1024 * 1024
# Slices and names that a process remembers are bounded, and malformed names fill them in part.
MAX_GROWTH_MIB = 96
TROUBLES = ("Traceback", "unexpected error", "panicked")


class Server(WebServer):
    """`begin` after the warm-up, `check` as often as wanted."""

    def __init__(self, *, log: Path) -> None:
        super().__init__(log=log)
        self._log = log
        self._workers: list[int] = []
        self._before_mib = 0.0
        self._after_mib = 0.0

    @property
    def memory(self) -> str:
        return (
            f"web holds {self._after_mib:.0f} MiB, {self._before_mib:.0f} after the warm-up;"
            f" at most {MAX_GROWTH_MIB} more are allowed"
        )

    def begin(self) -> None:
        self._workers = self._pids()
        self._before_mib = self._resident_mib()

    def check(self, findings: Findings) -> None:
        if self._pids() != self._workers:
            findings.fault("a worker died", f"{self._workers} became {self._pids()}")
        self._after_mib = self._resident_mib()
        if self._after_mib - self._before_mib > MAX_GROWTH_MIB:
            findings.fault("the web process grew", self.memory)
        log = self._log.read_text(errors="replace")
        if (at := log.find(SECRET)) >= 0:
            findings.fault("the log repeats a prompt", log[max(0, at - 300) : at + 100])
        for trouble in TROUBLES:
            if (at := log.find(trouble)) >= 0:
                findings.fault(f"the log tells of {trouble!r}", log[max(0, at - 200) : at + 3000])

    def _pids(self) -> list[int]:
        return [self._process.pid, *sorted(child.pid for child in self._children())]

    def _children(self) -> list[psutil.Process]:
        return psutil.Process(self._process.pid).children(recursive=True)

    def _resident_mib(self) -> float:
        return sum(child.memory_info().rss for child in self._children()) / MIB


def count_of_ids(tenant_id: int, event_ids: list[str]) -> int:
    """How often the ledger holds events of these ids."""
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_ledger WHERE event_id = ANY(%s)", [event_ids])
        return int(cursor.fetchone()[0])
