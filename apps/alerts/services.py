"""The only writer of alerts, channels and deliveries; channels in `channels.py`, sending in
`outbox.py`."""

import json
import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from apps.alerts.channel_rows import (
    filter_of,
    find_channel,
    list_enabled,
    new_message_id,
    schedule_of,
)
from apps.alerts.channels import (
    AddedChannel,
    ChannelSettings,
    add_channel,
    change_channel,
    remove_channel,
    rotate_secret,
    set_channel_enabled,
)
from apps.alerts.core.facts import (
    JSON,
    KIND_PATTERN,
    MAX_BODY_LENGTH,
    MAX_DETAILS_LENGTH,
    MAX_KEY_LENGTH,
    MAX_SUBJECT_LENGTH,
    TEST_KIND,
    Severity,
    cut,
    is_page_path,
    one_line,
)
from apps.alerts.core.schedule import Release, release
from apps.alerts.errors import InvalidAlertError, InvalidChannelError, TooManyTestsError
from apps.alerts.models import Alert, Channel, Delivery
from apps.tenants.selectors import get_tenant

__all__ = [
    "AddedChannel",
    "ChannelSettings",
    "Severity",
    "add_channel",
    "change_channel",
    "raise_alert",
    "remove_channel",
    "rotate_secret",
    "send_test",
    "set_channel_enabled",
]

MAX_TESTS_AN_HOUR: Final = 20
NO_DETAILS: Final[Mapping[str, JSON]] = {}


def raise_alert(
    *,
    key: str,
    kind: str,
    severity: Severity,
    subject: str,
    body: str,
    path: str,
    amount_usd: Decimal | None,
    now: datetime,
    details: Mapping[str, JSON] = NO_DETAILS,
) -> bool:
    """Tell the people of the tenant in scope about a fact, once: False when `key` is known.

    Runs in the caller's transaction and sends nothing itself: the alert, and a delivery to every
    channel that takes it, stand if and only if the caller's fact is committed. `key` names the fact
    within the tenant ("finding:123", "budget:9:2026-11:80"); `kind` is what channels choose by
    ("anomaly", "budget_threshold", "report"); `path` is the page it leads to, from "/"; `body` is
    plain text in short lines; `amount_usd` what is at stake, None where that is not known. Too
    long a subject or body is cut. Raises InvalidAlertError for what cannot be taken.
    """
    _check(key=key, kind=kind, path=path, amount_usd=amount_usd, now=now, details=details)
    alert, is_new = Alert.objects.get_or_create(
        key=key,
        defaults={
            "kind": kind,
            "severity": str(severity),
            "subject": cut(one_line(subject), MAX_SUBJECT_LENGTH),
            "body": cut(body, MAX_BODY_LENGTH),
            "path": path,
            "amount_usd": amount_usd,
            "details": dict(details),
            "raised_at": now,
        },
    )
    if not is_new:
        return False
    zone = get_tenant().zone
    Delivery.objects.bulk_create(
        _delivery(alert, channel, release(schedule_of(channel, zone), severity, now), now=now)
        for channel in list_enabled()
        if filter_of(channel).takes(kind=kind, severity=severity, amount_usd=amount_usd)
    )
    return True


def send_test(*, channel_id: int, actor: str, now: datetime) -> int:
    """Send a test message to one channel at once, past its filter, quiet hours, digest and cap;
    return the delivery's id. Raises TooManyTestsError after MAX_TESTS_AN_HOUR."""
    channel = find_channel(channel_id)
    if not channel.enabled:
        raise InvalidChannelError(f"{channel.name} is switched off; switch it on to test it")
    since = now - timedelta(hours=1)
    tests = Delivery.objects.filter(channel=channel, form="test", created_at__gt=since).count()
    if tests >= MAX_TESTS_AN_HOUR:
        raise TooManyTestsError(
            f"{tests} tests of {channel.name} within an hour; at most {MAX_TESTS_AN_HOUR}"
        )
    alert = Alert.objects.create(
        key=f"test:{secrets.token_hex(12)}",
        kind=TEST_KIND,
        severity=str(Severity.INFO),
        subject="A test from Costboard",
        body=cut(f"{actor} sent this to see that {channel.name} works.", MAX_BODY_LENGTH),
        path="/alerts",
        amount_usd=None,
        raised_at=now,
    )
    delivery = _delivery(alert, channel, Release(now, held=False), now=now, form="test")
    delivery.save()
    return delivery.pk


def _delivery(
    alert: Alert, channel: Channel, when: Release, *, now: datetime, form: str = "alert"
) -> Delivery:
    return Delivery(
        tenant_id=alert.tenant_id,
        alert=alert,
        channel=channel,
        form=form,
        state="held" if when.held else "pending",
        message_id=new_message_id(),
        due_at=when.due_at,
        created_at=now,
    )


def _check(
    *,
    key: str,
    kind: str,
    path: str,
    amount_usd: Decimal | None,
    now: datetime,
    details: Mapping[str, JSON],
) -> None:
    if not 0 < len(key) <= MAX_KEY_LENGTH or "\0" in key:
        raise InvalidAlertError(f"key has 1 to {MAX_KEY_LENGTH} characters", field="key")
    if not re.fullmatch(KIND_PATTERN, kind):
        raise InvalidAlertError(f"kind is like budget_threshold, not {kind[:60]!r}", field="kind")
    if not is_page_path(path):
        raise InvalidAlertError(f"path is a page of this site, not {path[:60]!r}", field="path")
    if amount_usd is not None and not amount_usd.is_finite():
        raise InvalidAlertError(f"amount_usd is {amount_usd}", field="amount_usd")
    if now.tzinfo is None:
        raise InvalidAlertError("now needs a time zone", field="now")
    if len(json.dumps(dict(details))) > MAX_DETAILS_LENGTH:
        raise InvalidAlertError(
            f"details have at most {MAX_DETAILS_LENGTH} characters as JSON", field="details"
        )
