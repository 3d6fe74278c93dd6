"""The form of an own rate: what a person typed, what is wrong with it, and what it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from apps.dashboards.conventions import conventions
from apps.dashboards.periods import local_midnight
from apps.dashboards.pricing.words import VARIANT_WORDS, condition_words, meter_words
from apps.dashboards.templatetags.figures_of_speech import localised
from apps.dashboards.typed_numbers import NotANumber, decimal_mark, typed_decimal
from apps.pricing.core.meters import BUCKETS, CACHE_WRITE, INPUT, OUTPUT, RATEABLE, REQUESTS
from apps.pricing.core.rates import DAY_S, Kind
from apps.pricing.errors import PricingError

LONGEST: Final = {
    "provider": 200,
    "model": 200,
    "meter": 60,
    "price": 60,
    "effective_from": 10,
    "variant": 40,
}
LONGEST_TIER: Final = 11
COMMON_METERS: Final = (*BUCKETS, CACHE_WRITE, REQUESTS)
# An own model without a price for one of these leaves nearly every request unpriced.
NEEDED: Final = (INPUT, OUTPUT)
# What services call a field, and what the form does.
FIELD_OF: Final = {
    "price_usd_per_mtok": "price",
    "effective_to": "effective_from",
    "when": "variant",
    "window_start_s": "window_start",
    "window_end_s": "window_end",
}
# Behind "Only for ...": empty for every request.
CONDITIONS: Final = ("variant", "tier_start_tokens", "window_start", "window_end")
FIELDS: Final = (
    "provider", "model", "meter", "price", "effective_from", "kind", *CONDITIONS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RateForm:
    """The fields as typed; `errors` by field, under "" what belongs to none."""

    provider: str = ""
    model: str = ""
    meter: str = INPUT
    price: str = ""
    effective_from: str = ""
    kind: str = "cloud"
    variant: str = ""
    tier_start_tokens: str = ""
    window_start: str = ""
    window_end: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_condition(self) -> bool:
        """Whether something stands, or is wrong, behind "Only for ..."."""
        return any(getattr(self, name) or name in self.errors for name in CONDITIONS)

    def refused(self, error: PricingError) -> "RateForm":
        """With what a service said, at the field it named."""
        name = FIELD_OF.get(error.field or "", error.field or "")
        return replace(self, errors={name if name in FIELDS else "": str(error)})


@dataclass(frozen=True, slots=True)
class Condition:
    """Which requests a rate is for, as services take it."""

    when: dict[str, str] = field(default_factory=dict)
    tier_start_tokens: int = 0
    window_start_s: int = 0
    window_end_s: int = DAY_S

    @property
    def words(self) -> str:
        return condition_words(
            self.when, self.tier_start_tokens, self.window_start_s, self.window_end_s
        )


@dataclass(frozen=True, slots=True)
class WantedRate:
    provider: str
    model: str
    meter: str
    price_usd_per_mtok: Decimal
    effective_from: datetime | None
    kind: Kind
    condition: Condition


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
    condition = _condition(form, errors)
    if errors or isinstance(price, str) or isinstance(begins, str):
        return replace(form, errors=errors)
    return WantedRate(
        provider=form.provider,
        model=form.model,
        meter=form.meter,
        price_usd_per_mtok=price,
        effective_from=begins,
        kind="local" if form.kind == "local" else "cloud",
        condition=condition,
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


def _condition(form: RateForm, errors: dict[str, str]) -> Condition:
    """What stands behind "Only for ..."; what is wrong with it goes into `errors`."""
    if form.variant not in ("", *VARIANT_WORDS):
        errors["variant"] = "Choose which requests."
    tier = form.tier_start_tokens.replace("_", "")
    if tier and not (tier.isascii() and tier.isdigit() and len(tier) <= LONGEST_TIER):
        errors["tier_start_tokens"] = "A number of tokens is written 200000; empty is any number."
    starts_s, ends_s = _second(form.window_start), _second(form.window_end)
    for name, second in (("window_start", starts_s), ("window_end", ends_s)):
        typed = getattr(form, name)
        if typed and second is None:
            errors[name] = "A time of day is written 22:00."
        elif not typed and (form.window_start or form.window_end):
            errors[name] = "Give both times, or neither for all day."
    if errors:
        return Condition()
    name, _, value = form.variant.partition(":")
    return Condition(
        when={name: value} if value else {},
        tier_start_tokens=int(tier or 0),
        window_start_s=starts_s or 0,
        # Midnight, where hours end, is the end of the day.
        window_end_s=ends_s or DAY_S,
    )


def _second(text: str) -> int | None:
    """The second of the day that a time field gives; None when it is no time."""
    if text == "24:00":
        return DAY_S
    try:
        at = time.fromisoformat(text)
    except ValueError:
        return None
    return None if at.tzinfo else at.hour * 3600 + at.minute * 60 + at.second


def _price(text: str) -> Decimal | str:
    """The price, or why it is none."""
    if not text:
        return "Give the price in USD per million; 0 is free."
    marks = conventions()
    # No thousands sign: 1,250 may be meant for one and a quarter by whoever writes otherwise.
    if marks.group in text or ("," in text and marks.decimal == "."):
        example = localised("1250.50", grouped=False)
        return f"Write the price with a {decimal_mark()} and no thousands sign: {example}"
    try:
        price = typed_decimal(text)
    except NotANumber:
        return f"A price is a number such as {localised('0.15')}"
    return price if len(text) <= LONGEST["price"] else "A price has fewer digits."


def _midnight(text: str, zone: ZoneInfo) -> datetime | str | None:
    if not text:
        return None
    return read_day(text, zone) or "A day is written 2026-11-01; leave it empty for always."
