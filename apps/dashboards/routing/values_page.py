"""The page of the value model: what answers are worth, how well each backend does, what is the
least; saved as a new dated version with its reason."""

from datetime import date, datetime
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import render

from apps.dashboards.corrections.run_requests import posted_text
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.periods import local_midnight
from apps.dashboards.pricing.words import day_words
from apps.dashboards.routing.tabs import routing_tabs
from apps.dashboards.routing.values_form import FormError, read_content, tables
from apps.dashboards.sentences import Answer, Phrase
from apps.pricing.selectors import list_backends
from apps.routing.core.value_model import ValueModel
from apps.routing.errors import InvalidRoutingInput
from apps.routing.policy_memory import forget_live
from apps.routing.selectors import (
    ValueModelInfo,
    list_value_models,
    read_policy,
    read_value_model,
)
from apps.routing.services import set_value_model

MAX_REASON: Final = 500
CHANGES_TOLD: Final = 12


@page
def values(request: PageRequest) -> HttpResponse:
    return _show(request)


@changing
def save_values(request: PageRequest) -> HttpResponse:
    """A new version: what is in force with what was typed, from a day on."""
    posted = {name: str(text) for name, text in request.POST.items()}
    given = {name: posted_text(request, name, MAX_REASON) for name in ("reason", "starts_on")}
    model = read_value_model(request.now)
    try:
        if posted.get("version") != str(model.version):
            raise FormError(
                "version",
                f"Version {model.version} was saved meanwhile. It is shown now: look at it, and"
                " type your changes again.",
            )
        number = set_value_model(
            read_content(model, posted),
            actor=request.user.get_username(),
            reason=given["reason"],
            now=request.now,
            effective_from=_begins(request, given["starts_on"]),
        )
    except FormError as error:
        typed = None if error.field == "version" else posted
        return _refused(request, error.field, error.text, typed, given)
    except InvalidRoutingInput as error:
        text = str(error)
        field = (error.field or "reason").replace("effective_from", "starts_on")
        field = next((name for name in posted if name.replace(":", ".") == field), field)
        return _refused(request, field, f"{text[:1].upper()}{text[1:]}.", posted, given)
    transaction.on_commit(partial(forget_live, request.tenant.id))
    return _show(request, said=f"Version {number} is kept. The policy is planned anew by it.")


def _refused(
    request: PageRequest,
    field: str,
    text: str,
    typed: dict[str, str] | None,
    given: dict[str, str],
) -> HttpResponse:
    return _show(
        request, status=422, typed=typed, wrong=field, given=given, errors={field: text},
        refusal="" if field in ("reason", "starts_on") else text,
    )  # fmt: skip


def _begins(request: PageRequest, text: str) -> datetime | None:
    """None is now: for today, and for nothing."""
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise FormError("starts_on", "This is not a day such as 2026-11-23.") from error
    if not 1970 <= day.year <= 9000:
        raise FormError("starts_on", "Give a day of this century.")
    is_today = day == request.tenant.local_date(request.now)
    return None if is_today else local_midnight(day, request.tenant.zone)


def _show(
    request: PageRequest,
    *,
    status: int = 200,
    typed: dict[str, str] | None = None,
    wrong: str = "",
    **more: Any,
) -> HttpResponse:
    model = read_value_model(request.now)
    versions = list_value_models()
    zone = request.tenant.zone
    backends = [(one.key, one.kind == "local") for one in list_backends() if one.card is not None]
    backends.sort(key=lambda one: (one[0] not in model.quality, not one[1], one[0]))
    today = request.tenant.local_date(request.now).isoformat()
    context: dict[str, Any] = {
        "tenant": request.tenant,
        "tabs": routing_tabs(request),
        "answer": _answer(model, versions, request),
        "model": model,
        "tables": tables(model, backends, read_policy(), typed, wrong),
        "given": {"reason": "", "starts_on": today},
        "errors": {},
        "versions": [
            {
                "info": info,
                "when": day_words(info.effective_from, zone),
                "is_ahead": info.effective_from > request.now,
                "changed": info.changed[:CHANGES_TOLD],
                "more": len(info.changed) - CHANGES_TOLD,
            }
            for info in versions
        ],
    }
    return render(request, "dashboards/values.html", context | more, status=status)


def _answer(model: ValueModel, versions: list[ValueModelInfo], request: PageRequest) -> Answer:
    if not model.version:
        return (
            Phrase("Nobody has said yet", strong=True),
            Phrase(": defaults hold, by tier, task and the family of each model."),
        )
    info = next((one for one in versions if one.model.version == model.version), None)
    if info is None:
        return (Phrase(f"Version {model.version} holds", strong=True), Phrase("."))
    since = day_words(info.effective_from, request.tenant.zone)
    return (
        Phrase(f"Version {model.version} holds", strong=True),
        Phrase(f" since {since}, by {info.actor}: “{info.reason}”."),
    )
