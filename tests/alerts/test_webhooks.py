"""Webhooks, sent to a real HTTP server: signed, retried, given up, pinned, bounded."""

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address

import pytest
from pytest_django import Settings

from apps.alerts import webhook
from apps.alerts.core.addresses import parse_policy
from apps.alerts.core.signatures import sign
from apps.alerts.delivery import attempt, deliver_due
from apps.alerts.models import Delivery, DeliveryAttempt
from apps.alerts.outbox import claim_due
from apps.alerts.services import (
    ChannelSettings,
    change_channel,
    remove_channel,
    rotate_secret,
    set_channel_enabled,
)
from apps.alerts.targets import WebhookTarget
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.alerts.conftest import NOW, Hook
from tests.alerts.receivers import HttpReceiver, Request

Tell = Callable[..., bool]
States = Callable[[], dict[str, str]]
SOON, MUCH_LATER = NOW + timedelta(seconds=1), NOW + timedelta(days=900)
LOOPBACK = parse_policy("127.0.0.1")


def verify(request: Request, secret: str) -> bool:
    """As the specification says, written apart from what is tested."""
    key = base64.b64decode(secret[len("whsec_") :])
    signed = b".".join(
        [
            request.headers["webhook-id"].encode(),
            request.headers["webhook-timestamp"].encode(),
            request.body,
        ]
    )
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return wanted in request.headers["webhook-signature"].split(" ")


def due_again(tenant: TenantInfo) -> datetime:
    with tenant_scope(tenant.id):
        return Delivery.objects.get().due_at


def test_signature_is_that_of_the_specification() -> None:
    """The example that the specification's own libraries are tested with."""
    signature = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_s=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_alert_arrives_signed_with_what_it_says(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States, tenant: TenantInfo
) -> None:
    added = hook()
    tell(details={"model": "gpt-4o-mini"})
    assert deliver_due(now=SOON) == 1
    (request,) = receiver.requests
    assert verify(request, added.secret)
    assert not verify(request, "whsec_" + base64.b64encode(b"x" * 32).decode())
    sent_at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    assert abs(sent_at - datetime.now(UTC)) < timedelta(minutes=5)
    payload = json.loads(request.body)
    assert payload == {
        "type": "alert.anomaly",
        "timestamp": "2026-11-23T12:00:00Z",
        "data": {
            "tenant": "Test",
            "key": "finding:1",
            "kind": "anomaly",
            "severity": "warning",
            "subject": "About finding:1",
            "body": "Three times the usual.",
            "url": "https://costs.example/anomalies/1",
            "amount_usd": "12.4",
            "raised_at": "2026-11-23T12:00:00Z",
            "details": {"model": "gpt-4o-mini"},
        },
    }
    assert states() == {"finding:1": "sent"}
    assert deliver_due(now=MUCH_LATER) == 0


def test_retry_carries_the_same_id_and_body(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States, tenant: TenantInfo
) -> None:
    added = hook()
    tell()
    receiver.answers = [(503, {}), (429, {"Retry-After": "3600"}), (200, {"X-Request-Id": "r-7"})]
    deliver_due(now=SOON)
    assert states() == {"finding:1": "pending"}
    deliver_due(now=due_again(tenant))
    again_at = due_again(tenant)
    assert again_at - datetime.now(UTC) > timedelta(minutes=59)
    deliver_due(now=again_at - timedelta(seconds=1))
    assert len(receiver.requests) == 2
    deliver_due(now=again_at)
    assert states() == {"finding:1": "sent"}
    assert len(set(receiver.ids)) == 1
    assert len({request.body for request in receiver.requests}) == 1
    assert all(verify(request, added.secret) for request in receiver.requests)
    with tenant_scope(tenant.id):
        delivery = Delivery.objects.get()
        assert (delivery.attempts, delivery.provider_id) == (3, "r-7")
        log = DeliveryAttempt.objects.order_by("number").values_list("outcome", "http_status")
        assert list(log) == [("retry", 503), ("retry", 429), ("sent", 200)]


@pytest.mark.parametrize("status", [400, 401, 404, 410, 301, 307])
def test_refusal_and_redirect_are_final(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States, status: int
) -> None:
    hook()
    tell()
    receiver.answers = [(status, {"Location": f"{receiver.url}/elsewhere"})]
    deliver_due(now=SOON)
    assert deliver_due(now=MUCH_LATER) == 0
    assert states() == {"finding:1": "failed"}
    assert [request.path for request in receiver.requests] == ["/hook"]


def test_it_is_given_up_after_the_last_attempt(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States, tenant: TenantInfo
) -> None:
    hook()
    tell()
    receiver.answers = [(500, {})] * 20
    moment = SOON
    while deliver_due(now=moment):
        moment = due_again(tenant)
    assert len(receiver.requests) == 10
    assert states() == {"finding:1": "failed"}


def test_both_secrets_sign_for_a_day_after_a_rotation(
    hook: Hook, tell: Tell, receiver: HttpReceiver, tenant: TenantInfo
) -> None:
    old = hook()
    rotated_at = datetime.now(UTC)
    with tenant_scope(tenant.id):
        new = rotate_secret(old.id, actor="test", now=rotated_at)
    for key, moment in (("a", timedelta(hours=23)), ("b", timedelta(hours=25))):
        tell(key, now=rotated_at)
        deliver_due(now=rotated_at + moment)
    during, after = receiver.requests
    assert verify(during, old.secret)
    assert verify(during, new)
    assert verify(after, new)
    assert not verify(after, old.secret)


def test_channel_switched_off_or_removed_gets_nothing_more(
    hook: Hook, tell: Tell, receiver: HttpReceiver, tenant: TenantInfo
) -> None:
    off, gone = hook("off").id, hook("gone").id
    tell()
    with tenant_scope(tenant.id):
        set_channel_enabled(off, enabled=False, actor="test", now=NOW)
        remove_channel(gone, actor="test", now=NOW)
    deliver_due(now=SOON)
    assert receiver.requests == []
    with tenant_scope(tenant.id):
        assert set(Delivery.objects.values_list("state", flat=True)) == {"dropped"}
        channel = Delivery.objects.get(channel_id=gone).channel
        assert (channel.target, channel.secret, channel.previous_secret) == ("", "", "")


def test_address_forbidden_since_it_was_saved_is_not_sent_to(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States, settings: Settings
) -> None:
    hook()
    tell()
    settings.ALERT_ALLOW = ""
    deliver_due(now=SOON)
    assert receiver.requests == []
    assert states() == {"finding:1": "failed"}


def test_new_address_takes_what_waits_for_the_old_one(
    hook: Hook, tell: Tell, receiver: HttpReceiver, tenant: TenantInfo
) -> None:
    added = hook()
    tell()
    with tenant_scope(tenant.id):
        change_channel(
            added.id,
            ChannelSettings(name="hook"),
            target=f"{receiver.url}/new",
            actor="test",
            now=NOW,
        )
    deliver_due(now=SOON)
    assert [request.path for request in receiver.requests] == ["/new"]


def test_two_workers_send_each_message_once(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States
) -> None:
    hook("a")
    hook("b")
    for number in range(12):
        tell(f"finding:{number}", amount_usd=Decimal(number))
    together = threading.Barrier(3)

    def work() -> None:
        from django.db import connection

        together.wait()
        try:
            deliver_due(now=SOON)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    deliver_due(now=SOON)
    assert len(receiver.requests) == 24
    assert len(set(receiver.ids)) == 24
    assert set(states().values()) == {"sent"}


def test_claimed_message_is_nobody_elses_until_its_lease_ends(
    hook: Hook, tell: Tell, receiver: HttpReceiver, tenant: TenantInfo
) -> None:
    hook()
    tell()
    (first,) = claim_due(tenant.id, now=SOON, limit=8)
    assert claim_due(tenant.id, now=SOON + timedelta(seconds=59), limit=8) == []
    (second,) = claim_due(tenant.id, now=SOON + timedelta(seconds=61), limit=8)
    assert (first.message_id, first.attempt) == (second.message_id, 1)
    assert second.attempt == 2
    assert first.message.body() == second.message.body()


def test_connection_goes_to_the_checked_address_whatever_the_name_means(
    receiver: HttpReceiver,
) -> None:
    port = int(receiver.url.rpartition(":")[2])
    target = WebhookTarget("http", "hooks.receiver.example", port, "/pinned")
    connection = webhook.PinnedConnection(target, ip_address("127.0.0.1"))
    connection.request("POST", target.path, b"{}", {"Host": target.host_header})
    assert connection.getresponse().status == 204
    connection.close()
    assert receiver.requests[0].headers["host"] == f"hooks.receiver.example:{port}"


def test_silent_receiver_is_left_after_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "SEND_LIMIT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        result = webhook.post_webhook(url, body=b"{}", headers={}, policy=LOOPBACK)
    assert (result.outcome, result.error) == ("retry", "no answer: it took too long")


@pytest.mark.parametrize(
    ("begins", "ends", "outcome"),
    [
        (b"HTTP/1.1 2", b"00 OK\r\n\r\n", "retry"),
        # Its status was said before the limit: that counts.
        (b"HTTP/1.1 200 OK\r\nX: ", b"\r\n\r\n", "sent"),
        (b"HTTP/1.1 404 Not Found\r\nX: ", b"\r\n\r\n", "failed"),
    ],
)
def test_receiver_that_drips_is_left_after_the_limit(
    monkeypatch: pytest.MonkeyPatch, begins: bytes, ends: bytes, outcome: str
) -> None:
    """A byte now and then keeps every single read within its limit."""
    monkeypatch.setattr(webhook, "SEND_LIMIT_S", 1.5)
    was_left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                try:
                    peer.sendall(begins)
                    for _ in range(60):
                        time.sleep(0.1)
                        peer.sendall(b"0")
                    peer.sendall(ends)
                except OSError:
                    was_left.set()

        dripping = threading.Thread(target=drip)
        dripping.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        result = webhook.post_webhook(url, body=b"{}", headers={}, policy=LOOPBACK)
        dripping.join(timeout=20)
    assert was_left.is_set()
    assert result.outcome == outcome


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n"])
def test_what_is_not_http_is_tried_again(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)

        speaking = threading.Thread(target=speak)
        speaking.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        result = webhook.post_webhook(url, body=b"{}", headers={}, policy=LOOPBACK)
        speaking.join(timeout=10)
    assert result.outcome == "retry"


def test_nobody_listening_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    result = webhook.post_webhook(url, body=b"{}", headers={}, policy=LOOPBACK)
    assert result.outcome == "retry"
    assert "no connection to 127.0.0.1" in result.error


def test_plain_server_does_not_pass_for_an_encrypted_one(receiver: HttpReceiver) -> None:
    url = receiver.url.replace("http://", "https://")
    result = webhook.post_webhook(url, body=b"{}", headers={}, policy=LOOPBACK)
    assert result.outcome == "retry"
    assert receiver.requests == []


def test_what_a_sender_did_not_foresee_is_written_down(
    hook: Hook, tell: Tell, tenant: TenantInfo, settings: Settings
) -> None:
    hook()
    tell()
    (job,) = claim_due(tenant.id, now=SOON, limit=1)
    settings.ALERT_ALLOW = "not a network!"
    result = attempt(job, moment=SOON)
    assert (result.outcome, result.error) == ("retry", "an error of ours: ValueError")
