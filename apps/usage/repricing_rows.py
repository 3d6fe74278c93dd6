"""The tables of repricing runs and closed books, read and written. Part of repricing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import get_tenant
from apps.usage.core.repricing import (
    RepricingRefusedError,
    RepricingScope,
    Run,
    Status,
    noun_of,
)

# Namespaces the advisory lock under which runs start, progress and end, one at a time a tenant.
REPRICE_LOCK: Final = 0x0C058
MAX_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class RepricingInfo:
    """One repricing. What was asked for stands first, then how far it got.

    `preview` is the dry run's answer (core.repricing.preview_as_json); None for an undo, which
    changes what the run `undo_of` changed. `move` is that of a run that re-attributes charges
    (core.reattribution.scope_as_json); None for one that prices them. Costs are exact USD.
    """

    id: int
    starts_at: datetime
    ends_at: datetime
    provider: str | None
    model: str | None
    backend: str | None
    backend_id: int | None
    customer: str | None
    customer_id: int | None
    only_unpriced: bool
    reason: str
    actor: str
    created_at: datetime
    rate_revision: int
    through_id: int
    after_position: int
    preview: dict[str, Any] | None
    undo_of: int | None
    move: dict[str, Any] | None
    status: Status
    position: int | None
    cursor_id: int
    examined_charges: int
    changed_charges: int
    cost_change_usd: Decimal
    unpriced_change: int
    started_at: datetime | None
    progressed_at: datetime | None
    finished_at: datetime | None
    error: str | None

    @property
    def noun(self) -> str:
        return noun_of(moves=self.move is not None)


_NAMES: Final = [field.name for field in fields(RepricingInfo)]
_COLUMNS: Final = ", ".join(_NAMES)
_JSON: Final = {_NAMES.index("preview"), _NAMES.index("move")}


def get_repricing(repricing_id: int) -> RepricingInfo:
    """One of the tenant in scope's. Raises RepricingRefusedError when there is none."""
    found = _select("AND id = %s", [repricing_id])
    if not found:
        raise RepricingRefusedError(f"there is no repricing {repricing_id}", field="repricing_id")
    return found[0]


def list_repricings(
    *, before_id: int | None = None, limit: int = MAX_LISTED, moves: bool = False
) -> list[RepricingInfo]:
    """The tenant in scope's, newest first, at most MAX_LISTED. Continue before the last id.

    With `moves` the runs that re-attribute, else those that reprice.
    """
    return _select(
        "AND (move IS NOT NULL) = %s AND (%s::bigint IS NULL OR id < %s) ORDER BY id DESC LIMIT %s",
        [moves, before_id, before_id, min(limit, MAX_LISTED)],
    )


def find_running() -> RepricingInfo | None:
    found = _select("AND status = 'running'", [])
    return found[0] if found else None


def list_tenants_with_running_repricing() -> list[int]:
    """Tenants with a run to go on with. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_running_repricing()")
        return [row[0] for row in cursor.fetchall()]


def list_started_runs(*, moves: bool) -> list[tuple[Run, Status]]:
    """All runs that ever started, in their order: those that re-attribute, or that reprice.

    Each kind is undone in its own order: what one does stands whatever the other does after it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, undo_of, status FROM usage_repricing WHERE tenant_id = %s"
            " AND position IS NOT NULL AND (move IS NOT NULL) = %s ORDER BY position",
            [current_tenant_id(), moves],
        )
        return [(Run(run_id, undo_of), status) for run_id, undo_of, status in cursor.fetchall()]


def read_last_position() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(max(position), 0) FROM usage_repricing WHERE tenant_id = %s",
            [current_tenant_id()],
        )
        return int(cursor.fetchone()[0])


def insert_repricing(
    scope: RepricingScope,
    *,
    backend_id: int | None,
    customer_id: int | None,
    reason: str,
    actor: str,
    rate_revision: int,
    through_id: int,
    after_position: int,
    preview: Mapping[str, Any] | None,
    undo_of: int | None,
    move: Mapping[str, Any] | None = None,
    now: datetime,
) -> int:
    """Write a draft and return its id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_repricing (tenant_id, starts_at, ends_at, provider, model, backend,"
            " backend_id, customer, customer_id, only_unpriced, reason, actor, created_at,"
            " rate_revision, through_id, after_position, preview, undo_of, move)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
            " RETURNING id",
            [
                current_tenant_id(),
                scope.starts_at,
                scope.ends_at,
                scope.provider,
                scope.model,
                scope.backend,
                backend_id,
                scope.customer,
                customer_id,
                scope.only_unpriced,
                reason,
                actor,
                now,
                rate_revision,
                through_id,
                after_position,
                None if preview is None else json.dumps(preview),
                undo_of,
                None if move is None else json.dumps(move),
            ],
        )
        return int(cursor.fetchone()[0])


def set_running(repricing_id: int, *, now: datetime) -> None:
    """Start a draft as the newest run, or let a failed run go on in its place."""
    _update(
        "status = 'running', finished_at = NULL, error = NULL, started_at = coalesce(started_at,"
        " %(now)s), position = coalesce(position, 1 + (SELECT coalesce(max(position), 0)"
        " FROM usage_repricing WHERE tenant_id = %(tenant_id)s))",
        repricing_id,
        now=now,
    )


def set_finished(repricing_id: int, status: Status, *, now: datetime, error: str | None) -> None:
    _update(
        "status = %(status)s, finished_at = %(now)s, error = %(error)s",
        repricing_id,
        status=status,
        error=error,
        now=now,
    )


def set_status(repricing_id: int, status: Status) -> None:
    """Say whether a finished run's effect is in force."""
    _update("status = %(status)s", repricing_id, status=status)


def add_progress(
    repricing_id: int,
    *,
    cursor_id: int,
    examined_charges: int,
    changed_charges: int,
    cost_change_usd: Decimal,
    unpriced_change: int,
    now: datetime,
) -> None:
    _update(
        "cursor_id = %(cursor_id)s, examined_charges = examined_charges + %(examined_charges)s,"
        " changed_charges = changed_charges + %(changed_charges)s,"
        " cost_change_usd = cost_change_usd + %(cost_change_usd)s,"
        " unpriced_change = unpriced_change + %(unpriced_change)s, progressed_at = %(now)s",
        repricing_id,
        cursor_id=cursor_id,
        examined_charges=examined_charges,
        changed_charges=changed_charges,
        cost_change_usd=cost_change_usd,
        unpriced_change=unpriced_change,
        now=now,
    )


def lock_repricings() -> None:
    """Wait for whoever moves this tenant's runs; held until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [REPRICE_LOCK, current_tenant_id()])


def try_lock_repricings() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(%s, %s)", [REPRICE_LOCK, current_tenant_id()]
        )
        return bool(cursor.fetchone()[0])


def read_closed_through() -> date | None:
    """The last day of the last month whose books are closed; None while none are."""
    return get_tenant().books_closed_through


def _select(condition: str, values: list[Any]) -> list[RepricingInfo]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM usage_repricing WHERE tenant_id = %s {condition}",
            [current_tenant_id(), *values],
        )
        # Django leaves jsonb as text.
        return [
            RepricingInfo(*(json.loads(v) if n in _JSON and v else v for n, v in enumerate(row)))
            for row in cursor.fetchall()
        ]


def _update(assignments: str, repricing_id: int, **values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE usage_repricing SET {assignments}"
            " WHERE tenant_id = %(tenant_id)s AND id = %(id)s",
            {"tenant_id": current_tenant_id(), "id": repricing_id, **values},
        )
