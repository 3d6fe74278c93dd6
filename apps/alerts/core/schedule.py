"""When a message goes out: quiet hours, digests, and caps. Pure; the clock is an argument."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final, Literal

from apps.alerts.core.facts import Severity
from apps.alerts.core.local_clock import MINUTE, moment_of, next_day_begins

HOUR: Final = timedelta(hours=1)
ONE_DAY: Final = timedelta(days=1)
Digest = Literal["none", "hourly", "daily"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A channel's times. Quiet hours are from `quiet_from` to before `quiet_until` by the clocks of
    `zone`, over midnight where the first is the later; None: there are none."""

    zone: tzinfo
    quiet_from: time | None = None
    quiet_until: time | None = None
    critical_passes: bool = True
    digest: Digest = "none"
    digest_hour: int = 8


@dataclass(frozen=True, slots=True)
class Release:
    """`held`: it waits for a list with others. Otherwise it goes out alone at `due_at`."""

    due_at: datetime
    held: bool


def quiet_until(schedule: Schedule, moment: datetime) -> datetime | None:
    """The end of the quiet hours that the moment is in; None when it is in none."""
    if schedule.quiet_from is None or schedule.quiet_until is None:
        return None
    today = moment.astimezone(schedule.zone).date()
    over_midnight = schedule.quiet_from > schedule.quiet_until
    for day in (today - ONE_DAY, today):
        starts_at = moment_of(day, schedule.quiet_from, schedule.zone)
        last_day = day + ONE_DAY if over_midnight else day
        ends_at = moment_of(last_day, schedule.quiet_until, schedule.zone)
        if starts_at <= moment < ends_at:
            return ends_at
    return None


def next_digest(schedule: Schedule, moment: datetime) -> datetime:
    """When the list after the moment goes out: the next full hour on the clock, or the next time it
    shows the digest's hour; after the quiet hours where that is within them."""
    if schedule.digest == "hourly":
        minutes = moment.astimezone(schedule.zone).minute
        start = moment.astimezone(UTC).replace(second=0, microsecond=0)
        at = start + (60 - minutes) * MINUTE
    else:
        today = moment.astimezone(schedule.zone).date()
        hour = time(schedule.digest_hour)
        at = moment_of(today, hour, schedule.zone)
        if at <= moment:
            at = moment_of(today + ONE_DAY, hour, schedule.zone)
    return quiet_until(schedule, at) or at


def release(schedule: Schedule, severity: Severity, moment: datetime) -> Release:
    """When, and how, an alert raised at this moment goes out."""
    if severity is Severity.CRITICAL and schedule.critical_passes:
        return Release(moment, held=False)
    if schedule.digest != "none":
        return Release(next_digest(schedule, moment), held=True)
    return Release(quiet_until(schedule, moment) or moment, held=False)


@dataclass(frozen=True, slots=True)
class Cap:
    """At most so many messages to one recipient in an hour, and in a local day."""

    per_hour: int
    per_day: int


def room_again_at(
    cap: Cap, *, last_hour: int, today: int, moment: datetime, zone: tzinfo
) -> datetime | None:
    """None while there is room for one message more. Otherwise when what is over the cap is told
    of in one list: the next local day, or an hour on."""
    if today >= cap.per_day:
        return next_day_begins(moment, zone)
    if last_hour >= cap.per_hour:
        return moment + HOUR
    return None
