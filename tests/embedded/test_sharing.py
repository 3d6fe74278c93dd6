"""One process owns a folder; the others are refused, or use what it runs."""

import os
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest

from costboard import embedded
from costboard.embedded import (
    DataDirInUse,
    EmbeddedServices,
    running,
)
from tests.embedded.folders import (
    ROOT,
    START_AND_SLEEP,
    StartOwner,
    is_alive,
    is_kept,
    processes_below,
    read_version,
    server_pids,
    wait_until,
    write_everywhere,
)


def test_a_second_owner_is_refused_and_told_the_first_ones_pid(
    services: EmbeddedServices, data_dir: Path
) -> None:
    with pytest.raises(DataDirInUse, match=str(os.getpid())) as refusal:
        EmbeddedServices(data_dir).start()
    assert refusal.value.pid == os.getpid()
    elsewhere = [sys.executable, "-c", START_AND_SLEEP, str(data_dir)]
    done = subprocess.run(elsewhere, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert (
        f"DataDirInUse: the services in {data_dir} belong to process {os.getpid()}" in done.stderr
    )
    assert read_version(services)


def test_a_fork_of_the_owner_neither_stops_the_servers_nor_keeps_the_folder(
    data_dir: Path, start_owner: StartOwner
) -> None:
    fork = "import os; pid = os.fork()\nif pid == 0: services.stop()\nelse: print("
    code = START_AND_SLEEP.replace("print(", fork)
    owner = start_owner(data_dir, code=code)
    children = psutil.Process(owner.pid).children()
    forked = next(c for c in children if c.name().startswith("python"))
    assert read_version(EmbeddedServices(data_dir))
    owner.kill()
    owner.wait()
    try:
        with EmbeddedServices(data_dir) as services:
            assert read_version(services)
            assert forked.is_running()
    finally:
        forked.kill()


def test_running_shares_servers_that_are_up_and_leaves_them_up(
    data_dir: Path, start_owner: StartOwner
) -> None:
    start_owner(data_dir)
    before = server_pids(data_dir)
    with running(data_dir) as urls:
        word = write_everywhere(urls)
    assert server_pids(data_dir) == before
    assert is_kept(urls, word)


def test_running_waits_for_servers_that_another_process_is_starting(
    empty_dir: Path, start_owner: StartOwner
) -> None:
    owner = start_owner(empty_dir, wait=False)
    wait_until((empty_dir / "costboard.lock").exists)
    wait_until(lambda: (empty_dir / "costboard.lock").read_text() == f"{owner.pid}\n")
    with running(empty_dir) as urls:
        write_everywhere(urls)
    assert is_alive(server_pids(empty_dir)["postgres"])


def test_running_starts_servers_where_there_are_none_and_stops_them(data_dir: Path) -> None:
    with running(data_dir) as urls:
        write_everywhere(urls)
    assert processes_below(data_dir) == []


def test_running_gives_up_on_an_owner_whose_servers_never_answer(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "SHARE_PATIENCE_SECONDS", 0.2)
    descriptor = embedded._take_lock(data_dir)
    with pytest.raises(DataDirInUse), running(data_dir):
        pass
    embedded._release_lock(descriptor)
