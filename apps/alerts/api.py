"""Channels and the log of alerts over HTTP. Changing channels needs a key with `manage`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Literal

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from apps.alerts.core.facts import Severity
from apps.alerts.errors import (
    AlertsError,
    ChannelNotFoundError,
    InvalidChannelError,
    TooManyTestsError,
)
from apps.alerts.selectors import (
    MAX_LISTED,
    AlertInfo,
    AttemptInfo,
    ChannelInfo,
    DeliveryInfo,
    get_channel,
    get_delivery,
    list_alerts,
    list_channels,
)
from apps.alerts.services import (
    ChannelSettings,
    add_channel,
    change_channel,
    remove_channel,
    rotate_secret,
    send_test,
)
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

router = Router(tags=["alerts"])
MAX_ID = 2**63 - 1
Kind = Literal["webhook", "email", "apprise"]


class SettingsIn(Schema):
    """What may be changed of a channel; what is left out stays as it is.

    `kinds` empty: every kind. `time_zone` empty: the tenant's. Quiet hours are null or both given.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, max_length=100)
    target: str | None = Field(None, max_length=2000)
    enabled: bool | None = None
    kinds: list[str] | None = Field(None, max_length=20)
    min_severity: Severity | None = None
    min_amount_usd: Decimal | None = None
    quiet_from: time | None = None
    quiet_until: time | None = None
    time_zone: str | None = Field(None, max_length=64)
    critical_passes: bool | None = None
    digest: Literal["none", "hourly", "daily"] | None = None
    digest_hour: int | None = None
    max_per_hour: int | None = None
    max_per_day: int | None = None


class ChannelIn(SettingsIn):
    """`target`: the URL of a webhook, e-mail addresses with commas between, or an apprise URL."""

    kind: Kind
    name: str = Field(max_length=100)
    target: str = Field(max_length=2000)


class ChannelOut(Schema):
    """`target` is masked. The counts are of messages that ended in the last seven days."""

    id: int
    kind: Kind
    name: str
    target: str
    enabled: bool
    kinds: list[str]
    min_severity: Severity
    min_amount_usd: str | None
    quiet_from: str | None
    quiet_until: str | None
    time_zone: str
    critical_passes: bool
    digest: str
    digest_hour: int
    max_per_hour: int
    max_per_day: int
    created_at: datetime
    previous_secret_until: datetime | None
    last_sent_at: datetime | None
    last_error: str
    sent: int
    failed: int
    suppressed: int
    waiting: int


class ChannelsOut(Schema):
    rows: list[ChannelOut]


class MadeChannelOut(ChannelOut):
    """`secret` is what a webhook's receiver verifies by; it is shown this once."""

    secret: str | None


class SecretOut(Schema):
    """The secret before signs beside the new one until `previous_secret_until`."""

    secret: str
    previous_secret_until: datetime


class AttemptOut(Schema):
    """`outcome`: sent, retry, failed, unknown, or empty while it goes on."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    http_status: int | None
    error: str


class DeliveryOut(Schema):
    """`state`: pending, held (for a digest), sending, sent, failed, unknown (perhaps sent),
    suppressed (over the channel's cap, named in a list), listed (in a digest), dropped (channel
    off). Of one in a list, `list_state` is the list's, as are attempts and error."""

    id: int
    channel_id: int
    channel: str
    state: str
    list_state: str
    message_id: str
    due_at: datetime
    ended_at: datetime | None
    last_error: str
    provider_id: str
    attempts: list[AttemptOut]


class AlertOut(Schema):
    id: int
    key: str
    kind: str
    severity: Severity
    subject: str
    body: str
    path: str
    amount_usd: str | None
    details: dict[str, Any]
    raised_at: datetime
    deliveries: list[DeliveryOut]


class AlertsOut(Schema):
    """Newest first. `next_before_id` continues; null at the end."""

    rows: list[AlertOut]
    next_before_id: int | None


@router.get("/alert-channels", auth=KeyAuth("read", "manage"), response=ChannelsOut)
def get_channels(request: ApiRequest) -> ChannelsOut:
    """Who is told, of what, and how that goes."""
    with tenant_scope(request.auth.tenant_id):
        return ChannelsOut(rows=[_channel_out(one) for one in list_channels(now=timezone.now())])


@router.post("/alert-channels", auth=KeyAuth("manage"), response={201: MadeChannelOut})
def post_channel(request: ApiRequest, payload: ChannelIn) -> tuple[int, MadeChannelOut]:
    """Add a channel. A webhook's secret is in this answer and in no other."""
    now = timezone.now()
    with _changing(request):
        made = add_channel(
            _changed(ChannelSettings(name=payload.name), payload),
            kind=payload.kind,
            target=payload.target,
            actor=_actor(request),
            now=now,
        )
        shown = _channel_out(get_channel(made.id, now=now))
    return 201, MadeChannelOut(**shown.dict(), secret=made.secret or None)


@router.get("/alert-channels/{channel_id}", auth=KeyAuth("read", "manage"), response=ChannelOut)
def get_one_channel(request: ApiRequest, channel_id: int) -> ChannelOut:
    with _changing(request):
        return _channel_out(get_channel(_known(channel_id), now=timezone.now()))


@router.patch("/alert-channels/{channel_id}", auth=KeyAuth("manage"), response=ChannelOut)
def patch_channel(request: ApiRequest, channel_id: int, payload: SettingsIn) -> ChannelOut:
    """Change what is given; a null takes away a minimum amount or a quiet hour."""
    now = timezone.now()
    with _changing(request):
        before = get_channel(_known(channel_id), now=now).settings
        change_channel(
            channel_id,
            _changed(before, payload),
            target=payload.target or "",
            actor=_actor(request),
            now=now,
        )
        return _channel_out(get_channel(channel_id, now=now))


@router.delete("/alert-channels/{channel_id}", auth=KeyAuth("manage"), response={204: None})
def delete_channel(request: ApiRequest, channel_id: int) -> HttpResponse:
    """Its address and secrets are forgotten; what it was told stays in the log."""
    with _changing(request):
        remove_channel(_known(channel_id), actor=_actor(request), now=timezone.now())
    return HttpResponse(status=204)


@router.post(
    "/alert-channels/{channel_id}/test", auth=KeyAuth("manage"), response={202: DeliveryOut}
)
def test_channel(request: ApiRequest, channel_id: int) -> tuple[int, DeliveryOut]:
    """Send a test within seconds; GET /alerts?kind=test tells how it went."""
    with _changing(request):
        delivery_id = send_test(
            channel_id=_known(channel_id), actor=_actor(request), now=timezone.now()
        )
        delivery = get_delivery(delivery_id)
    assert delivery is not None  # noqa: S101
    return 202, _delivery_out(delivery)


@router.post("/alert-channels/{channel_id}/secret", auth=KeyAuth("manage"), response=SecretOut)
def post_secret(request: ApiRequest, channel_id: int) -> SecretOut:
    """Give a webhook a new secret. Both sign for a day, so that the receiver can change over."""
    now = timezone.now()
    with _changing(request):
        secret = rotate_secret(_known(channel_id), actor=_actor(request), now=now)
        until = get_channel(channel_id, now=now).previous_secret_until
    assert until is not None  # noqa: S101
    return SecretOut(secret=secret, previous_secret_until=until)


@router.get("/alerts", auth=KeyAuth("read"), response=AlertsOut)
def get_alerts(
    request: ApiRequest,
    kind: str = "",
    channel_id: int | None = None,
    limit: int = 50,
    before_id: int | None = None,
) -> AlertsOut:
    """What was raised and how telling of it went, newest first, at most 200 at once."""
    if not 1 <= limit <= MAX_LISTED:
        raise Problem(422, "invalid_limit", f"limit is 1 to {MAX_LISTED}", field="limit")
    for name, value in (("before_id", before_id), ("channel_id", channel_id)):
        if value is not None and not 0 < value <= MAX_ID:
            raise Problem(422, f"invalid_{name}", f"{name} is a positive number", field=name)
    if "\0" in kind:
        raise Problem(422, "invalid_kind", "kind has no NUL", field="kind")
    with tenant_scope(request.auth.tenant_id):
        found = list_alerts(limit=limit, before_id=before_id, channel_id=channel_id, kind=kind)
    return AlertsOut(
        rows=[_alert_out(row) for row in found.rows], next_before_id=found.next_before_id
    )


@contextmanager
def _changing(request: ApiRequest) -> Iterator[None]:
    """The tenant's scope; what goes wrong in it becomes a problem."""
    try:
        with tenant_scope(request.auth.tenant_id):
            yield
    except ChannelNotFoundError as error:
        raise Problem(404, "not_found", str(error), field=error.field) from error
    except TooManyTestsError as error:
        raise Problem(429, "too_many_tests", str(error)) from error
    except InvalidChannelError as error:
        raise Problem(422, "invalid_channel", str(error), field=error.field) from error
    except AlertsError as error:
        raise Problem(422, "invalid_request", str(error), field=error.field) from error


def _known(channel_id: int) -> int:
    if not 0 < channel_id <= MAX_ID:
        raise ChannelNotFoundError(f"there is no channel {channel_id}", field="channel_id")
    return channel_id


def _actor(request: ApiRequest) -> str:
    return f"key {request.auth.name}"


def _changed(settings: ChannelSettings, payload: SettingsIn) -> ChannelSettings:
    """With what was given. A null means none where there can be none, and is refused elsewhere."""
    given = payload.dict(exclude_unset=True, exclude={"kind", "target"})
    for name, value in given.items():
        if value is None and name not in ("min_amount_usd", "quiet_from", "quiet_until"):
            raise InvalidChannelError(f"{name} is not null", field=name)
    if "kinds" in given:
        given["kinds"] = tuple(given["kinds"])
    return replace(settings, **given)


def _channel_out(info: ChannelInfo) -> ChannelOut:
    chosen = info.settings
    return ChannelOut(
        id=info.id,
        kind=info.kind,  # type: ignore[arg-type]  # a constraint holds it to the three
        name=chosen.name,
        target=info.target,
        enabled=chosen.enabled,
        kinds=list(chosen.kinds),
        min_severity=chosen.min_severity,
        min_amount_usd=_plain(chosen.min_amount_usd),
        quiet_from=_clock(chosen.quiet_from),
        quiet_until=_clock(chosen.quiet_until),
        time_zone=chosen.time_zone,
        critical_passes=chosen.critical_passes,
        digest=chosen.digest,
        digest_hour=chosen.digest_hour,
        max_per_hour=chosen.max_per_hour,
        max_per_day=chosen.max_per_day,
        created_at=info.created_at,
        previous_secret_until=info.previous_secret_until,
        last_sent_at=info.last_sent_at,
        last_error=info.last_error,
        sent=info.sent,
        failed=info.failed,
        suppressed=info.suppressed,
        waiting=info.waiting,
    )


def _alert_out(info: AlertInfo) -> AlertOut:
    fact = info.fact
    return AlertOut(
        id=fact.id,
        key=fact.key,
        kind=fact.kind,
        severity=fact.severity,
        subject=fact.subject,
        body=fact.body,
        path=fact.path,
        amount_usd=_plain(fact.amount_usd),
        details=dict(fact.details),
        raised_at=fact.raised_at,
        deliveries=[_delivery_out(delivery) for delivery in info.deliveries],
    )


def _delivery_out(info: DeliveryInfo) -> DeliveryOut:
    return DeliveryOut(
        id=info.id,
        channel_id=info.channel_id,
        channel=info.channel,
        state=info.state,
        list_state=info.list_state,
        message_id=info.message_id,
        due_at=info.due_at,
        ended_at=info.ended_at,
        last_error=info.last_error,
        provider_id=info.provider_id,
        attempts=[_attempt_out(attempt) for attempt in info.attempts],
    )


def _attempt_out(info: AttemptInfo) -> AttemptOut:
    return AttemptOut(
        number=info.number,
        started_at=info.started_at,
        ended_at=info.ended_at,
        outcome=info.outcome,
        http_status=info.http_status,
        error=info.error,
    )


def _plain(amount_usd: Decimal | None) -> str | None:
    return None if amount_usd is None else f"{amount_usd.normalize():f}"


def _clock(at: time | None) -> str | None:
    return None if at is None else f"{at:%H:%M}"
