"""The alerts pages, as admins use them and others see them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Any

import pytest
from django.test import Client

from apps.alerts.delivery import deliver_due
from apps.alerts.models import Channel
from apps.alerts.selectors import list_channels
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.alerts.conftest import Hook
from tests.alerts.receivers import HttpReceiver
from tests.conftest import MakeTenant

SignIn = Callable[..., Client]
SETTINGS = {
    "name": "On call",
    "min_severity": "warning",
    "min_amount_usd": "10",
    "quiet_from": "22:00",
    "quiet_until": "07:00",
    "time_zone": "",
    "digest": "none",
    "digest_hour": "8",
    "max_per_hour": "5",
    "max_per_day": "20",
    "kinds": ["anomaly"],
    "critical_passes": "on",
}


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def only_channel(tenant: TenantInfo) -> Channel:
    with tenant_scope(tenant.id):
        return Channel.objects.get()


def test_admin_adds_a_webhook_and_sees_its_secret_once(
    tenant: TenantInfo, sign_in: SignIn, receiver: HttpReceiver
) -> None:
    admin = sign_in("admin")
    target = f"{receiver.url}/token-in-the-path"
    html = admin.post("/alerts/new/webhook", SETTINGS | {"target": target}).content.decode()
    kept = only_channel(tenant)
    assert kept.secret in html
    assert (kept.target, kept.kinds, kept.min_severity) == (target, ["anomaly"], "warning")
    after = admin.get("/alerts").content.decode()
    assert "On call" in after
    assert "quiet from 22:00 to 07:00, critical ones always" in after
    assert "anomaly, warnings and critical ones, from 10.00 USD" in after
    for page in (after, admin.get(f"/alerts/channels/{kept.pk}").content.decode()):
        assert kept.secret not in page
        assert "token-in-the-path" not in page


def test_change_keeps_the_address_that_is_not_typed_again(
    tenant: TenantInfo, sign_in: SignIn, hook: Hook
) -> None:
    channel_id = hook().id
    before = only_channel(tenant)
    given = SETTINGS | {"name": "Night shift", "digest": "daily", "digest_hour": "6"}
    response = sign_in("admin").post(f"/alerts/channels/{channel_id}", given)
    assert response.status_code == 302
    after = only_channel(tenant)
    assert (after.name, after.digest, after.digest_hour) == ("Night shift", "daily", 6)
    assert (after.target, after.secret) == (before.target, before.secret)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"target": "https://169.254.169.254/latest"}, "not a global address"),
        ({"target": ""}, "An address has 1 to"),
        ({"name": ""}, "This is needed."),
        ({"quiet_until": ""}, "Quiet hours have a start and an end."),
        ({"quiet_until": "22:00"}, "Quiet hours end when they start."),
        ({"time_zone": "Berlin"}, "is not an IANA time zone"),
        ({"max_per_day": "2"}, "messages a day, not 2"),
        ({"min_amount_usd": "-1"}, "An amount is 0 or more"),
        ({"min_amount_usd": "much"}, "This is not a number."),
        ({"min_severity": "loud"}, "Choose one of the list."),
        ({"kinds": ["nonsense"]}, "kinds is"),
    ],
)
def test_what_cannot_be_is_refused_at_its_field_and_kept_as_typed(
    tenant: TenantInfo, sign_in: SignIn, change: dict[str, Any], sentence: str
) -> None:
    given = SETTINGS | {"target": "https://hooks.example.com/x"} | change
    response = sign_in("admin").post("/alerts/new/webhook", given)
    assert response.status_code == 422
    html = response.content.decode()
    assert sentence.lower() in words(html).lower()
    assert given["max_per_hour"] in html
    with tenant_scope(tenant.id):
        assert not Channel.objects.exists()


def test_second_channel_of_a_name_is_refused(sign_in: SignIn, hook: Hook) -> None:
    hook("On call")
    given = SETTINGS | {"name": "on CALL", "target": "https://hooks.example.com/x"}
    response = sign_in("admin").post("/alerts/new/webhook", given)
    assert response.status_code == 422
    assert "another channel is called" in words(response.content.decode()).lower()


def test_test_button_sends_and_the_log_says_that_it_arrived(
    sign_in: SignIn, hook: Hook, receiver: HttpReceiver
) -> None:
    channel_id = hook(quiet_from=time(0, 0), quiet_until=time(23, 59), digest="daily").id
    admin = sign_in("admin")
    said = admin.post("/alerts/channels/test", {"channel_id": channel_id}).content.decode()
    assert "A test is on its way" in said
    deliver_due(now=datetime.now(UTC))
    assert len(receiver.requests) == 1
    log = words(sign_in("viewer").get("/alerts/log").content.decode())
    assert "A test from Costboard" in log
    assert "hook sent" in log
    assert "answer 204" in log


def test_test_button_has_a_limit(sign_in: SignIn, hook: Hook) -> None:
    channel_id, admin = hook().id, sign_in("admin")
    statuses = [
        admin.post("/alerts/channels/test", {"channel_id": channel_id}).status_code
        for _ in range(21)
    ]
    assert statuses == [200] * 20 + [422]


def test_switch_rotate_and_remove(tenant: TenantInfo, sign_in: SignIn, hook: Hook) -> None:
    channel_id, admin = hook().id, sign_in("owner")
    given = {"channel_id": channel_id}
    assert "off" in admin.post("/alerts/channels/switch", given | {"to": "off"}).content.decode()
    assert not only_channel(tenant).enabled
    admin.post("/alerts/channels/switch", given | {"to": "on"})
    first = only_channel(tenant).secret
    html = admin.post("/alerts/channels/rotate", given).content.decode()
    assert only_channel(tenant).secret in html
    assert only_channel(tenant).previous_secret == first
    admin.post("/alerts/channels/remove", given)
    with tenant_scope(tenant.id):
        assert list_channels(now=datetime.now(UTC)) == []


@pytest.mark.parametrize(
    "address",
    [
        "/alerts/new/webhook",
        "/alerts/channels/{}",
        "/alerts/channels/test",
        "/alerts/channels/switch",
        "/alerts/channels/rotate",
        "/alerts/channels/remove",
    ],
)
def test_viewer_sees_channels_and_changes_none(
    tenant: TenantInfo, sign_in: SignIn, hook: Hook, address: str
) -> None:
    channel_id, viewer = hook().id, sign_in("viewer")
    assert "hook" in viewer.get("/alerts").content.decode()
    before = only_channel(tenant)
    response = viewer.post(address.format(channel_id), SETTINGS | {"channel_id": channel_id})
    assert response.status_code == 403
    assert only_channel(tenant).__dict__ | {"_state": 0} == before.__dict__ | {"_state": 0}


def test_another_tenants_channel_is_not_there(
    make_tenant: MakeTenant, sign_in: SignIn, hook: Hook
) -> None:
    channel_id = hook().id
    stranger = sign_in("admin", make_tenant().id)
    assert stranger.get(f"/alerts/channels/{channel_id}").status_code == 404
    for action in ("test", "switch", "rotate", "remove"):
        response = stranger.post(f"/alerts/channels/{action}", {"channel_id": channel_id})
        assert response.status_code == 422
    assert "hook" not in words(stranger.get("/alerts").content.decode()).split()
    assert stranger.get(f"/alerts/log?channel={channel_id}").status_code == 200


@pytest.mark.parametrize("query", ["channel=x&kind=%00&before=-1", "channel=99999999999999999999"])
def test_log_bears_any_query(sign_in: SignIn, query: str) -> None:
    assert sign_in("viewer").get(f"/alerts/log?{query}").status_code == 200
