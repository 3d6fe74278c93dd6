"""Everything `make demo` runs, from services to live stream, in one process tree."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connections

from apps.tenants.scoping import tenant_scope
from costboard.demo.announcement import (
    announcement_of,
    banner,
    remove_demo_json,
    remove_stale_demo_json,
    write_demo_json,
)
from costboard.demo.budgets import ensure_budgets
from costboard.demo.children import demo_children
from costboard.demo.history import load_history
from costboard.demo.large import load_large
from costboard.demo.ports import DEFAULT_PORT, HOST, choose_port
from costboard.demo.progress import say
from costboard.demo.readiness import NotReadyError, wait_until_ready
from costboard.demo.routing import ensure_routing
from costboard.demo.seed import ACTOR, seed_tenants
from costboard.demo.state import DemoState, History, save_state
from costboard.demo.statics import collect_changed_files
from costboard.demo.telling import ensure_channel
from costboard.demo.watching import watch_past
from costboard.embedded import EmbeddedServices
from costboard.supervisor import Supervisor

STOP_PATIENCE_SECONDS = 6.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequestedError(BaseException):
    """A stop signal came while the demo was getting ready. Nothing may swallow it."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    days: int
    events: int
    seed: int
    empty: bool
    live: bool
    # Events over a year, repeated from the newest weeks; 0: none beyond the history.
    large: int = 0


class Demo:
    """One run of the demo, from start to stop."""

    def __init__(self, options: DemoOptions) -> None:
        self.options = options
        self.data_dir = Path(settings.DATA_DIR)
        self.started = time.monotonic()
        # Guards demo.json: the announcing thread may not write it after the stop removed it.
        self.telling = threading.Lock()
        self.stopped = False
        self.failure: NotReadyError | None = None

    def run(self) -> None:
        """Start everything, say so, keep it running; stop everything when told to.

        Raises NotReadyError when a part does not start.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        remove_stale_demo_json(self.data_dir)
        try:
            with first_stop_raises():
                port = self._choose_port()
                with self._services() as revive:
                    remove_demo_json(self.data_dir)
                    with closing_connections():
                        state = self._prepare(revive)
                    self._serve(state, port, revive)
        except StopRequestedError:
            pass
        say("  Stopped.")
        if self.failure is not None:
            raise self.failure

    @contextmanager
    def _services(self) -> Iterator[Callable[[], object]]:
        """Embedded PostgreSQL and Valkey for what has no URL; yields what revives them."""
        if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
            yield lambda: None
            return
        self._say(f"starting PostgreSQL and Valkey in {self.data_dir}")
        with EmbeddedServices(self.data_dir) as services:
            yield services.revive

    def _choose_port(self) -> int:
        wanted = os.environ.get("COSTBOARD_PORT")
        port = choose_port(wanted)
        if not wanted and port != DEFAULT_PORT:
            self._say(f"port {DEFAULT_PORT} is taken by another program; using {port}")
        return port

    def _prepare(self, revive: Callable[[], object]) -> DemoState:
        """Schema, catalogue, static files, tenants and history: what the children need."""
        now = datetime.now(UTC)
        self._say("migrating the database, taking the price catalogue")
        call_command("migrate", verbosity=0)
        call_command("sync_catalogue", verbosity=0, stdout=StringIO())
        if collect_changed_files():
            self._say("collected static files")
        state = seed_tenants(self.data_dir, now=now)
        self._say("tenants, people and keys are there")
        if state.history is not None or not self.options.empty:
            self._load(state, now, revive)
        return state

    def _load(self, state: DemoState, now: datetime, revive: Callable[[], object]) -> None:
        asked = self.options
        if state.history is None:
            state.history = History(
                reference=now, days=asked.days, events=asked.events, seed=asked.seed
            )
            save_state(self.data_dir, state)
        kept = state.history
        if (kept.days, kept.events, kept.seed) != (asked.days, asked.events, asked.seed):
            self._say(
                f"keeping the data that is there ({kept.days} days, seed {kept.seed});"
                f" for other data, remove {self.data_dir} or set COSTBOARD_DATA_DIR"
            )
        if kept.loaded_until is None:
            # At the first start alone: what people change later stays theirs.
            with tenant_scope(state.tenant_id):
                ensure_channel(ACTOR, now)
        load_history(self.data_dir, state, until=now, revive=revive)
        if asked.large:
            load_large(state.tenant_id, wanted_events=asked.large, now=now)
        with tenant_scope(state.tenant_id):
            ensure_budgets(ACTOR, now)
            ensure_routing(ACTOR, now)

    def _serve(self, state: DemoState, port: int, revive: Callable[[], object]) -> None:
        """Run the children until a stop signal; demo.json stands while they all work."""
        live = self.options.live and state.history is not None
        self._say("starting web, worker and beat" + (", and the live stream" if live else ""))
        supervisor = Supervisor(
            demo_children(self.data_dir, port, live=live),
            data_dir=self.data_dir,
            tick=revive,
            patience_seconds=STOP_PATIENCE_SECONDS,
        )
        if state.history is not None:
            self._watch_past(state.tenant_id)
        announcer = threading.Thread(
            target=self._announce, args=[state, port, supervisor], name="announcer", daemon=True
        )
        announcer.start()
        try:
            supervisor.run()
        finally:
            ignore_stop_signals()
            with self.telling:
                self.stopped = True
                remove_demo_json(self.data_dir)

    def _watch_past(self, tenant_id: int) -> None:
        """In a thread, before any worker can look at it all with the clock of now."""
        begun = threading.Event()

        def watch() -> None:
            try:
                with closing_connections():
                    watch_past(
                        tenant_id,
                        until=datetime.now(UTC),
                        begun=begun.set,
                        gave_up=lambda: self.stopped,
                    )
            except (InterfaceError, OperationalError) as error:
                if not self.stopped:
                    self._say(f"the workers watch the rest of the past: {error}")
            finally:
                begun.set()

        threading.Thread(target=watch, name="watch", daemon=True).start()
        begun.wait()

    def _announce(self, state: DemoState, port: int, supervisor: Supervisor) -> None:
        """In a thread beside the supervisor: wait until all works, then tell everybody."""
        try:
            with closing_connections():
                wait_until_ready(port, gave_up=lambda: self.stopped)
        except NotReadyError as error:
            if not self.stopped:
                self.failure = NotReadyError(f"{error}; the logs are in {self.data_dir / 'log'}")
            supervisor.request_stop()
            return
        told = announcement_of(
            state,
            url=f"http://{HOST}:{port}",
            database_url=settings.DATABASE_OWNER_URL or settings.DATABASE_URL,
            redis_url=settings.REDIS_URL,
        )
        with self.telling:
            if not self.stopped:
                write_demo_json(self.data_dir, told)
                say(banner(told, self.data_dir, seconds=time.monotonic() - self.started))

    def _say(self, line: str) -> None:
        say(f"  {time.monotonic() - self.started:5.1f} s  {line}")


@contextmanager
def first_stop_raises() -> Iterator[None]:
    """Let the first stop signal end the block at once; tidying up is not interrupted again."""

    def stop(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        ignore_stop_signals()
        raise StopRequestedError

    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number, handler in before.items():
        # nohup means: live on when the terminal goes.
        if number != signal.SIGHUP or handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def closing_connections() -> Iterator[None]:
    """Let go of the database afterwards, the pool's spare connections included."""
    try:
        yield
    finally:
        connections.close_all()
        for connection in connections.all(initialized_only=True):
            connection.close_pool()  # type: ignore[attr-defined]


def ignore_stop_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
