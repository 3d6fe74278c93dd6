"""The forms of the attribution page: what was typed, and the rule or the move it means."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from apps.dashboards.corrections.attribution_reading import BY_SHOWN
from apps.dashboards.corrections.run_requests import MAX_REASON_LENGTH, NO_REASON, as_number
from apps.dashboards.page import PageRequest
from apps.dashboards.pricing.form import read_day
from apps.tenants.selectors import TenantInfo
from apps.usage.core.attribution import DEFAULT_POSITION, KEY, TARGETS, MappingRule, Target
from apps.usage.core.events import Door
from apps.usage.core.reattribution import OPTIONAL
from apps.usage.reattribution import MoveScope

WINDOW_DAYS: Final = 30
MAX_LENGTH: Final = 401
DOORS: Final = {door.name.lower(): door for door in Door}
RULE_FIELDS: Final = (
    "key", "attribute", "value", "target", "name", "door", "source", "position",
)  # fmt: skip
MOVE_FIELDS: Final = (
    "starts_at", "ends_at", "to_target", "to_name", "reason",
    *(f"w_{by}" for by in BY_SHOWN), *(f"none_{by}" for by in BY_SHOWN if by in OPTIONAL),
)  # fmt: skip

Form = dict[str, str]


@dataclass(frozen=True, slots=True)
class FormError(Exception):
    """What cannot be, at its field."""

    field: str
    text: str


def as_target(text: str, default: Target = "department") -> Target:
    """What an address or a form names falls back: links age, pages do not fail."""
    return next((target for target in TARGETS if target == text), default)


def read_fields(given: Mapping[str, str], names: tuple[str, ...]) -> Form:
    """What was typed, cut to size."""
    return {
        name: given.get(name, "")
        .replace("\0", "")
        .strip()[: MAX_REASON_LENGTH if name == "reason" else MAX_LENGTH]
        for name in names
    }


def read_rule(form: Form) -> MappingRule:
    """Raises FormError for what is no rule; whether it may stand says the service."""
    is_key = bool(form["key"])
    position = as_number(form["position"]) if form["position"] else DEFAULT_POSITION
    if position is None:
        raise FormError("position", "The order is a whole number; the lower is tried first.")
    if form["door"] and form["door"] not in DOORS:
        raise FormError("door", "Choose by which door the usage comes in.")
    return MappingRule(
        id=0,
        attribute=KEY if is_key else form["attribute"],
        value=(form["key"] if is_key else form["value"]) or None,
        target=as_target(form["target"]),
        name=form["name"] or None,
        door=DOORS.get(form["door"]),
        source=form["source"] or None,
        position=position,
    )


def first_move_form(request: PageRequest, target: Target) -> Form:
    """The window's unattributed usage, narrowed to the part that the address names."""
    today = request.tenant.local_date(request.now)
    form = read_fields(request.GET, MOVE_FIELDS) | {
        "starts_at": (today - timedelta(days=WINDOW_DAYS - 1)).isoformat(),
        "ends_at": today.isoformat(),
        "to_target": target,
    }
    return form | {f"none_{target}": "1"}


def read_move(form: Form, tenant: TenantInfo) -> MoveScope:
    """Raises FormError where something is missing or wrong."""
    starts_at = read_day(form["starts_at"], tenant.zone)
    last = read_day(form["ends_at"], tenant.zone)
    if starts_at is None:
        raise FormError("starts_at", "Give the first day.")
    if last is None:
        raise FormError("ends_at", "Give the last day.")
    if last < starts_at:
        raise FormError("ends_at", "The last day is before the first.")
    # The last day is meant whole, whatever its length.
    next_day = date.fromisoformat(form["ends_at"]) + timedelta(days=1)
    ends_at = read_day(next_day.isoformat(), tenant.zone)
    if ends_at is None:
        raise FormError("ends_at", "Give the last day.")
    if not form["to_name"]:
        raise FormError("to_name", "Say to whom it goes.")
    if not form["reason"]:
        raise FormError("reason", NO_REASON)
    where: dict[str, str | None] = {}
    for by in BY_SHOWN:
        if form[f"w_{by}"]:
            where[by] = form[f"w_{by}"]
        elif form.get(f"none_{by}"):
            where[by] = None
    return MoveScope(
        starts_at, ends_at, where=where, to={as_target(form["to_target"]): form["to_name"]}
    )
