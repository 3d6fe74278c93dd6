"""A real PostgreSQL and a real Valkey from Python wheels, in one data folder, on Unix sockets.

One process owns them: it holds a lock on the folder for life, and they die with it. Whatever is
killed, the next start finds what was left behind, stops it, and recovers what was committed.
"""

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg

from costboard.processes import Account, bound_log
from costboard.servers import (
    APP_ROLE,
    DATABASE,
    OWNER_ROLE,
    POSTGRES_SOCKET,
    VALKEY_SOCKET,
    EmbeddedServicesError,
    Server,
    ServerFailedError,
    make_database_and_roles,
    make_database_cluster,
    make_private_folder,
    postgres_program,
    postgres_server,
    server_account,
    valkey_answers,
    valkey_program,
    valkey_server,
)

__all__ = [
    "DataDirInUse",
    "EmbeddedServices",
    "EmbeddedServicesError",
    "ServerFailedError",
    "ServiceUrls",
    "default_data_dir",
    "running",
    "service_urls",
]

SHARE_PATIENCE_SECONDS = 60.0
SHARE_POLL_SECONDS = 0.05
SOCKET_PATH_LIMIT_BYTES = 104  # macOS; Linux has 108. Both with the closing NUL


class DataDirInUse(EmbeddedServicesError):
    """Another process owns the services of this folder; `pid` is None while it is taking over."""

    def __init__(self, data_dir: Path, pid: int | None) -> None:
        super().__init__(f"the services in {data_dir} belong to process {pid or '(starting)'}")
        self.data_dir = data_dir
        self.pid = pid


@dataclass(frozen=True)
class ServiceUrls:
    """Where the services of a data folder answer; all Unix sockets."""

    database_url: str
    database_owner_url: str
    redis_url: str
    celery_broker_url: str


def default_data_dir() -> Path:
    """COSTBOARD_DATA_DIR, or the user's own place for application data."""
    if given := os.environ.get("COSTBOARD_DATA_DIR"):
        return Path(given)
    if os.geteuid() == 0:
        # Not below /root: the account that PostgreSQL runs as could not enter.
        return Path("/var/lib/costboard")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "costboard"
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "costboard"


def service_urls(data_dir: Path) -> ServiceUrls:
    """Return the URLs of the services in `data_dir`, running or not; the same in every process."""
    folder = _socket_dir(data_dir)
    # The port is in the socket's name: said here, so that PGPORT cannot change it.
    where = f"/{DATABASE}?host={quote(str(folder), safe='')}&port=5432"
    valkey = quote(str(folder / VALKEY_SOCKET))
    return ServiceUrls(
        database_url=f"postgresql://{APP_ROLE}@{where}",
        database_owner_url=f"postgresql://{OWNER_ROLE}@{where}",
        redis_url=f"unix://{valkey}?db=0",
        celery_broker_url=f"redis+socket://{valkey}?virtual_host=0",
    )


def _socket_dir(data_dir: Path) -> Path:
    """`data_dir`/run or, where a socket cannot be there, a folder in /tmp named after it."""
    folder = Path(os.path.realpath(data_dir)) / "run"
    path_bytes = os.fsencode(folder / POSTGRES_SOCKET)
    # libpq reads a comma as the start of a second host.
    if len(path_bytes) < SOCKET_PATH_LIMIT_BYTES and b"," not in path_bytes:
        return folder
    key = os.fsencode(folder) + b"\0" + str(os.geteuid()).encode()
    # Not TMPDIR: that may differ between processes that must meet here.
    return Path("/tmp") / f"costboard-{hashlib.sha256(key).hexdigest()[:16]}"  # noqa: S108


class EmbeddedServices:
    """The services of one data folder, owned by this process from `start` to `stop`.

    `durable=False` (or COSTBOARD_EMBEDDED_FSYNC=off) trades safety at power loss for speed, for
    tests; a killed process loses nothing either way.
    """

    def __init__(self, data_dir: Path, *, durable: bool | None = None) -> None:
        self.data_dir = Path(os.path.realpath(data_dir))
        self.urls = service_urls(self.data_dir)
        if durable is None:
            durable = os.environ.get("COSTBOARD_EMBEDDED_FSYNC", "on") != "off"
        self._socket_dir = _socket_dir(self.data_dir)
        self._postgres = postgres_server(self.data_dir, self._socket_dir, durable=durable)
        self._valkey = valkey_server(self.data_dir, self._socket_dir, durable=durable)
        self._account: Account | None = None
        self._lock: int | None = None
        self._owner_pid = 0

    def start(self) -> None:
        """Start both; returns when they answer. Raises DataDirInUse, EmbeddedServicesError."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = _take_lock(self.data_dir)
        except PermissionError as error:
            raise EmbeddedServicesError(f"{self.data_dir} is not ours to use: {error}") from error
        self._owner_pid = os.getpid()
        try:
            self._make_folders()
            self._start_servers()
        except BaseException:
            self._unlock()
            raise

    def stop(self) -> None:
        """Stop both; returns when neither has a process or a socket left. Harmless when stopped."""
        # A fork that leaves our context manager must not take the services with it.
        if self._lock is None or self._owner_pid != os.getpid():
            return
        try:
            self._stop_servers()
        finally:
            self._unlock()

    def revive(self) -> tuple[str, ...]:
        """Start again whichever server has died; returns their names once they answer."""
        died = [server for server in self._servers if server.has_died()]
        for server in died:
            server.start(self._account)
        for server in self._servers:
            bound_log(server.log)
        return tuple(server.name for server in died)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def _servers(self) -> tuple[Server, Server]:
        return self._valkey, self._postgres

    def _make_folders(self) -> None:
        programs = [postgres_program("initdb"), postgres_program("postgres"), valkey_program()]
        reached = [self.data_dir, self._socket_dir.parent, *programs]
        self._account = server_account(self.data_dir, reached)
        make_private_folder(self._socket_dir, self._account)
        make_private_folder(self._valkey.folder, self._account)
        make_database_cluster(self._postgres.folder, self._account, log=self._postgres.log)

    def _start_servers(self) -> None:
        try:
            for server in self._servers:
                server.start(self._account)
            make_database_and_roles(self.urls.database_owner_url)
        except BaseException:
            self._stop_servers()
            raise

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.stop()
        with suppress(OSError):
            self._socket_dir.rmdir()

    def _unlock(self) -> None:
        if self._lock is not None:
            _release_lock(self._lock)
        self._lock = None


@contextmanager
def running(data_dir: Path) -> Iterator[ServiceUrls]:
    """Run the block on the services of `data_dir`: those another process has up, or our own.

    Waits for an owner that is starting them. Raises DataDirInUse when it takes too long.
    """
    services = EmbeddedServices(data_dir)
    deadline = time.monotonic() + SHARE_PATIENCE_SECONDS
    while True:
        try:
            services.start()
            break
        except DataDirInUse:
            if _both_answer(services):
                break
            if time.monotonic() > deadline:
                raise
            time.sleep(SHARE_POLL_SECONDS)
    try:
        yield services.urls
    finally:
        services.stop()


def _both_answer(services: EmbeddedServices) -> bool:
    if not valkey_answers(_socket_dir(services.data_dir) / VALKEY_SOCKET):
        return False
    # The application's role and database are the last things made in a new folder.
    with suppress(psycopg.OperationalError):
        psycopg.connect(services.urls.database_url, connect_timeout=2).close()
        return True
    return False


_lock_descriptors: set[int] = set()


def _close_inherited_locks() -> None:
    while _lock_descriptors:
        os.close(_lock_descriptors.pop())


# A fork shares the lock: a worker that outlives us would keep the folder locked in our name.
os.register_at_fork(after_in_child=_close_inherited_locks)


def _take_lock(data_dir: Path) -> int:
    """Return the descriptor that owns `data_dir` while open; raises DataDirInUse."""
    descriptor = os.open(data_dir / "costboard.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 32, 0).split()
        os.close(descriptor)
        raise DataDirInUse(data_dir, int(owner[0]) if owner else None) from None
    line = f"{os.getpid()}\n".encode()
    os.pwrite(descriptor, line, 0)
    os.ftruncate(descriptor, len(line))
    _lock_descriptors.add(descriptor)
    return descriptor


def _release_lock(descriptor: int) -> None:
    _lock_descriptors.discard(descriptor)
    os.close(descriptor)
