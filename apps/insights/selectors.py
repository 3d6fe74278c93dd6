"""The only reader of announcements."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import F, Q

from apps.insights.models import PlannedEvent
from apps.tenants.scoping import once

MAX_EVENTS: Final = 500


@dataclass(frozen=True, slots=True)
class PlannedEventInfo:
    """An announcement; it holds in [starts_at, ends_at), where `ends_at` is when it was ended if
    that came first. Scope values of None mean "not attributed"."""

    id: int
    name: str
    starts_at: datetime
    ends_at: datetime
    scope: Mapping[str, str | None]
    expected_multiplier: Decimal | None
    expected_extra_usd: Decimal | None
    created_by: str
    created_at: datetime
    ended_at: datetime | None


def list_planned_events(*, start: datetime, end: datetime) -> list[PlannedEventInfo]:
    """What the tenant in scope announced for some of [start, end), first to start first.

    Events withdrawn before they began are left out. At most MAX_EVENTS, the newest.
    """
    if not _has_planned_events():
        return []
    held = Q(ended_at=None) | (Q(ended_at__gt=F("starts_at")) & Q(ended_at__gt=start))
    rows = PlannedEvent.objects.filter(held, starts_at__lt=end, ends_at__gt=start).order_by(
        "-starts_at", "-id"
    )[:MAX_EVENTS]
    return [_info(row) for row in reversed(rows)]


@once
def _has_planned_events() -> bool:
    return PlannedEvent.objects.exists()


def _info(row: PlannedEvent) -> PlannedEventInfo:
    return PlannedEventInfo(
        id=row.pk,
        name=row.name,
        starts_at=row.starts_at,
        ends_at=min(row.ends_at, row.ended_at or row.ends_at),
        scope=row.scope,
        expected_multiplier=row.expected_multiplier,
        expected_extra_usd=row.expected_extra_usd,
        created_by=row.created_by,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
