"""A few thousand of the soak's malformed bodies, and that their checks can fail."""

import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest
import schemathesis

from tests.conftest import Key
from tests.malformed.bodies import Maker
from tests.malformed.drafts import Lot
from tests.malformed.findings import Findings
from tests.malformed.native_schema import take_generated_events
from tests.malformed.openapi import RETRIES, call_every_operation, call_until_taken_up
from tests.malformed.over_http import post_all
from tests.malformed.server import count_of_ids
from tests.malformed.straight import Straight, run
from tests.web import WebServer

LOT = Lot(20261123)
MAKER = Maker(LOT, bomb_every=1_500)


def test_bodies_straight_at_the_adapters_do_no_harm(key: Key) -> None:
    findings = Findings()
    run(Straight(key.identity, LOT.now, findings), MAKER.body, range(3_000))
    assert findings.lines() == []
    assert findings.counts["planted"] > 3_000


def test_events_that_hypothesis_makes_do_no_harm(key: Key) -> None:
    findings = Findings()
    take_generated_events(Straight(key.identity, LOT.now, findings), 200)
    assert findings.lines() == []


def test_bodies_over_http_do_no_harm(web: WebServer, key: Key) -> None:
    findings = Findings()
    planted = post_all(web.url, key.headers, MAKER.body, range(10_000, 10_300), findings)
    assert findings.lines() == []
    assert count_of_ids(key.identity.tenant_id, planted) == len(planted) > 200


@pytest.mark.slow
def test_every_operation_of_the_openapi_document_answers(web: WebServer, key: Key) -> None:
    findings = Findings()
    assert call_every_operation(web.url, key.headers, findings, examples=3) > 150
    assert findings.lines() == []
    assert findings.counts["called: 200"] > 0


@pytest.mark.parametrize(
    ("harm", "told"),
    [({"planted": ("never-sent",)}, "good rows"), ({"rows": 99}, "not every row was told of")],
)
def test_the_checks_can_fail(key: Key, harm: dict[str, object], told: str) -> None:
    findings = Findings()
    straight = Straight(key.identity, LOT.now, findings)
    body = next(b for b in map(MAKER.body, range(100)) if b.damage == "cut")
    straight.take(0, replace(body, **harm))  # type: ignore[arg-type]
    assert any(told in line for line in findings.lines())


class Busy(BaseHTTPRequestHandler):
    """Answers 503 with a moment to come back at, and then does what it is asked."""

    refusals: ClassVar[list[int]]

    def do_POST(self) -> None:
        self.refusals[0] -= 1
        is_busy = self.refusals[0] >= 0
        problem = b'{"code": "budgets_unknown", "detail": "not just now"}'
        self.send_response(503 if is_busy else 201)
        self.send_header("Content-Length", str(len(problem)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(problem)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize(("refusals", "status"), [(1, 201), (100, 503)])
def test_who_is_told_to_come_back_does_and_a_503_that_stays_is_told_of(
    refusals: int, status: int
) -> None:
    findings = Findings()
    Busy.refusals = [refusals]
    document = {
        "openapi": "3.1.0",
        "info": {"title": "busy", "version": "1"},
        "paths": {"/x": {"post": {"responses": {"201": {"description": "made"}}}}},
    }
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        case = schemathesis.openapi.from_dict(document)["/x"]["POST"].Case()
        url = f"http://127.0.0.1:{server.server_port}"
        answer = call_until_taken_up(case, url, {}, findings)
        server.shutdown()
    assert answer.status_code == status
    assert findings.counts["busy: budgets_unknown: not just now"] == min(refusals, RETRIES)
