"""What these tests share: folders, words that must be kept, and what runs below a folder."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]
import psycopg
import pytest
import redis

from costboard import embedded
from costboard.embedded import (
    EmbeddedServices,
)

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root, to become another user")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux signals orphans")

START_AND_SLEEP = """
import sys, time
from pathlib import Path
from costboard.embedded import EmbeddedServices
services = EmbeddedServices(Path(sys.argv[1]))
services.start()
print("up", flush=True)
time.sleep(600)
"""
LOSE_THE_DEATH_SIGNAL = """
import costboard.processes as p
as_account = p._as_account
def without_signal(argv, account, death_signal):
    command, ids = as_account(argv, account, death_signal)
    return [word for word in command if not word.startswith("--pdeathsig")], ids
p._as_account = without_signal
p._DIE_WITH_PARENT = p._DIE_WITH_PARENT.replace("PR_SET_PDEATHSIG = 1", "PR_SET_PDEATHSIG = -1")
"""

StartOwner = Callable[..., "subprocess.Popen[str]"]


@contextmanager
def short_folder() -> Iterator[Path]:
    """A new folder; pytest's own have paths too long for a socket."""
    path = Path(tempfile.mkdtemp(prefix="cb-", dir="/tmp"))
    try:
        yield path
    finally:
        kill_processes_below(path)
        shutil.rmtree(path, ignore_errors=True)


def kill_processes_below(folder: Path) -> None:
    for process in processes_below(folder):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not processes_below(folder))


def copy_folder(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)


def processes_below(folder: Path) -> list[psutil.Process]:
    """The processes, but our own, that work in a folder: all of a server's do."""
    found = []
    for process in psutil.process_iter():
        try:
            is_below = Path(process.cwd()).is_relative_to(folder.resolve())
            if is_below and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether it runs; the dead that their new parent has not reaped yet do not count."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def server_pids(data_dir: Path) -> dict[str, int]:
    """The postmaster and Valkey, by the pids they wrote."""
    files = {"postgres": "postgres/postmaster.pid", "valkey": "valkey/valkey.pid"}
    return {name: int((data_dir / file).read_text().split()[0]) for name, file in files.items()}


def wait_until(condition: Callable[[], object], *, patience_seconds: float = 15) -> None:
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def write_everywhere(urls: embedded.ServiceUrls) -> str:
    """Commit a new word to both servers, and return it."""
    word = uuid.uuid4().hex
    with psycopg.connect(urls.database_owner_url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS words (word text PRIMARY KEY)")
        connection.execute("INSERT INTO words VALUES (%s)", [word])
    with redis.from_url(urls.redis_url) as client:
        client.set(word, "kept")
    return word


def is_kept(urls: embedded.ServiceUrls, word: str) -> bool:
    with psycopg.connect(urls.database_owner_url) as connection:
        rows = connection.execute("SELECT FROM words WHERE word = %s", [word]).fetchall()
    with redis.from_url(urls.redis_url) as client:
        return len(rows) == 1 and client.get(word) == b"kept"


def read_version(services: EmbeddedServices) -> object:
    with psycopg.connect(services.urls.database_url) as connection:
        return connection.execute("SELECT version()").fetchone()
