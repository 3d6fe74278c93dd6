"""Reservations and budgets, shortly."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from apps.budgets.book import BudgetTerms, budget_book
from apps.budgets.core.scopes import Attributes
from apps.budgets.counter_types import Balance, CounterId
from apps.budgets.holds import Ask, Reservation, reserve
from apps.budgets.rebuild import counters_of, prepare_counters
from apps.budgets.services import BudgetTermsInput, create_budget
from apps.budgets.spent import amount_value
from apps.tenants.scoping import tenant_scope


def make_budget(
    tenant_id: int, amount: str, *, scope: dict[str, str] | None = None, **fields: Any
) -> int:
    """A monthly cap in USD unless told otherwise."""
    wanted: dict[str, Any] = {"period": "month", "unit": "usd", "on_limit": "refuse"} | fields
    now = datetime.now(UTC)
    with tenant_scope(tenant_id):
        budget_id = create_budget(
            BudgetTermsInput(scope=scope or {}, amount=Decimal(amount), **wanted),
            actor="test",
            now=now,
        )
    prepare_counters(tenant_id, now=now)
    return budget_id


def hold(
    tenant_id: int,
    usd: str,
    *,
    request_id: str = "",
    now: datetime | None = None,
    seconds: int | None = None,
    tokens: int = 1000,
    **attributes: Any,
) -> Reservation:
    """Ask for this much on one cloud backend."""
    about = Attributes(**({"kind": "cloud"} | attributes))
    return reserve(
        tenant_id,
        request_id=request_id or uuid.uuid4().hex,
        asks=[Ask("openai/gpt-4o-mini", about, Decimal(usd), tokens)],
        now=now or datetime.now(UTC),
        hold_seconds=seconds,
    )


def terms_of(tenant_id: int, budget_id: int) -> BudgetTerms:
    return budget_book(tenant_id).budgets[budget_id]


def balance(tenant_id: int, budget_id: int, at: datetime | None = None) -> Balance:
    """The running period's counter."""
    now = at or datetime.now(UTC)
    period = terms_of(tenant_id, budget_id).calendar.at(now)
    assert period is not None
    counter = CounterId.of(budget_id, period)
    return counters_of(tenant_id, now=datetime.now(UTC)).balances([counter])[counter]


def standing(tenant_id: int, budget_id: int) -> tuple[Decimal, Decimal]:
    """(spent, held) in USD."""
    found = balance(tenant_id, budget_id)
    assert found.left == found.limit - found.held - found.spent.number - (found.spent.frac > 0)
    return amount_value(found.spent, "usd"), Decimal(found.held).scaleb(-9)


SOON = timedelta(seconds=30)
