"""Why nothing could be set aside, as the API answers it."""

from apps.budgets.core.amounts import from_count
from apps.budgets.errors import BudgetRefused, CapBroken, LeaseRefused
from apps.budgets.leases import FLOOR_PERCENT, SHARE_PERCENT
from apps.budgets.selectors import ScopeNames
from apps.insights.guard import Suspended
from apps.pricing.core.money import plain_decimal
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope


def refused_problem(tenant_id: int, error: BudgetRefused) -> Problem:
    """402 with every cap that would break and its numbers; the first of them in the sentence."""
    with tenant_scope(tenant_id):
        names = ScopeNames()
        caps = [_cap(broken, names.of(broken.terms.scope)) for broken in error.broken]
    first = caps[0]
    detail = (
        f"{first['backend'] or 'it'} would take {first['asked']} of {first['left']}"
        f" {first['unit']} left of {first['name']} ({first['limit']} per {first['period']},"
        f" {first['spent']} spent, {first['held']} held); no other candidate fits its caps"
    )
    return Problem(402, "budget_exceeded", detail, caps=caps)


def lease_refused_problem(tenant_id: int, error: LeaseRefused) -> Problem:
    """402 with the caps of which too little is left for a lease."""
    with tenant_scope(tenant_id):
        names = ScopeNames()
        caps = [_cap(broken, names.of(broken.terms.scope)) for broken in error.caps]
    first = caps[0]
    detail = (
        f"{first['left']} of {first['limit']} {first['unit']} are left of {first['name']}: under"
        f" {FLOOR_PERCENT}% of it, or this router has its share of"
        f" {SHARE_PERCENT}% of what is left; reserve each request by itself"
    )
    return Problem(402, "lease_refused", detail, caps=caps)


def unknown_problem() -> Problem:
    """503: caps fail closed while their counters are being rebuilt."""
    return Problem(
        503,
        "budgets_unknown",
        "what is left of the budgets is not known just now, and nothing runs unseen; try again",
    )


def suspended_problem(error: Suspended) -> Problem:
    """403 while a finding's guard rail holds the key or customer, naming the finding."""
    held = error.restricted
    return Problem(
        403,
        "suspended_by_finding",
        held.reason,
        field="Authorization" if held.dimension == "router" else held.dimension,
        finding_id=held.finding_id,
    )


def _cap(broken: CapBroken, scope: dict[str, str]) -> dict[str, object]:
    def plain(count: int) -> str:
        return plain_decimal(from_count(count, broken.terms.unit))

    return {
        "backend": broken.backend,
        "budget_id": broken.terms.id,
        "name": broken.terms.name,
        "scope": scope,
        "period": broken.terms.calendar.kind,
        "period_start": broken.period.start.isoformat(),
        "period_end": broken.period.end.isoformat(),
        "unit": broken.terms.unit,
        "limit": plain(broken.limit),
        "spent": plain(broken.spent),
        "held": plain(broken.held),
        "left": plain(broken.left),
        "asked": plain(broken.asked),
    }
