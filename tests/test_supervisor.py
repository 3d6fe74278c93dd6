"""The supervisor keeps its children running, and leaves none of them, nor theirs, behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest

from costboard import processes
from costboard.processes import bound_log
from costboard.supervisor import ChildSpec, Supervisor

ROOT = Path(__file__).resolve().parent.parent

# Runs a supervisor in a process of its own, as it takes the process's signals for itself.
RUN = """
import sys
from pathlib import Path
from costboard.supervisor import ChildSpec, Supervisor
folder = Path(sys.argv[1])
def shell(name, script):
    return ChildSpec(name, ["/bin/sh", "-c", script], {"FOLDER": str(folder), "NAME": name})
tick = None
"""
# A child says that it is up by a line in pids: its name, its own pid and its own child's.
WORKER = "sleep 300 & echo $NAME $$ $! >> $FOLDER/pids; wait"
STUBBORN = (
    "trap '' TERM; sh -c 'trap \"\" TERM; sleep 300 & wait; sleep 300' &"
    " echo $NAME $$ $! >> $FOLDER/pids; wait; sleep 300"
)
RELUCTANT = "trap 'echo $NAME >> $FOLDER/ended; exit' TERM; " + WORKER

StartSupervisor = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[StartSupervisor]:
    """Run code that ends in Supervisor(...).run(); kill what is left of it."""
    started = []

    def start(code: str) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-c", RUN + code, str(tmp_path)]
        process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        with process:
            process.kill()
    for pid in (pid for line in lines(tmp_path / "pids") for pid in line[1:]):
        if is_alive(int(pid)):
            os.kill(int(pid), signal.SIGKILL)


def lines(path: Path) -> list[list[str]]:
    """The whole lines of a file, as words."""
    text = path.read_text() if path.exists() else ""
    return [line.split() for line in text.split("\n")[:-1]]


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], object], *, patience_seconds: float = 15) -> None:
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def wait_for_pids(folder: Path, count: int) -> list[int]:
    """Pids of `count` children and of theirs, once all are up."""
    wait_until(lambda: len(lines(folder / "pids")) >= count)
    return [int(pid) for line in lines(folder / "pids") for pid in line[1:]]


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_children_and_grandchildren_the_last_started_first(
    supervise: StartSupervisor, tmp_path: Path, stop_signal: signal.Signals
) -> None:
    process = supervise(
        f"specs = [shell(name, {RELUCTANT!r}) for name in ('first', 'second', 'third')]\n"
        "Supervisor(specs, data_dir=folder).run()\n"
    )
    pids = wait_for_pids(tmp_path, 3)
    process.send_signal(stop_signal)
    assert process.wait(timeout=15) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert lines(tmp_path / "ended") == [["third"], ["second"], ["first"]]


def test_who_does_not_stop_in_time_is_killed_with_all_its_session(
    supervise: StartSupervisor, tmp_path: Path
) -> None:
    process = supervise(
        f"specs = [shell('stubborn', {STUBBORN!r})]\n"
        "Supervisor(specs, data_dir=folder, patience_seconds=0.3).run()\n"
    )
    pids = wait_for_pids(tmp_path, 1)
    session = pids[0]
    process.terminate()
    assert process.wait(timeout=15) == 0
    assert processes._session_members(session) == []


def test_a_killed_child_is_restarted_without_what_was_left_of_it(
    supervise: StartSupervisor, tmp_path: Path
) -> None:
    process = supervise(f"Supervisor([shell('web', {WORKER!r})], data_dir=folder).run()")
    child, grandchild = wait_for_pids(tmp_path, 1)
    os.kill(child, signal.SIGKILL)
    pids = wait_for_pids(tmp_path, 2)
    assert not is_alive(child)
    assert not is_alive(grandchild)
    assert all(is_alive(pid) for pid in pids[2:])
    process.terminate()
    assert process.wait(timeout=15) == 0
    assert not any(is_alive(pid) for pid in pids)
    assert "web was ended by SIGKILL; starting it again in 0.5 s" in process.communicate()[1]


def test_a_child_that_cannot_live_is_restarted_ever_more_slowly(
    supervise: StartSupervisor, tmp_path: Path
) -> None:
    process = supervise(
        "specs = [shell('ill', 'echo $NAME >> $FOLDER/starts; exit 3'),"
        " ChildSpec('gone', ['/no/such/program'])]\n"
        "Supervisor(specs, data_dir=folder).run()\n"
    )
    time.sleep(2.5)  # starts at 0, 0.5 and 1.5 s
    process.terminate()
    said = process.communicate(timeout=15)[1]
    assert 2 <= len(lines(tmp_path / "starts")) <= 3
    assert "ill ended with code 3; starting it again in 0.5 s" in said
    assert "ill ended with code 3; starting it again in 1 s" in said
    assert "gone" in said
    assert "/no/such/program" in (tmp_path / "log" / "gone.log").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux signals orphans")
def test_children_end_with_a_supervisor_that_is_killed(
    supervise: StartSupervisor, tmp_path: Path
) -> None:
    process = supervise(
        f"specs = [shell(name, {RELUCTANT!r}) for name in ('first', 'second')]\n"
        "Supervisor(specs, data_dir=folder).run()\n"
    )
    children = wait_for_pids(tmp_path, 2)[::2]
    process.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in children))
    assert sorted(lines(tmp_path / "ended")) == [["first"], ["second"]]


def test_a_tick_that_fails_is_reported_and_harms_no_child(
    supervise: StartSupervisor, tmp_path: Path
) -> None:
    process = supervise(
        "ticks = []\n"
        "def tick():\n"
        "    ticks.append(1)\n"
        "    if len(ticks) == 1: raise RuntimeError('the disk is full')\n"
        "    (folder / 'ticked').touch()\n"
        f"Supervisor([shell('web', {WORKER!r})], data_dir=folder, tick=tick).run()\n"
    )
    pids = wait_for_pids(tmp_path, 1)
    wait_until((tmp_path / "ticked").exists)
    assert all(is_alive(pid) for pid in pids)
    process.terminate()
    assert "RuntimeError: the disk is full" in process.communicate(timeout=15)[1]


def test_it_revives_the_embedded_services_and_stops_them_last(
    supervise: StartSupervisor, tmp_path: Path
) -> None:
    process = supervise(
        "from costboard.embedded import EmbeddedServices\n"
        "with EmbeddedServices(folder, durable=False) as services:\n"
        f"    specs = [shell('web', {WORKER!r})]\n"
        "    Supervisor(specs, data_dir=folder, tick=services.revive).run()\n"
    )
    wait_for_pids(tmp_path, 1)
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    killed = int(pid_file.read_text().split()[0])
    os.kill(killed, signal.SIGKILL)

    def is_back() -> bool:
        words = pid_file.read_text().split() if pid_file.exists() else []
        return words[-1:] == ["ready"] and int(words[0]) != killed

    wait_until(is_back)
    postmaster = int(pid_file.read_text().split()[0])
    process.terminate()
    assert process.wait(timeout=15) == 0
    assert not is_alive(postmaster)
    assert not pid_file.exists()


def test_children_are_out_of_reach_of_the_terminal_and_get_their_environment(
    supervise: StartSupervisor, tmp_path: Path
) -> None:
    process = supervise(f"Supervisor([shell('web', {WORKER!r})], data_dir=folder).run()")
    child, grandchild = wait_for_pids(tmp_path, 1)
    assert os.getsid(child) == os.getsid(grandchild) == child != os.getsid(process.pid)
    # It found FOLDER in the environment it was given, and the shell in ours.
    assert lines(tmp_path / "pids")[0][0] == "web"


def test_run_gives_the_signals_back_when_asked_to_stop(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    supervisor = Supervisor([ChildSpec("web", ["sleep", "300"])], data_dir=tmp_path)
    supervisor.request_stop()
    supervisor.run()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_log_that_grew_too_long_is_cut_and_its_older_part_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 100)
    log = tmp_path / "web.log"
    bound_log(log)
    log.write_text("x" * 100)
    bound_log(log)
    assert log.stat().st_size == 100
    log.write_text("y" * 101)
    bound_log(log)
    assert log.stat().st_size == 0
    assert (tmp_path / "web.log.1").read_text() == "y" * 101
