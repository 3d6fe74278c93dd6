"""Processes that cannot outlive us: how one is started, logged, and killed with its children.

A child gets a session of its own (a terminal's Ctrl-C reaches us alone) and a log of bounded size.
On Linux the kernel signals it when the thread that started it ends, hence: the main thread only.
"""

import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped,unused-ignore]

LOG_LIMIT_BYTES = 10 * 1024 * 1024
KILL_PATIENCE_SECONDS = 5.0

# Runs in the child, between fork and its program. It looks at its parent after asking for the
# signal: a parent that died before that would otherwise never be noticed.
_DIE_WITH_PARENT = """
import ctypes, os, sys
signal_number, parent_pid, *argv = sys.argv[1:]
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number))
if os.getppid() != int(parent_pid):
    sys.exit("our parent died before we began")
try:
    os.execvp(argv[0], argv)
except OSError as error:
    sys.exit(f"cannot run {argv[0]}: {error.strerror}")
"""


@dataclass(frozen=True)
class Account:
    """Whom a child runs as when that is not us; `options` go to setpriv. Only root can use it."""

    uid: int
    gid: int
    options: tuple[str, ...] = ()

    def why_not_enter(self, paths: Sequence[Path]) -> str:
        """Say why it cannot enter or run one of `paths`, as the kernel sees it; "" if it can."""
        script = 'for path; do test -x "$path" || { echo "no way to $path"; exit 1; }; done'
        argv = ["/bin/sh", "-c", script, "sh", *map(str, paths)]
        command, ids = _as_account(argv, self, signal.SIGKILL)
        done = subprocess.run(  # noqa: S603
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **ids
        )
        return done.stdout.decode(errors="replace").strip() if done.returncode else ""


@functools.cache
def setpriv_path() -> str | None:
    """Path of util-linux's setpriv; None where it is absent or too small, as BusyBox's is."""
    path = shutil.which("setpriv", path="/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        return None
    probe = [path, "--pdeathsig=TERM", "--ambient-caps=-all", "--", "/bin/true"]
    done = subprocess.run(probe, check=False, capture_output=True)  # noqa: S603
    return path if done.returncode == 0 else None


def _as_account(
    argv: Sequence[str], account: Account | None, death_signal: signal.Signals
) -> tuple[list[str], dict[str, Any]]:
    """Return the command and Popen's arguments that run `argv` as `account`, to die with us.

    Only Linux has a signal for that, and changing the uid clears it: setpriv asks for it after
    the change, and for a change without setpriv there is none. The pid stays the child's.
    """
    if account is None:
        return _die_with_parent(argv, death_signal), {}
    if (setpriv := setpriv_path()) is None:
        return list(argv), {"user": account.uid, "group": account.gid, "extra_groups": []}
    ids = (f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups")
    last = f"--pdeathsig={death_signal.name.removeprefix('SIG')}"
    return [setpriv, *ids, *account.options, last, "--", *argv], {}


def _die_with_parent(argv: Sequence[str], death_signal: signal.Signals) -> list[str]:
    if sys.platform != "linux":
        return list(argv)
    words = [str(int(death_signal)), str(os.getpid()), *argv]
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, *words]


def spawn(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    death_signal: signal.Signals = signal.SIGTERM,
    folder: Path | None = None,
    account: Account | None = None,
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, its output appended to `log`.

    `env` is its whole environment, `folder` its working directory. On Linux it gets
    `death_signal` when we die. Raises RuntimeError outside the main thread, OSError when the
    program cannot be run.
    """
    if threading.current_thread() is not threading.main_thread():
        # The kernel would signal the child when this thread ends, not when the process does.
        raise RuntimeError("children are started by the main thread only")
    command, ids = _as_account(argv, account, death_signal)
    with _open_log(log) as output:
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=folder,
            start_new_session=True,
            **ids,
        )


@contextmanager
def _open_log(path: Path) -> Iterator[int]:
    """Open a log for a child to append to, as a file descriptor; private to us, bounded in size."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    bound_log(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def bound_log(path: Path) -> None:
    """Keep a log within LOG_LIMIT_BYTES, its older part beside it as `NAME.1`.

    The file is copied and cut, not renamed: its writer holds it open, in append mode.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT_BYTES:
            shutil.copy2(path, path.with_name(f"{path.name}.1"))
            os.truncate(path, 0)


def kill_session(session: int) -> None:
    """Kill every process of a session at once, and wait until none is left."""
    _kill_all(lambda: _session_members(session))


def kill_processes_in(folder: Path) -> None:
    """Kill every process whose working directory is `folder`, and wait until none is left."""
    _kill_all(lambda: [process.pid for process in processes_in(folder)])


def processes_in(folder: Path) -> list[psutil.Process]:
    """The living processes whose working directory is `folder`, as far as we may look."""
    path = os.path.realpath(folder)
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == path:
                found.append(process)
    return found


def _kill_all(pids: Callable[[], list[int]]) -> None:
    deadline = time.monotonic() + KILL_PATIENCE_SECONDS
    while (left := pids()) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _session_members(session: int) -> list[int]:
    """Pids of the living processes of a session; the dead that wait to be reaped do not count."""
    members = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.Error):
            alive = os.getsid(pid) == session
            if alive and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                members.append(pid)
    return members
