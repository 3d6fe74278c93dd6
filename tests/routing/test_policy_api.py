"""The policy, the value model and decisions over HTTP."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.routing.core.policy import from_json
from apps.routing.core.rule import Request, Room, Rule
from apps.routing.planning import pace_policy
from apps.routing.policy_memory import forget_live
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_customer
from tests.conftest import make_key, native_event


@pytest.fixture
def call(client: Client, tenant: TenantInfo) -> Any:
    key = make_key(tenant.id, "ingest", "route", "read", "manage")

    def send(path: str, body: Any = None, method: str = "", **headers: str) -> Any:
        return client.generic(
            method or ("GET" if body is None else "POST"),
            f"/api/v1{path}",
            "" if body is None else json.dumps(body),
            content_type="application/json",
            headers=key.headers | {name.replace("_", "-"): v for name, v in headers.items()},
        )

    return send


def test_a_router_applies_the_policy_and_asks_only_for_what_changed(
    tenant: TenantInfo, call: Any, post_events: Any
) -> None:
    post_events([native_event(department="sales", task="chat") for _ in range(40)])
    first = call("/routing/policy")
    assert first.status_code == 200
    policy = from_json(first.content)
    room = Room(
        policy.month_left_usd,
        policy.day_left_usd,
        {name: row.left_usd for name, row in policy.departments.items()},
        policy.local_requests_left,
    )
    request = Request("sales", "standard", "chat", 1000, 200.0, 500.0, 0.02, 0.5)
    assert Rule(policy).decide(request, room).backend == "openai/gpt-4o-mini"
    etag = first.headers["ETag"]
    assert call("/routing/policy", If_None_Match=etag).status_code == 304
    waited = call("/routing/policy?wait=0.6", If_None_Match=etag)
    assert (waited.status_code, waited.content) == (304, b"")
    pace_policy(tenant.id, now=datetime.now(UTC) + timedelta(seconds=1))
    forget_live(tenant.id)
    second = call("/routing/policy", If_None_Match=etag)
    assert second.status_code == 200
    assert from_json(second.content).version > policy.version
    assert call("/routing/policy?wait=31", If_None_Match=etag).status_code == 422
    history = call("/routing/policy/history").json()["rows"]
    assert history[-1]["reasons"][0] == "a router asked for the first policy"


def test_only_routers_read_the_policy(tenant: TenantInfo, client: Client) -> None:
    reader = make_key(tenant.id, "read")
    assert client.get("/api/v1/routing/policy", headers=reader.headers).status_code == 403


def test_a_customers_tier_and_floor_choose_and_are_told(tenant: TenantInfo, call: Any) -> None:
    with tenant_scope(tenant.id):
        create_customer(external_id="vireo", name="Vireo", tier="enterprise", now=datetime.now(UTC))
    both = ["openai/gpt-4.1-nano", "openai/gpt-4o-mini"]
    asked = {
        "request_id": uuid.uuid4().hex,
        "input_text": "x" * 4000,
        "max_output_tokens": 500,
        "task": "chat",
        "candidates": both,
    }
    free = call("/routing/decisions", asked | {"tier": "free"}).json()
    assert free["backend"] == "openai/gpt-4.1-nano"
    premium = call("/routing/decisions", asked | {"customer": "vireo"}).json()
    assert premium["backend"] == "openai/gpt-4o-mini"
    assert "the floor of enterprise is 0.88" in premium["alternatives"][0]["reason"]
    picky = call("/routing/decisions", asked | {"min_quality": 0.99})
    assert (picky.status_code, picky.json()["code"]) == (422, "below_the_floor")
    assert "gpt-4o-mini, has 0.89" in picky.json()["detail"]


def test_what_is_wanted_of_routing_is_kept_with_its_reason(call: Any) -> None:
    wanted = {"content": {"refusal_multiplier": 0.6}, "reason": "refusals hurt"}
    made = call("/routing/value-model", wanted, "PUT").json()
    assert made["version"] == 1
    change = {"path": "refusal_multiplier", "from": 0.3, "to": 0.6}
    assert made["versions"][0]["changes"] == [change]
    bad = call("/routing/value-model", wanted | {"content": {"floors": {"free": 1}}}, "PUT")
    assert (bad.status_code, bad.json()["field"]) == (422, "floors.free")
    mode = {"mode": "enforce", "reason": "sure by now"}
    assert call("/routing/modes", mode, "PUT").json()["mode"] == "enforce"
    assert call("/routing/modes", mode | {"department": "nobody"}, "PUT").status_code == 422
    ban = {"action": "ban", "backend": "openai/none", "reason": "x"}
    assert call("/routing/overrides", ban).json()["field"] == "backend"
    shadow = call("/routing/shadows", {"name": "half", "budget_factor": "0.5", "reason": "try"})
    (row,) = shadow.json()["rows"]
    assert call(f"/routing/shadows/{row['id']}", method="DELETE").json()["rows"] == []
    assert call(f"/routing/shadows/{row['id']}", method="DELETE").status_code == 404
    assert call("/routing/decisions").json() == {"rows": [], "estimates": [], "shadows": []}
