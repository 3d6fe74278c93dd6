"""What periods with rollover inherit. Part of selectors.

A period that is over is summed once and remembered by this process, until what it holds changes:
each fold notes which periods it changed (activity.py), late usage, repricing and moves included.
What stands in place of charges to come is read each time.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from apps.budgets.book import BackendTerms, BudgetBook
from apps.budgets.core.amounts import carried_over
from apps.budgets.core.periods import Period
from apps.budgets.counter_types import CounterId
from apps.budgets.models import PeriodActivity
from apps.budgets.spent import add_counted_in_place, read_folded

# How far back unspent money is inherited from.
ROLLOVER_PERIODS: Final = 36
# A repair of the rollups (manage.py reconcile) is no fold: it is seen after so long.
REMEMBERED_S: Final = 600.0
MAX_TENANTS: Final = 1000

BudgetPeriod = tuple[int, Period]


@dataclass(frozen=True)
class _Remembered:
    """Sums of a tenant's periods by the number of changes that they have seen, while its budgets
    and what they are about are the same."""

    fingerprint: tuple[object, ...]
    backends: dict[int, BackendTerms]
    since: float
    sums: dict[CounterId, tuple[int, Decimal]] = field(default_factory=dict)


_remembered: dict[int, _Remembered] = {}


def read_inherited(
    book: BudgetBook, periods: Iterable[BudgetPeriod], *, now: datetime
) -> dict[CounterId, Decimal]:
    """What each of these was left by its budget's periods before it, from the first on. A period
    that has not begun inherits nothing yet: what it follows is still being spent."""
    lines = {
        CounterId.of(budget_id, period): [(budget_id, p) for p in _before(book, budget_id, period)]
        for budget_id, period in periods
        if book.budgets[budget_id].rollover and now >= period.start
    }
    spent = _read_closed(book, {one for line in lines.values() for one in line})
    return {
        counter: carried_over(
            (book.budgets[budget_id].allowed(p, now), spent[CounterId.of(budget_id, p)])
            for budget_id, p in line
        )
        for counter, line in lines.items()
    }


def _before(book: BudgetBook, budget_id: int, period: Period) -> list[Period]:
    terms = book.budgets[budget_id]
    before: list[Period] = []
    earlier = terms.calendar.before(period)
    while len(before) < ROLLOVER_PERIODS and earlier.end > terms.created_at:
        before.append(earlier)
        earlier = terms.calendar.before(earlier)
    before.reverse()
    return before


def _read_closed(book: BudgetBook, periods: Iterable[BudgetPeriod]) -> dict[CounterId, Decimal]:
    """What was spent in periods that are over."""
    wanted = {CounterId.of(budget_id, period): (budget_id, period) for budget_id, period in periods}
    if not wanted:
        return {}
    sums = _memory_of(book).sums
    # First the number of changes, then the sums: what comes between is read again next time.
    changes = _count_changes(wanted)
    changed = [c for c in wanted if c not in sums or sums[c][0] != changes[c]]
    for counter, amount in read_folded(book, [wanted[c] for c in changed]).items():
        sums[counter] = (changes[counter], amount)
    spent = {counter: sums[counter][1] for counter in wanted}
    add_counted_in_place(spent, book)
    return spent


def _memory_of(book: BudgetBook) -> _Remembered:
    now = time.monotonic()
    found = _remembered.get(book.tenant_id)
    if (
        found is None
        or found.fingerprint != book.fingerprint
        or found.backends != book.backends
        or now - found.since > REMEMBERED_S
    ):
        if len(_remembered) >= MAX_TENANTS:
            _remembered.clear()
        found = _Remembered(book.fingerprint, book.backends, now)
        _remembered[book.tenant_id] = found
    return found


def _count_changes(counters: Iterable[CounterId]) -> dict[CounterId, int]:
    wanted = set(counters)
    rows = PeriodActivity.objects.filter(
        budget_id__in={c.budget_id for c in wanted},
        period_start__in={c.period_start for c in wanted},
    )
    columns = ("budget_id", "period_start", "changes")
    found = {CounterId(b, start): changes for b, start, changes in rows.values_list(*columns)}
    return {counter: found.get(counter, 0) for counter in wanted}
