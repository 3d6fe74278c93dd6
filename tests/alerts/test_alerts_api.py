"""Channels and the log over HTTP: what keys may do, and what is never told."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.alerts.delivery import deliver_due
from apps.alerts.models import Channel
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.alerts.conftest import Hook
from tests.alerts.receivers import HttpReceiver
from tests.conftest import Key, MakeTenant, make_key

CHANNELS = "/api/v1/alert-channels"
Tell = Callable[..., bool]


@pytest.fixture
def manager(tenant: TenantInfo) -> Key:
    return make_key(tenant.id, "manage", "read")


class Caller:
    def __init__(self, key: Key) -> None:
        self.client, self.key = Client(), key

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        return self.client.generic(
            method,
            path,
            "" if body is None else json.dumps(body),
            content_type="application/json",
            headers=self.key.headers,
        )


def hook_of(receiver: HttpReceiver, **more: Any) -> dict[str, Any]:
    return {"kind": "webhook", "name": "ops", "target": f"{receiver.url}/s3cret"} | more


def test_channel_is_made_read_changed_tested_and_removed(
    manager: Key, receiver: HttpReceiver, tenant: TenantInfo
) -> None:
    call = Caller(manager)
    made = call("POST", CHANNELS, hook_of(receiver, min_amount_usd="5.50", kinds=["anomaly"]))
    assert made.status_code == 201
    body = made.json()
    assert body["secret"].startswith("whsec_")
    assert (body["target"], body["min_amount_usd"]) == (f"{receiver.url}/…", "5.5")
    path = f"{CHANNELS}/{body['id']}"
    changed = call("PATCH", path, {"quiet_from": "22:00", "quiet_until": "06:30", "kinds": []})
    assert changed.json()["quiet_until"] == "06:30"
    assert changed.json()["kinds"] == []
    assert call("PATCH", path, {"quiet_from": None, "quiet_until": None}).status_code == 200
    with tenant_scope(tenant.id):
        assert Channel.objects.get().target.endswith("/s3cret")
    tested = call("POST", f"{path}/test")
    assert (tested.status_code, tested.json()["state"]) == (202, "pending")
    deliver_due(now=datetime.now(UTC))
    (row,) = call("GET", "/api/v1/alerts?kind=test").json()["rows"]
    (delivery,) = row["deliveries"]
    assert (delivery["state"], delivery["attempts"][0]["http_status"]) == ("sent", 204)
    assert delivery["message_id"] == receiver.ids[0]
    rotated = call("POST", f"{path}/secret").json()
    assert rotated["secret"] != body["secret"]
    listed = call("GET", CHANNELS).content.decode()
    assert "s3cret" not in listed
    assert "whsec_" not in listed
    assert call("DELETE", path).status_code == 204
    assert call("GET", path).status_code == 404
    assert call("GET", CHANNELS).json() == {"rows": []}
    assert len(call("GET", "/api/v1/alerts").json()["rows"]) == 1


@pytest.mark.parametrize("scopes", [("read",), ("route",), ("ingest", "route", "read")])
def test_routers_key_does_not_say_where_alerts_go(
    tenant: TenantInfo, hook: Hook, receiver: HttpReceiver, scopes: tuple[str, ...]
) -> None:
    call, path = Caller(make_key(tenant.id, *scopes)), f"{CHANNELS}/{hook().id}"
    refused = [
        call("POST", CHANNELS, hook_of(receiver)),
        call("PATCH", path, {"target": "https://evil.example/"}),
        call("DELETE", path),
        call("POST", f"{path}/test"),
        call("POST", f"{path}/secret"),
    ]
    assert {response.status_code for response in refused} == {403}


def test_another_tenants_channel_is_not_there(
    make_tenant: MakeTenant, hook: Hook, tell: Tell
) -> None:
    path = f"{CHANNELS}/{hook().id}"
    tell()
    call = Caller(make_key(make_tenant().id, "manage", "read"))
    answers = [
        call("GET", path),
        call("PATCH", path, {"name": "mine"}),
        call("DELETE", path),
        call("POST", f"{path}/test"),
        call("POST", f"{path}/secret"),
    ]
    assert {response.status_code for response in answers} == {404}
    assert call("GET", "/api/v1/alerts").json()["rows"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"target": "https://10.0.0.1/"}, "target"),
        ({"target": "https://localhost/"}, "target"),
        ({"kind": "apprise", "target": "json://example.com"}, "target"),
        ({"kind": "email", "target": "nobody"}, "target"),
        ({"kind": "pigeon"}, "kind"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"kinds": ["nonsense"]}, "kinds"),
        ({"digest_hour": 24}, "digest_hour"),
        ({"max_per_hour": 0}, "max_per_hour"),
        ({"max_per_day": 10**30}, "max_per_day"),
        ({"min_amount_usd": "-1"}, "min_amount_usd"),
        ({"min_amount_usd": "1e-30"}, "min_amount_usd"),
        ({"quiet_from": "22:00"}, "quiet_until"),
        ({"quiet_from": "22:00Z", "quiet_until": "06:00"}, "quiet_from"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"enabled": None}, "enabled"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_cannot_be_is_refused_naming_the_field(
    manager: Key, receiver: HttpReceiver, change: dict[str, Any], field: str
) -> None:
    response = Caller(manager)("POST", CHANNELS, hook_of(receiver) | change)
    assert response.status_code == 422
    assert response.json()["field"].rpartition(".")[2] == field


def test_number_of_channels_is_bounded(manager: Key, receiver: HttpReceiver) -> None:
    call = Caller(manager)
    statuses = [
        call("POST", CHANNELS, hook_of(receiver, name=f"n{number}")).status_code
        for number in range(51)
    ]
    assert statuses == [201] * 50 + [422]


def test_log_goes_on_from_page_to_page(manager: Key, hook: Hook, tell: Tell) -> None:
    hook()
    for number in range(5):
        tell(f"finding:{number}")
    call, seen, query = Caller(manager), [], ""
    while True:
        page = call("GET", f"/api/v1/alerts?limit=2{query}").json()
        seen += [row["key"] for row in page["rows"]]
        if page["next_before_id"] is None:
            break
        query = f"&before_id={page['next_before_id']}"
    assert seen == [f"finding:{number}" for number in (4, 3, 2, 1, 0)]


def test_statements_of_the_log_do_not_grow_with_it(manager: Key, hook: Hook, tell: Tell) -> None:
    call = Caller(manager)

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert call("GET", "/api/v1/alerts").status_code == 200
            assert call("GET", CHANNELS).status_code == 200
        return len(captured)

    hook("a")
    tell("one")
    deliver_due(now=datetime.now(UTC))
    few = statements()
    for number in range(10):
        hook(f"b{number}")
        tell(f"more:{number}")
    deliver_due(now=datetime.now(UTC))
    assert statements() == few


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "before_id=0", "channel_id=-1"])
def test_bounds_of_the_log_are_told(manager: Key, query: str) -> None:
    response = Caller(manager)("GET", f"/api/v1/alerts?{query}")
    assert response.status_code == 422
    assert response.json()["field"] in query
