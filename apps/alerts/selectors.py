"""The only reader of alerts, channels and deliveries; all but the first in the tenant in scope."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Count, Max

from apps.alerts.channel_rows import find_channel
from apps.alerts.channels import ChannelSettings
from apps.alerts.core.facts import AlertFact, Severity
from apps.alerts.models import Alert, Channel, Delivery, DeliveryAttempt
from apps.alerts.outbox_lists import fact_of
from apps.alerts.targets import shown_target

MAX_LISTED: Final = 200
HEALTH_SPAN: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """A channel as it may be shown. `target` is masked; secrets are not in it.

    `sent`, `failed` and `suppressed` count the messages of the last HEALTH_SPAN; unknown ones are
    among the failed. `last_error`: why its newest message that is over did not arrive; empty when
    it did. `previous_secret_until`: till when the secret before signs too.
    """

    id: int
    kind: str
    target: str
    settings: ChannelSettings
    created_at: datetime
    previous_secret_until: datetime | None
    last_sent_at: datetime | None
    last_error: str
    sent: int
    failed: int
    suppressed: int
    waiting: int


@dataclass(frozen=True, slots=True)
class AttemptInfo:
    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    http_status: int | None
    error: str


@dataclass(frozen=True, slots=True)
class DeliveryInfo:
    """An alert on its way to one channel. `state` as in models.Delivery; `due_at` while it waits.

    Of one in a list (`listed` or `suppressed`), `list_state` and `list_due_at` tell of the list,
    and attempts, error and end are the list's.
    """

    id: int
    channel_id: int
    channel: str
    form: str
    state: str
    message_id: str
    due_at: datetime
    ended_at: datetime | None
    last_error: str
    provider_id: str
    attempts: Sequence[AttemptInfo]
    list_state: str = ""
    list_due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AlertInfo:
    """`deliveries` is empty when no channel takes it."""

    fact: AlertFact
    deliveries: Sequence[DeliveryInfo]


@dataclass(frozen=True, slots=True)
class AlertPage:
    """Newest first; `next_before_id` continues, None at the end."""

    rows: Sequence[AlertInfo]
    next_before_id: int | None


def list_channels(*, now: datetime) -> list[ChannelInfo]:
    """By name. Five statements, whatever their number."""
    channels = list(Channel.objects.filter(removed_at=None).order_by("name", "id"))
    return _with_health(channels, now=now)


def get_channel(channel_id: int, *, now: datetime) -> ChannelInfo:
    """Raises ChannelNotFoundError."""
    return _with_health([find_channel(channel_id)], now=now)[0]


def list_alerts(
    *,
    limit: int = 50,
    before_id: int | None = None,
    channel_id: int | None = None,
    kind: str = "",
) -> AlertPage:
    """What was raised and how telling of it went. Four statements, whatever the limit."""
    limit = max(1, min(limit, MAX_LISTED))
    rows = Alert.objects.order_by("-id")
    if before_id is not None:
        rows = rows.filter(id__lt=before_id)
    if channel_id is not None:
        rows = rows.filter(deliveries__channel_id=channel_id)
    if kind:
        rows = rows.filter(kind=kind)
    alerts = list(rows[: limit + 1])
    shown = alerts[:limit]
    deliveries = _deliveries_of([alert.pk for alert in shown])
    return AlertPage(
        rows=[AlertInfo(fact_of(alert), deliveries.get(alert.pk, ())) for alert in shown],
        next_before_id=shown[-1].pk if len(alerts) > limit else None,
    )


def get_delivery(delivery_id: int) -> DeliveryInfo | None:
    row = Delivery.objects.select_related("channel", "listed_in").filter(pk=delivery_id).first()
    return None if row is None else _delivery_info(row, _attempts_of([_sent_as(row).pk]))


def _with_health(channels: Sequence[Channel], *, now: datetime) -> list[ChannelInfo]:
    ids = [channel.pk for channel in channels]
    own = Delivery.objects.filter(channel_id__in=ids)
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    recent = own.filter(ended_at__gt=now - HEALTH_SPAN)
    for channel_id, state, count in recent.values_list("channel_id", "state").annotate(Count("id")):
        counts[channel_id][state] = count
    waiting = own.filter(state__in=["pending", "held", "sending"], alert__isnull=False)
    waits = dict(waiting.values_list("channel_id").annotate(Count("id")))
    last_sent = dict(own.filter(state="sent").values_list("channel_id").annotate(Max("ended_at")))
    over = own.filter(state__in=["sent", "failed", "unknown"]).order_by("channel_id", "-ended_at")
    errors = dict(over.distinct("channel_id").values_list("channel_id", "last_error"))
    return [
        _channel_info(
            channel,
            counts[channel.pk],
            waiting=waits.get(channel.pk, 0),
            last_sent_at=last_sent.get(channel.pk),
            last_error=errors.get(channel.pk, ""),
            now=now,
        )
        for channel in channels
    ]


def _channel_info(
    channel: Channel,
    counts: Mapping[str, int],
    *,
    waiting: int,
    last_sent_at: datetime | None,
    last_error: str,
    now: datetime,
) -> ChannelInfo:
    ends_at = channel.previous_secret_until
    return ChannelInfo(
        id=channel.pk,
        kind=channel.kind,
        target=shown_target(channel.kind, channel.target),
        settings=settings_of(channel),
        created_at=channel.created_at,
        previous_secret_until=ends_at if ends_at is not None and ends_at > now else None,
        last_sent_at=last_sent_at,
        last_error=last_error,
        sent=counts.get("sent", 0),
        failed=counts.get("failed", 0) + counts.get("unknown", 0),
        suppressed=counts.get("suppressed", 0),
        waiting=waiting,
    )


def settings_of(channel: Channel) -> ChannelSettings:
    return ChannelSettings(
        name=channel.name,
        kinds=tuple(channel.kinds),
        min_severity=Severity(channel.min_severity),
        min_amount_usd=channel.min_amount_usd,
        quiet_from=channel.quiet_from,
        quiet_until=channel.quiet_until,
        time_zone=channel.time_zone,
        critical_passes=channel.critical_passes,
        digest=channel.digest,
        digest_hour=channel.digest_hour,
        max_per_hour=channel.max_per_hour,
        max_per_day=channel.max_per_day,
        enabled=channel.enabled,
    )


def _deliveries_of(alert_ids: Sequence[int]) -> dict[int, list[DeliveryInfo]]:
    rows = list(
        Delivery.objects.select_related("channel", "listed_in")
        .filter(alert_id__in=alert_ids)
        .order_by("id")
    )
    attempts = _attempts_of({_sent_as(row).pk for row in rows})
    by_alert: dict[int, list[DeliveryInfo]] = defaultdict(list)
    for row in rows:
        if row.alert_id is not None:
            by_alert[row.alert_id].append(_delivery_info(row, attempts))
    return by_alert


def _sent_as(row: Delivery) -> Delivery:
    """The message it goes out in: the list's, where it is in one."""
    return row.listed_in or row


def _attempts_of(delivery_ids: Iterable[int]) -> dict[int, list[AttemptInfo]]:
    by_delivery: dict[int, list[AttemptInfo]] = defaultdict(list)
    rows = DeliveryAttempt.objects.filter(delivery_id__in=set(delivery_ids)).order_by("number")
    for row in rows:
        by_delivery[row.delivery_id].append(
            AttemptInfo(
                row.number, row.started_at, row.ended_at, row.outcome, row.http_status, row.error
            )
        )
    return by_delivery


def _delivery_info(row: Delivery, attempts: Mapping[int, Sequence[AttemptInfo]]) -> DeliveryInfo:
    message = _sent_as(row)
    return DeliveryInfo(
        id=row.pk,
        channel_id=row.channel_id,
        channel=row.channel.name,
        form=row.form,
        state=row.state,
        message_id=message.message_id,
        due_at=row.due_at,
        ended_at=message.ended_at,
        last_error=message.last_error,
        provider_id=message.provider_id,
        attempts=attempts.get(message.pk, ()),
        list_state=message.state if message is not row else "",
        list_due_at=message.due_at if message is not row else None,
    )
