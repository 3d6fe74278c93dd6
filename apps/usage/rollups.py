"""Folding new ledger rows into rollups, exactly once; comparing and repairing. Part of services.

The queue of commits (usage_commit) is written in the ledger's own transaction and emptied in the
rollups' own: a row is in the rollups or in the queue, never in both and never in neither.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.measures import COLUMNS, SUMS, SUMS_FROM_LEDGER, add_to
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


def _into(table: str, bucket: str, where: str = "") -> str:
    """Add `fresh` to a rollup, by this expression of its minute."""
    return f"""
    INSERT INTO {table} (tenant_id, bucket, slice_id, {COLUMNS})
    SELECT %(tenant_id)s, {bucket}, slice_id, {SUMS} FROM fresh {where}
    GROUP BY 2, 3 ORDER BY 2, 3 {add_to(table)}"""


QUARTER_OF_MINUTE = "date_bin('15 minutes', minute, 'epoch')"
DAY_OF_MINUTE = "(minute AT TIME ZONE %(time_zone)s)::date"

FOLD = f"""
WITH claimed AS (
    DELETE FROM usage_commit WHERE tenant_id = %(tenant_id)s AND id = ANY(%(commits)s)
    RETURNING tenant_id, id, rows, first_occurred_at, last_occurred_at
), fresh AS MATERIALIZED (
    SELECT date_trunc('minute', l.occurred_at) AS minute, l.slice_id, count(*) AS rows,
        {SUMS_FROM_LEDGER}
    FROM claimed AS c CROSS JOIN LATERAL (
        SELECT * FROM usage_ledger
        WHERE tenant_id = %(tenant_id)s AND id BETWEEN c.id << 16 AND (c.id << 16) | 65535
            AND occurred_at BETWEEN c.first_occurred_at AND c.last_occurred_at
        -- Keeps it one index range a commit: free to choose, PostgreSQL guesses a range to be a
        -- part of the table, and from some ten commits on reads all of the ledger instead.
        OFFSET 0
    ) AS l
    GROUP BY 1, 2
), by_minute AS ({_into("usage_rollup_minute", "minute", "WHERE minute >= %(minutes_since)s")}
), by_quarter_hour AS ({_into("usage_rollup_quarter_hour", QUARTER_OF_MINUTE)}
), by_day AS ({_into("usage_rollup_day", DAY_OF_MINUTE)}
)
SELECT coalesce((SELECT sum(rows) FROM claimed), 0), coalesce(sum(rows), 0) FROM fresh
"""


class LostRowsError(RuntimeError):
    """A commit promised more rows than the ledger shows; the fold is undone."""


def fold_pending(tenant_id: int, *, now: datetime) -> int:
    """Fold one portion of the tenant's pending commits; returns the rows folded.

    0 when nothing is pending, or another process is at it.
    """
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [FOLD_LOCK, tenant_id])
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(CLAIM, {"tenant_id": tenant_id, "rows_per_fold": ROWS_PER_FOLD})
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


@dataclass(frozen=True, slots=True)
class Drift:
    """A bucket whose rollup differs from its ledger rows (None: no such rollup or rows)."""

    table: str
    bucket: str
    slice_id: int
    ledger_requests: int
    rollup_requests: int
    ledger_cost_usd: Decimal
    rollup_cost_usd: Decimal


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One tenant's ledger against its rollups, in one snapshot."""

    tenant_id: int
    ledger_rows: int
    identities: int
    pending_rows: int
    ledger_cost_usd: Decimal
    drifts: list[Drift]

    @property
    def is_clean(self) -> bool:
        return not self.drifts and self.ledger_rows == self.identities


TOTALS = """
SELECT (SELECT count(*) FROM usage_ledger WHERE tenant_id = %(tenant_id)s AND kind = 0),
    (SELECT count(*) FROM usage_identity WHERE tenant_id = %(tenant_id)s),
    (SELECT coalesce(sum(rows), 0) FROM usage_commit WHERE tenant_id = %(tenant_id)s),
    (SELECT coalesce(sum(cost_usd), 0) FROM usage_ledger WHERE tenant_id = %(tenant_id)s)
"""
LEDGER_BUCKETS = """
SELECT {bucket} AS bucket, l.slice_id, {sums}
FROM usage_ledger AS l
WHERE l.tenant_id = %(tenant_id)s AND {where} AND NOT EXISTS (
    SELECT 1 FROM usage_commit AS c WHERE c.tenant_id = l.tenant_id AND c.id = l.id >> 16)
GROUP BY 1, 2
"""
# table -> the bucket of a ledger row's minute, and which rows the table holds
ROLLUPS = {
    "usage_rollup_quarter_hour": ("date_bin('15 minutes', l.occurred_at, 'epoch')", "true"),
    "usage_rollup_day": ("(l.occurred_at AT TIME ZONE %(time_zone)s)::date", "true"),
    "usage_rollup_minute": (
        "date_trunc('minute', l.occurred_at)",
        "l.occurred_at >= %(minutes_since)s",
    ),
}
COMPARED = [c.strip() for c in COLUMNS.split(",")]


def reconcile_usage(tenant_id: int, *, now: datetime, repair: bool = False) -> Reconciliation:
    """Compare every bucket of every rollup with the ledger; with `repair`, rewrite what differs."""
    parameters: dict[str, Any] = {
        "tenant_id": tenant_id,
        # Minutes near the edge may have been dropped, or not, since: compare well inside it.
        "minutes_since": (now - MINUTES_KEPT + timedelta(hours=1)).replace(second=0, microsecond=0),
    }
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [FOLD_LOCK, tenant_id])
        parameters["time_zone"] = get_tenant().time_zone
        cursor.execute(TOTALS, parameters)
        ledger_rows, identities, pending_rows, ledger_cost_usd = cursor.fetchone()
        drifts: list[Drift] = []
        for table in ROLLUPS:
            cursor.execute(_drift_sql(table), parameters)
            found = [Drift(table, *row) for row in cursor.fetchall()]
            if found and repair:
                cursor.execute(_repair_sql(table), parameters)
            drifts += found
    return Reconciliation(
        tenant_id=tenant_id,
        ledger_rows=ledger_rows,
        identities=identities,
        pending_rows=pending_rows,
        ledger_cost_usd=ledger_cost_usd,
        drifts=drifts,
    )


def _ledger_side(table: str) -> str:
    bucket, where = ROLLUPS[table]
    return LEDGER_BUCKETS.format(bucket=bucket, where=where, sums=SUMS_FROM_LEDGER)


def _held_rows(table: str) -> str:
    minutes = table == "usage_rollup_minute"
    return "bucket >= %(minutes_since)s" if minutes else "true"


def _differs(table: str) -> str:
    columns = ", ".join(COMPARED)
    ledger_columns = ", ".join(f"ledger.{c} AS ledger_{c}" for c in COMPARED)
    rollup_columns = ", ".join(f"rollup.{c} AS rollup_{c}" for c in COMPARED)
    unequal = " OR ".join(f"ledger.{c} IS DISTINCT FROM rollup.{c}" for c in COMPARED)
    return f"""
    SELECT bucket, slice_id, {ledger_columns}, {rollup_columns}
    FROM ({_ledger_side(table)}) AS ledger
    FULL JOIN (
        SELECT bucket, slice_id, {columns} FROM {table}
        WHERE tenant_id = %(tenant_id)s AND {_held_rows(table)}
    ) AS rollup USING (bucket, slice_id)
    WHERE {unequal}"""


def _drift_sql(table: str) -> str:
    return f"""
    SELECT bucket::text, slice_id, coalesce(ledger_requests, 0), coalesce(rollup_requests, 0),
        coalesce(ledger_cost_usd, 0), coalesce(rollup_cost_usd, 0)
    FROM ({_differs(table)}) AS differing ORDER BY 1, 2"""


def _repair_sql(table: str) -> str:
    ledger_columns = ", ".join(f"ledger_{c}" for c in COMPARED)
    overwrite = ", ".join(f"{c} = excluded.{c}" for c in COMPARED)
    return f"""
    WITH differing AS MATERIALIZED ({_differs(table)}), gone AS (
        DELETE FROM {table} AS r USING differing AS d
        WHERE r.tenant_id = %(tenant_id)s AND r.bucket = d.bucket AND r.slice_id = d.slice_id
            AND d.ledger_requests IS NULL
    )
    INSERT INTO {table} (tenant_id, bucket, slice_id, {COLUMNS})
    SELECT %(tenant_id)s, bucket, slice_id, {ledger_columns} FROM differing
    WHERE ledger_requests IS NOT NULL
    ON CONFLICT (tenant_id, bucket, slice_id) DO UPDATE SET {overwrite}"""
