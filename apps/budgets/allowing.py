"""What a budget allows, when: dated amounts, plans and withdrawing them, top-ups. Part of
services."""

from datetime import datetime
from decimal import Decimal

from apps.budgets.changing import check_amount, locked, record
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.models import BudgetAmount, BudgetTopUp
from apps.pricing.core.money import plain_decimal


def change_amount(
    budget_id: int,
    amount: Decimal,
    *,
    actor: str,
    reason: str,
    now: datetime,
    effective_from: datetime | None = None,
) -> bool:
    """What the budget allows from now on, in the running period too, or from a moment to come; what
    was spent stays so. A plan is undone by withdraw_amount. False when it is so already."""
    budget = locked(budget_id)
    check_amount(amount, budget.unit)
    starts_at = effective_from or now
    if starts_at < now:
        raise InvalidBudgetInput(
            f"{starts_at.isoformat()} is over: an amount changes now, or at a moment to come",
            field="effective_from",
        )
    rows = BudgetAmount.objects.filter(budget=budget, effective_from__lte=starts_at)
    newest = {row.effective_from: row for row in rows.order_by("effective_from", "id")}
    standing = [row for row in newest.values() if row.amount is not None]
    was = standing[-1].amount if standing else None
    if was == amount:
        return False
    if was is not None and standing[-1].effective_from == starts_at:
        raise InvalidBudgetInput(
            f"{plain_decimal(was)} is set from {starts_at.isoformat()} already, and dated"
            " amounts stay: withdraw it first while it is planned, or give a later moment",
            field="effective_from",
        )
    BudgetAmount.objects.create(
        budget=budget,
        amount=amount,
        effective_from=starts_at,
        replaces=newest.get(starts_at),
        recorded_at=now,
        actor=actor,
        reason=reason,
    )
    after = {"amount": plain_decimal(amount), "reason": reason}
    if effective_from is not None:
        after["effective_from"] = effective_from.isoformat()
    record(
        budget,
        "budget.amount_changed",
        actor=actor,
        now=now,
        before=None if was is None else {"amount": plain_decimal(was)},
        after=after,
    )
    return True


def withdraw_amount(
    budget_id: int, amount_id: int, *, actor: str, reason: str, now: datetime
) -> None:
    """Take back an amount that is planned, before it begins: the one before it goes on."""
    budget = locked(budget_id)
    row = BudgetAmount.objects.filter(budget=budget, pk=amount_id).first()
    if row is None or row.amount is None:
        raise InvalidBudgetInput(f"this budget has no amount {amount_id}", field="amount_id")
    if row.effective_from <= now:
        raise InvalidBudgetInput(
            f"{plain_decimal(row.amount)} holds since {row.effective_from.isoformat()}: what has"
            " begun is changed, not withdrawn",
            field="amount_id",
        )
    if BudgetAmount.objects.filter(replaces=row).exists():
        raise InvalidBudgetInput("it was withdrawn already", field="amount_id")
    BudgetAmount.objects.create(
        budget=budget,
        amount=None,
        effective_from=row.effective_from,
        replaces=row,
        recorded_at=now,
        actor=actor,
        reason=reason.strip(),
    )
    before = {
        "amount": plain_decimal(row.amount),
        "effective_from": row.effective_from.isoformat(),
    }
    after = {"reason": reason.strip()}
    record(budget, "budget.plan_withdrawn", actor=actor, now=now, before=before, after=after)


def add_top_up(
    budget_id: int,
    amount: Decimal,
    *,
    starts_at: datetime,
    ends_at: datetime,
    actor: str,
    reason: str,
    now: datetime,
) -> int:
    """Allow more for a while; returns the top-up's id."""
    budget = locked(budget_id)
    if amount <= 0:
        raise InvalidBudgetInput(f"a top-up adds; {amount} does not", field="amount")
    check_amount(amount, budget.unit)
    if not reason.strip():
        raise InvalidBudgetInput("say why: it is shown beside the budget", field="reason")
    if ends_at <= max(starts_at, now):
        raise InvalidBudgetInput(
            f"it ends at {ends_at.isoformat()}, which is not later than it starts, or over",
            field="ends_at",
        )
    top_up = BudgetTopUp.objects.create(
        budget=budget,
        amount=amount,
        starts_at=starts_at,
        ends_at=ends_at,
        recorded_at=now,
        actor=actor,
        reason=reason.strip(),
    )
    after = {
        "amount": plain_decimal(amount),
        "starts_at": starts_at.isoformat(),
        "ends_at": ends_at.isoformat(),
        "reason": reason.strip(),
    }
    record(budget, "budget.topped_up", actor=actor, now=now, after=after)
    return top_up.pk
