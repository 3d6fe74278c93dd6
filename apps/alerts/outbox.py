"""The outbox: which messages are due, who has them, how it went. A part of services.

A worker claims what is due in one short transaction, sends outside of any, and records how it went
in another. The promises, and what a crash in between means, are in docs/decisions/0013.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import Exists, F, OuterRef

from apps.alerts import outbox_lists as lists
from apps.alerts.channel_rows import cap_of, schedule_of, zone_of
from apps.alerts.channels import secrets_at
from apps.alerts.core.facts import Severity
from apps.alerts.core.local_clock import day_begins
from apps.alerts.core.messages import Message, Sender
from apps.alerts.core.retries import MAX_ATTEMPTS, SendResult, next_attempt_at
from apps.alerts.core.schedule import HOUR, Cap, quiet_until, room_again_at
from apps.alerts.models import Channel, Delivery, DeliveryAttempt
from apps.tenants.exchange import read_money_words
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import get_tenant

# Longer than any attempt takes (SEND_LIMIT_S, and the resolver's own patience).
LEASE: Final = timedelta(seconds=60)
# What is looked at in one claim, so that the transaction stays short.
MAX_LOOKED_AT: Final = 200
CRASH_WORDS: Final = "the worker stopped while it was sending"


@dataclass(frozen=True, slots=True)
class Job:
    """A message to be sent once, now. `secrets` sign a webhook."""

    tenant_id: int
    delivery_id: int
    attempt: int
    kind: str
    target: str
    secrets: Sequence[str]
    message_id: str
    message: Message


def list_tenants_with_due_alerts(now: datetime) -> list[int]:
    """Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_due_alerts(%s)", [now])
        return [row[0] for row in cursor.fetchall()]


def claim_due(tenant_id: int, *, now: datetime, limit: int) -> list[Job]:
    """Take up to `limit` due messages for LEASE. What is quiet, over a cap, for a list or for
    nobody is put where it belongs on the way. No two workers get the same message."""
    with tenant_scope(tenant_id):
        tenant = get_tenant()
        sender = Sender(tenant.name, settings.PUBLIC_URL, read_money_words(now=now))
        _end_crashed(now)
        jobs: list[Job] = []
        for channel in _lock_channels_with_due(now):
            if not channel.enabled:
                _drop(channel, now)
                continue
            lists.make_digest(channel, now=now)
            ready = _ready(channel, tenant.zone, now=now, room=limit - len(jobs))
            jobs += [_start(delivery, channel, sender, now=now) for delivery in ready]
        return jobs


def record_result(job: Job, result: SendResult, *, ended_at: datetime, chance: float) -> None:
    """Write down how the attempt went. An attempt that lost its lease meanwhile still says in the
    log how it ended, and decides about the message only if nobody else tried since."""
    with tenant_scope(job.tenant_id):
        DeliveryAttempt.objects.filter(delivery_id=job.delivery_id, number=job.attempt).update(
            ended_at=ended_at,
            outcome=result.outcome,
            http_status=result.http_status,
            error=result.error[:300],
        )
        delivery = (
            Delivery.objects.select_for_update(no_key=True)
            .filter(
                pk=job.delivery_id,
                attempts=job.attempt,
                state__in=["sending", "pending", "unknown"],
            )
            .first()
        )
        if delivery is None:
            return
        again_at = next_attempt_at(result, attempt=job.attempt, ended_at=ended_at, chance=chance)
        delivery.leased_until = None
        delivery.last_error = result.error[:300]
        delivery.provider_id = result.provider_id
        if again_at is not None:
            delivery.state, delivery.due_at, delivery.ended_at = "pending", again_at, None
        else:
            over = "failed" if result.outcome == "retry" else result.outcome
            delivery.state, delivery.ended_at = over, ended_at
        delivery.save()


def _end_crashed(now: datetime) -> None:
    """Leases that ran out. A webhook goes again under the same id; whether an e-mail or a message
    to a service went out nobody can know, and it is not sent twice."""
    crashed = (
        Delivery.objects.select_for_update(no_key=True, skip_locked=True, of=("self",))
        .select_related("channel")
        .filter(state="sending", leased_until__lte=now)
        .order_by("id")[:MAX_LOOKED_AT]
    )
    for delivery in crashed:
        DeliveryAttempt.objects.filter(
            delivery=delivery, number=delivery.attempts, ended_at=None
        ).update(outcome="unknown", error=CRASH_WORDS)
        delivery.leased_until = None
        delivery.last_error = CRASH_WORDS
        if delivery.channel.kind != "webhook":
            delivery.state, delivery.ended_at = "unknown", now
        elif delivery.attempts >= MAX_ATTEMPTS:
            delivery.state, delivery.ended_at = "failed", now
        else:
            delivery.state, delivery.due_at = "pending", now
        delivery.save()


def _lock_channels_with_due(now: datetime) -> list[Channel]:
    """One worker at a time works a channel's queue, so that its caps hold; others pass it by. An
    alert being raised does not wait for the lock, nor hold it up (NO KEY)."""
    due = Delivery.objects.filter(
        channel_id=OuterRef("pk"), state__in=["pending", "held"], due_at__lte=now
    )
    return list(
        Channel.objects.select_for_update(no_key=True, skip_locked=True)
        .filter(Exists(due))
        .order_by("id")
    )


def _drop(channel: Channel, now: datetime) -> None:
    Delivery.objects.filter(channel=channel, state__in=["pending", "held"], due_at__lte=now).update(
        state="dropped", ended_at=now, last_error="the channel was off"
    )


def _ready(channel: Channel, tenant_zone: tzinfo, *, now: datetime, room: int) -> list[Delivery]:
    """Those of the channel's due messages that may go out now, the loudest and largest first."""
    zone = zone_of(channel, tenant_zone)
    quiet_end = quiet_until(schedule_of(channel, tenant_zone), now)
    waiting = sorted(
        Delivery.objects.select_related("alert")
        .filter(channel=channel, state="pending", due_at__lte=now)
        .order_by("due_at", "id")[:MAX_LOOKED_AT],
        key=_importance,
    )
    budget = _Budget(cap_of(channel), channel, zone, now)
    ready: list[Delivery] = []
    for delivery in waiting:
        if len(ready) >= room:
            break
        if quiet_end is not None and not _passes(delivery, channel):
            _postpone(delivery, quiet_end)
        elif (told_at := budget.spend(delivery)) is not None:
            lists.suppress(delivery, channel, told_at=told_at, now=now)
        else:
            ready.append(delivery)
    return ready


class _Budget:
    """How much the channel may still send. Tests, second attempts and the list of what was over
    the cap cost nothing; there is at most one such list at a time."""

    def __init__(self, cap: Cap, channel: Channel, zone: tzinfo, now: datetime) -> None:
        self.cap, self.zone, self.now = cap, zone, now
        begun = DeliveryAttempt.objects.filter(
            delivery__channel=channel, delivery__form__in=["alert", "digest"], number=1
        )
        self.last_hour = begun.filter(started_at__gt=now - HOUR).count()
        self.today = begun.filter(started_at__gte=day_begins(now, zone)).count()

    def spend(self, delivery: Delivery) -> datetime | None:
        """None when it may go; otherwise when a list will tell of it."""
        if delivery.attempts or delivery.form not in ("alert", "digest"):
            return None
        told_at = room_again_at(
            self.cap, last_hour=self.last_hour, today=self.today, moment=self.now, zone=self.zone
        )
        if told_at is None:
            self.last_hour += 1
            self.today += 1
        return told_at


def _importance(delivery: Delivery) -> tuple[bool, int, bool, object, int]:
    alert = delivery.alert
    if alert is None:
        return (False, 0, False, 0, delivery.pk)
    amount = alert.amount_usd
    rank = -Severity(alert.severity).rank
    return (delivery.form != "test", rank, amount is None, -(amount or 0), delivery.pk)


def _passes(delivery: Delivery, channel: Channel) -> bool:
    """Whether quiet hours do not hold it back."""
    if delivery.form == "test":
        return True
    alert = delivery.alert
    return alert is not None and alert.severity == "critical" and channel.critical_passes


def _postpone(delivery: Delivery, until: datetime) -> None:
    delivery.due_at = until
    delivery.save(update_fields=["due_at"])


def _start(delivery: Delivery, channel: Channel, sender: Sender, *, now: datetime) -> Job:
    """From here on the message counts as being sent, whatever becomes of this process."""
    Delivery.objects.filter(pk=delivery.pk).update(
        state="sending", leased_until=now + LEASE, attempts=F("attempts") + 1
    )
    attempt = delivery.attempts + 1
    DeliveryAttempt.objects.create(delivery=delivery, number=attempt, started_at=now)
    return Job(
        tenant_id=current_tenant_id(),
        delivery_id=delivery.pk,
        attempt=attempt,
        kind=channel.kind,
        target=channel.target,
        secrets=secrets_at(channel, now) if channel.kind == "webhook" else (),
        message_id=delivery.message_id,
        message=lists.message_of(delivery, sender),
    )
