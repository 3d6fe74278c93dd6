"""How long a thread waits for PostgreSQL: a server that is stopped, or whose disk is, says nothing.

Limits that the server keeps (statement_timeout, lock_timeout) come first, and leave the connection
in order; this one holds when the server keeps none.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

import psycopg
from django.db import connection
from psycopg.abc import PQGen

# What routers ask before each request of theirs is answered within so long, one way or the other.
DECISION_LIMIT_S: Final = 5.0
# An answer to "are you there" takes no longer, on a machine that does anything at all.
LEAST_CHECK_S: Final = 0.5


def give_back_connection() -> None:
    """This thread's connection to the pool, unless it is in a transaction: who waits for another
    thread's work must not keep that one from a connection."""
    if not connection.in_atomic_block:
        connection.close()


_deadline_s: ContextVar[float | None] = ContextVar("database_deadline_s", default=None)
_wait_limit_s: ContextVar[float | None] = ContextVar("database_wait_limit_s", default=None)
Answer = TypeVar("Answer")


@contextmanager
def time_limit(limit_s: float) -> Iterator[None]:
    """Within it, no wait for the database ends later than this; of nested limits the first holds.

    A wait that does raises OperationalError and costs the connection: what the server made of the
    statement, or of the commit, is then unknown. Waiting for a connection of the pool comes on top.
    """
    outer_s = _deadline_s.get()
    own_s = time.monotonic() + limit_s
    token = _deadline_s.set(own_s if outer_s is None else min(own_s, outer_s))
    try:
        yield
    finally:
        _deadline_s.reset(token)


@contextmanager
def wait_limit(limit_s: float) -> Iterator[None]:
    """Within it no answer of the database is waited for longer than this, nor than time_limit lets.

    For all that a request does: what it waits for its caller's body is not counted.
    """
    token = _wait_limit_s.set(limit_s)
    try:
        yield
    finally:
        _wait_limit_s.reset(token)


@contextmanager
def time_to_connect() -> Iterator[None]:
    """Within it a connection of the pool is had: checked in what is left of the time limit, but for
    no less than LEAST_CHECK_S. Checked in no time every connection looks dead: the pool throws away
    one after the other, and everybody else's requests find none.

    Raises OperationalError, without a look at the pool, when nothing is left.
    """
    deadline_s = _deadline_s.get()
    if deadline_s is None:
        yield
        return
    now_s = time.monotonic()
    if now_s >= deadline_s:
        raise psycopg.OperationalError("the time limit was over before a connection was needed")
    token = _deadline_s.set(max(deadline_s, now_s + LEAST_CHECK_S))
    try:
        yield
    finally:
        _deadline_s.reset(token)


class PatientConnection(psycopg.Connection[Any]):
    """A connection that keeps the limits of the thread that uses it."""

    def wait(
        self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None
    ) -> Answer:
        deadline_s = _deadline_s.get()
        left_s = None if deadline_s is None else max(deadline_s - time.monotonic(), 0.0)
        limits_s = [limit for limit in (left_s, _wait_limit_s.get()) if limit is not None]
        if not limits_s:
            return super().wait(gen, interval, timeout)
        if timeout is not None:
            limits_s.append(timeout)
        try:
            return super().wait(gen, interval, min(limits_s))
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(
                "the database did not answer within its time limit"
            ) from None
