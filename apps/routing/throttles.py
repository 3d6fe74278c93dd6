"""Budgets that throttle and are used up, as routers are told of them. Part of selectors."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from apps.budgets.book import BackendTerms, read_book
from apps.budgets.selectors import BudgetStanding, read_standings
from apps.routing.core.policy import PolicyBackend, Throttle
from apps.tenants.selectors import DepartmentInfo, list_departments

CHOSEN_BY_ROUTE = ("provider", "model", "backend", "kind")


def is_used_up(standing: BudgetStanding, now: datetime) -> bool:
    """Whether its running period throttles."""
    return (
        standing.terms.on_limit == "throttle"
        and standing.left <= 0
        and standing.period.contains(now)
    )


def read_used_up(now: datetime) -> frozenset[int]:
    """Ids of the tenant in scope's budgets that throttle just now."""
    book = read_book()
    if not any(terms.on_limit == "throttle" for terms in book.budgets.values()):
        return frozenset()
    return frozenset(s.terms.id for s in read_standings(now=now) if is_used_up(s, now))


def throttles_of(
    used_up: Sequence[BudgetStanding], backends: Sequence[PolicyBackend]
) -> list[Throttle]:
    """For routers that choose among these backends; what covers none of them is nothing to them."""
    if not used_up:
        return []
    departments = list_departments()
    known = read_book().backends_by_key
    found = []
    for standing in used_up:
        scope = standing.scope
        places: tuple[int, ...] = ()
        if any(field in scope for field in CHOSEN_BY_ROUTE):
            places = tuple(
                n for n, one in enumerate(backends) if _covers(standing, known.get(one.name))
            )
            if not places:
                continue
        throttle = Throttle(
            budget=standing.terms.name,
            departments=_family(scope.get("department"), departments),
            customer=scope.get("customer", ""),
            project=scope.get("project", ""),
            router=scope.get("router", ""),
            backends=places,
        )
        found.append(throttle)
    return found


def _covers(standing: BudgetStanding, backend: BackendTerms | None) -> bool:
    if backend is None:
        return False
    scope = standing.terms.scope
    return (
        scope.provider in (None, backend.provider)
        and scope.model in (None, backend.model)
        and scope.backend_id in (None, backend.id)
        and scope.kind in (None, backend.kind)
    )


def _family(code: str | None, departments: Iterable[DepartmentInfo]) -> tuple[str, ...]:
    """The department's code and those of all below it; none for none."""
    if code is None:
        return ()
    rows = list(departments)
    family = {row.id: row.code for row in rows if row.code == code}
    # Children may stand before their parents in the list.
    for _ in rows:
        below = {r.id: r.code for r in rows if r.parent_id in family and r.id not in family}
        if not below:
            break
        family |= below
    return tuple(family.values())
