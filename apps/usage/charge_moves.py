"""Where a charge was moved, by whom and why. A part of selectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import list_customers, list_departments
from apps.usage.core.attribution import TARGETS, Target

MOVES: Final = """
SELECT given.id, given.received_at, run.id, run.undo_of, run.reason, run.actor,
    f.customer_id, f.department_id, f.project, f.environment, f.task,
    t.customer_id, t.department_id, t.project, t.environment, t.task
FROM usage_ledger AS given
JOIN usage_ledger AS taken ON taken.tenant_id = given.tenant_id
    AND taken.corrects_id = given.corrects_id AND taken.occurred_at = given.occurred_at
    AND taken.kind = 2 AND taken.id = given.id - 1
JOIN usage_repricing AS run ON run.tenant_id = given.tenant_id AND run.id = given.repricing_id
JOIN usage_slice AS f ON f.tenant_id = given.tenant_id AND f.id = taken.slice_id
JOIN usage_slice AS t ON t.tenant_id = given.tenant_id AND t.id = given.slice_id
WHERE given.tenant_id = %s AND given.kind = 2 AND given.corrects_id = %s
    AND given.request_change = 1
ORDER BY given.id
"""


@dataclass(frozen=True, slots=True)
class Move:
    """A re-attribution of a charge. `changes`: by target, the name before and after; None is not
    attributed. `undo_of`: the run it takes back."""

    id: int
    received_at: datetime
    run_id: int
    undo_of: int | None
    reason: str
    actor: str
    changes: Mapping[Target, tuple[str | None, str | None]]


def read_moves(charge_id: int) -> list[Move]:
    """The moves of a charge of the tenant in scope, in their order."""
    with connection.cursor() as cursor:
        cursor.execute(MOVES, [current_tenant_id(), charge_id])
        rows = cursor.fetchall()
    if not rows:
        return []
    customers = {c.id: c.external_id for c in list_customers()}
    departments = {d.id: d.code for d in list_departments()}

    def named(place: tuple[Any, ...]) -> tuple[str | None, ...]:
        customer_id, department_id, *others = place
        return (customers.get(customer_id), departments.get(department_id), *others)

    return [
        Move(
            id=row[0],
            received_at=row[1],
            run_id=row[2],
            undo_of=row[3],
            reason=row[4],
            actor=row[5],
            changes={
                target: (before, after)
                for target, before, after in zip(
                    TARGETS, named(row[6:11]), named(row[11:16]), strict=True
                )
                if before != after
            },
        )
        for row in rows
    ]
