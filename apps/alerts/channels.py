"""Adding, changing and removing channels. A part of services."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import available_timezones

from django.db import IntegrityError, transaction

from apps.alerts.channel_rows import find_channel
from apps.alerts.core.facts import KIND_WORDS, Severity
from apps.alerts.core.signatures import SECRET_BYTES, write_secret
from apps.alerts.errors import InvalidChannelError
from apps.alerts.models import Channel
from apps.alerts.targets import checked_target, shown_target
from apps.tenants.services import record_audit

MAX_CHANNELS: Final = 50
MAX_NAME_LENGTH: Final = 100
# How long a receiver may still verify by the secret before.
ROTATION_OVERLAP: Final = timedelta(hours=24)
KINDS: Final = ("webhook", "email", "apprise")
DIGESTS: Final = ("none", "hourly", "daily")
MAX_PER_HOUR: Final = 1_000
MAX_PER_DAY: Final = 10_000


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """What a person chooses. `kinds` empty: all; `time_zone` empty: the tenant's."""

    name: str
    kinds: tuple[str, ...] = ()
    min_severity: Severity = Severity.INFO
    min_amount_usd: Decimal | None = None
    quiet_from: time | None = None
    quiet_until: time | None = None
    time_zone: str = ""
    critical_passes: bool = True
    digest: str = "none"
    digest_hour: int = 8
    max_per_hour: int = 20
    max_per_day: int = 60
    enabled: bool = field(default=True)


@dataclass(frozen=True, slots=True)
class AddedChannel:
    """`secret` is the webhook's, shown this once; empty for other kinds."""

    id: int
    secret: str


def add_channel(
    settings: ChannelSettings, *, kind: str, target: str, actor: str, now: datetime
) -> AddedChannel:
    """Add a channel to the tenant in scope. Raises InvalidChannelError naming the field."""
    if kind not in KINDS:
        raise InvalidChannelError(f"kind is one of {', '.join(KINDS)}", field="kind")
    columns = _checked(settings)
    standing = Channel.objects.filter(removed_at=None).count()
    if standing >= MAX_CHANNELS:
        raise InvalidChannelError(f"there are {standing} channels, at most {MAX_CHANNELS}")
    secret = _new_secret() if kind == "webhook" else ""
    columns |= {"kind": kind, "target": checked_target(kind, target), "secret": secret}
    try:
        with transaction.atomic():
            channel = Channel.objects.create(created_at=now, **columns)
    except IntegrityError as error:
        raise _name_taken(error, settings.name) from error
    _audit("added", channel, actor, now=now, after=_described(channel))
    return AddedChannel(channel.pk, secret)


def change_channel(
    channel_id: int, settings: ChannelSettings, *, target: str = "", actor: str, now: datetime
) -> None:
    """Set all settings anew; an empty `target` keeps the address. Its kind stays."""
    channel = find_channel(channel_id, lock=True)
    before = _described(channel)
    columns = _checked(settings)
    if target.strip():
        columns["target"] = checked_target(channel.kind, target)
    for name, value in columns.items():
        setattr(channel, name, value)
    try:
        with transaction.atomic():
            channel.save(update_fields=list(columns))
    except IntegrityError as error:
        raise _name_taken(error, settings.name) from error
    after = _described(channel)
    if "target" in columns:
        after["target_changed"] = True
    if after != before:
        _audit("changed", channel, actor, now=now, before=before, after=after)


def set_channel_enabled(channel_id: int, *, enabled: bool, actor: str, now: datetime) -> None:
    """Switch a channel on or off. What waits for one that is off is dropped when it is due."""
    channel = find_channel(channel_id, lock=True)
    if channel.enabled != enabled:
        channel.enabled = enabled
        channel.save(update_fields=["enabled"])
        _audit("switched_on" if enabled else "switched_off", channel, actor, now=now)


def rotate_secret(channel_id: int, *, actor: str, now: datetime) -> str:
    """Give a webhook a new secret and return it, this once. The one before signs beside it for
    ROTATION_OVERLAP, so that the receiver can change over without losing a message."""
    channel = find_channel(channel_id, lock=True)
    if channel.kind != "webhook":
        raise InvalidChannelError(f"{channel.name} is no webhook; only those sign")
    channel.previous_secret = channel.secret
    channel.previous_secret_until = now + ROTATION_OVERLAP
    channel.secret = _new_secret()
    channel.save(update_fields=["previous_secret", "previous_secret_until", "secret"])
    _audit("secret_rotated", channel, actor, now=now)
    return channel.secret


def remove_channel(channel_id: int, *, actor: str, now: datetime) -> None:
    """Remove a channel: its address and secrets are forgotten, its deliveries stay in the log."""
    channel = find_channel(channel_id, lock=True)
    before = _described(channel)
    channel.enabled = False
    channel.removed_at = now
    channel.target = channel.secret = channel.previous_secret = ""
    channel.previous_secret_until = None
    channel.save()
    _audit("removed", channel, actor, now=now, before=before)


def secrets_at(channel: Channel, moment: datetime) -> list[str]:
    """The secrets that sign at this moment, the newest first."""
    ends_at = channel.previous_secret_until
    older = [channel.previous_secret] if ends_at is not None and moment < ends_at else []
    return [channel.secret, *older]


def _new_secret() -> str:
    return write_secret(secrets.token_bytes(SECRET_BYTES))


def _checked(settings: ChannelSettings) -> dict[str, Any]:
    """Columns of what was chosen."""
    name = settings.name.strip()
    if not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidChannelError(f"a name has 1 to {MAX_NAME_LENGTH} characters", field="name")
    _check_choices(settings)
    _check_numbers(settings)
    _check_quiet_hours(settings)
    return {
        "name": name,
        "kinds": [kind for kind in KIND_WORDS if kind in settings.kinds],
        "min_severity": str(settings.min_severity),
        "min_amount_usd": settings.min_amount_usd,
        "quiet_from": settings.quiet_from,
        "quiet_until": settings.quiet_until,
        "time_zone": settings.time_zone,
        "critical_passes": settings.critical_passes,
        "digest": settings.digest,
        "digest_hour": settings.digest_hour,
        "max_per_hour": settings.max_per_hour,
        "max_per_day": settings.max_per_day,
        "enabled": settings.enabled,
    }


def _check_choices(settings: ChannelSettings) -> None:
    _check_one_of("kinds", settings.kinds, KIND_WORDS)
    _check_one_of("digest", (settings.digest,), DIGESTS)
    if settings.time_zone and settings.time_zone not in available_timezones():
        raise InvalidChannelError(
            f"{settings.time_zone[:60]!r} is not an IANA time zone such as Europe/Berlin",
            field="time_zone",
        )


def _check_one_of(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidChannelError(
            f"{name} is {unknown[0][:60]!r}; it is of {', '.join(known)}", field=name
        )


def _check_numbers(settings: ChannelSettings) -> None:
    amount = settings.min_amount_usd
    if amount is not None and not (amount.is_finite() and 0 <= amount < 10**12):
        raise InvalidChannelError(f"an amount is 0 or more, not {amount}", field="min_amount_usd")
    if amount is not None and int(amount.as_tuple().exponent) < -24:
        raise InvalidChannelError("an amount has at most 24 decimals", field="min_amount_usd")
    if not 0 <= settings.digest_hour <= 23:
        raise InvalidChannelError(
            f"an hour is 0 to 23, not {settings.digest_hour}", field="digest_hour"
        )
    if not 1 <= settings.max_per_hour <= MAX_PER_HOUR:
        raise InvalidChannelError(
            f"1 to {MAX_PER_HOUR} messages an hour, not {settings.max_per_hour}",
            field="max_per_hour",
        )
    if not settings.max_per_hour <= settings.max_per_day <= MAX_PER_DAY:
        raise InvalidChannelError(
            f"from the {settings.max_per_hour} an hour to {MAX_PER_DAY} messages a day,"
            f" not {settings.max_per_day}",
            field="max_per_day",
        )


def _check_quiet_hours(settings: ChannelSettings) -> None:
    begins, ends = settings.quiet_from, settings.quiet_until
    if (begins is None) != (ends is None):
        raise InvalidChannelError(
            "quiet hours have a start and an end", field="quiet_from" if ends else "quiet_until"
        )
    for name, at in (("quiet_from", begins), ("quiet_until", ends)):
        if at is not None and at.tzinfo is not None:
            raise InvalidChannelError("a quiet hour is of the channel's own clocks", field=name)
    if begins is not None and begins == ends:
        raise InvalidChannelError("quiet hours end when they start", field="quiet_until")


def _name_taken(error: IntegrityError, name: str) -> Exception:
    if "channel_name_once" in str(error):
        return InvalidChannelError(f"another channel is called {name!r}", field="name")
    return error


def _described(channel: Channel) -> dict[str, Any]:
    """For the audit trail: without what could reach the recipient."""
    amount = channel.min_amount_usd
    return {
        "name": channel.name,
        "kind": channel.kind,
        "target": shown_target(channel.kind, channel.target),
        "kinds": list(channel.kinds),
        "min_severity": channel.min_severity,
        "min_amount_usd": None if amount is None else f"{amount.normalize():f}",
        "quiet_from": None if channel.quiet_from is None else f"{channel.quiet_from:%H:%M}",
        "quiet_until": None if channel.quiet_until is None else f"{channel.quiet_until:%H:%M}",
        "time_zone": channel.time_zone,
        "critical_passes": channel.critical_passes,
        "digest": channel.digest,
        "digest_hour": channel.digest_hour,
        "max_per_hour": channel.max_per_hour,
        "max_per_day": channel.max_per_day,
        "enabled": channel.enabled,
    }


def _audit(verb: str, channel: Channel, actor: str, *, now: datetime, **values: Any) -> None:
    record_audit(
        actor=actor,
        action=f"alert_channel.{verb}",
        subject=f"alert_channel:{channel.pk}",
        now=now,
        **values,
    )
