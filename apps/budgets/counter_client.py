"""This process's connections to Redis for the counters, and how long they wait for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

TIMEOUT_S: Final = 1.0

_clients: dict[float, redis.Redis] = {}
_clients_lock = threading.Lock()
_timeout_s: ContextVar[float] = ContextVar("counters_timeout_s", default=TIMEOUT_S)


@contextmanager
def in_a_hurry(timeout_s: float) -> Iterator[None]:
    """Within it, Redis is waited for so long at a time at most; then it counts as unreachable."""
    token = _timeout_s.set(min(timeout_s, TIMEOUT_S))
    try:
        yield
    finally:
        _timeout_s.reset(token)


def client() -> redis.Redis:
    """This process's connections. No silent retries: a command sent again after a reconnect might
    meet another server."""
    timeout_s = _timeout_s.get()
    found = _clients.get(timeout_s)
    if found is None:
        with _clients_lock:
            found = _clients.get(timeout_s)
            if found is None:
                found = _clients[timeout_s] = redis.Redis.from_url(
                    settings.REDIS_URL,
                    decode_responses=True,
                    socket_timeout=timeout_s,
                    socket_connect_timeout=timeout_s,
                    retry=Retry(NoBackoff(), 0),
                )
    return found
