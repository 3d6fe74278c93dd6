"""The page about forecasts: how good they have been, and what is announced that they take in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.http import HttpResponse
from django.shortcuts import render

from apps.dashboards.insights.forecast_record import tell_record
from apps.dashboards.page import PageRequest, changing, usage_page
from apps.dashboards.periods import dated, local_moment
from apps.dashboards.templatetags.figures_of_speech import in_usd, usd_exact
from apps.dashboards.typed_numbers import NotANumber, as_typed, typed_decimal
from apps.insights.backtests import read_backtest
from apps.insights.errors import InsightsError, InvalidPlannedEventError
from apps.insights.selectors import PlannedEventInfo, list_planned_events
from apps.insights.services import add_planned_event, end_planned_event

LONGEST: Final = 201
SHOWN: Final = timedelta(days=366)
FIELDS: Final = ("name", "starts_at", "ends_at", "dimension", "value", "multiplier", "extra")
# What an event may be about, as people call it; empty: all spend.
SCOPES: Final = (
    ("", "all spend"),
    ("customer", "customer"),
    ("department", "department"),
    ("model", "model"),
    ("project", "project"),
    ("task", "task"),
)
# What services call a field, and what the form does.
FIELD_OF: Final = {
    "expected_multiplier": "multiplier",
    "expected_extra_usd": "extra",
    "scope": "value",
}


@dataclass(frozen=True, slots=True)
class EventLine:
    """One announcement as the table has it."""

    id: int
    name: str
    scope: str
    begins: str
    ends: str
    expected: str
    by: str
    is_over: bool


@usage_page
def forecasts(request: PageRequest) -> HttpResponse:
    return _show(request)


@changing
def announce_event(request: PageRequest) -> HttpResponse:
    """A launch, a migration, a known batch: from when to when, for what, and how much."""
    given = {n: request.POST.get(n, "").replace("\0", "").strip()[:LONGEST] for n in FIELDS}

    def add() -> None:
        zone = request.tenant.zone
        add_planned_event(
            name=given["name"],
            starts_at=_moment(given, "starts_at", zone),
            ends_at=_moment(given, "ends_at", zone),
            scope={given["dimension"]: given["value"] or None} if given["dimension"] else {},
            expected_multiplier=_number(given, "multiplier"),
            expected_extra_usd=_number(given, "extra"),
            actor=request.user.get_username(),
            now=request.now,
        )

    return _answer(request, add, given, "The event is announced: forecasts take it in from now on.")


@changing
def end_event(request: PageRequest) -> HttpResponse:
    """Ends an announcement now, or withdraws one that has not begun."""
    number = request.POST.get("event", "")

    def end() -> None:
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise InvalidPlannedEventError("that is no announced event", field="event")
        end_planned_event(int(number), actor=request.user.get_username(), now=request.now)

    return _answer(request, end, {}, "The event has ended.")


def _moment(given: dict[str, str], name: str, zone: ZoneInfo) -> datetime:
    try:
        local = datetime.fromisoformat(given[name])
        if local.tzinfo is None and 2000 <= local.year <= 2200:
            return local_moment(local.date(), local.time(), zone)
    except ValueError:
        pass
    raise InvalidPlannedEventError("write a local time such as 2026-11-27 00:00", field=name)


def _number(given: dict[str, str], name: str) -> Decimal | None:
    if not given[name]:
        return None
    try:
        return typed_decimal(given[name])
    except NotANumber as error:
        raise InvalidPlannedEventError(str(error), field=name) from error


def _answer(
    request: PageRequest, change: Callable[[], None], given: dict[str, str], said: str
) -> HttpResponse:
    try:
        change()
    except InsightsError as error:
        errors = {FIELD_OF.get(error.field or "", error.field or ""): str(error)}
        return _show(request, status=422, given=given, errors=errors)
    return _show(request, said=said)


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    zone, now = request.tenant.zone, request.now
    events = list_planned_events(start=now - SHOWN, end=now + SHOWN)
    is_part = request.htmx and not request.htmx.boosted
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "lines": [_line(event, zone, now) for event in reversed(events)],
        "scopes": SCOPES,
        "errors": {},
    }
    if not is_part:
        record = tell_record(read_backtest({}, now=now))
        context |= {"record": record, "answer": record.answer}
    name = "planned_events" if is_part else "forecasts"
    return render(request, f"dashboards/{name}.html", context | more, status=status)


def _line(event: PlannedEventInfo, zone: ZoneInfo, now: datetime) -> EventLine:
    scope = [f"{name} {value or 'not attributed'}" for name, value in event.scope.items()]
    return EventLine(
        id=event.id,
        name=event.name,
        scope=", ".join(scope) or "all spend",
        begins=_when(event.starts_at, zone),
        ends=_when(event.ends_at, zone),
        expected=_expected(event),
        by=event.created_by,
        is_over=event.ends_at <= now or event.ended_at is not None,
    )


def _when(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone)
    return f"{dated(local.date())}, {local:%H:%M}"


def _expected(event: PlannedEventInfo) -> str:
    if event.expected_multiplier is not None:
        return f"{as_typed(event.expected_multiplier)} times the usual"
    if event.expected_extra_usd is not None:
        return f"{in_usd(usd_exact(event.expected_extra_usd))} on top"
    return "not known"
