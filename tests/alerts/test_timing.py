"""Quiet hours, digests and caps as they come out at the receiver."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.alerts.delivery import deliver_due
from apps.alerts.models import Delivery
from apps.alerts.services import Severity
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.alerts.conftest import NOW, Hook
from tests.alerts.receivers import HttpReceiver
from tests.conftest import MakeTenant

Tell = Callable[..., bool]
States = Callable[[], dict[str, str]]
SOON = NOW + timedelta(seconds=1)
MIDDAY = {"quiet_from": time(11), "quiet_until": time(14)}


@pytest.fixture
def tenant(make_tenant: MakeTenant) -> TenantInfo:
    """In Berlin, where NOW is 13:00."""
    return make_tenant(time_zone="Europe/Berlin")


def payloads(receiver: HttpReceiver) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in receiver.requests]


def keys(receiver: HttpReceiver) -> list[str]:
    return [payload["data"].get("key", payload["type"]) for payload in payloads(receiver)]


def test_quiet_hours_hold_back_and_deliver_after(
    hook: Hook, tell: Tell, receiver: HttpReceiver
) -> None:
    hook(**MIDDAY)
    tell("held")
    tell("loud", severity=Severity.CRITICAL)
    deliver_due(now=SOON)
    assert keys(receiver) == ["loud"]
    deliver_due(now=datetime(2026, 11, 23, 12, 59, 59, tzinfo=UTC))
    assert keys(receiver) == ["loud"]
    deliver_due(now=datetime(2026, 11, 23, 13, 0, tzinfo=UTC))
    assert keys(receiver) == ["loud", "held"]


def test_critical_waits_too_where_the_channel_says_so(
    hook: Hook, tell: Tell, receiver: HttpReceiver
) -> None:
    hook(**MIDDAY, critical_passes=False)
    tell("loud", severity=Severity.CRITICAL)
    deliver_due(now=SOON)
    assert keys(receiver) == []
    deliver_due(now=NOW + timedelta(hours=1))
    assert keys(receiver) == ["loud"]


def test_quiet_hours_are_of_the_channels_zone_where_it_has_one(
    hook: Hook, tell: Tell, receiver: HttpReceiver
) -> None:
    hook("here", "/here", **MIDDAY)
    hook("kathmandu", "/kathmandu", **MIDDAY, time_zone="Asia/Kathmandu")
    tell()
    deliver_due(now=SOON)
    assert [request.path for request in receiver.requests] == ["/kathmandu"]


def test_retry_within_quiet_hours_waits_for_their_end(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States
) -> None:
    hook(quiet_from=time(13, 30), quiet_until=time(15))
    tell()
    receiver.answers = [(503, {})]
    deliver_due(now=SOON)
    deliver_due(now=datetime(2026, 11, 23, 13, 0, tzinfo=UTC))
    deliver_due(now=datetime(2026, 11, 23, 13, 59, tzinfo=UTC))
    assert len(receiver.requests) == 1


def test_digest_is_one_message_ranked_by_money(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States
) -> None:
    hook(digest="hourly")
    for key, amount in (("small", 1), ("large", 90), ("middle", 7)):
        tell(key, amount_usd=Decimal(amount))
    tell("unknown amount", amount_usd=None)
    tell("loud", severity=Severity.CRITICAL)
    deliver_due(now=SOON)
    assert keys(receiver) == ["loud"]
    assert states()["small"] == "held"
    deliver_due(now=NOW + timedelta(hours=1))
    _, digest = payloads(receiver)
    assert digest["type"] == "alerts.digest"
    listed = [one["key"] for one in digest["data"]["alerts"]]
    assert listed == ["large", "middle", "small", "unknown amount"]
    assert digest["data"]["count"] == 4
    assert states() == {
        **dict.fromkeys(("small", "large", "middle", "unknown amount"), "listed"),
        "loud": "sent",
        "digest": "sent",
    }
    deliver_due(now=NOW + timedelta(hours=3))
    assert len(receiver.requests) == 2


def test_daily_digest_comes_at_its_hour_of_the_tenants_day(
    hook: Hook, tell: Tell, receiver: HttpReceiver
) -> None:
    hook(digest="daily", digest_hour=8)
    tell()
    deliver_due(now=datetime(2026, 11, 24, 6, 59, tzinfo=UTC))
    assert receiver.requests == []
    deliver_due(now=datetime(2026, 11, 24, 7, 0, tzinfo=UTC))
    assert payloads(receiver)[0]["data"]["count"] == 1


def test_over_the_cap_the_largest_go_and_one_list_names_the_rest(
    hook: Hook, tell: Tell, receiver: HttpReceiver, states: States
) -> None:
    hook(max_per_hour=3, max_per_day=10)
    for amount in range(15):
        tell(f"{amount}", amount_usd=Decimal(amount))
    deliver_due(now=SOON)
    assert sorted(keys(receiver)) == ["12", "13", "14"]
    assert list(states().values()).count("suppressed") == 12
    deliver_due(now=NOW + timedelta(hours=1, seconds=5))
    overflow = payloads(receiver)[3]
    assert overflow["type"] == "alerts.overflow"
    assert overflow["data"]["count"] == 12
    assert [one["key"] for one in overflow["data"]["alerts"]][:3] == ["11", "10", "9"]
    deliver_due(now=NOW + timedelta(days=3))
    assert len(receiver.requests) == 4


def test_cap_of_the_day_opens_at_local_midnight(
    hook: Hook, tell: Tell, receiver: HttpReceiver
) -> None:
    hook(max_per_hour=2, max_per_day=2)
    for number in range(3):
        tell(f"{number}")
    deliver_due(now=SOON)
    deliver_due(now=datetime(2026, 11, 23, 22, 59, tzinfo=UTC))
    assert len(receiver.requests) == 2
    midnight = datetime(2026, 11, 23, 23, 0, tzinfo=UTC)
    tell("tomorrow", now=midnight)
    deliver_due(now=midnight)
    assert sorted(keys(receiver)[2:]) == ["alerts.overflow", "tomorrow"]


def test_digest_over_the_cap_hands_on_what_it_lists(
    hook: Hook, tell: Tell, receiver: HttpReceiver, tenant: TenantInfo
) -> None:
    hook(digest="hourly", max_per_hour=1, max_per_day=1)
    tell("loud", severity=Severity.CRITICAL)
    tell("quiet")
    deliver_due(now=SOON)
    deliver_due(now=NOW + timedelta(hours=1))
    assert keys(receiver) == ["loud"]
    deliver_due(now=NOW + timedelta(days=1))
    assert payloads(receiver)[1]["data"]["alerts"][0]["key"] == "quiet"
    with tenant_scope(tenant.id):
        assert not Delivery.objects.filter(state__in=["pending", "held", "sending"]).exists()


def test_long_list_names_twenty_and_counts_the_rest(
    hook: Hook, tell: Tell, receiver: HttpReceiver
) -> None:
    hook(digest="hourly")
    for number in range(25):
        tell(f"{number}")
    deliver_due(now=NOW + timedelta(hours=1))
    data = payloads(receiver)[0]["data"]
    assert (data["count"], len(data["alerts"])) == (25, 20)


def test_tenants_do_not_wait_for_one_with_many_messages(
    make_tenant: MakeTenant, hook: Hook, tell: Tell, receiver: HttpReceiver
) -> None:
    from apps.alerts.delivery import MAX_AT_ONCE
    from apps.alerts.outbox import claim_due

    hook(max_per_hour=1000, max_per_day=1000)
    for number in range(3 * MAX_AT_ONCE):
        tell(f"{number}")
    assert deliver_due(now=SOON) == 3 * MAX_AT_ONCE
    assert len(set(receiver.ids)) == 3 * MAX_AT_ONCE
    assert claim_due(make_tenant().id, now=SOON, limit=8) == []
