"""Raising an alert: once a key, with the caller's fact or not at all, to whom it concerns."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from apps.alerts.errors import InvalidAlertError
from apps.alerts.models import Alert, Delivery
from apps.alerts.services import ChannelSettings, Severity, add_channel, raise_alert
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def alert(key: str = "finding:1", **changes: Any) -> bool:
    given: dict[str, Any] = {
        "key": key,
        "kind": "anomaly",
        "severity": Severity.WARNING,
        "subject": "Spend of customer acme tripled",
        "body": "12.40 USD since 09:00.",
        "path": "/anomalies/1",
        "amount_usd": Decimal("12.40"),
        "now": NOW,
    }
    return raise_alert(**(given | changes))


def channel(name: str = "finance", **settings: Any) -> int:
    return add_channel(
        ChannelSettings(name=name, **settings),
        kind="email",
        target="finance@lindwerk.example",
        actor="test",
        now=NOW,
    ).id


def test_same_key_never_makes_a_second_alert(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        channel()
        assert alert("finding:1") is True
        assert alert("finding:1", subject="Other words", severity=Severity.CRITICAL) is False
        assert alert("finding:2") is True
        assert Alert.objects.count() == 2
        assert Delivery.objects.count() == 2


def test_another_tenant_may_use_the_same_key(make_tenant: MakeTenant) -> None:
    for tenant in (make_tenant(), make_tenant()):
        with tenant_scope(tenant.id):
            assert alert("finding:1") is True


def test_alert_of_a_fact_that_was_not_committed_does_not_exist(tenant: TenantInfo) -> None:
    def find_and_fail() -> None:
        with tenant_scope(tenant.id):
            channel()
            assert alert()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        find_and_fail()
    with tenant_scope(tenant.id):
        assert not Alert.objects.exists()
        assert not Delivery.objects.exists()


def test_two_raisers_at_once_make_one_alert(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        channel()
    raised: list[bool] = []
    together = threading.Barrier(4)

    def raise_it() -> None:
        try:
            together.wait()
            with tenant_scope(tenant.id):
                raised.append(alert())
        finally:
            connection.close()

    threads = [threading.Thread(target=raise_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(raised) == [False, False, False, True]
    with tenant_scope(tenant.id):
        assert (Alert.objects.count(), Delivery.objects.count()) == (1, 1)


def test_channels_take_by_kind_severity_amount_and_switch(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        channel("all")
        channel("budgets", kinds=("budget_threshold",))
        channel("loud", min_severity=Severity.CRITICAL)
        channel("big", min_amount_usd=Decimal(100))
        channel("off", enabled=False)
        alert("small")
        alert("big", amount_usd=Decimal(100))
        alert("unknown amount", amount_usd=None)
        alert("critical", severity=Severity.CRITICAL)
        alert("budget", kind="budget_threshold")
        told = Delivery.objects.values_list("alert__key", "channel__name")
        assert sorted(told) == [
            ("big", "all"),
            ("big", "big"),
            ("budget", "all"),
            ("budget", "budgets"),
            ("critical", "all"),
            ("critical", "loud"),
            ("small", "all"),
            ("unknown amount", "all"),
            ("unknown amount", "big"),
        ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", ""),
        ("key", "k" * 201),
        ("kind", "Two words"),
        ("path", "https://evil.example/"),
        ("path", "//evil.example/"),
        ("path", "/\\evil.example/"),
        ("path", "anomalies"),
        ("amount_usd", Decimal("NaN")),
        ("now", NOW.replace(tzinfo=None)),
        ("details", {"a": "x" * 20_001}),
    ],
)
def test_what_an_alert_cannot_be_is_refused_naming_the_field(
    tenant: TenantInfo, field: str, value: Any
) -> None:
    with tenant_scope(tenant.id), pytest.raises(InvalidAlertError) as refused:
        alert(**{field: value})
    assert refused.value.field == field


def test_subject_is_one_line_and_long_words_are_cut(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        alert(subject="a\r\nBcc: all@example.com\n" + "x" * 300, body="b" * 5000)
        kept = Alert.objects.get()
        assert "\n" not in kept.subject
        assert (len(kept.subject), len(kept.body)) == (200, 4000)


def test_database_lets_nobody_change_an_alert(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        alert()
        with pytest.raises(DatabaseError), transaction.atomic():
            Alert.objects.update(raised_at=NOW + timedelta(days=1))
        with pytest.raises(DatabaseError), transaction.atomic():
            Alert.objects.all().delete()
