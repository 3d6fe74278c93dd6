"""Reading the audit trail of the tenant in scope. A part of selectors."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet

from apps.tenants.models import AuditEntry
from apps.tenants.scoping import tenant_scope

MAX_ROWS: Final = 1_000
COLUMNS: Final = ("id", "at", "actor", "action", "subject", "before", "after")


@dataclass(frozen=True, slots=True)
class AuditRow:
    """Who did what, when, to what; `action` as in "budget.changed", `subject` as in "budget:12"."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Empty and None mean any. `kind` is what stands before the point of an action, or the whole
    of it; from `starts_at`, before `ends_at`."""

    actor: str = ""
    kind: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def read_audit(wanted: AuditFilter, *, limit: int, before_id: int | None = None) -> list[AuditRow]:
    """The newest first; of those before `before_id` where given."""
    rows = _rows(wanted)
    if before_id is not None:
        rows = rows.filter(pk__lt=before_id)
    found = rows.order_by("-id")[: min(limit, MAX_ROWS)]
    return [AuditRow(*row) for row in found.values_list(*COLUMNS)]


def walk_audit(tenant_id: int, wanted: AuditFilter, *, most: int) -> Iterator[list[AuditRow]]:
    """In portions, the newest first, `most` rows at the most. Enters the scope itself: it is read
    while an answer is sent."""
    last: int | None = None
    while most > 0:
        with tenant_scope(tenant_id):
            found = read_audit(wanted, limit=min(most, MAX_ROWS), before_id=last)
        if not found:
            return
        yield found
        last, most = found[-1].id, most - len(found)


def _rows(wanted: AuditFilter) -> QuerySet[AuditEntry]:
    rows = AuditEntry.objects.all()
    if wanted.actor:
        rows = rows.filter(actor__iexact=wanted.actor)
    if "." in wanted.kind:
        rows = rows.filter(action=wanted.kind)
    elif wanted.kind:
        rows = rows.filter(action__startswith=f"{wanted.kind}.")
    if wanted.starts_at is not None:
        rows = rows.filter(at__gte=wanted.starts_at)
    if wanted.ends_at is not None:
        rows = rows.filter(at__lt=wanted.ends_at)
    return rows
