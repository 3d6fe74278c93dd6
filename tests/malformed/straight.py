"""Bodies straight at what stands behind the doors: http_body, adapter, answer, ingest in bulk.

No sockets and no sign-in: a few thousand bodies a second, which HTTP could not carry.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from django.core.handlers.wsgi import WSGIRequest

from apps.tenants.core.access import KeyIdentity
from apps.tenants.problems import Problem
from apps.usage.adapters.cloudevents import parse_cloudevents
from apps.usage.adapters.litellm import parse_litellm
from apps.usage.adapters.native import parse_native
from apps.usage.adapters.otlp import parse_otlp_traces
from apps.usage.api import parse_body
from apps.usage.core.events import Parsed, Rejection, UsageEvent
from apps.usage.http_body import held_body
from apps.usage.services import ingest_events
from tests.malformed.drafts import Body
from tests.malformed.findings import Findings
from tests.malformed.values import SECRET

EVENTS_AT_ONCE = 2_000
_encode = msgspec.json.encode


@dataclass
class Straight:
    """Takes bodies, checks what becomes of each, and writes their good rows."""

    key: KeyIdentity
    now: datetime
    findings: Findings
    _waiting: list[UsageEvent] = field(default_factory=list)
    _planted: set[str] = field(default_factory=set)

    def take(self, number: int, body: Body) -> None:
        """Read a body as its door would; what is good of it waits to be written."""
        self.findings.count("bodies")
        try:
            parsed = read(body, now=self.now)
        except Problem as problem:
            self.findings.count(f"answered {problem.status}")
            self._check_problem(number, body, problem)
            return
        except Exception as error:  # anything else would be a 500
            self._fault(number, body, f"{type(error).__name__}: {error}")
            return
        self.findings.count("read")
        self._check_parsed(number, body, parsed)
        self._waiting += parsed.events
        self._planted.update(body.planted)
        if len(self._waiting) >= EVENTS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits. A row that cannot be written is found by halving."""
        events, self._waiting = self._waiting, []
        self._write(events)
        self._planted.clear()

    def _write(self, events: list[UsageEvent]) -> None:
        if not events:
            return
        parsed = Parsed(events=events, indexes=list(range(len(events))), rejections=[])
        try:
            outcome = ingest_events(self.key, parsed, now=self.now)
            answer = _encode(outcome)
        except Exception as error:  # a good row beside this one would be lost
            if len(events) == 1:
                self.findings.fault(f"{type(error).__name__}: {error}", f"{events[0]!r}")
            else:
                half = len(events) // 2
                self._write(events[:half])
                self._write(events[half:])
            return
        self.findings.count("taken", outcome.accepted)
        self.findings.count("refused by ingest", len(outcome.rejected))
        self._check_planted(outcome.rejected, answer)
        if SECRET.encode() in answer:
            self.findings.fault("ingest's answer repeats a prompt", f"{answer!r}")

    def _check_planted(self, rejected: list[Rejection], answer: bytes) -> None:
        if self._planted.intersection(row.id for row in rejected if row.id):
            self.findings.fault("ingest refused a good row", f"{answer!r}")

    def _check_problem(self, number: int, body: Body, problem: Problem) -> None:
        answer = _encode(problem.as_dict())
        if problem.status >= 500 or not (problem.code and problem.detail):
            self._fault(number, body, f"answered {problem.status}", answer)
        if SECRET.encode() in answer:
            self._fault(number, body, "the answer repeats a prompt", answer)
        if body.planted:
            self._fault(number, body, f"good rows were refused as {problem.code}", answer)

    def _check_parsed(self, number: int, body: Body, parsed: Parsed) -> None:
        answer = _encode(parsed.rejections)
        if SECRET.encode() in answer:
            self._fault(number, body, "a refusal repeats a prompt", answer)
        if not all(r.code and r.detail and r.index >= 0 for r in parsed.rejections):
            self._fault(number, body, "a refusal names no row or reason", answer)
        self.findings.count("rows refused", len(parsed.rejections))
        taken = {event.event_id for event in parsed.events}
        if not taken.issuperset(body.planted):
            self._fault(number, body, "good rows were lost", answer)
        self.findings.count("planted", len(body.planted))
        rows = len(parsed.events) + len(parsed.rejections)
        if body.rows is not None and rows != body.rows:
            self._fault(number, body, "not every row was told of", answer)

    def _fault(self, number: int, body: Body, what: str, answer: bytes = b"") -> None:
        self.findings.fault(f"{body.damage}, {body.door}: {what}", f"body {number}: {answer!r}")


def read(body: Body, *, now: datetime) -> Parsed:
    """As the door at `body.path` reads it. Raises Problem."""
    headers = {name.lower(): value for name, value in body.headers.items()}
    parse = _parser(body.path, headers, now)
    with held_body(_request(body)) as raw:
        return parse_body(parse, raw)


def _parser(path: str, headers: Mapping[str, str], now: datetime) -> Callable[[bytes], Parsed]:
    if path == "/api/v1/usage/events":
        return parse_native
    if path == "/api/v1/usage/litellm":
        return parse_litellm
    if path == "/api/v1/events":
        return lambda body: parse_cloudevents(body, headers, now=now)
    if path.endswith("/traces"):
        return lambda body: parse_otlp_traces(body, headers.get("content-type", ""))
    return lambda body: Parsed(events=[], indexes=[], rejections=[])


def _request(body: Body) -> WSGIRequest:
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": body.path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "CONTENT_LENGTH": str(len(body.wire)),
        "CONTENT_TYPE": body.headers.get("Content-Type", ""),
        "wsgi.input": io.BytesIO(body.wire),
        "wsgi.url_scheme": "http",
    }
    for name, value in body.headers.items():
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return WSGIRequest(environ)


def run(straight: Straight, bodies: Callable[[int], Body], numbers: range) -> None:
    for number in numbers:
        straight.take(number, bodies(number))
    straight.flush()
