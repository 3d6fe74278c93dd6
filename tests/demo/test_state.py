"""What the demo keeps between starts, and what it tells scripts."""

import json
import os
import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from costboard.demo import company
from costboard.demo.announcement import (
    announcement_of,
    demo_json_path,
    remove_demo_json,
    remove_stale_demo_json,
    write_demo_json,
)
from costboard.demo.history import portion_ends, start_of_load
from costboard.demo.ports import PortError, choose_port, is_free
from costboard.demo.progress import Progress
from costboard.demo.seed import DEMO_KEY, SANDBOX_KEY
from costboard.demo.state import (
    DemoState,
    History,
    live_mark_path,
    load_state,
    save_state,
    state_path,
)

NOW = datetime(2026, 11, 23, 12, 6, tzinfo=UTC)


def some_state() -> DemoState:
    keys = {router: f"cb_{router}" for router in company.ROUTERS}
    return DemoState(
        tenant_id=1,
        sandbox_tenant_id=2,
        api_keys={**keys, DEMO_KEY: "cb_demo", SANDBOX_KEY: "cb_sandbox"},
        history=History(reference=NOW, days=90, events=1000, seed=5),
    )


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_state_comes_back_as_it_was_and_is_private(tmp_path: Path) -> None:
    save_state(tmp_path, some_state())
    assert load_state(tmp_path) == some_state()
    assert mode_of(state_path(tmp_path)) == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tenant_id": 1}'])
def test_unreadable_state_counts_as_none(tmp_path: Path, content: str) -> None:
    state_path(tmp_path).write_text(content)
    assert load_state(tmp_path) is None


def test_demo_json_holds_what_scripts_need(tmp_path: Path) -> None:
    announcement = announcement_of(
        some_state(),
        url="http://127.0.0.1:8000",
        database_url="postgresql://owner@/costboard",
        redis_url="unix:///run/valkey.sock",
    )
    write_demo_json(tmp_path, announcement)
    path = demo_json_path(tmp_path)
    assert mode_of(path) == 0o600
    told = json.loads(path.read_text())
    assert told["url"] == "http://127.0.0.1:8000"
    assert (told["api_key"], told["sandbox_api_key"]) == ("cb_demo", "cb_sandbox")
    assert [login["role"] for login in told["logins"][:3]] == ["viewer", "admin", "owner"]
    assert {"email", "password", "role", "tenant"} == set(told["logins"][0])
    assert told["database_url"] == "postgresql://owner@/costboard"
    assert told["redis_url"] == "unix:///run/valkey.sock"
    assert [p.name for p in tmp_path.iterdir()] == ["demo.json"]
    remove_demo_json(tmp_path)
    remove_demo_json(tmp_path)
    assert not path.exists()


def test_load_begins_at_the_start_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    history = History(reference=NOW, days=90, events=1000, seed=5)
    assert start_of_load(tmp_path, history, NOW) == history.spec.start
    history.loaded_until = NOW - timedelta(days=30)
    assert start_of_load(tmp_path, history, NOW) == NOW - timedelta(days=30)
    live_mark_path(tmp_path).write_text((NOW + timedelta(hours=5)).isoformat())
    assert start_of_load(tmp_path, history, NOW + timedelta(hours=9)) == NOW + timedelta(hours=5)


def test_a_gap_longer_than_history_is_not_filled_whole(tmp_path: Path) -> None:
    history = History(reference=NOW, days=2, events=1000, seed=5, loaded_until=NOW)
    later = NOW + timedelta(days=400)
    assert later - start_of_load(tmp_path, history, later) < timedelta(days=3)


def test_portions_meet_and_end_where_asked() -> None:
    ends = list(portion_ends(NOW, NOW + timedelta(hours=60)))
    assert ends == [NOW + timedelta(hours=hours) for hours in (24, 48, 60)]
    assert list(portion_ends(NOW, NOW)) == []


def test_a_busy_port_is_refused_when_asked_for_and_avoided_when_not() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        with pytest.raises(PortError, match=str(busy)):
            choose_port(str(busy))
    assert choose_port(str(busy)) == busy
    assert is_free(choose_port(None))


@pytest.mark.parametrize("wanted", ["http", "0", "65536", "-1", "8000.0"])
def test_a_port_that_is_none_is_refused(wanted: str) -> None:
    with pytest.raises(PortError, match="COSTBOARD_PORT"):
        choose_port(wanted)


def test_progress_off_a_terminal_is_at_most_a_line_a_tenth(
    capsys: pytest.CaptureFixture[str],
) -> None:
    progress = Progress("history", 1000)
    for _ in range(333):
        progress.advance(3)
    progress.finish()
    lines = capsys.readouterr().out.splitlines()
    assert 9 <= len(lines) <= 11
    assert lines[-1].startswith("  history: 100%, 999 events")


def test_demo_json_of_a_dead_demo_is_stale_and_of_a_living_one_is_not(tmp_path: Path) -> None:
    path = demo_json_path(tmp_path)
    remove_stale_demo_json(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as ended:
        pass
    for stale in (f'{{"pid": {ended.pid}}}', "{}", "", "half a fi"):
        path.write_text(stale)
        remove_stale_demo_json(tmp_path)
        assert not path.exists()
    path.write_text(f'{{"pid": {os.getpid()}}}')
    remove_stale_demo_json(tmp_path)
    assert path.exists()
