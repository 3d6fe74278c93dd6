"""The pages of anomalies: the list ranked by money, one finding, and what people do with it."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from apps.dashboards.insights import anomaly_words as words
from apps.dashboards.insights.anomaly_figures import finding_hours, local_hours
from apps.dashboards.page import PageRequest, changing, usage_page
from apps.dashboards.pricing.words import moment_words
from apps.dashboards.sentences import Phrase
from apps.dashboards.ticks import day_label
from apps.dashboards.typed_numbers import NotANumber, as_typed, typed_decimal
from apps.insights.errors import InsightsError, InvalidAnswerError, UnknownFindingError
from apps.insights.finding_actions import (
    acknowledge_finding,
    change_anomaly_settings,
    comment_finding,
    expect_finding,
    snooze_finding,
)
from apps.insights.finding_selectors import (
    FindingDetail,
    FindingInfo,
    get_finding,
    list_findings,
    read_names,
    read_past_findings,
    read_record,
    read_settings,
    read_watched_until,
)
from apps.usage.charges import Charge, read_charge
from apps.usage.hourly import start_of_hour

RECORD: Final = timedelta(days=90)
LISTED: Final = 100
SNOOZES: Final = {"4": "4 hours", "24": "a day", "168": "a week"}
GUARD_WORDS: Final = {
    "off": "nothing; tell people",
    "slow": "slow its key or customer down",
    "suspend": "suspend its key or customer",
}
TABLES_SHOWN: Final = 3
LONGEST: Final = 2001


@usage_page
def anomalies(request: PageRequest) -> HttpResponse:
    return _show_list(request)


def anomaly(request: HttpRequest, finding_id: int) -> HttpResponse:
    """One finding: its hours, its causes, the charges behind it, and what was said."""
    return usage_page(lambda inside: _show_one(inside, finding_id))(request)


def answer(request: HttpRequest, finding_id: int) -> HttpResponse:
    """Acknowledge, expect, snooze or comment, by the form's `action`."""
    return changing(lambda inside: _answer(inside, finding_id))(request)


@changing
def change_settings(request: PageRequest) -> HttpResponse:
    """What is worth a finding, and whether runaways are stopped."""
    given = {
        name: request.POST.get(name, "").replace("\0", "").strip()[:40]
        for name in ("min_usd", "sensitivity", "guard")
    }
    try:
        change_anomaly_settings(
            min_usd=_number(given["min_usd"], "min_usd"),
            sensitivity=float(_number(given["sensitivity"], "sensitivity")),
            guard=given["guard"],
            actor=request.user.get_username(),
            now=request.now,
        )
    except InvalidAnswerError as error:
        errors = {error.field or "": str(error)}
        return _show_list(request, status=422, given=given, errors=errors)
    return _show_list(request, said="Saved: it holds from the next look on, within minutes.")


def _number(text: str, field: str) -> Decimal:
    try:
        return typed_decimal(text)
    except NotANumber as error:
        raise InvalidAnswerError(str(error), field=field) from error


def _show_list(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    zone, now = request.tenant.zone, request.now
    found = list_findings(now=now, limit=LISTED)
    waiting = [one for one in found if one.is_waiting(now)]
    settings = read_settings()
    record, names = read_record(since=now - RECORD), read_names()
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "answer": words.list_answer(waiting, _watched(request)),
        "lines": [words.finding_line(one, zone, now, names) for one in found],
        "record": record,
        "record_title": words.record_title(record),
        "sensitivities": words.sensitivity_rows(
            read_past_findings(since=now - RECORD), settings.sensitivity
        ),
        "given": {
            "min_usd": as_typed(settings.min_usd),
            "sensitivity": as_typed(Decimal(f"{settings.sensitivity:g}")),
            "guard": settings.guard,
        },
        "guards": GUARD_WORDS.items(),
        "errors": {},
    }
    is_part = request.htmx and not request.htmx.boosted
    name = "anomalies_body" if is_part else "anomalies"
    return render(request, f"dashboards/{name}.html", context | more, status=status)


def _watched(request: PageRequest) -> str:
    hour = read_watched_until()
    if hour is None:
        return "The first hours are being read; this takes a few minutes."
    local = start_of_hour(hour).astimezone(request.tenant.zone)
    return f"Hours up to {day_label(local.date())}, {local:%H:%M} are judged."


def _answer(request: PageRequest, finding_id: int) -> HttpResponse:
    actor, now = request.user.get_username(), request.now
    hours = request.POST.get("hours", "")
    text = request.POST.get("text", "").replace("\0", "")[:LONGEST]

    def snooze() -> None:
        if hours not in SNOOZES:
            raise InvalidAnswerError("choose how long", field="hours")
        until = now + timedelta(hours=int(hours))
        snooze_finding(finding_id, until=until, actor=actor, now=now)

    actions: dict[str, tuple[Callable[[], object], str]] = {
        "acknowledge": (
            lambda: acknowledge_finding(finding_id, actor=actor, now=now),
            "You look after it.",
        ),
        "expect": (
            lambda: expect_finding(finding_id, actor=actor, now=now),
            "Noted: it takes a little more to stand out next time.",
        ),
        "snooze": (snooze, f"Snoozed for {SNOOZES.get(hours, '')}."),
        "comment": (
            lambda: comment_finding(finding_id, text=text, actor=actor, now=now),
            "Your comment is here.",
        ),
    }
    act, said = actions.get(request.POST.get("action", ""), (None, ""))
    if act is None:
        return HttpResponse(status=422)
    try:
        act()
    except UnknownFindingError as error:
        raise Http404 from error
    except InsightsError as error:
        return _show_one(request, finding_id, status=422, refusal=str(error), text=text)
    return _show_one(request, finding_id, said=said)


def _show_one(
    request: PageRequest, finding_id: int, *, status: int = 200, **more: Any
) -> HttpResponse:
    detail = get_finding(finding_id)
    if detail is None:
        raise Http404
    is_part = request.htmx and not request.htmx.boosted and request.method == "POST"
    context = _about(request, detail) | more
    name = "anomaly_talk" if is_part else "anomaly"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _about(request: PageRequest, detail: FindingDetail) -> dict[str, Any]:
    info, zone, now = detail.info, request.tenant.zone, request.now
    names = read_names()
    tables = words.cause_tables(info, names)
    a_day, to_month_end = words.going_on(info, zone, now)
    return {
        "tenant": request.tenant,
        "info": info,
        "question": words.question_of(info, names),
        "answer": (Phrase(words.title_of(info, zone, now, names)), Phrase(".")),
        "kind": words.KIND_TAGS[info.kind],
        "chart_title": words.chart_title(info, zone),
        "figure": finding_hours(detail.points, zone),
        "hours": zip(local_hours(detail.points, zone), detail.points, strict=True),
        "first_bad": moment_words(info.first_bad_at, zone),
        "lasted": words.hours_words(info.hours),
        "told": words.told_words(info, zone),
        "state": words.state_words(info, zone, now),
        "usd_a_day": a_day,
        "usd_to_month_end": to_month_end,
        "tables": tables[:TABLES_SHOWN],
        "more_tables": tables[TABLES_SHOWN:],
        "effects": words.effect_rows(info),
        "keys": _keys(info),
        "charges": [
            (
                moment_words(charge.occurred_at, zone),
                charge,
                names.get(("customer", charge.customer or ""), charge.customer),
            )
            for charge in _charges(info.charge_ids)
        ],
        "comments": [(moment_words(c.at, zone), c) for c in detail.comments],
        "restrictions": detail.restrictions,
        "snoozes": SNOOZES.items(),
        "waits": info.is_waiting(now),
    }


def _keys(info: FindingInfo) -> list[tuple[str, Decimal]]:
    """The router keys behind it, the most of it first."""
    return [
        (part.value, part.excess_usd)
        for part in info.causes
        if part.dimension == "router" and part.value
    ]


def _charges(charge_ids: Sequence[int]) -> list[Charge]:
    found = [read_charge(charge_id) for charge_id in charge_ids]
    return [charge for charge in found if charge is not None]
