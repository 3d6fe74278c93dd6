"""Budgets in words: how they stand, in the unit they are in. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.utils.safestring import SafeString

from apps.budgets.book import Choices
from apps.budgets.core.amounts import Unit
from apps.budgets.core.pace import Health
from apps.budgets.status import BudgetStatus
from apps.dashboards.periods import dated, short_day
from apps.dashboards.sentences import Answer, Phrase, capitalised, listed
from apps.dashboards.templatetags.figures_of_speech import (
    count_short,
    money_short,
    percent,
    short,
    times,
    usd_short,
)
from apps.pricing.core.money import plain_decimal

UNIT_WORDS: Final[Mapping[Unit, str]] = {"usd": "USD", "tokens": "tokens", "requests": "requests"}
HEALTH_WORDS: Final[Mapping[Health, str]] = {
    "over": "used up",
    "at_risk": "at risk",
    "watch": "may run out",
    "on_course": "on course",
    "not_begun": "not begun",
    "ended": "over",
}
LIMIT_WORDS: Final = {"notify": "tells", "throttle": "slows routers", "refuse": "refuses"}
USED_UP_WORDS: Final = {
    "notify": ".",
    "throttle": ": routers send what it covers to the cheapest backend that is good enough.",
    "refuse": ": requests that it covers are refused.",
}
LIMIT_CHOICES: Final = (
    ("notify", "tell people"),
    ("throttle", "tell routers to slow down"),
    ("refuse", "refuse requests: a cap"),
)
PERIOD_WORDS: Final = {
    "day": "a day",
    "week": "a week",
    "month": "a month",
    "quarter": "a quarter",
    "year": "a year",
    "grant": "a grant",
}
SCOPE_WORDS: Final = {
    "department": "department",
    "customer": "customer",
    "project": "project",
    "router": "router",
    "provider": "provider",
    "model": "model",
    "backend": "backend",
    "kind": "backends that are",
}
ACTION_WORDS: Final = {
    "budget.created": "made",
    "budget.amount_changed": "amount changed",
    "budget.plan_withdrawn": "plan withdrawn",
    "budget.topped_up": "topped up",
    "budget.changed": "changed",
    "budget.archived": "archived",
}


def figure(value: Decimal, unit: Unit) -> str:
    """A figure with its unit: 41.80 USD, 1.2 M tokens."""
    return f"{usd_short(value) if unit == 'usd' else short(value)} {UNIT_WORDS[unit]}"


def bare(value: Decimal, unit: Unit) -> SafeString:
    """A figure for a table or a card, its exact value on hover."""
    return money_short(value) if unit == "usd" else count_short(value)


def scope_words(scope: Mapping[str, str], names: Mapping[tuple[str, str], str]) -> str:
    """What a budget covers: "department Support, model gpt-5". `names` by (field, value)."""
    if not scope:
        return "everything"
    return ", ".join(f"{SCOPE_WORDS[f]} {names.get((f, v), v)}" for f, v in scope.items())


def finding(status: BudgetStatus) -> str:
    """One sentence on where a budget is heading: a chart's title."""
    standing, unit, name = status.standing, status.terms.unit, status.terms.name
    amount = figure(standing.amount, unit)
    if status.health == "over":
        return f"{name} is used up: {_number(standing.spent, unit)} of {amount}"
    if status.health == "at_risk" and status.expected is not None:
        until = f", used up on {short_day(status.runs_out_on)}" if status.runs_out_on else ""
        return f"{name} is on course for {_number(status.expected.mid, unit)} of {amount}{until}"
    if status.health == "watch" and status.runs_out_earliest is not None:
        return f"{name} should last, but may run out from {short_day(status.runs_out_earliest)} on"
    if status.expected is not None:
        return f"{name} is on course for {_number(status.expected.mid, unit)} of {amount}"
    return f"{name}: {_number(standing.spent, unit)} of {amount} so far"


def list_answer(statuses: Sequence[BudgetStatus]) -> Answer:
    """How many are in which state, and what is held in all."""
    if not statuses:
        return (
            Phrase("Nothing is budgeted yet: spend has no limit here, and nobody is told of any."),
        )
    by_health = {health: [s for s in statuses if s.health == health] for health in HEALTH_WORDS}
    told: list[str] = []
    for health, words in (
        ("over", "used up"),
        ("at_risk", "on course to be"),
        ("watch", "perhaps not enough"),
    ):
        found = by_health[health]  # type: ignore[index]
        if found:
            told.append(f"{len(found)} {'is' if len(found) == 1 else 'are'} {words}")
    whole = f"{len(statuses)} budget{'s' if len(statuses) != 1 else ''}"
    if not told:
        verb = "is" if len(statuses) == 1 else "all are"
        return (Phrase(f"{whole}: "), Phrase(f"{verb} on course", strong=True), Phrase("."))
    parts = [Phrase(f"Of {whole} "), Phrase(listed(told), strong=True)]
    rest = len(by_health["on_course"])
    if rest:
        parts.append(Phrase(f"; {rest} {'is' if rest == 1 else 'are'} on course"))
    return (*parts, Phrase("."))


def status_answer(status: BudgetStatus) -> Answer:
    """How one budget stands: spent, held, left, pace, and until when it lasts."""
    standing, unit = status.standing, status.terms.unit
    parts = [
        Phrase(figure(standing.spent, unit), strong=True),
        Phrase(f" of {figure(standing.amount, unit)} is spent"),
    ]
    if status.pace is not None and status.health not in ("not_begun", "ended"):
        parts.append(Phrase(f" with {percent(status.elapsed)} of the period gone"))
    parts.append(Phrase(". "))
    if status.health == "over":
        parts.append(Phrase("Nothing is left of it", strong=True))
        parts.append(Phrase(USED_UP_WORDS[status.terms.on_limit]))
    elif status.runs_out_on is not None:
        parts.append(Phrase("As things go it is used up on "))
        parts.append(Phrase(short_day(status.runs_out_on), strong=True))
        parts.append(Phrase("."))
    elif status.runs_out_earliest is not None:
        parts.append(Phrase("It should last, but may be used up from "))
        parts.append(Phrase(short_day(status.runs_out_earliest), strong=True))
        parts.append(Phrase(" on."))
    elif status.expected is not None:
        parts.append(Phrase("As things go it lasts."))
    return tuple(parts)


def pace_words(status: BudgetStatus) -> str:
    """How fast, against even spending: "1.4 times the even pace"."""
    if status.pace is None or status.health in ("not_begun", "ended"):
        return ""
    if abs(status.pace - 1) < Decimal("0.05"):
        return "on the even pace"
    return f"{times(status.pace)} times the even pace"


def reserved_words(status: BudgetStatus) -> str:
    """How much of spend had been reserved, and how much came without."""
    share = status.reserved_share
    if share is None:
        return "nothing spent yet"
    if not share:
        return "none of it had been reserved"
    return f"{percent(share)} of it had been reserved, {percent(1 - share)} came without"


def settings_words(choices: Choices) -> str:
    """What happens while nobody knows what is left."""
    told = {"refuse": "refused", "allow": "let through"}
    return (
        f"Requests to cloud backends are {told[choices.cloud_while_unknown]}, those to own hardware"
        f" {told[choices.local_while_unknown]}."
    )


def change_words(action: str, before: object, after: object, unit: Unit, zone: ZoneInfo) -> str:
    """One line of the audit trail: what changed from what to what, and from when if later."""
    old = before if isinstance(before, dict) else {}
    new = after if isinstance(after, dict) else {}
    if action in ("budget.amount_changed", "budget.topped_up", "budget.created"):
        amount = figure(Decimal(new.get("amount", 0)), unit)
        if action == "budget.topped_up":
            return f"{amount} more"
        came = f"{figure(Decimal(old['amount']), unit)} → " if "amount" in old else ""
        return f"{came}{amount}{_from_when(new, zone)}"
    if action == "budget.plan_withdrawn":
        amount = figure(Decimal(old.get("amount", 0)), unit)
        return f"{amount}{_from_when(old, zone)}: not any more"
    return "; ".join(
        f"{capitalised(name).replace('_', ' ')}: {_plainly(old.get(name))} → {_plainly(value)}"
        for name, value in new.items()
        if name != "reason"
    )


def _from_when(told: Mapping[str, object], zone: ZoneInfo) -> str:
    moment = told.get("effective_from")
    return f" from {beginning(datetime.fromisoformat(str(moment)), zone)}" if moment else ""


def beginning(moment: datetime, zone: ZoneInfo) -> str:
    """A moment from which something holds: its day, and the hour if that is not its first."""
    is_midnight = moment.astimezone(zone).time() == time.min
    return day_of(moment, zone) if is_midnight else day_and_time(moment, zone)


def day_and_time(moment: datetime, zone: ZoneInfo) -> str:
    """A moment as the tenant's people say it: 3 Nov 2026, 14:05."""
    local = moment.astimezone(zone)
    return f"{dated(local.date())}, {local:%H:%M}"


def day_of(moment: datetime, zone: ZoneInfo) -> str:
    local = moment.astimezone(zone).date()
    return dated(local)


def month_words(first_day: date) -> str:
    return dated(first_day)


def _plainly(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{plain_decimal(Decimal(each))}%" for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return LIMIT_WORDS.get(str(value), str(value)) if value is not None else "—"


def _number(value: Decimal, unit: Unit) -> str:
    return usd_short(value) if unit == "usd" else short(value)
