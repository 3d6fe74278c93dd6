"""The form of an own rate: what a person typed, what is wrong with it, and what it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from apps.dashboards.periods import local_midnight
from apps.dashboards.pricing_words import meter_words
from apps.pricing.core.meters import BUCKETS, CACHE_WRITE, INPUT, OUTPUT, RATEABLE, REQUESTS
from apps.pricing.core.rates import Kind
from apps.pricing.errors import PricingError

LONGEST: Final = {"provider": 200, "model": 200, "meter": 60, "price": 60, "effective_from": 10}
COMMON_METERS: Final = (*BUCKETS, CACHE_WRITE, REQUESTS)
# An own model without a price for one of these leaves nearly every request unpriced.
NEEDED: Final = (INPUT, OUTPUT)
# What services call a field, and what the form does.
FIELD_OF: Final = {"price_usd_per_mtok": "price", "effective_to": "effective_from"}
FIELDS: Final = ("provider", "model", "meter", "price", "effective_from", "kind")


@dataclass(frozen=True, slots=True)
class RateForm:
    """The fields as typed; `errors` by field, under "" what belongs to none."""

    provider: str = ""
    model: str = ""
    meter: str = INPUT
    price: str = ""
    effective_from: str = ""
    kind: str = "cloud"
    errors: Mapping[str, str] = field(default_factory=dict)

    def refused(self, error: PricingError) -> "RateForm":
        """With what a service said, at the field it named."""
        name = FIELD_OF.get(error.field or "", error.field or "")
        return replace(self, errors={name if name in FIELDS else "": str(error)})


@dataclass(frozen=True, slots=True)
class WantedRate:
    provider: str
    model: str
    meter: str
    price_usd_per_mtok: Decimal
    effective_from: datetime | None
    kind: Kind


def read_form(given: Mapping[str, str]) -> RateForm:
    """What was typed, cut to size; a field that is not there keeps its default."""
    typed: dict[str, Any] = {
        name: given[name].replace("\0", "").strip()[: LONGEST.get(name, 20) + 1]
        for name in FIELDS
        if name in given
    }
    return RateForm(**typed)


def check_form(form: RateForm, zone: ZoneInfo) -> WantedRate | RateForm:
    """The rate that is wanted, or the form with every error at its field."""
    errors: dict[str, str] = {}
    for name in ("provider", "model"):
        if not getattr(form, name):
            errors[name] = f"Name the {name}, as routers report it."
        elif len(getattr(form, name)) > LONGEST[name]:
            errors[name] = f"At most {LONGEST[name]} characters."
    if form.meter not in RATEABLE:
        errors["meter"] = "Choose what is counted."
    if form.kind not in ("cloud", "local"):
        errors["kind"] = "Choose cloud or local."
    price = _price(form.price)
    if isinstance(price, str):
        errors["price"] = price
    begins = _midnight(form.effective_from, zone)
    if isinstance(begins, str):
        errors["effective_from"] = begins
    if errors or isinstance(price, str) or isinstance(begins, str):
        return replace(form, errors=errors)
    return WantedRate(
        provider=form.provider,
        model=form.model,
        meter=form.meter,
        price_usd_per_mtok=price,
        effective_from=begins,
        kind="local" if form.kind == "local" else "cloud",
    )


def read_day(text: str, zone: ZoneInfo) -> datetime | None:
    """The start of a day as a date field gives it; None when it is no day."""
    try:
        day = date.fromisoformat(text)
        return local_midnight(day, zone) if 1970 <= day.year <= 9000 else None
    except ValueError:
        return None


def meter_choices() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(common, further) meters with their words."""
    further = [meter for meter in RATEABLE if meter not in COMMON_METERS]
    return _with_words(COMMON_METERS), _with_words(further)


def _with_words(meters: tuple[str, ...] | list[str]) -> list[tuple[str, str]]:
    return [(meter, meter_words(meter)) for meter in meters]


def _price(text: str) -> Decimal | str:
    """The price, or why it is none. A comma is refused: 1,5 is one and a half or fifteen."""
    if not text:
        return "Give the price in USD per million; 0 is free."
    if "," in text:
        return "Write the price with a point and no thousands sign: 1250.50"
    try:
        price = Decimal(text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or len(text) > LONGEST["price"]:
        return "A price is a number such as 0.15"
    return price


def _midnight(text: str, zone: ZoneInfo) -> datetime | str | None:
    if not text:
        return None
    return read_day(text, zone) or "A day is written 2026-11-01; leave it empty for always."
