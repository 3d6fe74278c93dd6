"""Exchange rates: what one USD was worth, day by day; entering and importing them."""

from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import render

from apps.dashboards.corrections.run_requests import posted_text
from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.periods import dated
from apps.dashboards.setup.organisation_page import organisation_tabs
from apps.dashboards.templatetags.figures_of_speech import in_currency
from apps.dashboards.typed_numbers import NotANumber, as_typed, typed_decimal
from apps.tenants.core.exchange import MAX_AGE, USD, read_rates_csv
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.exchange import import_rates, list_rates, set_rate

SHOWN: Final = 60
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_TEXT: Final = 40


@page
def exchange_rates(request: PageRequest) -> HttpResponse:
    return _show(request)


@changing
def enter_rate(request: PageRequest) -> HttpResponse:
    given = {name: posted_text(request, name, MAX_TEXT) for name in ("day", "per_usd")}
    try:
        day, per_usd = _day(given["day"]), _number(given["per_usd"])
        set_rate(day=day, per_usd=per_usd, actor=request.user.get_username(), now=request.now)
    except InvalidTenantInputError as error:
        errors = {error.field or "day": _sentence(str(error))}
        return _show(request, status=422, given=given, errors=errors)
    worth = in_currency(as_typed(per_usd), request.tenant.currency)
    return _show(request, said=f"Kept: one USD was {worth} on {day}.")


@changing
def import_file(request: PageRequest) -> HttpResponse:
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        return _refused(request, "choose a file")
    if (file.size or 0) > MAX_FILE_BYTES:
        return _refused(request, f"the file is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        return _refused(request, "the file is not text in UTF-8; unpack a zip first")
    rates, wrong = read_rates_csv(text, request.tenant.currency)
    if wrong:
        return _refused(request, wrong)
    try:
        taken, closed = import_rates(
            rates,
            file_name=file.name or "",
            actor=request.user.get_username(),
            now=request.now,
        )
    except InvalidTenantInputError as error:
        return _refused(request, str(error))
    said = f"Rates of {taken} days were taken over."
    if closed:
        said += f" {closed} of closed months stayed as they were reported."
    return _show(request, said=said)


def _refused(request: PageRequest, why: str) -> HttpResponse:
    return _show(request, status=422, errors={"file": _sentence(why)})


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    currency = request.tenant.currency
    rates = list_rates(currency, limit=SHOWN)
    context = {
        "tenant": request.tenant,
        "tabs": organisation_tabs(request),
        "currency": currency,
        "needs_rates": currency != USD,
        "rates": rates,
        "max_age_days": MAX_AGE.days,
        "answer": _answer(currency, rates[0].day if rates else None),
        "given": {"day": request.tenant.local_date(request.now).isoformat(), "per_usd": ""},
        "errors": {},
    }
    return render(request, "dashboards/exchange_rates.html", context | more, status=status)


def _answer(currency: str, newest: date | None) -> str:
    if currency == USD:
        return "Reports are in USD, as usage is priced: no rate is needed."
    if newest is None:
        return f"Nobody said yet what a dollar is in {currency}: figures stay in USD."
    return f"The newest rate of {currency} is of {dated(newest)}."


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidTenantInputError("this is not a day such as 2026-11-23", field="day") from (
            error
        )


def _number(text: str) -> Decimal:
    try:
        return typed_decimal(text)
    except NotANumber as error:
        raise InvalidTenantInputError(str(error), field="per_usd") from error


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
