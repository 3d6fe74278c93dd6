"""The page of reports: when each goes out and to whom, what it says, and what became of it."""

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render

from apps.alerts.letter_outbox import LetterDeliveryInfo
from apps.dashboards.alerts.words import STATE_WORDS, moment_words
from apps.dashboards.corrections.run_requests import posted_text
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.periods import WEEKDAYS
from apps.dashboards.reports.letters import make_letter, post_test
from apps.dashboards.reports.schedules import (
    ReportInfo,
    ReportScheduleError,
    ScheduleInfo,
    add_schedule,
    change_schedule,
    end_schedule,
    list_reports,
    list_schedules,
    possible_recipients,
)
from apps.dashboards.reports.times import (
    FREQUENCIES,
    Frequency,
    Rhythm,
    last_closed,
    next_due,
    period_name,
)

FREQUENCY_WORDS: Final = {"weekly": "each week", "monthly": "each month"}
DEFAULT: Final = Rhythm("weekly", 0, 8)
MAX_NUMBER: Final = 18
MAX_POSTED: Final = 200


@dataclass(frozen=True, slots=True)
class ScheduleLine:
    info: ScheduleInfo
    when: str
    next_at: str


@dataclass(frozen=True, slots=True)
class DeliveryLine:
    info: LetterDeliveryInfo
    tag: str


@dataclass(frozen=True, slots=True)
class ReportLine:
    info: ReportInfo
    name: str
    made_at: str
    deliveries: list[DeliveryLine]


@page
def reports(request: PageRequest) -> HttpResponse:
    return _show(request, editing=_number(request.GET.get("change", "")))


@page
def preview(request: PageRequest) -> HttpResponse:
    """The letter of the last closed week or month, as it would arrive."""
    frequency = _frequency(request.GET.get("frequency", ""))
    first_day = last_closed(frequency, request.tenant.zone, request.now)
    return HttpResponse(make_letter(frequency, first_day, now=request.now)[1].html)


@changing
def save_report(request: PageRequest) -> HttpResponse:
    """Add a schedule, or change the one that the form names."""
    schedule_id = _number(posted_text(request, "schedule_id", MAX_NUMBER))
    chosen = request.POST.getlist("recipients")[:MAX_POSTED]
    actor, now = request.user.get_username(), request.now
    try:
        rhythm = _posted_rhythm(request)
        whom: dict[str, Any] = {
            "member_ids": _numbers(chosen, "member"),
            "channel_ids": _numbers(chosen, "channel"),
        }
        if schedule_id is None:
            add_schedule(rhythm, **whom, actor=actor, now=now)
        else:
            change_schedule(schedule_id, rhythm, **whom, actor=actor, now=now)
    except ReportScheduleError as error:
        errors = {error.field or "form": f"{str(error)[:1].upper()}{str(error)[1:]}."}
        return _show(request, status=422, editing=schedule_id, errors=errors, chosen=set(chosen))
    first = moment_words(next_due(rhythm, request.tenant.zone, now), request.tenant.zone)
    return _show(request, said=f"Kept. The next one goes out on {first}.")


@changing
def end_report(request: PageRequest) -> HttpResponse:
    schedule_id = _number(posted_text(request, "schedule_id", MAX_NUMBER))
    try:
        end_schedule(schedule_id or 0, actor=request.user.get_username(), now=request.now)
    except ReportScheduleError as error:
        return _show(request, status=422, errors={"form": f"{str(error).capitalize()}."})
    return _show(request, said="It is not sent any more. Those that went out stay listed.")


@changing
def test_report(request: PageRequest) -> HttpResponse:
    """Send the last closed period's to the one who asks."""
    email = request.user.get_username()
    frequency = _frequency(posted_text(request, "frequency", MAX_NUMBER))
    user_id = int(request.user.pk or 0)
    if post_test(frequency, user_id=user_id, email=email, now=request.now):
        return _show(request, said=f"On its way to {email}.")
    return _show(request, said=f"One went to {email} within this minute.")


def _show(
    request: PageRequest,
    *,
    status: int = 200,
    editing: int | None = None,
    errors: dict[str, str] | None = None,
    chosen: set[str] | None = None,
    said: str = "",
) -> HttpResponse:
    zone, now = request.tenant.zone, request.now
    schedules = list_schedules(now=now)
    edited = next((one for one in schedules if one.id == editing), None)
    if chosen is None:
        chosen = {f"member:{request.user.pk}"} if edited is None else _chosen(edited)
    context = {
        "tenant": request.tenant,
        "answer": _answer(schedules),
        "schedules": [
            ScheduleLine(
                one,
                one.rhythm.in_words,
                moment_words(next_due(one.rhythm, zone, max(now, one.since)), zone),
            )
            for one in schedules
        ],
        "past": [_line(one, request) for one in list_reports()],
        "previews": [_preview(frequency, request) for frequency in FREQUENCIES],
        "edited": edited,
        "form": _form(request, edited.rhythm if edited else DEFAULT, chosen),
        "errors": errors or {},
        "said": said,
    }
    return render(request, "dashboards/reports.html", context, status=status)


def _form(request: PageRequest, rhythm: Rhythm, chosen: set[str]) -> dict[str, Any]:
    """Choices with the chosen one; what was posted stays."""
    given = {
        "frequency": rhythm.frequency,
        "weekday": str(rhythm.day if rhythm.frequency == "weekly" else DEFAULT.day),
        "month_day": str(rhythm.day if rhythm.frequency == "monthly" else 1),
        "hour": str(rhythm.hour),
    } | {name: request.POST[name] for name in _CHOICES if name in request.POST}
    known = possible_recipients(now=request.now)
    return {
        "fields": [
            (name, label, [(v, words, v == given[name]) for v, words in choices])
            for name, (label, choices) in _CHOICES.items()
        ],
        "recipients": [
            (f"{kind}:{number}", one.name, kind == "channel", f"{kind}:{number}" in chosen)
            for (kind, number), one in known.items()
        ],
    }


_CHOICES: Final = {
    "frequency": ("How often", list(FREQUENCY_WORDS.items())),
    "weekday": ("Weekday, each week", [(str(n), day) for n, day in enumerate(WEEKDAYS)]),
    "month_day": ("Day, each month", [(str(n), str(n)) for n in range(1, 32)]),
    "hour": ("Hour", [(str(n), f"{n:02}:00") for n in range(24)]),
}


def _posted_rhythm(request: PageRequest) -> Rhythm:
    frequency = posted_text(request, "frequency", MAX_NUMBER)
    if frequency not in FREQUENCIES:
        raise ReportScheduleError("a report is weekly or monthly", field="frequency")
    day_field = "weekday" if frequency == "weekly" else "month_day"
    numbers: list[int] = []
    for name in (day_field, "hour"):
        number = _number(posted_text(request, name, MAX_NUMBER))
        if number is None:
            raise ReportScheduleError("choose one of the list", field=name)
        numbers.append(number)
    return Rhythm(_frequency(frequency), *numbers)


def _preview(frequency: Frequency, request: PageRequest) -> tuple[Frequency, str]:
    first = last_closed(frequency, request.tenant.zone, request.now)
    return frequency, period_name(frequency, first)


def _line(info: ReportInfo, request: PageRequest) -> ReportLine:
    return ReportLine(
        info,
        _capital(period_name(info.rhythm.frequency, info.first_day)),
        moment_words(info.made_at, request.tenant.zone),
        [DeliveryLine(one, STATE_WORDS.get(one.state, one.state)) for one in info.deliveries],
    )


def _answer(schedules: list[ScheduleInfo]) -> str:
    if not schedules:
        return "Nobody yet: no report is scheduled."
    people = {one.target for schedule in schedules for one in schedule.recipients}
    many = "One report goes" if len(schedules) == 1 else f"{len(schedules)} reports go"
    return f"{many} to {len(people)} recipient{'' if len(people) == 1 else 's'}."


def _chosen(info: ScheduleInfo) -> set[str]:
    members = {f"member:{n}" for n in info.member_ids}
    return members | {f"channel:{n}" for n in info.channel_ids}


def _frequency(text: str) -> Frequency:
    return "monthly" if text == "monthly" else "weekly"


def _numbers(chosen: list[str], kind: str) -> list[int]:
    found = [_number(one.removeprefix(f"{kind}:")) for one in chosen if one.startswith(f"{kind}:")]
    return [n for n in found if n is not None]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_NUMBER else None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
