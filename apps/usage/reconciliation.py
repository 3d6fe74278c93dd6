"""Proving that rollups hold what the ledger holds, and mending them. Part of services.

Rollups by slices are compared with the ledger, the others with the rollup that they are sums of.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.core.cover import Grain
from apps.usage.facets import KEPT, facet_column, rollup_table
from apps.usage.fold_sql import MONTH
from apps.usage.measures import COLUMNS, SUMS, SUMS_FROM_LEDGER
from apps.usage.rollups import MINUTES_KEPT, hold_folds


@dataclass(frozen=True, slots=True)
class Drift:
    """A bucket whose rollup differs from its ledger rows, or from the rollup it is summed from."""

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
    (SELECT count(DISTINCT identity) FROM usage_identity WHERE tenant_id = %(tenant_id)s),
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
# By slices: the bucket of a ledger row, and which rows the table holds.
_OF_LEDGER: Final = {
    rollup_table("quarter_hour"): ("date_bin('15 minutes', l.occurred_at, 'epoch')", "true"),
    rollup_table("day"): ("(l.occurred_at AT TIME ZONE %(time_zone)s)::date", "true"),
    rollup_table("minute"): (
        "date_trunc('minute', l.occurred_at)",
        "l.occurred_at >= %(minutes_since)s",
    ),
}
# Every other rollup is a sum of one by slices, which comes before it here.
_SOURCES: Final[dict[Grain, tuple[Grain, str]]] = {
    "quarter_hour": ("quarter_hour", "bucket"),
    "day": ("day", "bucket"),
    "month": ("day", MONTH),
}
_OF_ROLLUP: Final[dict[str, tuple[str, str, str | None]]] = {
    rollup_table("month"): (rollup_table("day"), MONTH, None),
    **{
        rollup_table(grain, facet): (rollup_table(source), bucket, facet)
        for grain, (source, bucket) in _SOURCES.items()
        for facet in KEPT[grain]
    },
}
ROLLUPS: Final = (*_OF_LEDGER, *_OF_ROLLUP)
COMPARED = [c.strip() for c in COLUMNS.split(",")]


def reconcile_usage(tenant_id: int, *, now: datetime, repair: bool = False) -> Reconciliation:
    """Compare every bucket of every rollup with the ledger; with `repair`, rewrite what differs."""
    parameters: dict[str, Any] = {
        "tenant_id": tenant_id,
        # Minutes near the edge may have been dropped, or not, since: compare well inside it.
        "minutes_since": (now - MINUTES_KEPT + timedelta(hours=1)).replace(second=0, microsecond=0),
    }
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        hold_folds(tenant_id)
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
    """What the table should hold."""
    if table in _OF_LEDGER:
        bucket, where = _OF_LEDGER[table]
        return LEDGER_BUCKETS.format(bucket=bucket, where=where, sums=SUMS_FROM_LEDGER)
    source, bucket, facet = _OF_ROLLUP[table]
    join, by = "", "r.slice_id"
    if facet is not None:
        join = " JOIN usage_slice AS s ON s.tenant_id = r.tenant_id AND s.id = r.slice_id"
        by = f"s.{facet_column(facet)}"
    return (
        f"SELECT {bucket} AS bucket, {by} AS slice_id, {SUMS} FROM {source} AS r{join}"
        " WHERE r.tenant_id = %(tenant_id)s GROUP BY 1, 2"
    )


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
