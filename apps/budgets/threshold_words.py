"""What an alert about a budget says. Part of services."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from apps.budgets.book import BudgetTerms
from apps.budgets.core.pace import running_totals, runs_out
from apps.budgets.core.periods import Period
from apps.budgets.projections import ScopeFilters, read_projections
from apps.pricing.core.money import plain_decimal
from apps.tenants.core.money_words import MoneyWords
from apps.tenants.exchange import read_money_words
from apps.usage.selectors import Dimension, SpendQuery, read_spend

SPENDERS: Final[tuple[tuple[Dimension, str], ...]] = (
    ("department", "department_id"),
    ("customer", "customer_id"),
    ("model", "model"),
)
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Told:
    """A threshold that was reached. `measured` is what reached it: the spent or the projected."""

    terms: BudgetTerms
    period: Period
    basis: str
    percent: Decimal
    amount: Decimal
    spent: Decimal
    measured: Decimal


@dataclass(frozen=True, slots=True)
class AlertWords:
    subject: str
    lines: list[str]


def alert_words(told: Told, *, now: datetime) -> AlertWords:
    """Subject and lines: how much of what, until when it lasts, and who spends most."""
    words = read_money_words(now=now)

    def in_unit(value: Decimal) -> str:
        return words.usd(value) if told.terms.unit == "usd" else _counted(value, told, words)

    amount = in_unit(told.amount)
    percent = plain_decimal(told.percent)
    if told.basis == "actual":
        subject = f"{told.terms.name}: {percent}% of {amount} is spent"
        lines = [f"{in_unit(told.spent)} of {amount} {_of_period(told)}."]
    else:
        subject = f"{told.terms.name}: on course for {percent}% of {amount}"
        lines = [
            f"{in_unit(told.spent)} is spent; {_of_period(told)} is projected to end at"
            f" {in_unit(told.measured)}, {amount} being allowed."
        ]
    lines += _lasts(told, now=now)
    lines += _spenders(told)
    return AlertWords(subject, lines)


def _counted(value: Decimal, told: Told, words: MoneyWords) -> str:
    return f"{words.count(value)} {told.terms.unit}"


def _of_period(told: Told) -> str:
    first = told.period.first_day
    if told.terms.calendar.kind == "grant":
        return f"the grant from {_day(first)} {first.year}"
    return f"the {told.terms.calendar.kind} of {_day(first)} {first.year}"


def _lasts(told: Told, *, now: datetime) -> list[str]:
    """Until when the amount lasts as things go."""
    if not told.period.contains(now):
        return ["That period is over: a late or corrected charge brought it there."]
    if told.spent >= told.amount:
        cap = " New requests that it covers are refused." if told.terms.is_cap else ""
        return [f"Nothing is left of it.{cap}"]
    projections = read_projections([(told.terms, told.period)], now=now)
    projection = projections.get(told.terms.id)
    if projection is None:
        return []
    days = running_totals(projection.days, told.spent, projection.expected.at_least(told.spent))
    out_on, earliest = runs_out((d for d in days if not d.is_past), told.amount)
    if earliest is None:
        return ["At this rate it lasts to the end of the period."]
    if out_on is None:
        return [f"It should last, but may run out from {_day(earliest)} on."]
    perhaps = f", perhaps on {_day(earliest)}" if earliest < out_on else ""
    return [f"At this rate it runs out on {_day(out_on)}{perhaps}."]


def _spenders(told: Told) -> list[str]:
    """Who spends most of it, by what the scope leaves open."""
    filters = ScopeFilters().of(told.terms.scope)
    whole: Decimal | None = None
    parts: list[str] = []
    for dimension, field in SPENDERS:
        if dimension != "department" and getattr(told.terms.scope, field) is not None:
            continue
        query = SpendQuery(
            start=told.period.start,
            end=told.period.end,
            group_by=(dimension,),
            filters=filters,
        )
        spend = read_spend(query)
        whole = spend.total.cost_usd
        if not spend.rows or whole <= 0:
            continue
        most = max(spend.rows, key=lambda row: row.cost_usd)
        name = most.labels[dimension]
        if name is not None:
            share = most.cost_usd / whole * 100
            parts.append(f"{dimension} {name} ({share:.0f}%)")
    return [f"Most is spent by {', '.join(parts)}."] if parts else []


def _day(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]}"
