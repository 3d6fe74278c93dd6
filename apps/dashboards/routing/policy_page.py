"""The policy page: what it says now, how far it goes, what was decided by hand, why it moved."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render

from apps.dashboards.corrections.run_requests import as_number, posted_text
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.periods import local_midnight
from apps.dashboards.pricing.words import moment_words
from apps.dashboards.routing import policy_words as words
from apps.dashboards.routing.figures import worth_over_time
from apps.dashboards.routing.shadows import shadows_context
from apps.dashboards.routing.tabs import routing_tabs
from apps.dashboards.typed_numbers import NotANumber, typed_decimal
from apps.pricing.selectors import list_backends
from apps.routing.core.overrides import ACTIONS
from apps.routing.core.value_model import TIERS
from apps.routing.errors import InvalidRoutingInput
from apps.routing.policy_memory import forget_live
from apps.routing.selectors import (
    list_overrides,
    list_policy_changes,
    list_value_models,
    read_modes,
    read_policy,
    read_policy_status,
    read_value_model,
)
from apps.routing.services import (
    add_override,
    begin_shadow,
    end_override,
    end_shadow,
    set_mode,
)
from apps.tenants.selectors import list_departments

CHANGES_DRAWN: Final = 120
CHANGES_LISTED: Final = 40
MAX_TEXT: Final = 500
MODE_FIELDS: Final = ("department", "mode", "mode_reason")
OVERRIDE_FIELDS: Final = (
    "action", "backend", "override_department", "task", "tier", "boost_percent", "starts_on",
    "ends_on", "reason",
)  # fmt: skip
SHADOW_FIELDS: Final = ("name", "budget_percent", "version", "shadow_reason")
ACTION_WORDS: Final = {"pin": "use only", "ban": "never use", "boost": "rather use"}


@page
def policy(request: PageRequest) -> HttpResponse:
    return _show(request)


@changing
def set_routing_mode(request: PageRequest) -> HttpResponse:
    given = {name: posted_text(request, name, MAX_TEXT) for name in MODE_FIELDS}

    def change() -> str:
        set_mode(
            given["mode"],
            department=given["department"] or None,
            reason=given["mode_reason"],
            actor=request.user.get_username(),
            now=request.now,
        )
        return "Kept. Routers that fetch the policy follow within seconds."

    return _changed(request, change, given, {"reason": "mode_reason"})


@changing
def add_by_hand(request: PageRequest) -> HttpResponse:
    given = {name: posted_text(request, name, MAX_TEXT) for name in OVERRIDE_FIELDS}

    def change() -> str:
        is_boost = given["action"] == "boost"
        add_override(
            given["action"],
            given["backend"],
            department=given["override_department"] or None,
            task=given["task"] or None,
            tier=given["tier"] or None,
            boost_share=_share(given["boost_percent"]) if is_boost else None,
            starts_at=_starts_at(request, given["starts_on"]),
            ends_at=_ends_at(request, given["ends_on"]),
            reason=given["reason"],
            actor=request.user.get_username(),
            now=request.now,
        )
        return "Kept. It holds for the decisions that follow; no pin lowers a floor."

    fields = {
        "boost_share": "boost_percent", "ends_at": "ends_on", "department": "override_department",
    }  # fmt: skip
    return _changed(request, change, given, fields)


@changing
def end_by_hand(request: PageRequest) -> HttpResponse:
    number = as_number(request.POST.get("override_id", "")) or 0

    def change() -> str:
        end_override(number, actor=request.user.get_username(), now=request.now)
        return "Ended: the policy decides there again."

    return _changed(request, change, {}, {})


@changing
def begin_beside(request: PageRequest) -> HttpResponse:
    fields = {"reason": "shadow_reason", "budget_factor": "budget_percent"}
    given = {name: posted_text(request, name, MAX_TEXT) for name in SHADOW_FIELDS}

    def change() -> str:
        begin_shadow(
            given["name"],
            budget_factor=_factor(given["budget_percent"]),
            value_model=_values(given["version"]),
            reason=given["shadow_reason"],
            actor=request.user.get_username(),
            now=request.now,
        )
        return "Begun. It decides beside the live policy within seconds, and changes nothing."

    return _changed(request, change, given, fields)


@changing
def end_beside(request: PageRequest) -> HttpResponse:
    number = as_number(request.POST.get("shadow_id", "")) or 0

    def change() -> str:
        end_shadow(number, actor=request.user.get_username(), now=request.now)
        return "Ended. What it decided stays with the decisions."

    return _changed(request, change, {}, {})


def _changed(
    request: PageRequest,
    change: Callable[[], str],
    given: dict[str, str],
    fields: dict[str, str],
) -> HttpResponse:
    """Do it, or say at its field what cannot be; this process then reads the policy anew."""
    try:
        said = change()
    except InvalidRoutingInput as error:
        text = str(error)
        errors = {fields.get(error.field, error.field): f"{text[:1].upper()}{text[1:]}."}
        return _show(request, given=_given(request) | given, errors=errors, status=422)
    transaction.on_commit(partial(forget_live, request.tenant.id))
    return _show(request, said=said)


def _factor(text: str) -> Decimal:
    try:
        return typed_decimal(text) / 100 if text else Decimal(1)
    except NotANumber as error:
        raise InvalidRoutingInput(
            "write the share of each budget as a number of per cent, such as 80",
            field="budget_factor",
        ) from error


def _values(version: str) -> dict[str, Any] | None:
    """A version's content; None: the one in force, whichever that is."""
    if not version:
        return None
    for info in list_value_models():
        if str(info.model.version) == version:
            return dict(info.model.content())
    raise InvalidRoutingInput("choose one of the versions", field="version")


def _share(text: str) -> Decimal:
    try:
        return typed_decimal(text) / 100
    except NotANumber as error:
        raise InvalidRoutingInput(
            "write the boost as a number of per cent, such as 20", field="boost_share"
        ) from error


def _starts_at(request: PageRequest, text: str) -> datetime | None:
    """The local midnight that a day begins with; now for today and for nothing."""
    day = _day(text, "starts_on")
    if day is None or day <= request.tenant.local_date(request.now):
        return None
    return local_midnight(day, request.tenant.zone)


def _ends_at(request: PageRequest, text: str) -> datetime | None:
    """Through the whole of a day."""
    day = _day(text, "ends_on")
    return None if day is None else local_midnight(day + timedelta(days=1), request.tenant.zone)


def _day(text: str, field: str) -> date | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InvalidRoutingInput("this is not a day such as 2026-11-23", field=field) from error
    if not 1970 <= day.year <= 9000:
        raise InvalidRoutingInput("give a day of this century", field=field)
    return day


def _given(request: PageRequest) -> dict[str, str]:
    today = request.tenant.local_date(request.now)
    return {"starts_on": today.isoformat(), "action": "pin", "backend": ""}


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    zone, now = request.tenant.zone, request.now
    names = {one.code: one.name for one in list_departments()}
    found, modes = read_policy(), read_modes(now)
    overrides = list_overrides(now)
    changes = list_policy_changes(limit=CHANGES_DRAWN)
    standing = read_policy_status()
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "tabs": routing_tabs(request),
        "answer": words.policy_answer(found, modes, names),
        "policy": found,
        "standing": standing,
        "issued": moment_words(standing.issued_at, zone) if standing else "",
        "planned": moment_words(standing.planned_at, zone) if standing else "",
        "modes": words.mode_lines(modes, names),
        "mode_words": words.MODE_WORDS.items(),
        "departments": names.items(),
        "overrides": [words.override_line(one, names, zone, now) for one in overrides],
        "actions": [(action, ACTION_WORDS[action]) for action in ACTIONS],
        "backend_keys": [one.key for one in list_backends() if one.card is not None],
        "tasks": read_value_model(now).tasks,
        "tiers": TIERS,
        "given": _given(request) | {"mode": modes.tenant},
        "errors": {},
        "history_title": words.history_title(changes),
        "figure": worth_over_time(changes, zone),
        "history": [words.history_line(row, names, zone) for row in changes[:CHANGES_LISTED]],
    }
    context |= shadows_context(request)
    if found is not None:
        context |= {
            "prices_title": words.prices_title(found, names),
            "scopes": words.scope_lines(found, names),
            "local": words.local_words(found),
            "backends": words.backend_lines(found, overrides, now),
        }
    return render(request, "dashboards/policy.html", context | more, status=status)
