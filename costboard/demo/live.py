"""The live stream: the demo's routers, POSTing what happens now to the running web. A part of the
requests asks for a decision first (asking.py).

Runs as a process of its own (`python -m costboard.demo.live URL`). What was not acknowledged is
sent again with the same ids, so a restart of the web costs no event and counts none twice.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from costboard.demo.asking import Asker
from costboard.demo.state import (
    DemoState,
    live_mark_path,
    load_state,
    read_live_mark,
    write_private,
)
from costboard.demo.traffic import Traffic, as_timestamp, hour_of
from costboard.demo.web import Web
from costboard.demo.wire import Event, to_json_lines
from costboard.embedded import default_data_dir

EVENTS_PATH = "/api/v1/usage/events"
TICK_SECONDS = 0.8
JSON_LINES = "application/x-ndjson"
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 5.0
# After a longer pause the stream does not catch up: the next start fills the gap as history.
MAX_CATCH_UP = timedelta(minutes=10)
ASKED_WITHIN = timedelta(minutes=1)


class RefusedError(Exception):
    """The web will not take these events, however often they are sent."""


class Sender:
    """Posts batches, for as long as it takes."""

    def __init__(self, web: Web) -> None:
        self.web = web

    def send(self, events: list[Event], api_key: str) -> None:
        """Return when the events are acknowledged. Raises RefusedError when they never will be."""
        body = to_json_lines(events)
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            status, _ = self.web.post(EVENTS_PATH, body, JSON_LINES, api_key)
            if 200 <= status < 300:
                return
            if 400 <= status < 500 and status not in (408, 429):
                raise RefusedError(f"POST {EVENTS_PATH} answered {status}")
            time.sleep(wait_seconds)
            wait_seconds = min(wait_seconds * 2, LONGEST_WAIT_SECONDS)


class Schedule:
    """The live traffic, cut into portions as they fall due."""

    def __init__(self, traffic: Traffic, since: datetime) -> None:
        self.traffic = traffic
        self.until = since
        self.hour = -1
        self.rows: list[tuple[str, Event]] = []

    def due(self, now: datetime) -> Iterator[tuple[str, list[Event]]]:
        """(router, its events) of [the last call, now), and remember now."""
        self.until = max(self.until, now - MAX_CATCH_UP)
        first, last = as_timestamp(self.until), as_timestamp(now)
        for hour in range(hour_of(self.until), hour_of(now) + 1):
            by_router: dict[str, list[Event]] = {}
            for router, event in self._rows_of(hour):
                if first <= event.timestamp < last:
                    by_router.setdefault(router, []).append(event)
            yield from by_router.items()
        self.until = now

    def _rows_of(self, hour: int) -> list[tuple[str, Event]]:
        if hour != self.hour:
            by_router = self.traffic.live_hour(hour)
            self.rows = [(router, event) for router, rows in by_router.items() for event in rows]
            self.hour = hour
        return self.rows


def start_of_stream(data_dir: Path, loaded_until: datetime, now: datetime) -> datetime:
    """Where the stream takes up: where history or an earlier stream ended, if that is recent."""
    covered = max(loaded_until, read_live_mark(data_dir) or loaded_until)
    return min(now, max(covered, now - MAX_CATCH_UP))


def stream(url: str, data_dir: Path, state: DemoState) -> None:
    """Send the live traffic for as long as the demo runs."""
    if state.history is None or state.history.loaded_until is None:
        raise SystemExit("there is no history to continue; run `manage.py demo` first")
    now = datetime.now(UTC)
    since = start_of_stream(data_dir, state.history.loaded_until, now)
    schedule = Schedule(Traffic(state.history.spec), since)
    web = Web(url)
    sender, asker = Sender(web), Asker(web)
    parent = os.getppid()
    # Where the kernel does not tell us of our parent's end (see costboard.supervisor), we look.
    while os.getppid() == parent:
        now = datetime.now(UTC)
        # What is caught up with ran already: nobody asks where to send it.
        is_new = now - schedule.until < ASKED_WITHIN
        for router, events in schedule.due(now):
            api_key = state.api_keys[router]
            try:
                sender.send(asker.decided(events, api_key) if is_new else events, api_key)
            except RefusedError as error:
                print(f"live stream: {error}", file=sys.stderr, flush=True)
        write_private(live_mark_path(data_dir), schedule.until.isoformat().encode())
        time.sleep(TICK_SECONDS)


def _stop(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise SystemExit(0)


def main(argv: list[str]) -> None:
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    data_dir = default_data_dir()
    state = load_state(data_dir)
    if state is None:
        raise SystemExit(f"no demo in {data_dir}")
    stream(argv[1], data_dir, state)


if __name__ == "__main__":
    main(sys.argv)
