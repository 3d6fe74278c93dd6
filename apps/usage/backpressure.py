"""What ingest does when the database does not keep up: holds little, waits briefly, says so.

A refusal is safe to answer with the same body: what was written after all is then a duplicate.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError

# Shares of INGEST_TIME_LIMIT_S: waiting for one's turn (to read rates and slices, and to write),
# reading them, and the commit.
QUEUE_SHARE: Final = 0.15
LEARN_SHARE: Final = 0.3
COMMIT_SHARE: Final = 0.4
# Of the commit's: for watchers to hear of it, before and after. Twice this is less than a turn.
TELL_SHARE: Final = 0.05
# The server gives up first, so that the connection stays in order.
SERVER_SHARE: Final = 0.8
# For so long after a failure nobody else is made to wait; then one request tries.
REST_S: Final = 2.0
# The server's own word that one tenant's statement waited for a lock or took too long.
OF_ONE_TENANT: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled)


class OverloadedError(Exception):
    """Not taken, and nothing was written: to be sent again a little later."""


class HeldBytes:
    """Bounds the bodies that requests in progress hold in this process, as sent and unpacked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held_bytes = 0

    @contextmanager
    def hold(self) -> Iterator[Callable[[int], None]]:
        """Yields what takes room for so many more bytes; all of it is given back in the end.

        That raises OverloadedError when there is no room.
        """
        taken_bytes = 0

        def take(size_bytes: int) -> None:
            nonlocal taken_bytes
            with self._lock:
                if self._held_bytes + size_bytes > settings.INGEST_MAX_HELD_BYTES:
                    raise OverloadedError(
                        f"{self._held_bytes} bytes of requests are being written, and at most"
                        f" {settings.INGEST_MAX_HELD_BYTES} are held; send it again a little later"
                    )
                self._held_bytes += size_bytes
                taken_bytes += size_bytes

        try:
            yield take
        finally:
            with self._lock:
                self._held_bytes -= taken_bytes


class Breaker:
    """Remembers that the database failed to answer, so that not every request waits to learn it.

    A tenant whose statements wait for a lock is refused alone; a server that is gone refuses all.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Tenant (None: all) -> until when it is refused, in monotonic seconds.
        self._resting: dict[int | None, float] = {}

    @contextmanager
    def guard(self, tenant_id: int) -> Iterator[None]:
        """Around a write. Raises OverloadedError instead of trying soon after one that failed."""
        self._enter(tenant_id)
        try:
            yield
        except (InterfaceError, OperationalError) as error:
            with self._lock:
                failed = tenant_id if isinstance(error.__cause__, OF_ONE_TENANT) else None
                self._resting[failed] = time.monotonic() + REST_S
            raise
        with self._lock:
            self._resting.pop(tenant_id, None)
            self._resting.pop(None, None)

    def _enter(self, tenant_id: int) -> None:
        now_s = time.monotonic()
        with self._lock:
            if any(now_s < self._resting.get(who, now_s) for who in (tenant_id, None)):
                raise OverloadedError(
                    "the database did not answer a moment ago; send it again a little later"
                )
            for who in (tenant_id, None):
                if who in self._resting:
                    # This request finds out; the others go on being refused meanwhile.
                    self._resting[who] = now_s + settings.INGEST_TIME_LIMIT_S


held_bytes: Final = HeldBytes()
breaker: Final = Breaker()
