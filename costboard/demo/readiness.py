"""Whether the demo does its work: pages answer, and usage reaches the rollups."""

import http.client
import time
from collections.abc import Callable

from apps.usage.selectors import list_tenants_with_pending_usage
from costboard.celery import app
from costboard.demo.ports import HOST

START_LIMIT_SECONDS = 90.0
POLL_SECONDS = 0.1
PING_SECONDS = 0.5


class NotReadyError(RuntimeError):
    """A part of the demo did not start in time."""


def wait_until_ready(port: int, *, gave_up: Callable[[], bool]) -> None:
    """Return when web and worker do their work. Raises NotReadyError after a while."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    _wait("the web answers /healthz", lambda: _is_healthy(port), deadline, gave_up)
    _wait("a Celery worker answers", _worker_answers, deadline, gave_up)
    _wait("beat and worker roll usage up", _nothing_pending, deadline, gave_up)


def _wait(
    what: str, condition: Callable[[], bool], deadline: float, gave_up: Callable[[], bool]
) -> None:
    while not condition():
        if gave_up() or time.monotonic() > deadline:
            raise NotReadyError(f"waited in vain until {what}")
        time.sleep(POLL_SECONDS)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _worker_answers() -> bool:
    return bool(app.control.ping(timeout=PING_SECONDS))


def _nothing_pending() -> bool:
    """The newest portion of history is left for the worker to roll up: the whole road is tried."""
    return not list_tenants_with_pending_usage()
