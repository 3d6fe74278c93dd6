"""Contracts of customers: what they pay a month whatever they use. Services and selectors."""

from datetime import date, datetime
from decimal import Decimal
from typing import Final

from apps.tenants.core.contracts import Contract
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.models import Customer, CustomerContract
from apps.tenants.services import record_audit

MOST_USD_PER_MONTH: Final = Decimal(10) ** 12
DECIMALS: Final = 6


def list_contracts() -> list[Contract]:
    """The tenant in scope's contracts, ended ones too, by customer and start."""
    rows = CustomerContract.objects.order_by("customer__external_id", "starts_on").values_list(
        "customer__external_id", "usd_per_month", "starts_on", "ends_on"
    )
    return [Contract(*row) for row in rows]


def set_contract(
    *, customer: str, usd_per_month: Decimal | None, starts_on: date, actor: str, now: datetime
) -> None:
    """From `starts_on` on the customer pays this a month; None or zero: nothing.

    What held that day ends there; what was to begin on it or later is replaced. `customer` is the
    id that usage carries. Raises InvalidTenantInputError.
    """
    amount = _checked(usd_per_month)
    found = Customer.objects.select_for_update().filter(external_id=customer).first()
    if found is None:
        raise InvalidTenantInputError(f"no customer has the id {customer!r}", field="customer")
    before = CustomerContract.objects.filter(customer=found)
    standing = before.filter(starts_on__lte=starts_on).order_by("-starts_on").first()
    before.filter(starts_on__gte=starts_on).delete()
    if standing is not None and standing.starts_on < starts_on:
        still_held = standing.ends_on is None or standing.ends_on > starts_on
        if still_held:
            CustomerContract.objects.filter(pk=standing.pk).update(ends_on=starts_on)
    if amount:
        CustomerContract.objects.create(
            customer=found, usd_per_month=amount, starts_on=starts_on, ends_on=None
        )
    record_audit(
        actor=actor,
        action="customer.contract",
        subject=f"customer:{found.pk}",
        before={"usd_per_month": f"{standing.usd_per_month:f}"} if standing else None,
        after={"usd_per_month": f"{amount:f}", "starts_on": starts_on.isoformat()},
        now=now,
    )


def _checked(usd_per_month: Decimal | None) -> Decimal:
    amount = Decimal(0) if usd_per_month is None else usd_per_month
    if not amount.is_finite() or not 0 <= amount <= MOST_USD_PER_MONTH:
        raise InvalidTenantInputError(
            f"a contract pays 0 to {MOST_USD_PER_MONTH:,} USD a month; got {amount}",
            field="usd_per_month",
        )
    if amount != round(amount, DECIMALS):
        raise InvalidTenantInputError(
            f"a contract has at most {DECIMALS} decimals; got {amount}", field="usd_per_month"
        )
    return amount
