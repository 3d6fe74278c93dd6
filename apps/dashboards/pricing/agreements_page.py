"""The agreements page: negotiated discounts, and the default rate for models nobody prices."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.http import HttpResponse
from django.shortcuts import render

from apps.dashboards.page import PageRequest, changing, page
from apps.dashboards.pricing.form import read_day
from apps.dashboards.pricing.words import day_words, meter_words
from apps.dashboards.templatetags.figures_of_speech import in_percent, in_usd, usd_exact
from apps.dashboards.typed_numbers import NotANumber, as_typed, typed_decimal
from apps.pricing.core.meters import BUCKETS, INPUT, OUTPUT
from apps.pricing.core.rates import Discount
from apps.pricing.errors import InvalidRateError, PricingError
from apps.pricing.selectors import list_discounts, list_rates
from apps.pricing.services import add_default_rate, add_discount, end_discount, end_rate

LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Agreement:
    """One line of the table. `kind` and `number` say what an End button ends."""

    kind: str
    number: int
    on: str
    meter: str
    what: str
    begins: str
    ends: str


@page
def agreements(request: PageRequest) -> HttpResponse:
    return _show(request)


@changing
def add_agreed_discount(request: PageRequest) -> HttpResponse:
    """A discount in percent, or an amount off per million, on a provider or one of its models."""
    given = _given(request)

    def add() -> None:
        percent, amount = _number(given, "percent"), _number(given, "amount")
        if (percent is None) == (amount is None):
            raise InvalidRateError("give a percentage or an amount, one of them", field="percent")
        add_discount(
            provider=given["provider"],
            model=given["model"],
            meter=given["meter"],
            percent=percent,
            amount_usd_per_mtok=amount,
            effective_from=_begins(request, given),
            actor=request.user.get_username(),
            now=request.now,
        )

    return _answer(request, add, "discount", given, "The discount is recorded.")


@changing
def set_default_rate(request: PageRequest) -> HttpResponse:
    """A price for models that nothing else prices."""
    given = _given(request)

    def add() -> None:
        price = _number(given, "price")
        if price is None:
            raise InvalidRateError("give the price in USD per million", field="price")
        add_default_rate(
            meter=given["meter"],
            price_usd_per_mtok=price,
            effective_from=_begins(request, given),
            actor=request.user.get_username(),
            now=request.now,
        )

    return _answer(request, add, "default", given, "The default rate is recorded.")


@changing
def end_agreement(request: PageRequest) -> HttpResponse:
    """Lets a discount or a default rate end at the start of a day."""
    given = _given(request)

    def end() -> None:
        ends_at = read_day(given["ends_on"], request.tenant.zone)
        if ends_at is None or not given["number"].isascii() or not given["number"].isdigit():
            raise InvalidRateError("give the day on which it no longer applies", field="ends_on")
        actor, now = request.user.get_username(), request.now
        if given["kind"] == "discount":
            number = int(given["number"])
            end_discount(discount_id=number, effective_to=ends_at, actor=actor, now=now)
        else:
            end_rate(rate_id=int(given["number"]), effective_to=ends_at, actor=actor, now=now)

    return _answer(request, end, "end", given, "Its end is recorded.")


FIELDS: Final = (
    "provider", "model", "meter", "percent", "amount", "price", "effective_from", "ends_on",
    "kind", "number",
)  # fmt: skip


def _given(request: PageRequest) -> dict[str, str]:
    """What was typed, cut to size."""
    return {name: request.POST.get(name, "").replace("\0", "").strip()[:LONGEST] for name in FIELDS}


def _number(given: dict[str, str], name: str) -> Decimal | None:
    if not given[name]:
        return None
    try:
        return typed_decimal(given[name])
    except NotANumber as error:
        raise InvalidRateError(str(error), field=name) from error


def _begins(request: PageRequest, given: dict[str, str]) -> datetime | None:
    if not given["effective_from"]:
        return None
    begins = read_day(given["effective_from"], request.tenant.zone)
    if begins is None:
        raise InvalidRateError("a day is written 2026-11-01", field="effective_from")
    return begins


def _answer(
    request: PageRequest, change: Callable[[], None], form: str, given: dict[str, str], said: str
) -> HttpResponse:
    try:
        change()
    except PricingError as error:
        refused = {"form": form, "detail": str(error), "given": given}
        return _show(request, status=422, refused=refused)
    return _show(request, said=said)


def _show(request: PageRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    discounts = [_discount_line(discount, request) for discount in list_discounts()]
    defaults = [
        Agreement(
            kind="rate",
            number=rate.number,
            on="models without a price",
            meter=meter_words(rate.meter),
            what=f"{in_usd(usd_exact(rate.price_usd))} per million",
            begins=_day(rate.effective_from, request, "always"),
            ends=_day(rate.effective_to, request, "open"),
        )
        for rate in list_rates(source="tenant")
        if rate.source == "default"
    ]
    is_part = request.htmx and not request.htmx.boosted
    context = {
        "tenant": request.tenant,
        "is_part": is_part,
        "discounts": discounts,
        "defaults": defaults,
        "meters": [(meter, meter_words(meter)) for meter in BUCKETS],
        "default_meters": [(meter, meter_words(meter)) for meter in (INPUT, OUTPUT)],
        "today": request.tenant.local_date(request.now).isoformat(),
    }
    name = "agreements_body" if is_part else "agreements"
    return render(request, f"dashboards/{name}.html", context | more, status=status)


def _discount_line(discount: Discount, request: PageRequest) -> Agreement:
    off = (
        f"{in_percent(as_typed(discount.percent))} off"
        if discount.percent is not None
        else f"{in_usd(usd_exact(discount.amount_usd or Decimal(0)))} per million off"
    )
    return Agreement(
        kind="discount",
        number=discount.id,
        on=f"{discount.provider}/{discount.model}" if discount.model else discount.provider,
        meter=meter_words(discount.meter) if discount.meter else "everything",
        what=off,
        begins=_day(discount.effective_from, request, "always"),
        ends=_day(discount.effective_to, request, "open"),
    )


def _day(moment: datetime | None, request: PageRequest, otherwise: str) -> str:
    return otherwise if moment is None else day_words(moment, request.tenant.zone)
