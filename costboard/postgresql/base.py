"""Django's PostgreSQL, that does not wait again and again for a server that gives no connection.

A request asks for a connection many times. Once one had to be waited for in vain, everybody is
refused at once, but for one who tries each second whether that is over.
"""

import threading
import time
from typing import Any, Final

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import PoolTimeout

from apps.tenants.patience import time_to_connect

TRY_AGAIN_S: Final = 1.0


class _Away:
    """Whether the server gave no connection when it was last asked; one for the process."""

    def __init__(self) -> None:
        self._failed_at_s: float | None = None
        self._turn = threading.Lock()

    def connect(self, connect: Any) -> Any:
        """What `connect()` gives. Raises OperationalError at once while there is nothing to get."""
        failed_at_s = self._failed_at_s
        if failed_at_s is None:
            return self._try(connect)
        is_soon = time.monotonic() - failed_at_s < TRY_AGAIN_S
        if is_soon or not self._turn.acquire(blocking=False):
            raise psycopg.OperationalError("the database gave no connection a moment ago")
        try:
            return self._try(connect)
        finally:
            self._turn.release()

    def _try(self, connect: Any) -> Any:
        try:
            connection = connect()
        except PoolTimeout:
            self._failed_at_s = time.monotonic()
            raise
        self._failed_at_s = None
        return connection


_away: Final = _Away()


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params: Any) -> Any:
        with time_to_connect():
            return _away.connect(lambda: base.DatabaseWrapper.get_new_connection(self, conn_params))
