"""The repricing page: what if a price was wrong? Dry runs, runs, undoing them, closed books."""

from datetime import date, datetime, timedelta
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render
from kombu.exceptions import OperationalError as NoBrokerError

from apps.dashboards.corrections.repricing_reading import (
    RepricingReport,
    last_days_of_months,
    read_report,
)
from apps.dashboards.corrections.run_requests import (
    MAX_REASON_LENGTH,
    NO_ANSWER,
    NO_REASON,
    NO_WORKER,
    PATIENCE,
    POLL_SECONDS,
    asked_query,
    posted_text,
    read_asked,
    read_number,
    start_posted_run,
    undo_posted_run,
)
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.periods import long_day
from apps.dashboards.pricing.form import read_day
from apps.dashboards.sentences import in_a_sentence
from apps.pricing.selectors import current_rate_book
from apps.tenants.selectors import get_tenant
from apps.usage.repricing import (
    RepricingRefusedError,
    RepricingScope,
    close_books,
)
from apps.usage.repricing_requests import RequestAnswer, as_wanted, read_answer
from apps.usage.tasks import draft_repricing

MAX_NAME_LENGTH: Final = 200
FIELDS: Final = ("starts_at", "ends_at", "provider", "model", "reason")


@page
def repricing(request: PageRequest) -> HttpResponse:
    """The page; for its own poll the part below its title."""
    return _answer(request)


@changing
def ask_dry_run(request: PageRequest) -> HttpResponse:
    """Hands a dry run to a worker; the page asks for its answer."""
    form = _read_form(request)
    scope, errors = _check_form(request, form)
    if scope is None:
        return _answer(request, form=form, errors=errors, status=422)
    wanted = as_wanted(scope, form["reason"])
    try:
        draft_repricing.delay(
            request.tenant.id, wanted, request.user.get_username(), request.now.isoformat()
        )
    except NoBrokerError:
        errors = {"": NO_WORKER}
        return _answer(request, form=form, errors=errors, status=422)
    return _answer(request, asked=request.now)


@changing
def start_run(request: PageRequest) -> HttpResponse:
    return start_posted_run(request, _answer)


@changing
def undo_run(request: PageRequest) -> HttpResponse:
    return undo_posted_run(request, _answer)


@changing
def set_books(request: PageRequest) -> HttpResponse:
    """Closes the months up to one, or opens them again."""
    text = request.POST.get("closed_through", "")
    reason = posted_text(request, "reason", MAX_REASON_LENGTH)
    day: date | None = None
    errors: dict[str, str] = {}
    try:
        day = date.fromisoformat(text) if text else None
    except ValueError:
        errors["closed_through"] = "Choose the month up to which the books are closed."
    if not reason:
        errors["reason"] = NO_REASON
    if not errors:
        try:
            close_books(
                request.tenant.id,
                day,
                actor=request.user.get_username(),
                reason=reason,
                now=request.now,
            )
            request.tenant = get_tenant()
        except RepricingRefusedError as refused:
            errors[refused.field or "closed_through"] = in_a_sentence(refused.detail)
    if errors:
        more: dict[str, Any] = {
            "books_errors": errors,
            "books_chosen": text,
            "books_reason": reason,
        }
        return _answer(request, status=422, **more)
    said = "The books are open: no month is closed."
    if day is not None:
        said = f"The books are closed through {long_day(day)}."
    return _answer(request, said=said)


def _answer(
    request: PageRequest,
    *,
    form: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
    asked: datetime | None = None,
    opened: int | None = None,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    asked = asked or read_asked(request)
    found = read_answer(asked) if asked else RequestAnswer()
    if found.draft is not None:
        opened = found.draft.id
    if found.refusal is not None and form is None:
        form, errors = _form_of(request, found), _errors_of(found)
    waits = asked is not None and found.draft is None and found.refusal is None
    gave_up = waits and asked is not None and request.now - asked > PATIENCE
    if gave_up:
        errors = {"": NO_ANSWER}
    report = read_report(request.tenant, opened or read_number(request, "open"))
    waits = waits and not gave_up
    context = more | {
        "report": report,
        "waits": waits,
        "is_live": waits or report.running is not None,
        "poll": _poll(asked if waits else None, report),
        "poll_seconds": POLL_SECONDS,
        "form": form or _first_form(request),
        "errors": errors or {},
        "month_ends": last_days_of_months(request.tenant, request.now),
        "tenant": request.tenant,
    }
    is_part = request.htmx and not request.htmx.boosted
    name = "repricing_body" if is_part else "repricing"
    return render(request, f"dashboards/{name}.html", context, status=status)


def _poll(asked: datetime | None, report: RepricingReport) -> str:
    if asked is not None:
        return asked_query(asked)
    return f"open={report.opened.info.id}" if report.opened else ""


def _read_form(request: PageRequest) -> dict[str, str]:
    lengths = {"reason": MAX_REASON_LENGTH}
    form = {name: posted_text(request, name, lengths.get(name, MAX_NAME_LENGTH)) for name in FIELDS}
    return form | {"only_unpriced": "on" if "only_unpriced" in request.POST else ""}


def _first_form(request: PageRequest) -> dict[str, str]:
    today = request.tenant.local_date(request.now)
    return {"starts_at": today.replace(day=1).isoformat(), "ends_at": today.isoformat()}


def _check_form(
    request: PageRequest, form: dict[str, str]
) -> tuple[RepricingScope | None, dict[str, str]]:
    """What to reprice; none with a sentence by field where something is missing or wrong."""
    zone = request.tenant.zone
    starts_at, last = read_day(form["starts_at"], zone), read_day(form["ends_at"], zone)
    errors = {}
    if starts_at is None:
        errors["starts_at"] = "Give the first day to reprice."
    if last is None:
        errors["ends_at"] = "Give the last day to reprice."
    elif starts_at is not None and last < starts_at:
        errors["ends_at"] = "The last day is before the first."
    if not form["reason"]:
        errors["reason"] = NO_REASON
    if errors or starts_at is None or last is None:
        return None, errors
    # The last day is meant whole, whatever its length.
    next_day = date.fromisoformat(form["ends_at"]) + timedelta(days=1)
    ends_at = read_day(next_day.isoformat(), zone)
    if ends_at is None:
        return None, {"ends_at": "Give the last day to reprice."}
    provider = form["provider"] and current_rate_book().canonical_provider(form["provider"])
    return RepricingScope(
        starts_at=starts_at,
        ends_at=ends_at,
        provider=provider or None,
        model=form["model"] or None,
        only_unpriced=bool(form["only_unpriced"]),
    ), {}


def _form_of(request: PageRequest, found: RequestAnswer) -> dict[str, str]:
    """The form of a refused request, as it was filled in."""
    wanted, zone = found.wanted or {}, request.tenant.zone
    begins = datetime.fromisoformat(wanted["starts_at"]).astimezone(zone).date()
    ends = datetime.fromisoformat(wanted["ends_at"]).astimezone(zone).date() - timedelta(days=1)
    return {
        "starts_at": begins.isoformat(),
        "ends_at": ends.isoformat(),
        "provider": wanted["provider"] or "",
        "model": wanted["model"] or "",
        "only_unpriced": "on" if wanted["only_unpriced"] else "",
        "reason": wanted["reason"],
    }


def _errors_of(found: RequestAnswer) -> dict[str, str]:
    field = found.field if found.field in FIELDS else ""
    return {field or "": in_a_sentence(found.refusal or "")}
