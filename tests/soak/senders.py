"""Routers under load: each posts over its own connection, and sends again what was not taken."""

import http.client
import random
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from tests.soak.calls import LITELLM, NATIVE, OTLP, Calls
from tests.usage.adapters.bodies import JSON, PROTOBUF

SOURCES = (NATIVE, LITELLM, OTLP)
ACKNOWLEDGED, ABANDONED = 1, 2
TIMEOUT_S = 15.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
# What could not be sent on time is sent later, as a router's queue would, but not without end.
MOST_BEHIND_S = 15.0
# Shares of the bodies: sent twice, kept back for a while, given up after a failed attempt.
TWICE, KEPT_BACK, GIVEN_UP = 0.03, 0.05, 0.05


@dataclass
class Tally:
    """What was sent and what became of it, by the calls' numbers."""

    sources: bytearray = field(default_factory=bytearray)
    fates: bytearray = field(default_factory=bytearray)
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    # When the latest acknowledged request was begun (time.monotonic).
    latest_begun_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def allocate(self, rows: int, source: str) -> range:
        with self.lock:
            first = len(self.sources)
            self.sources.extend(bytes([SOURCES.index(source)]) * rows)
            self.fates.extend(bytes(rows))
            return range(first, first + rows)

    def acknowledge(self, numbers: range, begun_s: float) -> None:
        with self.lock:
            self.fates[numbers.start : numbers.stop] = bytes([ACKNOWLEDGED]) * len(numbers)
            self.latest_begun_s = max(self.latest_begun_s, begun_s)

    def abandon(self, numbers: range) -> None:
        with self.lock:
            self.fates[numbers.start : numbers.stop] = bytes([ABANDONED]) * len(numbers)

    def count(self, name: str, by: int = 1) -> None:
        with self.lock:
            self.counts[name] += by

    def fault(self, what: str) -> None:
        with self.lock:
            self.counts["faults"] += 1
            if len(self.faults) < 20:
                self.faults.append(what)


@dataclass(frozen=True, slots=True)
class Posting:
    """A body, whole, as it is sent however often."""

    numbers: range
    path: str
    content_type: str
    body: bytes
    counts_rows: bool = True  # the answer says how many were accepted
    again: bool = False  # all of it was acknowledged before


@dataclass(frozen=True, slots=True)
class Route:
    """What one sender posts: `rows` a body, `share` of all calls, from this door."""

    door: str
    rows: tuple[int, int]
    share: float


# Bodies of a gateway's batch, and calls that are posted one by one. The shares add up to 1.
ROUTES = (
    *(Route("array", (100, 500), 0.17) for _ in range(3)),
    Route("lines", (20, 300), 0.12),
    *(Route("single", (1, 1), 0.005) for _ in range(4)),
    *(Route("litellm", (20, 120), 0.1) for _ in range(2)),
    Route("protobuf", (20, 120), 0.1),
    Route("json", (20, 120), 0.05),
)


class Sender(threading.Thread):
    """Posts along one route until `stop`, then sees its last body through."""

    def __init__(
        self, url: str, headers: dict[str, str], calls: Calls, tally: Tally, route: Route, *,
        seed: str, stop: threading.Event,
    ) -> None:  # fmt: skip
        super().__init__(name=f"sender {seed}", daemon=True)
        self._address = urlsplit(url)
        self._headers = headers
        self._calls = calls
        self._tally = tally
        self._route = route
        self._chance = random.Random(seed)
        self._ended = stop
        self._connection: http.client.HTTPConnection | None = None
        self._kept: deque[Posting] = deque()

    def run(self) -> None:
        per_second = self._calls.per_second * self._route.share
        due_s = time.monotonic()
        while not self._ended.is_set():
            due_s = max(due_s, time.monotonic() - MOST_BEHIND_S)
            if (wait_s := due_s - time.monotonic()) > 0:
                self._ended.wait(wait_s)
                continue
            posting = self._next()
            due_s += len(posting.numbers) / per_second
            if self._chance.random() < KEPT_BACK:
                self._kept.append(posting)
            else:
                self._see_through(posting)
            if len(self._kept) > 3:
                self._see_through(self._kept.popleft())
        for posting in self._kept:
            self._see_through(posting)

    def _see_through(self, posting: Posting) -> None:
        if not self._deliver(posting):
            self._tally.abandon(posting.numbers)
        elif self._chance.random() < TWICE:
            self._deliver(self._as_known(posting))

    def _as_known(self, posting: Posting) -> Posting:
        """The same calls once more: the same body, or LiteLLM's by their spans."""
        body, path, content_type, counts = (
            posting.body, posting.path, posting.content_type, posting.counts_rows,
        )  # fmt: skip
        if self._route.door == "litellm" and self._chance.random() < 0.5:
            body = self._calls.otlp(posting.numbers, as_json=False, source=LITELLM)
            path, content_type, counts = "/v1/traces", PROTOBUF, False
        return Posting(posting.numbers, path, content_type, body, counts, again=True)

    def _next(self) -> Posting:
        route, calls = self._route, self._calls
        rows = self._chance.randint(*route.rows)
        if route.door in ("protobuf", "json"):
            numbers = self._tally.allocate(rows, OTLP)
            as_json = route.door == "json"
            body = calls.otlp(numbers, as_json=as_json)
            return Posting(numbers, "/v1/traces", JSON if as_json else PROTOBUF, body, False)
        if route.door == "litellm":
            numbers = self._tally.allocate(rows, LITELLM)
            return Posting(numbers, "/api/v1/usage/litellm", JSON, calls.litellm(numbers))
        numbers = self._tally.allocate(rows, NATIVE)
        body = calls.native(numbers, as_lines=route.door == "lines")
        return Posting(numbers, "/api/v1/usage/events", JSON, body)

    def _deliver(self, posting: Posting) -> bool:
        """Post until acknowledged; False when given up, its fate unknown."""
        wait_s = FIRST_WAIT_S
        tries = 0
        while True:
            begun_s = time.monotonic()
            status, answer = self._post(posting)
            if 200 <= status < 300:
                self._check(posting, answer, tries)
                self._tally.acknowledge(posting.numbers, begun_s)
                return True
            tries += 1
            self._tally.count(f"answered {status}" if status else "no answer")
            if status not in (0, 503):
                self._tally.fault(f"{posting.path} answered {status}: {answer[:300]!r}")
                return False
            if not posting.again and self._chance.random() < GIVEN_UP:
                return False
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _check(self, posting: Posting, answer: bytes, tries: int) -> None:
        """The answer of an acknowledged body must tell all of its rows, and none that is wrong."""
        rows = len(posting.numbers)
        self._tally.count("bodies")
        self._tally.count("rows of bodies", rows)
        if not posting.counts_rows:
            if answer.strip() not in (b"", b"{}"):
                self._tally.fault(f"{posting.path} refused some of {rows} spans: {answer[:300]!r}")
            return
        told = msgspec.json.decode(answer)
        accepted, duplicates = told["accepted"], told["duplicates"]
        self._tally.count("duplicates", duplicates)
        is_whole = accepted + duplicates == rows and not told["rejected"]
        # One transaction holds a body: a retry finds all of it or nothing.
        is_one = rows in (accepted, duplicates)
        right = duplicates == rows if posting.again else (accepted == rows or tries > 0)
        if not (is_whole and is_one and right):
            self._tally.fault(
                f"{posting.path}: {rows} rows, try {tries}, again {posting.again}: {answer[:300]!r}"
            )

    def _post(self, posting: Posting) -> tuple[int, bytes]:
        """Status and body of the answer; 0 when there was none."""
        headers = self._headers | {"Content-Type": posting.content_type}
        try:
            if self._connection is None:
                host, port = self._address.hostname or "", self._address.port
                self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
            self._connection.request("POST", posting.path, posting.body, headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            return 0, b""
