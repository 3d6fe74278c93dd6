"""Messages through apprise, to a real server that speaks as Mattermost does."""

import io
import json
import logging
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from pytest_django import Settings

from apps.alerts.delivery import deliver_due
from apps.alerts.services import ChannelSettings, add_channel
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.alerts.conftest import NOW
from tests.alerts.receivers import HttpReceiver

Tell = Callable[..., bool]
States = Callable[[], dict[str, str]]
SOON, MUCH_LATER = NOW + timedelta(seconds=1), NOW + timedelta(days=900)
TOKEN = "3ccdd113474722377935511fc85d3dd4"


@pytest.fixture
def mattermost(receiver: HttpReceiver, tenant: TenantInfo) -> HttpReceiver:
    """The receiver, with a channel to it."""
    with tenant_scope(tenant.id):
        add_channel(
            ChannelSettings(name="chat"),
            kind="apprise",
            target=f"mmost://{receiver.url.removeprefix('http://')}/{TOKEN}",
            actor="test",
            now=NOW,
        )
    receiver.answers = []
    return receiver


def test_message_arrives_once(mattermost: HttpReceiver, tell: Tell, states: States) -> None:
    mattermost.answers = [(200, {})]
    tell()
    deliver_due(now=SOON)
    assert states() == {"finding:1": "sent"}
    deliver_due(now=MUCH_LATER)
    (request,) = mattermost.requests
    assert request.path == f"/hooks/{TOKEN}"
    text = json.loads(request.body)["text"]
    assert "Warning: About finding:1" in text
    assert "https://costs.example/anomalies/1" in text


@pytest.mark.parametrize(
    ("status", "state"),
    [(503, "sent"), (429, "sent"), (403, "failed"), (404, "failed"), (302, "failed")],
)
def test_services_no_is_final_or_not_by_its_status(
    mattermost: HttpReceiver, tell: Tell, states: States, status: int, state: str
) -> None:
    mattermost.answers = [(status, {"Location": "/elsewhere"}), (200, {})]
    tell()
    deliver_due(now=SOON)
    deliver_due(now=MUCH_LATER)
    assert states() == {"finding:1": state}
    attempts = 2 if state == "sent" else 1
    assert [one.path for one in mattermost.requests] == [f"/hooks/{TOKEN}"] * attempts


def test_service_that_took_it_and_fell_silent_is_not_asked_again(
    mattermost: HttpReceiver, tell: Tell, states: States
) -> None:
    go_on = threading.Event()
    mattermost.before_answer = lambda: bool(go_on.wait(timeout=30)) and None
    tell()
    deliver_due(now=SOON)
    go_on.set()
    assert states() == {"finding:1": "unknown"}
    deliver_due(now=MUCH_LATER)
    assert len(mattermost.requests) == 1


def test_token_is_in_no_log(mattermost: HttpReceiver, tell: Tell) -> None:
    """Whatever level the operator chose."""
    written, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(written), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        mattermost.answers = [(500, {})]
        tell()
        deliver_due(now=SOON)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert mattermost.requests
    assert TOKEN not in written.getvalue()


def test_host_that_the_operator_no_longer_names_is_not_sent_to(
    mattermost: HttpReceiver, tell: Tell, states: States, settings: Settings
) -> None:
    tell()
    settings.ALERT_ALLOW = ""
    deliver_due(now=SOON)
    assert mattermost.requests == []
    assert states() == {"finding:1": "failed"}
