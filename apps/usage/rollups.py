"""Folding new ledger rows into rollups, exactly once. Part of services.

The queue of commits (usage_commit) is written in the ledger's own transaction and emptied in the
rollups' own: a row is in the rollups or in the queue, never in both and never in neither.
"""

from datetime import datetime, timedelta

from django.db import connection

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.fold_sql import FOLD
from apps.usage.watching import before_fold

MINUTES_KEPT = timedelta(hours=48)
ROWS_PER_FOLD = 50_000
# Namespaces the advisory lock: one fold at a time a tenant, so that two never deadlock.
FOLD_LOCK = 0x0C057

CLAIM = """
SELECT id FROM (
    SELECT id, sum(rows) OVER (ORDER BY id) - rows AS rows_before
    FROM usage_commit WHERE tenant_id = %(tenant_id)s ORDER BY id LIMIT 5000
) AS queue WHERE rows_before < %(rows_per_fold)s
"""


class LostRowsError(RuntimeError):
    """A commit promised more rows than the ledger shows; the fold is undone."""


def fold_pending(tenant_id: int, *, now: datetime, most_rows: int = ROWS_PER_FOLD) -> int:
    """Fold one portion of the tenant's pending commits; returns the rows folded.

    A portion ends with the commit that brings it to `most_rows`.

    0 when nothing is pending, or another process is at it.
    """
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [FOLD_LOCK, tenant_id])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(CLAIM, {"tenant_id": tenant_id, "rows_per_fold": most_rows})
        commits = [row[0] for row in cursor.fetchall()]
        if not commits:
            return 0
        before_fold(tenant_id, commits)
        cursor.execute(
            FOLD,
            {
                "tenant_id": tenant_id,
                "commits": commits,
                "time_zone": get_tenant().time_zone,
                "minutes_since": now - MINUTES_KEPT,
            },
        )
        promised, folded = cursor.fetchone()
        if promised != folded:
            raise LostRowsError(
                f"tenant {tenant_id}: commits {commits[0]}..{commits[-1]} promise {promised} rows,"
                f" the ledger shows {folded}"
            )
        return int(folded)


def hold_folds(tenant_id: int) -> None:
    """Until the transaction ends, what is in the queue of commits stays there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [FOLD_LOCK, tenant_id])


def forget_old_minutes(tenant_id: int, *, now: datetime) -> int:
    """Drop the minute rollups that live pages no longer show; returns the rows dropped."""
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM usage_rollup_minute WHERE tenant_id = %s AND bucket < %s",
            [tenant_id, now - MINUTES_KEPT],
        )
        return int(cursor.rowcount)
