"""The only writer of announcements."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, get_args

from apps.insights.errors import InvalidPlannedEventError, UnknownPlannedEventError
from apps.insights.models import MAX_MULTIPLIER, PlannedEvent
from apps.tenants.services import record_audit
from apps.usage.selectors import Dimension

MAX_NAME_LENGTH: Final = 200
MAX_VALUE_LENGTH: Final = 200
MAX_OPEN_EVENTS: Final = 200
MAX_LENGTH: Final = timedelta(days=366)
MAX_EXTRA_USD: Final = Decimal(10) ** 12
DECIMALS: Final = 6
DIMENSIONS: Final[tuple[str, ...]] = get_args(Dimension)


def add_planned_event(
    *,
    name: str,
    starts_at: datetime,
    ends_at: datetime,
    scope: Mapping[str, str | None],
    actor: str,
    now: datetime,
    expected_multiplier: Decimal | None = None,
    expected_extra_usd: Decimal | None = None,
) -> int:
    """Announce an event to the tenant in scope and return its id.

    `expected_multiplier` scales the scope's usual spend while it lasts; `expected_extra_usd` comes
    on top of it, in all. Raises InvalidPlannedEventError naming the field.
    """
    _check_name(name)
    _check_time(starts_at, ends_at)
    _check_scope(scope)
    _check_expectation(expected_multiplier, expected_extra_usd)
    if PlannedEvent.objects.filter(ends_at__gt=now, ended_at=None).count() >= MAX_OPEN_EVENTS:
        raise InvalidPlannedEventError(
            f"{MAX_OPEN_EVENTS} announced events have not ended; end some first", field="name"
        )
    event = PlannedEvent.objects.create(
        name=name.strip(),
        starts_at=starts_at,
        ends_at=ends_at,
        scope=dict(scope),
        expected_multiplier=expected_multiplier,
        expected_extra_usd=expected_extra_usd,
        created_by=actor,
        created_at=now,
    )
    record_audit(
        actor=actor,
        action="planned_event.added",
        subject=f"planned_event:{event.pk}",
        after=_as_json(event),
        now=now,
    )
    return event.pk


def end_planned_event(event_id: int, *, actor: str, now: datetime) -> None:
    """End an announcement now, or withdraw one that has not begun.

    Raises UnknownPlannedEventError when there is none that could be ended.
    """
    changed = PlannedEvent.objects.filter(pk=event_id, ended_at=None).update(
        ended_at=now, ended_by=actor
    )
    if not changed:
        raise UnknownPlannedEventError(f"no announced event {event_id} that is not ended already")
    record_audit(
        actor=actor, action="planned_event.ended", subject=f"planned_event:{event_id}", now=now
    )


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME_LENGTH or "\0" in name:
        raise InvalidPlannedEventError(
            f"name has 1 to {MAX_NAME_LENGTH} characters, none of them NUL", field="name"
        )


def _check_time(starts_at: datetime, ends_at: datetime) -> None:
    for field, moment in (("starts_at", starts_at), ("ends_at", ends_at)):
        if moment.tzinfo is None:
            raise InvalidPlannedEventError(f"{field} needs an offset, such as Z", field=field)
    if not starts_at < ends_at or ends_at - starts_at > MAX_LENGTH:
        raise InvalidPlannedEventError(
            f"an event ends after it starts, by at most {MAX_LENGTH.days} days; this one would last"
            f" {(ends_at - starts_at) / timedelta(hours=1):,.1f} hours",
            field="ends_at",
        )


def _check_scope(scope: Mapping[str, str | None]) -> None:
    for dimension, value in scope.items():
        if dimension not in DIMENSIONS:
            raise InvalidPlannedEventError(
                f"{dimension[:60]!r} is no dimension of spend ({', '.join(DIMENSIONS)})",
                field="scope",
            )
        if value is not None and (not value or len(value) > MAX_VALUE_LENGTH or "\0" in value):
            raise InvalidPlannedEventError(
                f"scope's {dimension} has 1 to {MAX_VALUE_LENGTH} characters, or is null for what"
                " is not attributed",
                field="scope",
            )


def _check_expectation(multiplier: Decimal | None, extra_usd: Decimal | None) -> None:
    if multiplier is not None and extra_usd is not None:
        raise InvalidPlannedEventError(
            "give expected_multiplier or expected_extra_usd, not both", field="expected_extra_usd"
        )
    limits = (
        ("expected_multiplier", multiplier, Decimal(MAX_MULTIPLIER)),
        ("expected_extra_usd", extra_usd, MAX_EXTRA_USD),
    )
    for field, value, most in limits:
        if value is not None and not (
            value.is_finite() and 0 <= value <= most and value == round(value, DECIMALS)
        ):
            raise InvalidPlannedEventError(
                f"{field} is from 0 to {most:f}, with up to {DECIMALS} decimals; got {value}",
                field=field,
            )


def _as_json(event: PlannedEvent) -> dict[str, Any]:
    return {
        "name": event.name,
        "starts_at": event.starts_at.isoformat(),
        "ends_at": event.ends_at.isoformat(),
        "scope": event.scope,
        "expected_multiplier": _plain(event.expected_multiplier),
        "expected_extra_usd": _plain(event.expected_extra_usd),
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
