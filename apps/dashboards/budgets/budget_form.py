"""The forms of budgets: reading what was typed, and saying at which field it is wrong."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, cast
from zoneinfo import ZoneInfo

from apps.budgets.book import BudgetTerms, Choices, OnLimit
from apps.budgets.core.amounts import Unit
from apps.budgets.core.periods import PeriodKind
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.services import BudgetTermsInput
from apps.dashboards.budgets.budget_words import LIMIT_CHOICES, SCOPE_WORDS
from apps.dashboards.templatetags.figures_of_speech import localised
from apps.dashboards.typed_numbers import NotANumber, as_typed, typed_decimal, typed_list
from apps.pricing.core.money import plain_decimal

LONGEST: Final = 500
# As a machine writes it: no longer than is kept.
NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,12})?")
PERIOD_CHOICES: Final = (
    ("month", "each month"),
    ("day", "each day"),
    ("week", "each week"),
    ("quarter", "each quarter"),
    ("year", "each year"),
    ("grant", "once, between two days"),
)
UNIT_CHOICES: Final = (("usd", "USD"), ("tokens", "tokens"), ("requests", "requests"))
UNKNOWN_CHOICES: Final = (
    ("refuse", "refuse requests"),
    ("allow", "let requests run"),
)
SCOPE_CHOICES: Final = (("", "everything"), *SCOPE_WORDS.items())
SECOND_CHOICES: Final = (("", "nothing more"), *SCOPE_WORDS.items())


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form as the template has it."""

    name: str
    label: str
    kind: str = "text"  # text, number, date, select, check
    value: str = ""
    hint: str = ""
    error: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = False


Given = Mapping[str, str]


def read_given(posted: Mapping[str, str]) -> dict[str, str]:
    """What was typed: no NUL, no more than a field takes."""
    return {name: value.replace("\0", "").strip()[:LONGEST] for name, value in posted.items()}


def new_fields(given: Given, errors: Given, names: Given) -> list[Field]:
    """The form of a new budget. `names`: hints by field."""
    fields = [
        Field("scope_field", "It covers", "select", choices=SCOPE_CHOICES),
        Field("scope_value", "which", hint="as routers send it; empty for everything"),
        Field("second_field", "and", "select", choices=SECOND_CHOICES),
        Field("second_value", "which"),
        Field("amount", "Amount", "number", required=True),
        Field("unit", "in", "select", choices=UNIT_CHOICES),
        Field("period", "allowed", "select", choices=PERIOD_CHOICES),
        Field("on_limit", "When it is used up", "select", choices=LIMIT_CHOICES),
        Field("thresholds", "Tell at, % spent", value="50, 80, 100", hint="commas between"),
        Field("projected_thresholds", "Tell at, % projected", value="100"),
        Field("name", "Name", hint="empty: what it covers"),
        Field("rollover", "What is left goes to the next period", "check"),
        Field("grant_start", "First day of a grant", "date"),
        Field("grant_end", "Last day of a grant", "date"),
    ]
    return _filled(fields, given, errors, names)


def change_fields(terms: BudgetTerms, amount: Decimal, given: Given, errors: Given) -> list[Field]:
    """The form of a change, with what stands now."""
    fields = [
        Field("amount", "Amount", "number", value=as_typed(amount), required=True),
        Field(
            "effective_on",
            "From the start of",
            "date",
            hint="empty: at once. For the amount alone; the rest changes at once",
        ),
        Field("reason", "Why", hint="stands in its history"),
        Field(
            "on_limit",
            "When it is used up",
            "select",
            value=terms.on_limit,
            choices=LIMIT_CHOICES,
        ),
        Field("thresholds", "Tell at, % spent", value=_percents(terms.thresholds)),
        Field(
            "projected_thresholds",
            "Tell at, % projected",
            value=_percents(terms.projected_thresholds),
        ),
        Field("name", "Name", value=terms.name, required=True),
    ]
    if terms.calendar.kind != "grant":
        rolls = "on" if terms.rollover else ""
        fields.append(
            Field("rollover", "What is left goes to the next period", "check", value=rolls)
        )
    return _filled(fields, given, errors, {})


def top_up_fields(today: date, given: Given, errors: Given) -> list[Field]:
    fields = [
        Field("amount", "How much more", "number", required=True),
        Field("starts_on", "From the start of", "date", value=today.isoformat(), required=True),
        Field("ends_on", "through the end of", "date", required=True),
        Field("reason", "Why", hint="stands beside the budget", required=True),
    ]
    return _filled(fields, given, errors, {})


def settings_fields(choices: Choices, given: Given, errors: Given) -> list[Field]:
    """The form of what happens while caps are not known."""
    fields = [
        Field(
            "cloud_while_unknown",
            "Cloud backends then",
            "select",
            value=choices.cloud_while_unknown,
            choices=UNKNOWN_CHOICES,
        ),
        Field(
            "local_while_unknown",
            "Own hardware then",
            "select",
            value=choices.local_while_unknown,
            choices=UNKNOWN_CHOICES,
        ),
        Field(
            "hold_seconds",
            "A reservation is held for, seconds",
            "number",
            value=as_typed(Decimal(choices.hold_seconds)),
            hint="then it counts at its estimate until its usage is reported",
        ),
    ]
    return _filled(fields, given, errors, {})


def read_new(given: Given, zone: ZoneInfo) -> BudgetTermsInput:
    """The budget asked for. Raises InvalidBudgetInput naming the form's field."""
    scope: dict[str, str] = {}
    for field, value in (("scope_field", "scope_value"), ("second_field", "second_value")):
        name = given.get(field, "")
        if name and name in scope:
            raise InvalidBudgetInput(f"it names the {name} twice", field=field)
        if name:
            scope[name] = given.get(value, "")
        elif given.get(value):
            raise InvalidBudgetInput("say what this is", field=field)
    is_grant = given.get("period") == "grant"
    return BudgetTermsInput(
        scope=scope,
        period=cast("PeriodKind", _chosen(given, "period", PERIOD_CHOICES)),
        unit=cast("Unit", _chosen(given, "unit", UNIT_CHOICES)),
        amount=read_number(given, "amount"),
        on_limit=read_on_limit(given),
        name=given.get("name", "")[:200],
        rollover=bool(given.get("rollover")),
        thresholds=read_percents(given, "thresholds"),
        projected_thresholds=read_percents(given, "projected_thresholds"),
        grant_start=read_start(given, "grant_start", zone) if is_grant else None,
        grant_end=read_end(given, "grant_end", zone) if is_grant else None,
    )


def read_on_limit(given: Given) -> OnLimit:
    return cast("OnLimit", _chosen(given, "on_limit", LIMIT_CHOICES))


def read_number(given: Given, name: str) -> Decimal:
    """A plain number, thousands apart if one likes: 1200, 1,200.50, 99.5."""
    text = given.get(name, "")
    try:
        # No exponents: nobody means 1e5 dollars.
        number = Decimal("NaN") if "e" in text.lower() else typed_decimal(text)
    except NotANumber:
        number = Decimal("NaN")
    if not number.is_finite() or not NUMBER.fullmatch(plain_decimal(number)):
        example = f"Give a number, such as 1200 or {localised('99.50')}."
        raise InvalidBudgetInput(example, field=name)
    return number


def read_percents(given: Given, name: str) -> list[Decimal]:
    """Percentages with commas or spaces between."""
    parts = typed_list(given.get(name, "").replace("%", " "))
    return [read_number({name: part}, name) for part in parts[:20]]


def read_start(given: Given, name: str, zone: ZoneInfo) -> datetime:
    """The first instant of a local day."""
    try:
        day = date.fromisoformat(given.get(name, ""))
        return datetime.combine(day, time.min, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidBudgetInput("Give a day.", field=name) from None


def read_planned(given: Given, name: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """The first instant of a local day to come; None for today's or where none is given."""
    if not given.get(name):
        return None
    start = read_start(given, name, zone)
    if start > now:
        return start
    if start.astimezone(zone).date() == now.astimezone(zone).date():
        return None
    raise InvalidBudgetInput(
        "That day is over. Give a day to come; leave it empty to change it at once.", field=name
    )


def read_end(given: Given, name: str, zone: ZoneInfo) -> datetime:
    """The first instant after a local day."""
    try:
        day = date.fromisoformat(given.get(name, "")) + timedelta(days=1)
        return datetime.combine(day, time.min, zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidBudgetInput("Give a day.", field=name) from None


def error_at(error: InvalidBudgetInput, given: Given) -> dict[str, str]:
    """The sentence at the form's own field; at none where the form has no such field."""
    field = error.field
    if field.startswith("scope."):
        name = field.removeprefix("scope.")
        field = "second_value" if given.get("second_field") == name else "scope_value"
    elif field == "scope":
        field = "scope_field"
    elif field == "ends_at":
        field = "ends_on"
    elif field == "effective_from":
        field = "effective_on"
    text = str(error)
    return {field: text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")}


def _chosen(given: Given, name: str, choices: tuple[tuple[str, str], ...]) -> str:
    value = given.get(name, "") or choices[0][0]
    if value not in dict(choices):
        raise InvalidBudgetInput("Choose one of these.", field=name)
    return value


def _percents(values: tuple[Decimal, ...]) -> str:
    return ", ".join(as_typed(value) for value in values)


def _filled(fields: list[Field], given: Given, errors: Given, hints: Given) -> list[Field]:
    """With what was typed, once something was: an unticked box is not sent."""
    return [
        replace(
            field,
            value=given.get(field.name, "") if given else field.value,
            error=errors.get(field.name, ""),
            hint=hints.get(field.name, field.hint),
        )
        for field in fields
    ]
