"""The processes of a running demo: web, Celery workers and beat, live stream."""

import os
import sys
from pathlib import Path

from costboard.demo.ports import HOST
from costboard.supervisor import ChildSpec

# Many: posts that wait for one commit share it, and a waiting thread holds no connection.
WEB_THREADS = 32
WEB_KILL_AFTER_SECONDS = 4


def demo_children(data_dir: Path, port: int, *, live: bool) -> list[ChildSpec]:
    """In the order in which they start; they stop the other way round."""
    children = [web(port), *workers(port), beat(data_dir)]
    return [*children, live_stream(port)] if live else children


def web(port: int) -> ChildSpec:
    return ChildSpec(
        "web",
        [
            *(sys.executable, "-m", "granian", "--interface", "wsgi"),
            *("--host", HOST, "--port", str(port), "--http", "1", "--no-ws"),
            *("--workers", "1", "--blocking-threads", str(WEB_THREADS)),
            *("--respawn-failed-workers", "--respawn-interval", "0.2"),
            *("--workers-kill-timeout", str(WEB_KILL_AFTER_SECONDS)),
            *("--log-level", "warning", "--no-access-log"),
            "costboard.wsgi:application",
        ],
    )


def workers(port: int) -> list[ChildSpec]:
    """One for what must not wait, one for what takes its time."""
    return [_worker(port, queue) for queue in ("prompt", "slow")]


def _worker(port: int, queue: str) -> ChildSpec:
    """It sends alerts, whose links lead to this web server unless the operator says otherwise."""
    url = os.environ.get("COSTBOARD_URL") or f"http://{HOST}:{port}"
    return ChildSpec(
        f"worker-{queue}",
        [
            *_celery("worker"),
            *("--queues", queue, "--hostname", f"{queue}@%h"),
            *("--pool", "threads", "--concurrency", "2"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            *("--loglevel", "WARNING"),
        ],
        env={"COSTBOARD_URL": url},
    )


def beat(data_dir: Path) -> ChildSpec:
    folder = data_dir / "beat"
    folder.mkdir(mode=0o700, exist_ok=True)
    options = ["--schedule", str(folder / "schedule"), "--pidfile", "", "--loglevel", "WARNING"]
    return ChildSpec("beat", [*_celery("beat"), *options])


def live_stream(port: int) -> ChildSpec:
    return ChildSpec("live", [sys.executable, "-m", "costboard.demo.live", f"http://{HOST}:{port}"])


def _celery(command: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "costboard", "--quiet", command]
