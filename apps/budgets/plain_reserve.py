"""Setting money aside without a decision: the caller has chosen where the request runs. Part of
services."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from apps.budgets.book import budget_book
from apps.budgets.core.scopes import Attributes
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.holds import Ask, Reservation, reserve
from apps.insights.guard import heed_restrictions
from apps.pricing.core.money import usd_from_units
from apps.pricing.core.rating import RateBook
from apps.pricing.selectors import rate_book_of
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import find_customer_id


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to set aside: an amount, or the worst case of a request on `backend`
    ("openai/gpt-4o"). Whichever it is, what is not named is not counted in budgets about it."""

    request_id: str
    amount_usd: Decimal | None = None
    backend: str | None = None
    input_tokens: int = 0
    max_output_tokens: int = 0
    department: str | None = None
    customer: str | None = None
    project: str | None = None
    hold_seconds: int | None = None


def reserve_plainly(key: KeyIdentity, wanted: Wanted, *, now: datetime) -> Reservation:
    """Set it aside in every budget it is about, at once or in none.

    Raises BudgetRefused, BudgetsUnknown, and InvalidBudgetInput where no worst case is known: an
    unknown price reserves nothing; and Suspended for a key or customer that a finding stopped.
    """
    rates = rate_book_of(key.tenant_id)
    customer_id = None
    if wanted.customer:
        with tenant_scope(key.tenant_id):
            customer_id = find_customer_id(wanted.customer)
    heed_restrictions(key.tenant_id, api_key_id=key.api_key_id, customer_id=customer_id)
    ask = _ask(key, wanted, rates, customer_id, now=now)
    return reserve(
        key.tenant_id,
        request_id=wanted.request_id,
        asks=[ask],
        now=now,
        hold_seconds=wanted.hold_seconds,
    )


def _ask(
    key: KeyIdentity, wanted: Wanted, rates: RateBook, customer_id: int | None, *, now: datetime
) -> Ask:
    budgets = budget_book(key.tenant_id)
    known = budgets.backends_by_key.get(wanted.backend or "")
    resolved = None
    if known is not None:
        resolved = rates.resolve(known.provider, known.model)
    elif wanted.backend:
        resolved = rates.resolve_anywhere(wanted.backend)
    estimate_usd = wanted.amount_usd
    if estimate_usd is None:
        units = -1
        if resolved is not None and resolved.card is not None:
            units = resolved.card.cost_units(
                wanted.input_tokens, 0, 0, 0, wanted.max_output_tokens, 0, now.timestamp()
            )
        if units < 0:
            raise InvalidBudgetInput(
                f"nobody prices {wanted.backend}: what has no price is not reserved."
                " Add a rate for it, or reserve an amount",
                field="backend",
            )
        estimate_usd = usd_from_units(units)
    about = Attributes(
        department_id=budgets.departments.get((wanted.department or "").lower()),
        customer_id=customer_id,
        project=wanted.project,
        api_key_id=key.api_key_id,
        provider=resolved.provider if resolved else None,
        model=resolved.model if resolved else None,
        backend_id=known.id if known else None,
        kind=known.kind if known else resolved.kind if resolved else None,
    )
    tokens = wanted.input_tokens + wanted.max_output_tokens
    return Ask(wanted.backend or "", about, estimate_usd, tokens)
