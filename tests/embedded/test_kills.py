"""Whatever is killed, what was committed is kept and nothing is left over."""

import os
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from costboard.embedded import (
    EmbeddedServices,
    service_urls,
)
from tests.embedded.folders import (
    IS_ROOT,
    LOSE_THE_DEATH_SIGNAL,
    START_AND_SLEEP,
    StartOwner,
    is_alive,
    is_kept,
    on_linux,
    processes_below,
    read_version,
    server_pids,
    wait_until,
    write_everywhere,
)


@pytest.mark.parametrize("victims", [["postgres"], ["valkey"], ["postgres", "valkey"]])
def test_a_killed_server_is_revived_with_what_was_committed(
    services: EmbeddedServices, victims: list[str]
) -> None:
    word = write_everywhere(services.urls)
    assert services.revive() == ()
    for name in victims:
        os.kill(server_pids(services.data_dir)[name], signal.SIGKILL)
    revived: list[str] = []

    def all_are_revived() -> bool:
        revived.extend(services.revive())
        return len(revived) >= len(victims)

    wait_until(all_are_revived)
    names = {"postgres": "PostgreSQL", "valkey": "Valkey"}
    assert sorted(revived) == sorted(names[victim] for victim in victims)
    assert is_kept(services.urls, word)


def test_a_backend_that_outlives_its_postmaster_does_not_stop_the_revival(
    services: EmbeddedServices,
) -> None:
    busy = "DO $$ BEGIN LOOP END LOOP; END $$"
    with closing(psycopg.connect(services.urls.database_url)) as connection:
        connection.pgconn.send_query(busy.encode())
        backend_pid = connection.info.backend_pid
        os.kill(server_pids(services.data_dir)["postgres"], signal.SIGKILL)
        wait_until(services.revive)
    assert not is_alive(backend_pid)
    assert read_version(services)


@on_linux
def test_servers_die_with_an_owner_that_is_killed_and_the_next_start_recovers(
    data_dir: Path, start_owner: StartOwner
) -> None:
    owner = start_owner(data_dir)
    word = write_everywhere(service_urls(data_dir))
    owner.kill()
    owner.wait()
    wait_until(lambda: processes_below(data_dir) == [])
    with EmbeddedServices(data_dir) as services:
        assert is_kept(services.urls, word)


@pytest.mark.parametrize("killed", [[], ["postgres"], ["valkey"], ["postgres", "valkey"]])
def test_the_next_start_stops_orphans_that_got_no_signal(
    data_dir: Path, start_owner: StartOwner, killed: list[str]
) -> None:
    owner = start_owner(data_dir, code=LOSE_THE_DEATH_SIGNAL + START_AND_SLEEP)
    word = write_everywhere(service_urls(data_dir))
    orphans = server_pids(data_dir)
    owner.kill()
    owner.wait()
    for name in killed:
        os.kill(orphans[name], signal.SIGKILL)
    left = [pid for name, pid in orphans.items() if name not in killed]
    assert all(is_alive(pid) for pid in left)
    with EmbeddedServices(data_dir) as services:
        assert not any(is_alive(pid) for pid in left)
        assert is_kept(services.urls, word)


def test_a_kill_at_once_of_owner_and_servers_is_recovered(
    data_dir: Path, start_owner: StartOwner
) -> None:
    owner = start_owner(data_dir)
    word = write_everywhere(service_urls(data_dir))
    for pid in (owner.pid, *server_pids(data_dir).values()):
        os.kill(pid, signal.SIGKILL)
    owner.wait()
    with EmbeddedServices(data_dir) as services:
        assert is_kept(services.urls, word)


def test_a_first_start_that_is_killed_is_begun_anew(
    empty_dir: Path, start_owner: StartOwner
) -> None:
    owner = start_owner(empty_dir, wait=False)
    wait_until(lambda: list(empty_dir.glob("postgres.new-*/base")))
    owner.kill()
    owner.wait()
    assert not (empty_dir / "postgres").exists()
    with EmbeddedServices(empty_dir) as services:
        assert read_version(services)
    assert list(empty_dir.glob("postgres.new-*")) == []


def test_a_stale_pid_file_harms_nobody_whose_pid_it_names(own_data_dir: Path) -> None:
    owner = (own_data_dir / "postgres").stat()
    # Of the server's own account: PostgreSQL believes a pid file that names such a process.
    with subprocess.Popen(["sleep", "60"], user=owner.st_uid if IS_ROOT else None) as innocent:
        for name in ("postgres/postmaster.pid", "valkey/valkey.pid"):
            (own_data_dir / name).write_text(
                f"{innocent.pid}\n{own_data_dir}\n1\n5432\n\n\n\nready\n"
            )
            os.chown(own_data_dir / name, owner.st_uid, owner.st_gid)
        (own_data_dir / "run").mkdir(mode=0o700)
        for name in (".s.PGSQL.5432", "valkey.sock"):
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(own_data_dir / "run" / name))
        with EmbeddedServices(own_data_dir) as services:
            assert read_version(services)
        assert innocent.poll() is None
        innocent.kill()
