"""What every change of a budget does: it locks the budget, is written down, and is told to the
counters when it commits. Part of services."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction

from apps.budgets.book import forget_book
from apps.budgets.core.amounts import MAX_AMOUNT
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.models import Budget
from apps.budgets.rebuild import tell_changed_limits
from apps.tenants.scoping import current_tenant_id
from apps.tenants.services import record_audit


@dataclass(frozen=True, slots=True)
class _Tell:
    """This process sees its own change at once when it commits, and so do the counters."""

    tenant_id: int
    now: datetime

    def __call__(self) -> None:
        forget_book(self.tenant_id)
        tell_changed_limits(self.tenant_id, now=self.now)


def tell_when_committed(now: datetime) -> None:
    """Once a transaction, however much it changes."""
    tell = _Tell(current_tenant_id(), now)
    if not any(hook[1] == tell for hook in connection.run_on_commit):
        transaction.on_commit(tell)


def locked(budget_id: int) -> Budget:
    rows = Budget.objects.select_for_update().filter(pk=budget_id, archived_at__isnull=True)
    budget = rows.first()
    if budget is None:
        raise InvalidBudgetInput(f"there is no running budget {budget_id}", field="budget_id")
    return budget


def record(
    budget: Budget,
    action: str,
    *,
    actor: str,
    now: datetime,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    record_audit(
        actor=actor,
        action=action,
        subject=f"budget:{budget.pk}",
        before=before,
        after=after,
        now=now,
    )
    tell_when_committed(now)


def check_amount(amount: Decimal, unit: str) -> None:
    if not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT[unit]:
        raise InvalidBudgetInput(
            f"{amount} {unit}: an amount is from 0 to {MAX_AMOUNT[unit]}", field="amount"
        )
    decimals = -int(amount.as_tuple().exponent)
    if decimals > (9 if unit == "usd" else 0) and amount != amount.to_integral_value():
        allowed = "9 decimals" if unit == "usd" else "whole numbers"
        raise InvalidBudgetInput(f"{amount} {unit}: {allowed} at most", field="amount")
