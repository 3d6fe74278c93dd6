"""The live stream's sending: everything arrives, whatever the web does meanwhile."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from costboard.demo import company, live
from costboard.demo.asking import Answer, ask_of, moved
from costboard.demo.asking import asks as asking_first
from costboard.demo.live import MAX_CATCH_UP, RefusedError, Schedule, Sender, start_of_stream
from costboard.demo.state import live_mark_path
from costboard.demo.traffic import Traffic, TrafficSpec
from costboard.demo.web import Web
from costboard.demo.wire import Event

NOW = datetime(2026, 11, 23, 12, 6, tzinfo=UTC)
TRAFFIC = Traffic(TrafficSpec(NOW, days=3, events=3_000))


class FakeWeb(ThreadingHTTPServer):
    """Answers with the statuses it was given, then 200; keeps what it took."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses = statuses
        self.taken: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeWeb

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 0:
            self.close_connection = True
            return
        if status == 200:
            assert self.headers["Authorization"] == "Bearer cb_key"
            self.server.taken += [json.loads(line)["id"] for line in body.splitlines()]
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def make_web() -> Iterator[object]:
    servers: list[FakeWeb] = []

    def make(*statuses: int) -> FakeWeb:
        server = FakeWeb(list(statuses))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_WAIT_SECONDS", 0.01)


def some_events() -> list[Event]:
    return TRAFFIC.live_hour(TRAFFIC.spec.end_hour)[company.GATEWAY][:5]


def test_events_arrive_once_the_web_answers_again(make_web) -> None:  # type: ignore[no-untyped-def]
    web = make_web(503, 0, 429, 500)
    sender = Sender(Web(web.url))
    sender.send(some_events(), "cb_key")
    sender.send(some_events(), "cb_key")
    assert web.taken == [event.id for event in some_events()] * 2
    assert not web.statuses


def test_a_refusal_is_not_repeated(make_web) -> None:  # type: ignore[no-untyped-def]
    web = make_web(401)
    with pytest.raises(RefusedError, match="401"):
        Sender(Web(web.url)).send(some_events(), "cb_key")
    assert web.taken == []


def test_a_part_of_the_stream_asks_first_and_goes_where_it_is_sent() -> None:
    rows = TRAFFIC.live_hour(TRAFFIC.spec.end_hour)
    events = [event for events in rows.values() for event in events]
    asking = [event for event in events if asking_first(event)]
    assert 0.15 < len(asking) / len(events) < 0.35
    assert not any(event.tags or event.status for event in asking)
    ask = ask_of(asking[0])
    assert (ask.request_id, ask.reserve) == (asking[0].id, True)
    assert 0 < ask.output_tokens < ask.max_output_tokens
    cached = next(event for event in asking if event.usage.cache_write_tokens)
    sent = moved(cached, Answer("d-1", "local/qwen3-32b", "7"))
    assert (sent.provider, sent.model, sent.decision_id) == ("local", "qwen3-32b", "d-1")
    assert (sent.id, sent.policy_version) == (cached.id, "7")
    assert (sent.usage.input_tokens, sent.usage.cache_write_tokens) == (
        cached.usage.input_tokens,
        0,
    )


def collect(schedule: Schedule, moment: datetime) -> list[str]:
    return [event.id for _, events in schedule.due(moment) for event in events]


def test_schedule_gives_each_event_once_across_hours() -> None:
    start = NOW.replace(minute=59, second=50)
    schedule = Schedule(TRAFFIC, start)
    steps = [collect(schedule, start + timedelta(seconds=seconds)) for seconds in range(1, 31)]
    ids = [event_id for step in steps for event_id in step]
    assert len(ids) == len(set(ids))
    assert 40 < len(ids) < 120
    once = collect(Schedule(TRAFFIC, start), start + timedelta(seconds=30))
    assert sorted(once) == sorted(ids)


def test_schedule_does_not_catch_up_for_hours() -> None:
    schedule = Schedule(TRAFFIC, NOW - timedelta(hours=30))
    most = live.MAX_CATCH_UP.total_seconds() * 2.5 * 1.3
    assert 0 < len(collect(schedule, NOW)) < most


def test_stream_takes_up_where_history_or_the_last_stream_ended(tmp_path: Path) -> None:
    loaded = NOW - timedelta(minutes=4)
    assert start_of_stream(tmp_path, loaded, NOW) == loaded
    live_mark_path(tmp_path).write_text((NOW - timedelta(minutes=1)).isoformat())
    assert start_of_stream(tmp_path, loaded, NOW) == NOW - timedelta(minutes=1)
    assert start_of_stream(tmp_path, loaded, NOW + timedelta(days=1)) == (
        NOW + timedelta(days=1) - MAX_CATCH_UP
    )
