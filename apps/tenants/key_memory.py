"""API keys in this process's memory, each looked up once a second at most. A part of selectors.

A key revoked by another process is refused within a second, or when the database is back: what
is known of keys stands while it cannot be asked, as nothing can be written then either.
"""

import threading
import time
from typing import Final

from django.db import InterfaceError, OperationalError

from apps.tenants.core.access import KeyIdentity, hash_secret
from apps.tenants.patience import time_limit
from apps.tenants.selectors import find_key

CHECK_EVERY_S: Final = 1.0
# After a look-up that failed nobody waits for another.
RETRY_AFTER_S: Final = 2.0
LOOK_UP_LIMIT_S: Final = 3.0
MAX_KEYS: Final = 10_000


class KeyMemory:
    """Whose keys are, as of a second ago at most; one for the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # One asks at a time: the others find its answer.
        self._asking = threading.Lock()
        # By the secret's hash: when the key was last found good (monotonic), and whose it is.
        self._known: dict[bytes, tuple[float, KeyIdentity]] = {}
        self._failed_at_s = -RETRY_AFTER_S

    def find(self, secret: str) -> KeyIdentity | None:
        """As find_key. Raises OperationalError when the database is asked and does not answer."""
        name = hash_secret(secret)
        known, age_s = self._recall(name)
        if age_s < CHECK_EVERY_S / 2:
            return known
        if age_s < CHECK_EVERY_S:
            # Asked ahead of time by one, while the others go on with what is known.
            if not self._asking.acquire(blocking=False):
                return known
            try:
                return self._ask(secret, name, known)
            finally:
                self._asking.release()
        with self._asking:
            known, age_s = self._recall(name)
            return known if age_s < CHECK_EVERY_S else self._ask(secret, name, known)

    def _recall(self, name: bytes) -> tuple[KeyIdentity | None, float]:
        """What is known of a key, and how old that is."""
        checked_at_s, known = self._known.get(name, (float("-inf"), None))
        return known, time.monotonic() - checked_at_s

    def _ask(self, secret: str, name: bytes, known: KeyIdentity | None) -> KeyIdentity | None:
        now_s = time.monotonic()
        try:
            found = self._look_up(secret, now_s)
        except (InterfaceError, OperationalError):
            if known is None:
                raise
            return known
        with self._lock:
            self._known.pop(name, None)
            if found is not None:
                if len(self._known) >= MAX_KEYS:
                    self._known.pop(next(iter(self._known)))
                self._known[name] = (now_s, found)
        return found

    def forget(self, api_key_id: int) -> None:
        """Look this key up anew when it is used next."""
        with self._lock:
            for name, (_, identity) in list(self._known.items()):
                if identity.api_key_id == api_key_id:
                    del self._known[name]

    def _look_up(self, secret: str, now_s: float) -> KeyIdentity | None:
        if now_s - self._failed_at_s < RETRY_AFTER_S:
            raise OperationalError("the database did not answer a moment ago")
        try:
            with time_limit(LOOK_UP_LIMIT_S):
                return find_key(secret)
        except (InterfaceError, OperationalError):
            self._failed_at_s = time.monotonic()
            raise


keys: Final = KeyMemory()
