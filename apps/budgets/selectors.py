"""The only reader of budgets: how they stand, by the names that people use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from apps.budgets.book import BudgetTerms, budget_book, live_periods, read_book, read_choices
from apps.budgets.core.amounts import from_count
from apps.budgets.core.periods import Period
from apps.budgets.core.scopes import Scope
from apps.budgets.counter_types import CounterId, CountersLost
from apps.budgets.models import Hold
from apps.budgets.rebuild import counters_of, forget_counters, read_limits
from apps.budgets.spent import (
    amount_value,
    decision_uuid,
    read_parts,
    read_pending_charges,
    read_spent,
)
from apps.pricing.selectors import list_backends
from apps.tenants.selectors import list_api_keys, list_customers, list_departments
from apps.usage.commits import list_pending_commits

__all__ = [
    "BudgetStanding",
    "ScopeNames",
    "budget_book",
    "decision_uuid",
    "live_periods",
    "read_choices",
    "read_standings",
]


@dataclass(frozen=True, slots=True)
class BudgetStanding:
    """A budget's running period, in the budget's unit. `is_live`: from the counters that
    reservations use; else they were away and this was read from the ledger."""

    terms: BudgetTerms
    scope: Mapping[str, str]
    period: Period
    amount: Decimal
    spent: Decimal
    held: Decimal
    is_live: bool

    @property
    def left(self) -> Decimal:
        """What may still be set aside; below zero when more was spent than allowed."""
        return self.amount - self.spent - self.held


class ScopeNames:
    """The names of what scopes are about; each list is read at most once."""

    def __init__(self) -> None:
        self._maps: dict[str, dict[int, str]] = {}

    def of(self, scope: Scope) -> dict[str, str]:
        """{"department": "support"}: the fields that the scope names."""
        labels: dict[str, str] = {}
        for field, number in (
            ("department", scope.department_id),
            ("customer", scope.customer_id),
            ("router", scope.api_key_id),
            ("backend", scope.backend_id),
        ):
            if number is not None:
                labels[field] = self._map(field).get(number, f"#{number}")
        for field in ("project", "provider", "model", "kind"):
            value = getattr(scope, field)
            if value is not None:
                labels[field] = value
        return labels

    def _map(self, field: str) -> dict[int, str]:
        if field not in self._maps:
            if field == "department":
                self._maps[field] = {d.id: d.code for d in list_departments()}
            elif field == "customer":
                self._maps[field] = {c.id: c.external_id for c in list_customers()}
            elif field == "router":
                self._maps[field] = {k.id: k.name for k in list_api_keys()}
            else:
                self._maps[field] = {b.id: b.key for b in list_backends()}
        return self._maps[field]


def read_standings(*, now: datetime) -> list[BudgetStanding]:
    """Every running budget of the tenant in scope as it stands, by id; those whose grant has not
    begun or is over stand at its dates."""
    book = read_book()
    names = ScopeNames()
    running = [
        (terms, period)
        for terms in book.budgets.values()
        if (period := terms.calendar.at(now) or terms.calendar.starting(now.date()))
    ]
    ids = [CounterId.of(terms.id, period) for terms, period in running]
    try:
        balances = counters_of(book.tenant_id, now=now).balances(ids)
    except CountersLost:
        forget_counters(book.tenant_id)
        balances = {}
    live = {c: b for c, b in balances.items() if b.is_ready}
    away = [(t.id, p) for (t, p), c in zip(running, ids, strict=True) if c not in live]
    pending = read_pending_charges(list_pending_commits()) if away else []
    spent = read_spent(book, away, pending) if away else {}
    limits = dict(read_limits(book, away, now=now)) if away else {}
    held = _held_in_journal(away) if away else {}
    standings = []
    for (terms, period), counter in zip(running, ids, strict=True):
        balance = live.get(counter)
        standings.append(
            BudgetStanding(
                terms=terms,
                scope=names.of(terms.scope),
                period=period,
                amount=(
                    terms.allowed(period, now)
                    if not terms.rollover
                    # What was inherited is dear to sum up; counters are told often.
                    else from_count(balance.limit if balance else limits[counter], terms.unit)
                ),
                spent=amount_value(balance.spent, terms.unit) if balance else spent[counter],
                held=from_count(balance.held if balance else held.get(counter, 0), terms.unit),
                is_live=balance is not None,
            )
        )
    return standings


def _held_in_journal(periods: Iterable[tuple[int, Period]]) -> dict[CounterId, int]:
    wanted = {CounterId.of(budget_id, period) for budget_id, period in periods}
    held: dict[CounterId, int] = {}
    rows = Hold.objects.filter(state="open").values_list("parts", "left_parts")
    for parts, left_parts in rows:
        for counter, count in read_parts(parts if left_parts is None else left_parts):
            if counter in wanted:
                held[counter] = held.get(counter, 0) + count
    return held
