"""Messages that list several alerts: digests, and what was over a channel's cap. A part of outbox.

A list is a delivery of its own, without an alert; those it tells of point at it.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Case, F, IntegerField, Value, When

from apps.alerts.channel_rows import new_message_id
from apps.alerts.core.facts import AlertFact, Severity
from apps.alerts.core.messages import MAX_LISTED, Message, Sender, alert_message, list_message
from apps.alerts.models import Alert, Channel, Delivery

RANK: Final = Case(
    *(When(alert__severity=str(severity), then=Value(severity.rank)) for severity in Severity),
    output_field=IntegerField(),
)


def make_digest(channel: Channel, *, now: datetime) -> None:
    """One list of all that the channel holds and that is due."""
    held = Delivery.objects.filter(channel=channel, state="held", due_at__lte=now)
    if not held.exists():
        return
    digest = _make_list(channel, "digest", due_at=now, now=now)
    held.update(state="listed", listed_in=digest, ended_at=now)


def suppress(delivery: Delivery, channel: Channel, *, told_at: datetime, now: datetime) -> None:
    """Over the cap: it does not go out, and the list that does names it. A digest over the cap
    hands on what it lists."""
    overflow = Delivery.objects.filter(
        channel=channel, form="overflow", state="pending", attempts=0
    ).first() or _make_list(channel, "overflow", due_at=told_at, now=now)
    Delivery.objects.filter(listed_in=delivery).update(listed_in=overflow, state="suppressed")
    delivery.state, delivery.listed_in, delivery.ended_at = "suppressed", overflow, now
    delivery.save(update_fields=["state", "listed_in", "ended_at"])


def message_of(delivery: Delivery, sender: Sender) -> Message:
    """What the delivery says: the same at every attempt."""
    if delivery.alert is not None:
        return alert_message(fact_of(delivery.alert), sender)
    told = Delivery.objects.filter(listed_in=delivery, alert__isnull=False)
    first = (
        told.select_related("alert")
        .annotate(rank=RANK)
        .order_by(F("alert__amount_usd").desc(nulls_last=True), "-rank", "alert_id")[:MAX_LISTED]
    )
    return list_message(
        "digest" if delivery.form == "digest" else "overflow",
        [fact_of(row.alert) for row in first if row.alert is not None],
        count=told.count(),
        made_at=delivery.created_at,
        sender=sender,
    )


def fact_of(alert: Alert) -> AlertFact:
    details: dict[str, Any] = alert.details
    amount: Decimal | None = alert.amount_usd
    return AlertFact(
        id=alert.pk,
        key=alert.key,
        kind=alert.kind,
        severity=Severity(alert.severity),
        subject=alert.subject,
        body=alert.body,
        path=alert.path,
        amount_usd=amount,
        details=details,
        raised_at=alert.raised_at,
    )


def _make_list(channel: Channel, form: str, *, due_at: datetime, now: datetime) -> Delivery:
    return Delivery.objects.create(
        channel=channel,
        alert=None,
        form=form,
        state="pending",
        message_id=new_message_id(),
        due_at=due_at,
        created_at=now,
    )
