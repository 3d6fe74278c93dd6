"""Load over HTTP from a process of its own: `send(plan)` here, `python -m bench.load` there.

The requests are made beforehand and the answers hardly read: it must not be the bottleneck, and
says what share of a core it took. A connection sends its next request when the last is answered.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from statistics import median, quantiles
from typing import cast

import msgspec


class Plan(msgspec.Struct, frozen=True):
    """Requests to send, each once; or, with `repeat_s`, round and round for so long.

    `every_s` paces them: request n is not sent before n * every_s seconds.
    """

    port: int
    requests: list[bytes]
    connections: int
    repeat_s: float = 0.0
    every_s: float = 0.0


class Report(msgspec.Struct, frozen=True):
    """What came of a plan, in the order of the answers; `answered_at` are time.time()."""

    seconds: float
    cpu_seconds: float
    statuses: dict[int, int]
    latencies_ms: list[float]
    answered_at: list[float]

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    @property
    def cpu_share(self) -> float:
        """Of one core."""
        return self.cpu_seconds / self.seconds

    @property
    def median_ms(self) -> float:
        return median(self.latencies_ms)

    @property
    def p99_ms(self) -> float:
        return quantiles(self.latencies_ms, n=100)[98]

    def require(self, status: int) -> "Report":
        """Itself, if every answer had this status."""
        if set(self.statuses) != {status}:
            raise RuntimeError(f"answers other than {status}: {self.statuses}")
        return self


def request(
    path: str, body: bytes = b"", *, secret: str = "", content_type: str = "application/json"
) -> bytes:
    """An HTTP/1.1 request as bytes: POST with a body, GET without."""
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: localhost"]
    if secret:
        lines.append(f"Authorization: Bearer {secret}")
    if body:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def send(plan: Plan) -> Report:
    """Carry out a plan in a process of its own."""
    return Sender(plan).report()


class Sender:
    """A plan being carried out in a process of its own."""

    def __init__(self, plan: Plan) -> None:
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is read
        with tempfile.TemporaryFile() as order:
            order.write(msgspec.msgpack.encode(plan))
            order.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.load"], stdin=order, stdout=self._answer
            )

    def is_running(self) -> bool:
        return self._process.poll() is None

    def report(self) -> Report:
        """Wait for the end."""
        if self._process.wait() != 0:
            raise RuntimeError("the load generator failed")
        with self._answer as answer:
            answer.seek(0)
            return msgspec.msgpack.decode(answer.read(), type=Report)


class _Run:
    """What all connections share: the requests to come, and what came of those sent."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.latencies_ms: list[float] = []
        self.answered_at: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.sent = 0
        self.started = time.perf_counter()

    def next_request(self) -> bytes | None:
        """The next one; None when the plan is carried out."""
        plan = self.plan
        if plan.repeat_s:
            if time.perf_counter() - self.started > plan.repeat_s:
                return None
        elif self.sent >= len(plan.requests):
            return None
        self.sent += 1
        return plan.requests[(self.sent - 1) % len(plan.requests)]


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self.loop.create_future()
        self.answer = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def begin(self) -> None:
        due_s = self.run.started + self.run.sent * self.run.plan.every_s
        body = self.run.next_request()
        if body is None:
            self.ended.set_result(None)
            self.transport.close()
        elif (wait_s := due_s - time.perf_counter()) > 0:
            self.loop.call_later(wait_s, self.write, body)
        else:
            self.write(body)

    def write(self, body: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.transport.write(body)

    def data_received(self, data: bytes) -> None:
        self.answer = answer = self.answer + data if self.answer else data
        head_end = answer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        _, found, rest = answer[:head_end].lower().partition(b"\r\ncontent-length:")
        length = int(rest.partition(b"\r\n")[0]) if found else 0
        if len(answer) < head_end + 4 + length:
            return
        self.run.latencies_ms.append((time.perf_counter() - self.sent_at) * 1000)
        self.run.answered_at.append(time.time())
        self.run.statuses[int(answer[9:12])] += 1
        self.answer = b""
        self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))


async def _carry_out(plan: Plan) -> Report:
    loop = asyncio.get_running_loop()
    run = _Run(plan)
    connections = [
        (await loop.create_connection(lambda: _Connection(run), "127.0.0.1", plan.port))[1]
        for _ in range(plan.connections)
    ]
    cpu_started = time.process_time()
    run.started = time.perf_counter()
    for connection in connections:
        connection.begin()
    await asyncio.gather(*(connection.ended for connection in connections))
    return Report(
        time.perf_counter() - run.started,
        time.process_time() - cpu_started,
        dict(run.statuses),
        run.latencies_ms,
        run.answered_at,
    )


if __name__ == "__main__":
    plan = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan)
    sys.stdout.buffer.write(msgspec.msgpack.encode(asyncio.run(_carry_out(plan))))
