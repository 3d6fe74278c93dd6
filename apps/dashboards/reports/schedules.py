"""Schedules of reports, and the reports that were made: the only door to both."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from apps.alerts.letter_outbox import LetterDeliveryInfo, Recipient, read_letter_deliveries
from apps.alerts.selectors import list_channels
from apps.dashboards.models import Report, ReportSchedule
from apps.dashboards.reports.times import FREQUENCIES, Rhythm, last_due
from apps.tenants.selectors import get_tenant, list_members
from apps.tenants.services import record_audit

MAX_SCHEDULES: Final = 20
MAX_CHOSEN: Final = 50
REPORTS_LISTED: Final = 50


class ReportScheduleError(ValueError):
    """What a schedule may not be; names the field of the form."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """`recipients`: those that are still there. What was due before `since` is not sent."""

    id: int
    rhythm: Rhythm
    member_ids: tuple[int, ...]
    channel_ids: tuple[int, ...]
    since: datetime
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class ReportInfo:
    """A report that was made, and its way to each recipient."""

    rhythm: Rhythm
    first_day: date
    cost_usd: Decimal
    made_at: datetime
    deliveries: tuple[LetterDeliveryInfo, ...]


def list_tenants_with_report_schedules() -> list[int]:
    """Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_report_schedules()")
        return [row[0] for row in cursor.fetchall()]


def list_schedules(*, now: datetime) -> list[ScheduleInfo]:
    """The active ones of the tenant in scope, the oldest first."""
    rows = list(ReportSchedule.objects.filter(ended_at=None).order_by("id"))
    known = possible_recipients(now=now) if rows else {}
    return [_info(row, known) for row in rows]


def possible_recipients(*, now: datetime) -> dict[tuple[str, int], Recipient]:
    """Whom a report can go to, by ("member" or "channel", number): members, and channels by e-mail
    that are switched on."""
    found = {("member", m.user_id): Recipient(m.email, m.email) for m in list_members()}
    for channel in list_channels(now=now):
        if channel.kind == "email" and channel.settings.enabled:
            name = channel.settings.name
            found["channel", channel.id] = Recipient(name, channel.target)
    return found


def list_reports(*, limit: int = REPORTS_LISTED) -> list[ReportInfo]:
    """The newest first."""
    rows = list(Report.objects.select_related("schedule").order_by("-made_at", "-id")[:limit])
    deliveries = read_letter_deliveries(letter_key(r.schedule_id, r.first_day) for r in rows)
    return [
        ReportInfo(
            rhythm=_rhythm(row.schedule),
            first_day=row.first_day,
            cost_usd=row.cost_usd,
            made_at=row.made_at,
            deliveries=tuple(deliveries.get(letter_key(row.schedule_id, row.first_day), ())),
        )
        for row in rows
    ]


def add_schedule(
    rhythm: Rhythm,
    *,
    member_ids: Collection[int],
    channel_ids: Collection[int],
    actor: str,
    now: datetime,
) -> int:
    """Add a schedule; its first report is the first one due from now on."""
    standing = ReportSchedule.objects.filter(ended_at=None).count()
    if standing >= MAX_SCHEDULES:
        raise ReportScheduleError(f"there are {standing} reports, at most {MAX_SCHEDULES}")
    columns = _checked(rhythm, member_ids, channel_ids, now=now)
    row = ReportSchedule.objects.create(since=now, created_at=now, **columns)
    _audit("added", row, actor, now=now, after=_described(row, now))
    return row.pk


def change_schedule(
    schedule_id: int,
    rhythm: Rhythm,
    *,
    member_ids: Collection[int],
    channel_ids: Collection[int],
    actor: str,
    now: datetime,
) -> None:
    """Set it anew. Another time counts from now on; a period that was told is not told again."""
    row = _find(schedule_id)
    before = _described(row, now)
    columns = _checked(rhythm, member_ids, channel_ids, now=now)
    if _rhythm(row) != rhythm:
        columns["since"] = now
    for name, value in columns.items():
        setattr(row, name, value)
    row.save(update_fields=list(columns))
    after = _described(row, now)
    if after != before:
        _audit("changed", row, actor, now=now, before=before, after=after)


def end_schedule(schedule_id: int, *, actor: str, now: datetime) -> None:
    row = _find(schedule_id)
    row.ended_at = now
    row.save(update_fields=["ended_at"])
    _audit("ended", row, actor, now=now, before=_described(row, now))


def claim_due_schedule(schedule_id: int, *, now: datetime) -> tuple[ScheduleInfo, date] | None:
    """A schedule that is due, locked until the transaction ends, and the first day its report
    covers; None when it is not due, was told already, or another worker has it."""
    row = (
        ReportSchedule.objects.select_for_update(skip_locked=True)
        .filter(pk=schedule_id, ended_at=None)
        .first()
    )
    if row is None:
        return None
    due_at, first_day = last_due(_rhythm(row), get_tenant().zone, now)
    if due_at <= row.since or row.reports.filter(first_day=first_day).exists():
        return None
    return _info(row, possible_recipients(now=now)), first_day


def record_report(schedule_id: int, first_day: date, *, cost_usd: Decimal, now: datetime) -> None:
    """In the transaction that posts its letter: both stand, or neither."""
    Report.objects.create(
        schedule_id=schedule_id, first_day=first_day, cost_usd=cost_usd, made_at=now
    )


def letter_key(schedule_id: int, first_day: date) -> str:
    return f"report:{schedule_id}:{first_day.isoformat()}"


def _find(schedule_id: int) -> ReportSchedule:
    rows = ReportSchedule.objects.select_for_update()
    row = rows.filter(pk=schedule_id, ended_at=None).first()
    if row is None:
        raise ReportScheduleError("that report is not sent any more, or never was")
    return row


def _checked(
    rhythm: Rhythm, member_ids: Collection[int], channel_ids: Collection[int], *, now: datetime
) -> dict[str, Any]:
    if rhythm.frequency not in FREQUENCIES:
        raise ReportScheduleError("a report is weekly or monthly", field="frequency")
    first, last = (0, 6) if rhythm.frequency == "weekly" else (1, 31)
    if not first <= rhythm.day <= last:
        raise ReportScheduleError(f"a day is {first} to {last}, not {rhythm.day}", field="day")
    if not 0 <= rhythm.hour <= 23:
        raise ReportScheduleError(f"an hour is 0 to 23, not {rhythm.hour}", field="hour")
    chosen = [*(("member", n) for n in member_ids), *(("channel", n) for n in channel_ids)]
    if not 0 < len(chosen) <= MAX_CHOSEN:
        raise ReportScheduleError(
            f"choose 1 to {MAX_CHOSEN} recipients, not {len(chosen)}", field="recipients"
        )
    if set(chosen) - set(possible_recipients(now=now)):
        raise ReportScheduleError(
            "somebody chosen has left, or is no channel by e-mail", field="recipients"
        )
    return {
        "frequency": rhythm.frequency,
        "day": rhythm.day,
        "hour": rhythm.hour,
        "member_ids": sorted(set(member_ids)),
        "channel_ids": sorted(set(channel_ids)),
    }


def _rhythm(row: ReportSchedule) -> Rhythm:
    # A constraint holds the frequency to the two.
    return Rhythm(row.frequency, row.day, row.hour)  # type: ignore[arg-type]


def _info(row: ReportSchedule, known: dict[tuple[str, int], Recipient]) -> ScheduleInfo:
    chosen = [*(("member", n) for n in row.member_ids), *(("channel", n) for n in row.channel_ids)]
    return ScheduleInfo(
        id=row.pk,
        rhythm=_rhythm(row),
        member_ids=tuple(row.member_ids),
        channel_ids=tuple(row.channel_ids),
        since=row.since,
        recipients=tuple(known[key] for key in chosen if key in known),
    )


def _described(row: ReportSchedule, now: datetime) -> dict[str, Any]:
    info = _info(row, possible_recipients(now=now))
    return {
        "name": f"{row.frequency} report",
        "when": info.rhythm.in_words,
        "recipients": [one.name for one in info.recipients],
    }


def _audit(verb: str, row: ReportSchedule, actor: str, *, now: datetime, **values: Any) -> None:
    record_audit(
        actor=actor,
        action=f"report.{verb}",
        subject=f"report_schedule:{row.pk}",
        now=now,
        **values,
    )
