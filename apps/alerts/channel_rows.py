"""Rows of channels, and what core makes of them. A part of services and selectors."""

import secrets
from datetime import tzinfo
from zoneinfo import ZoneInfo

from apps.alerts.core.facts import Filter, Severity
from apps.alerts.core.schedule import Cap, Schedule
from apps.alerts.errors import ChannelNotFoundError
from apps.alerts.models import Channel


def list_enabled() -> list[Channel]:
    """Those of the tenant in scope that take alerts now."""
    return list(Channel.objects.filter(enabled=True, removed_at=None).order_by("id"))


def find_channel(channel_id: int, *, lock: bool = False) -> Channel:
    """Raises ChannelNotFoundError for one that is not the tenant's, or was removed."""
    rows = Channel.objects.filter(pk=channel_id, removed_at=None)
    channel = (rows.select_for_update(no_key=True) if lock else rows).first()
    if channel is None:
        raise ChannelNotFoundError(f"there is no channel {channel_id}", field="channel_id")
    return channel


def filter_of(channel: Channel) -> Filter:
    return Filter(frozenset(channel.kinds), Severity(channel.min_severity), channel.min_amount_usd)


def zone_of(channel: Channel, tenant_zone: tzinfo) -> tzinfo:
    return ZoneInfo(channel.time_zone) if channel.time_zone else tenant_zone


def schedule_of(channel: Channel, tenant_zone: tzinfo) -> Schedule:
    return Schedule(
        zone=zone_of(channel, tenant_zone),
        quiet_from=channel.quiet_from,
        quiet_until=channel.quiet_until,
        critical_passes=channel.critical_passes,
        digest=channel.digest,  # type: ignore[arg-type]  # a constraint holds it to the three
        digest_hour=channel.digest_hour,
    )


def cap_of(channel: Channel) -> Cap:
    return Cap(per_hour=channel.max_per_hour, per_day=channel.max_per_day)


def new_message_id() -> str:
    return f"msg_{secrets.token_hex(16)}"
