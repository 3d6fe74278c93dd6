"""Bodies over real HTTP to the production web server: keep-alive connections, every door."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.malformed.drafts import Body
from tests.malformed.findings import Findings
from tests.malformed.values import SECRET
from tests.usage.adapters.bodies import JSON, PROTOBUF

TIMEOUT_S = 60.0
RETRIES = 20
RETRY_AFTER_S = 2.0
CONNECTIONS = 8
PROBLEM = "application/problem+json"
Answer = tuple[int, dict[str, str], bytes]


class Poster:
    """Posts what it is given over one connection, and checks each answer."""

    def __init__(
        self, url: str, headers: dict[str, str], bodies: Iterator[tuple[int, Body]],
        findings: Findings,
    ) -> None:  # fmt: skip
        self._address = urlsplit(url)
        self._headers = headers
        self._bodies = bodies
        self._findings = findings
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> list[str]:
        """Post until none is left; returns the ids of the good rows."""
        planted: list[str] = []
        for number, body in self._bodies:
            try:
                answer = self._post_until_taken_up(body)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                self._findings.fault(f"{body.damage}: no answer, {type(error).__name__}", number)
                continue
            check(self._findings, number, body, answer)
            planted += body.planted
        self._close()
        return planted

    def _post_until_taken_up(self, body: Body) -> Answer:
        """As a client does: what is too busy says when to come back. A machine may be that busy."""
        answer = self._post(body)
        for _ in range(RETRIES):
            status, headers, _content = answer
            if status != 503 or "retry-after" not in headers:
                break
            self._findings.count("asked to come back")
            time.sleep(min(float(headers["retry-after"]), RETRY_AFTER_S))
            answer = self._post(body)
        return answer

    def _post(self, body: Body) -> Answer:
        if self._connection is None:
            host, port = self._address.hostname or "", self._address.port
            self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        headers = {name: value.encode("latin-1", "replace") for name, value in body.headers.items()}
        self._connection.request("POST", body.path, body.wire, self._headers | headers)  # type: ignore[arg-type]
        response = self._connection.getresponse()
        content = response.read()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, content

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def check(findings: Findings, number: int, body: Body, answer: Answer) -> None:
    """No 5xx, a refusal in the door's own shape, no prompt repeated, every good row taken."""
    status, headers, content = answer
    findings.count("bodies")
    findings.count(f"answered {status}")

    def fault(what: str) -> None:
        findings.fault(f"{body.damage}, {body.door}: {what}", f"body {number}: {answer!r}")

    if status >= 500:
        fault(f"answered {status}")
    if SECRET.encode() in content or SECRET in str(headers):
        fault("the answer repeats a prompt")
    if status < 300:
        _check_taken(body, headers, content, fault)
    else:
        if body.planted:
            fault(f"good rows were refused with {status}")
        _check_refusal(body, status, headers, content, fault)


def _check_taken(
    body: Body, headers: dict[str, str], content: bytes, fault: Callable[[str], None]
) -> None:
    if body.path.endswith(("/traces", "/metrics", "/logs")):
        if headers["content-type"] == PROTOBUF:
            ExportTraceServiceResponse.FromString(content)
        elif not isinstance(msgspec.json.decode(content), dict):
            fault("not an ExportTraceServiceResponse")
        return
    if body.path == "/api/v1/events":
        taken = int(headers["costboard-accepted"]) + int(headers["costboard-duplicates"])
        refused = int(headers["costboard-rejected"])
    else:
        told = msgspec.json.decode(content)
        taken, refused = told["accepted"] + told["duplicates"], len(told["rejected"])
        if {row["id"] for row in told["rejected"]} & set(body.planted):
            fault("a good row was refused")
        if not all(row["code"] and row["detail"] and row["index"] >= 0 for row in told["rejected"]):
            fault("a refusal names no row or reason")
    if taken < len(body.planted):
        fault(f"{taken} rows taken, {len(body.planted)} were good")
    if body.rows is not None and taken + refused != body.rows:
        fault(f"{taken} rows taken and {refused} refused of {body.rows}")


def _check_refusal(
    body: Body, status: int, headers: dict[str, str], content: bytes, fault: Callable[[str], None]
) -> None:
    content_type = headers.get("content-type", "")
    if body.path.endswith(("/traces", "/metrics", "/logs")):
        if content_type == PROTOBUF:
            return
        if content_type != JSON or not json.loads(content)["message"]:
            fault(f"refused as {content_type}, not as OTLP prescribes")
        return
    if content_type != PROBLEM:
        fault(f"refused as {content_type}")
        return
    problem = json.loads(content)
    if problem["status"] != status or not (problem["code"] and problem["detail"]):
        fault("the problem says neither what nor why")
    if status == 422 and not all(row["code"] and row["detail"] for row in problem["rejected"]):
        fault("a refusal names no reason")


def post_all(
    url: str, headers: dict[str, str], bodies: Callable[[int], Body], numbers: Sequence[int],
    findings: Findings,
) -> list[str]:  # fmt: skip
    """Post them all; returns the ids of the good rows."""
    shared = _locked((number, bodies(number)) for number in numbers)
    posters = [Poster(url, headers, shared, findings) for _ in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return [row_id for planted in pool.map(Poster.run, posters) for row_id in planted]


def _locked(bodies: Iterator[tuple[int, Body]]) -> Iterator[tuple[int, Body]]:
    """One iterator for many threads."""
    lock = threading.Lock()
    ended = object()

    def take() -> object:
        with lock:
            return next(bodies, ended)

    return iter(take, ended)  # type: ignore[arg-type]
