"""The value model as a form: its tables with what stands there by default and what is believed,
and what was typed as the next version's content. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from apps.dashboards.templatetags.figures_of_speech import fixed
from apps.dashboards.typed_numbers import NotANumber, as_typed, typed_decimal
from apps.routing.core.families import family_of
from apps.routing.core.policy import Policy
from apps.routing.core.value_model import TIERS, ValueModel, default_value_model

MAX_CELLS: Final = 540
MAX_BACKENDS: Final = 60
MAX_NUMBER: Final = 30


@dataclass(frozen=True, slots=True)
class Cell:
    """One number: `text` as people set it (empty: not set), `usual` what holds then, `believed`
    what outcomes taught beside it."""

    name: str
    label: str
    text: str
    usual: str
    believed: str = ""
    is_wrong: bool = False

    @property
    def shown(self) -> str:
        return self.text or self.usual


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    is_local: bool
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Tables:
    tasks: Sequence[str]
    floors: list[Row]
    values: list[Row]
    quality: list[Row]
    places: list[Row]
    others: list[Cell]
    backends_left_out: int


@dataclass(frozen=True, slots=True)
class FormError(Exception):
    """What is no number, at its field."""

    field: str
    text: str


def tables(
    model: ValueModel,
    backends: Sequence[tuple[str, bool]],
    policy: Policy | None,
    given: Mapping[str, str] | None,
    wrong: str,
) -> Tables:
    """`backends`: (key, is local). `given` is what was typed, where it was refused."""
    make = _Maker(given, wrong)
    shown = backends[: min(MAX_BACKENDS, MAX_CELLS // len(model.tasks))]
    usual = default_value_model()
    believed = _believed(policy)
    quality = [
        Row(
            name,
            is_local,
            [
                make.cell(
                    f"quality:{name}:{task}",
                    f"Quality of {name} at {task}",
                    model.quality.get(name, {}).get(task),
                    family_of(name, is_local=is_local).of(task),
                    believed.get((name, task), ""),
                )
                for task in model.tasks
            ],
        )
        for name, is_local in shown
    ]
    return Tables(
        tasks=model.tasks,
        floors=[make.by_tier("floors", "Floor", tier, model.floors, usual) for tier in TIERS],
        values=[make.by_tier("value_usd", "Value", tier, model.value_usd, usual) for tier in TIERS],
        quality=quality,
        places=_places(make, model, shown),
        others=_others(make, model, usual),
        backends_left_out=len(backends) - len(shown),
    )


def _places(make: "_Maker", model: ValueModel, shown: Sequence[tuple[str, bool]]) -> list[Row]:
    return [
        Row(
            name,
            True,
            [
                make.cell(
                    f"local_requests_per_hour:{name}",
                    f"Requests an hour on {name}",
                    model.local_requests_per_hour.get(name),
                    None,
                )
            ],
        )
        for name, is_local in shown
        if is_local
    ]


def _others(make: "_Maker", model: ValueModel, usual: ValueModel) -> list[Cell]:
    """What failures, refusals, revenue and conversions count."""
    others = [
        make.cell(f"fail_multiplier:{tier}", f"A failure of {tier} costs, × the value", told,
                  usual.fail_multiplier[tier])
        for tier, told in model.fail_multiplier.items()
    ]  # fmt: skip
    for name, label in (
        ("refusal_multiplier", "A refusal costs, × the value"),
        ("revenue_share", "Share of a request’s revenue that counts as value"),
        ("conversion_usd", "A conversion is worth, USD"),
    ):
        others.append(make.cell(name, label, getattr(model, name), getattr(usual, name)))
    return others


@dataclass(frozen=True, slots=True)
class _Maker:
    given: Mapping[str, str] | None
    wrong: str

    def cell(
        self, name: str, label: str, told: float | None, usual: float | None, believed: str = ""
    ) -> Cell:
        text = _text(told) if self.given is None else self.given.get(name, "")
        default = "" if usual is None else _text(usual)
        return Cell(name, label, text, default, believed, is_wrong=name == self.wrong)

    def by_tier(
        self,
        field: str,
        what: str,
        tier: str,
        table: Mapping[str, Mapping[str, float]],
        usual: ValueModel,
    ) -> Row:
        defaults = getattr(usual, field)[tier]
        cells = [
            self.cell(
                f"{field}:{tier}:{task}",
                f"{what} of {tier} at {task}",
                told,
                defaults.get(task, defaults["other"]),
            )
            for task, told in table[tier].items()
        ]
        return Row(tier, False, cells)


def _believed(policy: Policy | None) -> dict[tuple[str, str], str]:
    """Where what outcomes taught differs from the table: "0.81 ± 0.02"."""
    if policy is None:
        return {}
    found = {}
    for task, rows in policy.quality.items():
        for backend, (level, _, deviation), table in zip(
            policy.backends, rows, policy.table_quality[task], strict=True
        ):
            if abs(level - table) >= 0.005:
                found[backend.name, task] = (
                    f"{fixed(Decimal(repr(level)), 2)} ± {fixed(Decimal(repr(deviation)), 2)}"
                )
    return found


def read_content(model: ValueModel, posted: Mapping[str, str]) -> dict[str, Any]:
    """The whole next content: the one in force, with what was typed. An emptied cell has its
    default again. Raises FormError for what is no number."""
    content = model.content()
    for name, text in posted.items():
        field, _, rest = name.partition(":")
        if field not in _TYPED or (field in _SINGLE) == bool(rest):
            continue
        number = _number(name, text)
        if field in _SINGLE:
            _put(content, field, number)
        elif field in _NESTED:
            outer, inner = _cell_of(field, rest, model.tasks)
            _put(content[field].setdefault(outer, {}), inner, number)
        else:
            _put(content[field], rest, number)
    content["quality"] = {name: row for name, row in content["quality"].items() if row}
    return content


_SINGLE: Final = ("refusal_multiplier", "revenue_share", "conversion_usd")
_NESTED: Final = ("quality", "floors", "value_usd")
_TYPED: Final = (*_SINGLE, *_NESTED, "fail_multiplier", "local_requests_per_hour")


def _cell_of(field: str, rest: str, tasks: Sequence[str]) -> tuple[str, str]:
    """(backend or tier, task): names of backends and tasks may hold colons, tiers do not."""
    if field != "quality":
        tier, _, task = rest.partition(":")
        return tier, task
    fitting = [task for task in tasks if rest.endswith(f":{task}")]
    task = max(fitting, key=len, default=rest.rpartition(":")[2])
    return rest.removesuffix(f":{task}"), task


def _put(row: dict[str, Any], name: str, number: float | None) -> None:
    if number is None:
        row.pop(name, None)
    else:
        row[name] = number


def _number(name: str, text: str) -> float | None:
    text = text.strip()[:MAX_NUMBER]
    if not text:
        return None
    try:
        return float(typed_decimal(text))
    except NotANumber as error:
        raise FormError(name, f"“{text}” is not a number.") from error


def _text(number: float | None) -> str:
    """Every digit, and no exponent."""
    return "" if number is None else as_typed(Decimal(repr(number)))
