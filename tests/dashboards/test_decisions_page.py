"""Recorded decisions: their list, their totals, one with its reasons and its charge."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from django.test import Client

from apps.dashboards.routing.decision_words import agreement, by_backend, flows_title
from apps.routing.decision_log import log_decision, store_decisions
from apps.routing.planning import plan_policy
from apps.routing.selectors import Flow
from tests.conftest import Key, native_event, roll_up
from tests.dashboards.rows import decision_record

MINI, NANO = "openai/gpt-4o-mini", "openai/gpt-4.1-nano"


def test_agreement_counts_what_ran_where_it_was_advised() -> None:
    flows = [Flow(MINI, MINI, 6), Flow(MINI, NANO, 3), Flow(None, NANO, 1)]
    assert str(agreement(flows)) == "0.6"
    first, *_ = by_backend(flows)
    assert (first.name, first.advised, first.ran, first.both) == (MINI, 9, 6, 6)


def test_the_title_says_what_the_policy_would_have_otherwise() -> None:
    refused = by_backend([Flow(None, NANO, 5), Flow(None, MINI, 2), Flow(MINI, MINI, 9)])
    assert flows_title(refused) == f"The policy would have refused 7 that ran, the most on {NANO}"
    moved = by_backend([Flow(MINI, NANO, 5), Flow(None, None, 3)])
    assert flows_title(moved) == f"The policy would have more on {MINI}, less on {NANO}"
    alike = by_backend([Flow(MINI, MINI, 5), Flow(None, None, 3)])
    assert flows_title(alike) == "Traffic went where the policy would have it"


def test_decisions_are_found_explained_and_held_against_their_charges(
    key: Key, client: Client, sign_in: Callable[..., Client]
) -> None:
    tenant_id = key.identity.tenant_id
    viewer = sign_in("viewer")
    assert "No decision was recorded" in viewer.get("/routing/decisions").content.decode()
    plan_policy(tenant_id, now=datetime.now(UTC))
    charged = decision_record(tenant_id, MINI, MINI)
    other = decision_record(tenant_id, NANO, MINI, task="code", propensity=0.02)
    for one in (charged, other):
        log_decision(one)
    while store_decisions():
        pass
    event = native_event(decision_id=charged.decision_id, task="chat")
    answer = client.post(
        "/api/v1/usage/events",
        json.dumps(event),
        content_type="application/json",
        headers=key.headers,
    )
    assert answer.status_code == 200
    roll_up(tenant_id)
    page = viewer.get("/routing/decisions").content.decode()
    assert "50% of 2 decisions" in page
    # 0.000225 USD for an estimate of 0.0001.
    assert "125% more than estimated" in page
    assert "half: nowhere: refused" in page
    found = viewer.get("/routing/decisions?outcome=otherwise").content.decode()
    assert other.decision_id in found
    assert charged.decision_id not in found
    assert "to learn" in viewer.get("/routing/decisions?task=code").content.decode()
    assert "None is like that" in viewer.get("/routing/decisions?customer=x").content.decode()
    assert charged.decision_id not in viewer.get(
        f"/routing/decisions?before={charged.decision_id}"
    ).content.decode()  # fmt: skip
    one = viewer.get(f"/routing/decisions/{charged.decision_id}").content.decode()
    assert "nano refused: loses quality" in one
    charge = one.split('href="/charges/')[1].split('"')[0]
    assert viewer.get(f"/charges/{charge}").status_code == 200
    assert viewer.get(f"/routing/decisions/{uuid.uuid4()}").status_code == 404
    assert "of the advised" in viewer.get("/routing?window=hour").content.decode()
