"""A few thousand of the soak's malformed bodies, and that their checks can fail."""

from dataclasses import replace

import pytest

from tests.conftest import Key
from tests.malformed.bodies import Maker
from tests.malformed.drafts import Lot
from tests.malformed.findings import Findings
from tests.malformed.native_schema import take_generated_events
from tests.malformed.openapi import call_every_operation
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
