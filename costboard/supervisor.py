"""Keeps child processes running: starts, watches and restarts them, and stops them whole."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from costboard.processes import bound_log, kill_session, spawn

POLL_SECONDS = 0.1
TICK_SECONDS = 0.5
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 10.0
STEADY_AFTER_SECONDS = 30.0


@dataclass(frozen=True)
class ChildSpec:
    """A process to keep running; `env` is added to our own environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Backoff:
    """How long to wait after a failure: doubled each time, forgotten after a steady while."""

    seconds: float = FIRST_BACKOFF_SECONDS

    def after_failure(self, *, up_seconds: float) -> float:
        if up_seconds >= STEADY_AFTER_SECONDS:
            self.seconds = FIRST_BACKOFF_SECONDS
        wait_seconds = self.seconds
        self.seconds = min(self.seconds * 2, LONGEST_BACKOFF_SECONDS)
        return wait_seconds


class _Child:
    """One spec and the process that runs it now."""

    def __init__(self, spec: ChildSpec, log: Path, report: Callable[[str], None]) -> None:
        self.spec = spec
        self._log = log
        self._report = report
        self._process: subprocess.Popen[bytes] | None = None
        self._backoff = _Backoff()
        self._started_at = 0.0
        self._start_at = 0.0

    def keep_running(self) -> None:
        """Start the process, or start it again once its time has come."""
        if self._process is not None and self._process.poll() is not None:
            self._bury(self._process)
        if self._process is None and time.monotonic() >= self._start_at:
            self._start()
        bound_log(self._log)

    def stop(self, *, patience_seconds: float) -> None:
        """Ask the process to end, wait, and kill what is left of its session."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_seconds)
        kill_session(process.pid)
        process.wait()

    def _start(self) -> None:
        self._started_at = time.monotonic()
        env = {**os.environ, **self.spec.env}
        try:
            self._process = spawn(self.spec.argv, log=self._log, env=env)
        except OSError as error:
            self._retry_later(f"could not start: {error}")

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        # Its own children may still hold a port or a task that the next one needs.
        kill_session(process.pid)
        self._retry_later(_how_it_ended(process.returncode))

    def _retry_later(self, reason: str) -> None:
        up_seconds = time.monotonic() - self._started_at
        wait_seconds = self._backoff.after_failure(up_seconds=up_seconds)
        self._start_at = time.monotonic() + wait_seconds
        again = f"starting it again in {wait_seconds:g} s"
        self._report(f"{self.spec.name} {reason}; {again} (log: {self._log})")


def _how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with code {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:  # real-time signals have no name
        return f"was ended by signal {-returncode}"


def _print_line(line: str) -> None:
    with suppress(OSError):  # the terminal may be gone; the children are not
        print(line, file=sys.stderr, flush=True)


class Supervisor:
    """Runs children until SIGINT, SIGTERM or SIGHUP, then stops them, the last started first.

    `tick` is called twice a second for what else must be kept alive; when it raises, that is
    reported and it is called again later, as a child that died is.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        data_dir: Path,
        tick: Callable[[], object] | None = None,
        patience_seconds: float = 15.0,
        report: Callable[[str], None] = _print_line,
    ) -> None:
        self._children = [_Child(s, data_dir / "log" / f"{s.name}.log", report) for s in specs]
        self._tick = tick
        self._tick_at = 0.0
        self._tick_backoff = _Backoff()
        self._patience_seconds = patience_seconds
        self._report = report
        self._stopping = False

    def run(self) -> None:
        """Run until told to stop; when this returns or raises, no child is left."""
        with self._told_by_signals():
            try:
                while not self._stopping:
                    self._call_tick()
                    for child in self._children:
                        child.keep_running()
                    time.sleep(POLL_SECONDS)
            finally:
                for child in reversed(self._children):
                    child.stop(patience_seconds=self._patience_seconds)

    def request_stop(self) -> None:
        """Make `run` stop the children and return; safe in a signal handler or any thread."""
        self._stopping = True

    def _call_tick(self) -> None:
        now = time.monotonic()
        if self._tick is None or now < self._tick_at:
            return
        try:
            self._tick()
        # Whatever went wrong there, the children are still ours to watch and to stop.
        except Exception as error:
            wait_seconds = self._tick_backoff.after_failure(up_seconds=0)
            self._report(f"{type(error).__name__}: {error}")
        else:
            self._tick_backoff = _Backoff()
            wait_seconds = TICK_SECONDS
        self._tick_at = time.monotonic() + wait_seconds

    @contextmanager
    def _told_by_signals(self) -> Iterator[None]:
        def stop(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            self.request_stop()

        numbers = [signal.SIGINT, signal.SIGTERM]
        # nohup means: live on when the terminal goes.
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
