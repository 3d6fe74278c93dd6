"""Forms by which people say what hardware they have: fields, and reading what was typed. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, time
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from apps.dashboards.templatetags.figures_of_speech import localised
from apps.dashboards.typed_numbers import typed_decimal

MAX_LENGTH: Final = 200
Parse = Callable[[str], Any]


def _decimal(text: str) -> Decimal:
    return typed_decimal(text)


def _percent(text: str) -> Decimal:
    return _decimal(text.rstrip("% ")) / 100


PARSERS: Final[dict[str, tuple[Parse, str]]] = {
    "text": (str, "text"),
    "select": (str, "one of the choices"),
    "decimal": (_decimal, "a number"),
    "percent": (_percent, "a number of per cent"),
    "integer": (int, "a whole number"),
    "date": (date.fromisoformat, "a day such as 2026-11-01"),
    "time": (time.fromisoformat, "a time such as 07:00"),
}
INPUT_TYPES: Final = {"date": "date", "time": "time"}
INPUT_MODES: Final = {"decimal": "decimal", "percent": "decimal", "integer": "numeric"}


@dataclass(frozen=True, slots=True)
class Field:
    """`unit` stands behind the label; `value` is what the field holds when the form is shown."""

    name: str
    label: str
    kind: str = "text"
    unit: str = ""
    hint: str = ""
    value: str = ""
    required: bool = True
    choices: tuple[tuple[str, str], ...] = ()
    error: str = ""

    @property
    def input_type(self) -> str:
        return INPUT_TYPES.get(self.kind, "text")

    @property
    def input_mode(self) -> str:
        return INPUT_MODES.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class Form:
    """`more` are fields that few need: they stand folded."""

    kind: str
    title: str
    button: str
    fields: tuple[Field, ...]
    more: tuple[Field, ...] = ()
    more_title: str = ""
    error: str = ""
    is_open: bool = False

    @property
    def more_is_open(self) -> bool:
        return any(field.error for field in self.more)

    @property
    def every_field(self) -> tuple[Field, ...]:
        return self.fields + self.more


def read_form(form: Form, given: Mapping[str, str]) -> tuple[dict[str, Any], Form]:
    """What was typed, by field name (None where an optional field is empty), and the form as
    typed, with an error at each field that could not be read."""
    values: dict[str, Any] = {}

    def read(field: Field) -> Field:
        text = given.get(field.name, "").strip()
        typed = replace(field, value=text[:MAX_LENGTH])
        if not text:
            values[field.name] = None
            return replace(typed, error="This is needed.") if field.required else typed
        parse, wanted = PARSERS[field.kind]
        try:
            if len(text) > MAX_LENGTH or "\0" in text:
                raise ValueError(text)
            values[field.name] = parse(text)
        except (ValueError, InvalidOperation):
            return replace(typed, error=f"This is not {wanted}.")
        if field.kind == "select" and text not in {value for value, _ in field.choices}:
            return replace(typed, error="Choose one of the list.")
        return typed

    read_fields = tuple(read(field) for field in form.fields)
    read_more = tuple(read(field) for field in form.more)
    return values, replace(form, fields=read_fields, more=read_more, is_open=True)


def has_errors(form: Form) -> bool:
    return any(field.error for field in form.every_field)


def with_error(form: Form, detail: str, field: str | None) -> Form:
    """At the field it is about; above all fields where it is about none of them."""
    sentence = f"{detail[:1].upper()}{detail[1:]}."
    if field not in {one.name for one in form.every_field}:
        return replace(form, error=sentence)

    def mark(one: Field) -> Field:
        return replace(one, error=sentence) if one.name == field else one

    return replace(
        form,
        fields=tuple(mark(one) for one in form.fields),
        more=tuple(mark(one) for one in form.more),
    )


def _from_day(today: date, label: str = "From") -> Field:
    return Field("starts_on", label, "date", value=today.isoformat())


def pool_form(time_zone: str) -> Form:
    return Form(
        "pool",
        "Describe hardware",
        "Make the pool",
        (
            Field("name", "Name", hint="the machines that stand in one place: rack 3, Frankfurt"),
            Field(
                "time_zone",
                "Time zone of the place",
                value=time_zone,
                hint="electricity prices go by the clocks there",
            ),
        ),
    )


def asset_form(today: date) -> Form:
    methods = (
        ("straight_line", "straight line"),
        ("declining_balance", "declining balance"),
        ("sum_of_years_digits", "sum of years’ digits"),
        ("units_of_production", "by tokens served"),
    )
    return Form(
        "asset",
        "Add an asset",
        "Add the asset",
        (
            Field("name", "Name", hint="what was bought: 8 × L40S server"),
            Field("purchase_price_usd", "Purchase price", "decimal", "USD"),
            Field("salvage_value_usd", "Worth at the end", "decimal", "USD", value="0"),
            Field("in_service", "In service since", "date", value=today.isoformat()),
            Field("life_months", "Useful life", "integer", "months", value="48"),
            Field("method", "Depreciation", "select", choices=methods, value="straight_line"),
        ),
        (
            Field(
                "lifetime_tokens",
                "Tokens in its life",
                "integer",
                required=False,
                hint="for depreciation by tokens served",
            ),
            Field("loan_principal_usd", "Loan", "decimal", "USD", required=False),
            Field("loan_annual_rate", "Interest a year", "percent", "%", required=False),
            Field("loan_term_months", "Paid back over", "integer", "months", required=False),
        ),
        "Financing, depreciation by tokens",
    )


def node_form(today: date) -> Form:
    return Form(
        "node",
        "Add machines",
        "Add the machines",
        (
            Field("name", "Name"),
            Field("count", "How many", "integer", value="1"),
            Field("gpus", "GPUs in each", "integer", value="8"),
            Field("idle_watts", "Power idle", "decimal", "W each"),
            Field("load_watts", "Power under load", "decimal", "W each"),
            _from_day(today, "Running since"),
        ),
    )


def tariff_form(today: date) -> Form:
    days = (("all", "all days"), ("weekdays", "weekdays"), ("weekend", "weekend"))
    return Form(
        "tariff",
        "Set the electricity price",
        "Set the price",
        (
            Field("usd_per_kwh", "Price", "decimal", "USD per kWh"),
            Field(
                "pue",
                "PUE",
                "decimal",
                value=localised("1.3"),
                hint="all energy of the place over the machines’",
            ),
            _from_day(today),
        ),
        (
            Field("window_usd_per_kwh", "Price then", "decimal", "USD per kWh", required=False),
            Field("window_starts", "From", "time", required=False),
            Field("window_ends", "To", "time", required=False),
            Field("window_days", "On", "select", choices=days, value="all", required=False),
        ),
        "Another price at certain hours",
    )


def running_cost_form(today: date) -> Form:
    kinds = (("maintenance", "maintenance"), ("hosting", "hosting"), ("staff", "staff"))
    return Form(
        "running_cost",
        "Add a monthly cost",
        "Add the cost",
        (
            Field("kind", "Kind", "select", choices=kinds, value="maintenance"),
            Field("name", "Name", hint="support contract, rack space, operations engineer"),
            Field("usd_per_month", "Cost", "decimal", "USD a month"),
            Field("share", "Of which for this pool", "percent", "%", value="100"),
            _from_day(today),
        ),
    )


def deployment_form(today: date, backends: tuple[str, ...]) -> Form:
    bases = (
        ("rates", "its own rates"),
        ("allocated", "what the hour cost, over what it served"),
        ("usage", "the hardware time that each token took"),
    )
    return Form(
        "deployment",
        "Run a backend here",
        "Run it here",
        (
            Field("backend", "Backend", "select", choices=tuple((key, key) for key in backends)),
            Field("input_tokens_per_second", "Reads", "decimal", "input tokens a second"),
            Field("output_tokens_per_second", "Writes", "decimal", "output tokens a second"),
            Field("pool_share", "Part of the pool", "percent", "%", value="100"),
            Field("basis", "Requests are charged by", "select", choices=bases, value="rates"),
            _from_day(today),
        ),
        (
            Field(
                "cached_input_weight",
                "A cached input token weighs",
                "percent",
                "% of an uncached one",
                value="100",
            ),
        ),
        "Cached input",
    )
