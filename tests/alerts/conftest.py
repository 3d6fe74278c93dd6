"""What alert tests share: receivers that may be reached, and channels to them."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from apps.alerts.letter_outbox import list_tenants_with_due_letters
from apps.alerts.models import Delivery, LetterDelivery
from apps.alerts.outbox import list_tenants_with_due_alerts
from apps.alerts.services import AddedChannel, ChannelSettings, Severity, add_channel, raise_alert
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.alerts.receivers import HttpReceiver, http_receiver

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_leftovers(request: pytest.FixtureRequest) -> None:
    """Delivery looks across tenants: what earlier tests left waiting is not to be sent in this."""
    if "database" not in request.fixturenames:
        return
    request.getfixturevalue("database")
    for tenant_id in list_tenants_with_due_alerts(NOW + timedelta(days=3650)):
        with tenant_scope(tenant_id):
            Delivery.objects.filter(state__in=["pending", "held", "sending"]).update(
                state="dropped", leased_until=None, ended_at=NOW
            )
    for tenant_id in list_tenants_with_due_letters(NOW + timedelta(days=3650)):
        with tenant_scope(tenant_id):
            LetterDelivery.objects.filter(ended_at=None).update(
                state="failed", leased_until=None, ended_at=NOW
            )


@pytest.fixture
def receiver(settings: Settings) -> Iterator[HttpReceiver]:
    """An HTTP server on loopback, which the operator allows."""
    settings.ALERT_ALLOW = "127.0.0.1"
    settings.PUBLIC_URL = "https://costs.example"
    with http_receiver() as server:
        yield server


Hook = Callable[..., AddedChannel]


@pytest.fixture
def hook(tenant: TenantInfo, receiver: HttpReceiver) -> Hook:
    """Make a webhook channel to the receiver: hook(name="b", digest="hourly")."""

    def make(name: str = "hook", path: str = "/hook", **settings: Any) -> AddedChannel:
        with tenant_scope(tenant.id):
            return add_channel(
                ChannelSettings(name=name, **settings),
                kind="webhook",
                target=receiver.url + path,
                actor="test",
                now=NOW,
            )

    return make


@pytest.fixture
def tell(tenant: TenantInfo) -> Callable[..., bool]:
    """Raise an alert in the tenant: tell("finding:2", amount_usd=Decimal(5))."""

    def raise_one(key: str = "finding:1", **changes: Any) -> bool:
        given: dict[str, Any] = {
            "kind": "anomaly",
            "severity": Severity.WARNING,
            "subject": f"About {key}",
            "body": "Three times the usual.",
            "path": "/anomalies/1",
            "amount_usd": Decimal("12.40"),
            "now": NOW,
        }
        with tenant_scope(tenant.id):
            return raise_alert(key=key, **(given | changes))

    return raise_one


@pytest.fixture
def states(tenant: TenantInfo) -> Callable[[], dict[str, str]]:
    """The state of each delivery, by its alert's key; lists under their form."""

    def read() -> dict[str, str]:
        with tenant_scope(tenant.id):
            rows = Delivery.objects.select_related("alert").order_by("id")
            return {row.alert.key if row.alert else row.form: row.state for row in rows}

    return read
