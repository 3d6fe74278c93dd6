"""What a process remembers of the database, asked for again before it is too old to be trusted.

In the second half of its time one caller asks, and the others go on with what is known: a busy or
starved process does not stop once a second. Past its time one asks, and the others wait for it; if
it fails they fail with it, rather than each try, and wait, in turn.

What `stands` is known for longer while the database cannot be asked: nothing can be changed there
meanwhile, and a reservation needs the database anyway, but where a tenant lets backends run unseen.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from django.db import InterfaceError, OperationalError

from apps.tenants.patience import time_limit

AWAY: Final = (InterfaceError, OperationalError)
# What stands waits no longer for news than this, and asks not more often.
ASK_LIMIT_S: Final = 2.0
ASK_AGAIN_S: Final = 2.0
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """Values by key, none older than `limit_s` when they are given; at most `max_keys` of them."""

    def __init__(self, *, limit_s: float = 1.0, max_keys: int = 1000) -> None:
        self.limit_s = limit_s
        self._max_keys = max_keys
        self._lock = threading.Lock()
        # When it was asked for (monotonic: what is read later is no older), and the answer.
        self._known: dict[Key, tuple[float, Value]] = {}
        # Held by whoever asks. Reentrant: reading may itself come by what it reads.
        self._turns: defaultdict[Key, threading.RLock] = defaultdict(threading.RLock)
        self._forgotten = 0
        # When asking last failed (monotonic), and how.
        self._failures: dict[Key, tuple[float, Exception]] = {}

    def get(
        self, key: Key, read: Callable[[Value | None], Value], *, stands: bool = False
    ) -> Value:
        """The value; `read` is given what was known before. Raises what `read` raises.

        With `stands` what was known is the value while the database cannot be asked.
        """
        known = self._known.get(key) if stands else None
        if known is None:
            return self._get(key, read)

        def read_soon(before: Value | None) -> Value:
            with time_limit(ASK_LIMIT_S):
                return read(before)

        _, error = self._failures.get(key, (0.0, None))
        try:
            if isinstance(error, AWAY):
                return self._ask_again(key, known[1], read_soon)
            return self._get(key, read_soon)
        except AWAY:
            return known[1]

    def _get(self, key: Key, read: Callable[[Value | None], Value]) -> Value:
        known = self._known.get(key)
        if known is not None:
            age_s = time.monotonic() - known[0]
            if age_s < self.limit_s / 2:
                return known[1]
            if age_s < self.limit_s:
                turn = self._turns[key]
                if not turn.acquire(blocking=False):
                    return known[1]
                try:
                    return self._read(key, read)
                finally:
                    turn.release()
        waits_since_s = time.monotonic()
        with self._turns[key]:
            if (found := self.look(key)) is not None:
                return found
            failed_at_s, error = self._failures.get(key, (0.0, None))
            if error is not None and failed_at_s > waits_since_s:
                raise error
            return self._read(key, read)

    def _ask_again(self, key: Key, known: Value, read: Callable[[Value | None], Value]) -> Value:
        """What is known, as asking failed; now and then one asks whether that is over."""
        failed_at_s, _ = self._failures.get(key, (0.0, None))
        turn = self._turns[key]
        if time.monotonic() - failed_at_s < ASK_AGAIN_S or not turn.acquire(blocking=False):
            return known
        try:
            return self._read(key, read)
        finally:
            turn.release()

    def look(self, key: Key) -> Value | None:
        """The value if it is not too old; reads nothing."""
        known = self._known.get(key)
        if known is None or time.monotonic() - known[0] >= self.limit_s:
            return None
        return known[1]

    def glance(self, key: Key) -> Value | None:
        """As `look`, for a caller that cannot read yet: None also when it is its turn to ask."""
        known = self._known.get(key)
        age_s = time.monotonic() - known[0] if known else self.limit_s
        if known is None or age_s >= self.limit_s:
            return None
        if age_s >= self.limit_s / 2 and (turn := self._turns[key]).acquire(blocking=False):
            turn.release()
            return None
        return known[1]

    def forget(self, key: Key) -> None:
        """Read it anew next time."""
        with self._lock:
            self._forgotten += 1
            self._known.pop(key, None)

    def forget_all(self) -> None:
        """Read everything anew next time."""
        with self._lock:
            self._forgotten += 1
            self._known.clear()

    def _read(self, key: Key, read: Callable[[Value | None], Value]) -> Value:
        asked_at_s, forgotten = time.monotonic(), self._forgotten
        _, before = self._known.get(key, (0.0, None))
        try:
            value = read(before)
        except Exception as error:
            self._failures[key] = (time.monotonic(), error)
            raise
        with self._lock:
            self._failures.pop(key, None)
            if forgotten == self._forgotten:
                if len(self._known) >= self._max_keys and key not in self._known:
                    oldest = next(iter(self._known))
                    del self._known[oldest]
                    self._turns.pop(oldest, None)
                self._known[key] = (asked_at_s, value)
        return value
