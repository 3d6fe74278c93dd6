"""Thresholds: told once when they are reached. Part of services.

A threshold is a percentage of the period's amount: of what is spent (holds do not count: they may
be released), and of what the period is projected to end at. It is told once for a period, a
threshold and an amount, even if a repricing, a move or a correction took it back before anybody
looked. Falling below and rising again tells nothing new; another amount, a top-up that begins or
ends, and the next period arm it again. What a budget inherits by rollover changes the whole it is
measured against, but arms nothing.

Running periods are looked at each time; periods that are over wherever a charge changed them since
(activity.py), however late it came. The crossing and its alert are one transaction.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from apps.alerts.core.facts import Severity
from apps.alerts.services import raise_alert
from apps.budgets.activity import Unchecked, list_unchecked, note_checked
from apps.budgets.book import BudgetBook, BudgetTerms, budget_book, read_book
from apps.budgets.core.amounts import from_count
from apps.budgets.core.pace import reached
from apps.budgets.core.periods import Period
from apps.budgets.counter_types import CounterId
from apps.budgets.models import Crossing, Projection
from apps.budgets.rebuild import read_limits
from apps.budgets.selectors import read_standings
from apps.budgets.spent import read_spent
from apps.budgets.threshold_words import Told, alert_words
from apps.pricing.core.money import EXACT, plain_decimal
from apps.tenants.scoping import current_tenant_id, tenant_scope

logger = logging.getLogger(__name__)
# Periods that are over and changed, looked at in one go; the rest are next.
PORTION: Final = 500
CRITICAL_FROM: Final = Decimal(100)
WARNING_FROM: Final = Decimal(80)
CrossingBasis = Literal["actual", "projected"]
_CrossingKey = tuple[int, datetime, str, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class _Measured:
    """A period as it is measured: `allowed` is the amount that arms, `amount` the whole with what
    was inherited. `projected` None where there is no projection."""

    terms: BudgetTerms
    period: Period
    allowed: Decimal
    amount: Decimal
    spent: Decimal
    projected: Decimal | None


def check_thresholds(tenant_id: int, *, now: datetime) -> int:
    """Tell what was reached since the last look; returns how many were told."""
    budgets = budget_book(tenant_id).budgets.values()
    if not any(terms.thresholds or terms.projected_thresholds for terms in budgets):
        return 0
    with tenant_scope(tenant_id):
        book = read_book()
        unchecked = list_unchecked(PORTION)
        running = _running(now)
        seen = {CounterId.of(one.terms.id, one.period) for one in running}
        # What once stood higher is told as it stood then.
        changed = [one for one in unchecked if one.counter not in seen or one.fallen]
        measured = running + _changed(book, changed, now=now)
        told = sum(_cross(one, now=now) for one in _with_unknown(measured))
        note_checked(unchecked)
    return told


def _running(now: datetime) -> list[_Measured]:
    projections = {(p.budget_id, p.period_start): p.mid for p in Projection.objects.all()}
    return [
        _Measured(
            terms=standing.terms,
            period=standing.period,
            allowed=standing.terms.allowed(standing.period, now),
            amount=standing.amount,
            spent=standing.spent,
            projected=projections.get((standing.terms.id, standing.period.start)),
        )
        for standing in read_standings(now=now)
        if standing.period.contains(now)
    ]


def _changed(book: BudgetBook, changed: Iterable[Unchecked], *, now: datetime) -> list[_Measured]:
    """Periods at the highest that they stood since they were looked at, by the ledger."""
    periods: list[tuple[BudgetTerms, Period]] = []
    fallen = {one.counter: one.fallen for one in changed}
    for counter in fallen:
        terms = book.budgets.get(counter.budget_id)
        period = terms.calendar.at(counter.period_start) if terms else None
        if terms is not None and period is not None and terms.thresholds:
            periods.append((terms, period))
    wanted = [(terms.id, period) for terms, period in periods]
    spent = read_spent(book, wanted)
    limits = dict(read_limits(book, wanted, now=now))
    return [
        _Measured(
            terms=terms,
            period=period,
            allowed=terms.allowed(period, now),
            amount=from_count(limits[counter], terms.unit),
            spent=EXACT.add(spent[counter], fallen[counter]),
            projected=None,
        )
        for terms, period in periods
        for counter in [CounterId.of(terms.id, period)]
    ]


def _with_unknown(measured: Iterable[_Measured]) -> list[_Measured]:
    """Those that have something to tell that was not told."""
    wanted = [one for one in measured if _reached(one)]
    keys = Crossing.objects.filter(
        budget_id__in={one.terms.id for one in wanted},
        period_start__in={one.period.start for one in wanted},
    ).values_list("budget_id", "period_start", "basis", "threshold", "amount")
    known: set[_CrossingKey] = set(keys)
    return [
        one
        for one in wanted
        if any(_key(one, basis, percent) not in known for basis, percent in _reached(one))
    ]


def _reached(one: _Measured) -> list[tuple[CrossingBasis, Decimal]]:
    found: list[tuple[CrossingBasis, Decimal]] = [
        ("actual", percent) for percent in reached(one.amount, one.spent, one.terms.thresholds)
    ]
    if one.projected is not None:
        ends = max(one.projected, one.spent)
        wanted = one.terms.projected_thresholds
        found += [("projected", percent) for percent in reached(one.amount, ends, wanted)]
    return found


def _key(one: _Measured, basis: str, percent: Decimal) -> _CrossingKey:
    return (one.terms.id, one.period.start, basis, percent, one.allowed)


def _cross(one: _Measured, *, now: datetime) -> int:
    """Write down what was reached and tell it; returns how much of it was news."""
    told = 0
    for basis, percent in _reached(one):
        budget_id, start, _, _, allowed = _key(one, basis, percent)
        _, is_new = Crossing.objects.get_or_create(
            tenant_id=current_tenant_id(),
            budget_id=budget_id,
            period_start=start,
            basis=basis,
            threshold=percent,
            amount=allowed,
            defaults={"crossed_at": now},
        )
        if is_new:
            _tell(one, basis, percent, now=now)
            told += 1
    return told


def _tell(one: _Measured, basis: CrossingBasis, percent: Decimal, *, now: datetime) -> None:
    measured = one.spent if basis == "actual" else max(one.projected or one.spent, one.spent)
    told = Told(
        terms=one.terms,
        period=one.period,
        basis=basis,
        percent=percent,
        amount=one.amount,
        spent=one.spent,
        measured=measured,
    )
    words = alert_words(told, now=now)
    raise_alert(
        key=":".join(
            (
                "budget",
                str(one.terms.id),
                one.period.start.isoformat(),
                basis,
                plain_decimal(percent),
                plain_decimal(one.allowed),
            )
        ),
        kind="budget_threshold",
        severity=_severity(basis, percent),
        subject=words.subject,
        body="\n".join(words.lines),
        path=f"/budgets/{one.terms.id}",
        amount_usd=measured if one.terms.unit == "usd" else None,
        now=now,
        details=_details(one, basis, percent, measured),
    )


def _severity(basis: CrossingBasis, percent: Decimal) -> Severity:
    if basis == "actual" and percent >= CRITICAL_FROM:
        return Severity.CRITICAL
    return Severity.WARNING if percent >= WARNING_FROM else Severity.INFO


def _details(
    one: _Measured, basis: CrossingBasis, percent: Decimal, measured: Decimal
) -> Mapping[str, str | int]:
    return {
        "budget_id": one.terms.id,
        "period": one.terms.calendar.kind,
        "period_start": one.period.start.isoformat(),
        "unit": one.terms.unit,
        "basis": basis,
        "threshold_percent": plain_decimal(percent),
        "amount": plain_decimal(one.amount),
        "spent": plain_decimal(one.spent),
        "measured": plain_decimal(measured),
    }
