"""Where the next request goes: the cheapest candidate that fits every cap. Part of services."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from apps.budgets.core.scopes import Attributes
from apps.budgets.holds import Ask, Reservation, new_decision_id, reserve
from apps.budgets.selectors import budget_book
from apps.insights.guard import Restricted, heed_restrictions
from apps.pricing.core.money import usd_from_units
from apps.pricing.core.rating import ResolvedBackend
from apps.pricing.selectors import current_rate_book, remembered_rate_book
from apps.routing.errors import NoCandidate
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import find_customer_id

MAX_REASONS: Final = 10
MAX_CUSTOMERS: Final = 100_000


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """What a router wants to run. `max_output_tokens` bounds the worst case."""

    request_id: str
    input_tokens: int
    max_output_tokens: int
    department: str | None = None
    customer: str | None = None
    project: str | None = None
    candidates: tuple[str, ...] = ()
    reserve: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend the request could run on, at what it would cost at worst."""

    backend: str
    kind: str
    estimate_usd: Decimal


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and why."""

    decision_id: str
    backend: str
    estimate_usd: Decimal
    held_usd: Decimal
    expires_at: datetime | None
    reasons: Sequence[str]
    alternatives: Sequence[Candidate]


def decide(key: KeyIdentity, wanted: DecisionRequest, *, now: datetime) -> Decision:
    """Choose the cheapest candidate that fits every cap; with `reserve`, set its worst case aside.

    Raises NoCandidate when none is known or priced, BudgetRefused when none fits, BudgetsUnknown,
    Suspended for a key or customer that a finding stopped. One that it slowed runs on the cheapest
    candidate or not at all.
    """
    restricted = heed_restrictions(
        key.tenant_id,
        api_key_id=key.api_key_id,
        customer_id=_customer_id(key.tenant_id, wanted.customer),
    )
    asks, unpriced = _asks(key, wanted, now=now)
    if not asks:
        raise NoCandidate(wanted.candidates, unpriced)
    asks.sort(key=lambda ask: (ask.estimate_usd, ask.backend))
    if restricted is not None:
        asks = asks[:1]
    candidates = [
        Candidate(ask.backend, ask.attributes.kind or "cloud", ask.estimate_usd) for ask in asks
    ]
    if not wanted.reserve:
        return Decision(
            decision_id=str(new_decision_id(now)),
            backend=candidates[0].backend,
            estimate_usd=candidates[0].estimate_usd,
            held_usd=Decimal(0),
            expires_at=None,
            reasons=[
                "the cheapest candidate; nothing was reserved, so no cap was asked",
                *_slowed(restricted),
            ],
            alternatives=candidates[1:],
        )
    reservation = reserve(key.tenant_id, request_id=wanted.request_id, asks=asks, now=now)
    return Decision(
        decision_id=reservation.decision_id,
        backend=reservation.backend,
        estimate_usd=reservation.estimate_usd,
        held_usd=reservation.estimate_usd if reservation.is_held else Decimal(0),
        expires_at=reservation.expires_at if reservation.is_held else None,
        reasons=[*_reasons(reservation, unpriced), *_slowed(restricted)],
        alternatives=[c for c in candidates if c.backend != reservation.backend],
    )


def _asks(
    key: KeyIdentity, wanted: DecisionRequest, *, now: datetime
) -> tuple[list[Ask], list[str]]:
    """What the request would cost at worst on each candidate; and those that nobody prices."""
    book = remembered_rate_book(key.tenant_id)
    if book is None:
        with tenant_scope(key.tenant_id):
            book = current_rate_book()
    budgets = budget_book(key.tenant_id)
    department_id = budgets.departments.get((wanted.department or "").lower())
    customer_id = _customer_id(key.tenant_id, wanted.customer)
    asks: list[Ask] = []
    unpriced: list[str] = []
    for name in wanted.candidates or budgets.backends_by_key:
        backend = budgets.backends_by_key.get(name)
        resolved = (
            book.resolve(backend.provider, backend.model)
            if backend
            else book.resolve_anywhere(name)
        )
        units = _worst_case_units(resolved, wanted, now)
        if resolved is None or units < 0:
            unpriced.append(name)
            continue
        about = Attributes(
            department_id=department_id,
            customer_id=customer_id,
            project=wanted.project,
            api_key_id=key.api_key_id,
            provider=resolved.provider,
            model=resolved.model,
            backend_id=backend.id if backend else None,
            kind=backend.kind if backend else resolved.kind,
        )
        tokens = wanted.input_tokens + wanted.max_output_tokens
        asks.append(Ask(name, about, usd_from_units(units), tokens))
    return asks, unpriced


def _worst_case_units(
    resolved: ResolvedBackend | None, wanted: DecisionRequest, now: datetime
) -> int:
    """In 1e-24 USD: all input uncached, and all the output that is allowed. -1: no price known."""
    if resolved is None or resolved.card is None:
        return -1
    return resolved.card.cost_units(
        wanted.input_tokens, 0, 0, 0, wanted.max_output_tokens, 0, now.timestamp()
    )


# Ids never change, and a customer that is not known yet is asked for again.
_customers: dict[tuple[int, str], int] = {}


def _customer_id(tenant_id: int, external_id: str | None) -> int | None:
    if not external_id:
        return None
    known = _customers.get((tenant_id, external_id))
    if known is None:
        with tenant_scope(tenant_id):
            known = find_customer_id(external_id)
        if known is not None:
            if len(_customers) >= MAX_CUSTOMERS:
                _customers.clear()
            _customers[tenant_id, external_id] = known
    return known


def _reasons(reservation: Reservation, unpriced: Sequence[str]) -> list[str]:
    if reservation.is_repeat:
        reasons = ["the same request id was decided before; this is its answer again"]
    elif not reservation.is_held:
        reasons = ["budgets are being rebuilt; local backends run meanwhile, nothing is reserved"]
    else:
        count = len(reservation.budgets)
        reasons = [f"the cheapest candidate that fits; reserved in {count} budgets"]
    reasons += [f"{name} left out: nobody prices it" for name in unpriced[:MAX_REASONS]]
    return reasons


def _slowed(restricted: Restricted | None) -> list[str]:
    return [f"{restricted.reason}; meanwhile only the cheapest runs"] if restricted else []
