"""The attribution page: whose usage is it? Rules for what comes in, moves for what came in."""

from datetime import date, datetime, timedelta
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from kombu.exceptions import OperationalError as NoBrokerError

from apps.dashboards.corrections.attribution_forms import (
    DOORS,
    MOVE_FIELDS,
    RULE_FIELDS,
    WINDOW_DAYS,
    Form,
    FormError,
    as_target,
    first_move_form,
    read_fields,
    read_move,
    read_rule,
)
from apps.dashboards.corrections.attribution_reading import (
    DOOR_WORDS,
    match_words,
    read_attribution,
)
from apps.dashboards.corrections.run_requests import (
    NO_ANSWER,
    NO_WORKER,
    PATIENCE,
    POLL_SECONDS,
    asked_query,
    posted_number,
    read_asked,
    read_number,
    start_posted_run,
    undo_posted_run,
)
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.page_state import Chip
from apps.dashboards.periods import end_of_day, local_midnight
from apps.dashboards.sentences import in_a_sentence
from apps.tenants.selectors import list_api_keys, list_customers, list_departments
from apps.usage.attribution import RuleRefusedError, add_rule, end_rule
from apps.usage.core.attribution import FIELDS, KEY, TARGETS, check_rule
from apps.usage.repricing_requests import RequestAnswer, as_wanted_move, read_answer
from apps.usage.tasks import draft_repricing
from apps.usage.unattributed import match_rule

MAX_NAMES: Final = 500
# Where services' fields stand in the form of a move.
FORM_FIELDS: Final = {"to": "to_name", **{f"to_{target}": "to_name" for target in TARGETS}}


@page
def attribution(request: PageRequest) -> HttpResponse:
    """The page; for its own poll the part below its title."""
    return _answer(request)


@page
def preview_rule(request: PageRequest) -> HttpResponse:
    """What the rule being typed would have met; a sentence."""
    form = read_fields(request.GET, RULE_FIELDS)
    if not form["key"] and not form["attribute"]:
        return HttpResponse("")
    try:
        rule = read_rule(form)
        check_rule(rule)
        start, end = _window(request)
        said = match_words(match_rule(rule, start, end), days=WINDOW_DAYS)
    except FormError as error:
        said = error.text
    except RuleRefusedError as refused:
        said = in_a_sentence(refused.detail)
    return render(request, "dashboards/attribution_preview.html", {"said": said})


@changing
def add_mapping_rule(request: PageRequest) -> HttpResponse:
    form = read_fields(request.POST, RULE_FIELDS)
    actor = request.user.get_username()
    try:
        add_rule(request.tenant.id, read_rule(form), actor=actor, now=request.now)
    except FormError as error:
        return _rule_refused(request, form, error.field, error.text)
    except RuleRefusedError as refused:
        field = refused.field or ""
        if form["key"] and field in ("attribute", "value"):
            field = "key"
        return _rule_refused(request, form, field, in_a_sentence(refused.detail))
    return _answer(request, said="The rule maps what comes in from now on, within a second.")


@changing
def end_mapping_rule(request: PageRequest) -> HttpResponse:
    rule_id = posted_number(request, "rule_id")
    try:
        end_rule(request.tenant.id, rule_id, actor=request.user.get_username(), now=request.now)
    except RuleRefusedError as refused:
        return _rule_refused(request, None, "", in_a_sentence(refused.detail))
    return _answer(request, said=f"Rule {rule_id} has ended. What it mapped stays.")


@changing
def ask_move(request: PageRequest) -> HttpResponse:
    """Hands a dry run to a worker; the page asks for its answer."""
    form = read_fields(request.POST, MOVE_FIELDS)
    try:
        wanted = as_wanted_move(read_move(form, request.tenant), form["reason"])
        draft_repricing.delay(
            request.tenant.id, wanted, request.user.get_username(), request.now.isoformat()
        )
    except FormError as error:
        return _answer(request, form=form, errors={error.field: error.text}, status=422)
    except NoBrokerError:
        return _answer(request, form=form, errors={"": NO_WORKER}, status=422)
    return _answer(request, asked=request.now)


@changing
def start_move(request: PageRequest) -> HttpResponse:
    return start_posted_run(request, _answer)


@changing
def undo_move(request: PageRequest) -> HttpResponse:
    return undo_posted_run(request, _answer)


def _rule_refused(request: PageRequest, form: Form | None, field: str, text: str) -> HttpResponse:
    shown: dict[str, Any] = {"rule_form": form or {}, "rule_errors": {field: text}}
    return _answer(request, status=422, **shown)


def _answer(
    request: PageRequest,
    *,
    form: Form | None = None,
    errors: dict[str, str] | None = None,
    asked: datetime | None = None,
    opened: int | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    target = as_target(request.GET.get("of", ""))
    asked = asked or read_asked(request)
    found = read_answer(asked) if asked else RequestAnswer()
    if found.draft is not None:
        opened = found.draft.id
    if found.refusal is not None and form is None:
        form, errors = _form_of(request, found), _errors_of(found)
    waits = asked is not None and found.draft is None and found.refusal is None
    if waits and asked is not None and request.now - asked > PATIENCE:
        waits, errors = False, {"": NO_ANSWER}
    start, end = _window(request)
    report = read_attribution(
        request.tenant, target, start, end, opened=opened or read_number(request, "open")
    )
    opened_run = report.opened
    poll = asked_query(asked) if waits and asked is not None else ""
    if not poll and opened_run is not None:
        poll = f"open={opened_run.info.id}"
    context = more | {
        "report": report,
        "answer": report.answer,
        "chips": [Chip(t, f"{reverse('attribution')}?of={t}", t == target) for t in TARGETS],
        "waits": waits,
        "is_live": waits or report.running is not None,
        "poll": f"of={target}&{poll}",
        "poll_seconds": POLL_SECONDS,
        "form": form or first_move_form(request, target),
        "errors": errors or {},
        "assigns": "assign" in request.GET or bool(errors) or form is not None,
        "targets": TARGETS,
        "fields": [*(f for f in FIELDS if f != "backend"), "tags."],
        "doors": [(name, DOOR_WORDS[name]) for name in DOORS],
        "keys": [(str(key.id), key.name) for key in list_api_keys() if key.revoked_at is None],
        "departments": [d.code for d in list_departments()[:MAX_NAMES]],
        "customers": [c.external_id for c in list_customers()[:MAX_NAMES]],
        "window_days": WINDOW_DAYS,
        "tenant": request.tenant,
        "key_word": KEY,
    }
    is_part = request.htmx and not request.htmx.boosted
    name = "attribution_body" if is_part else "attribution"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _window(request: PageRequest) -> tuple[datetime, datetime]:
    """The last days, whole: from the coarsest rollup."""
    zone = request.tenant.zone
    today = request.tenant.local_date(request.now)
    first = local_midnight(today - timedelta(days=WINDOW_DAYS - 1), zone)
    return first, end_of_day(request.now, zone)


def _form_of(request: PageRequest, found: RequestAnswer) -> Form:
    """The form of a refused request, as it was filled in."""
    wanted, zone = found.wanted or {}, request.tenant.zone
    begins = datetime.fromisoformat(wanted["starts_at"]).astimezone(zone).date()
    ends: date = datetime.fromisoformat(wanted["ends_at"]).astimezone(zone).date()
    form = dict.fromkeys(MOVE_FIELDS, "") | {
        "starts_at": begins.isoformat(),
        "ends_at": (ends - timedelta(days=1)).isoformat(),
        "reason": wanted["reason"],
    }
    for by, value in wanted.get("move", {}).get("where", {}).items():
        form |= {f"none_{by}": "1"} if value is None else {f"w_{by}": value}
    for target, name in wanted.get("move", {}).get("to", {}).items():
        form |= {"to_target": target, "to_name": name or ""}
    return form


def _errors_of(found: RequestAnswer) -> dict[str, str]:
    field = FORM_FIELDS.get(found.field or "", found.field or "")
    if f"w_{field}" in MOVE_FIELDS:
        field = f"w_{field}"
    return {field if field in MOVE_FIELDS else "": in_a_sentence(found.refusal or "")}
