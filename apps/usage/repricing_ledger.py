"""Writing adjustments: each portion is a commit like those of ingest, queued for the rollups in
the transaction that writes it. Part of repricing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.usage.ledger import LEFT_JOIN_MOVED, QUEUE_COMMIT, ROW_BITS
from apps.usage.repricing_charges import PricedCharge

# No volume, so that nothing is counted again; the link to the event is the charge it corrects.
_NO_EVENT: Final = "'repricing', (%(repricing_id)s)::text, 0, 0, 0, 0, 0, 0"
_COLUMNS: Final = """tenant_id, id, occurred_at, received_at, kind, corrects_id, repricing_id,
    unpriced_change, slice_id, source, event_id, uncached_input_tokens, cache_read_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_usd,
    rate_revision"""

WRITE = f"""
WITH written AS (
    INSERT INTO usage_ledger ({_COLUMNS})
    SELECT %(tenant_id)s, %(first_id)s + a.row - 1, a.occurred_at, %(now)s, 1, a.corrects_id,
        %(repricing_id)s, a.unpriced_change, a.slice_id, {_NO_EVENT}, a.cost_units * 1e-24,
        %(rate_revision)s
    FROM unnest(%(corrects_id)s::bigint[], %(occurred_at)s::timestamptz[],
        %(slice_id)s::bigint[], %(cost_units)s::numeric[], %(unpriced_change)s::smallint[])
        WITH ORDINALITY
        AS a (corrects_id, occurred_at, slice_id, cost_units, unpriced_change, row)
    RETURNING occurred_at
){QUEUE_COMMIT}"""

# An undo's cursor is the last id of the undone run's rows. Its rows' count is the portion's.
OPPOSITES = f"""
WITH undone AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY id) - 1 AS row FROM (
        SELECT id, occurred_at, corrects_id, slice_id, cost_usd, unpriced_change
        FROM usage_ledger
        WHERE tenant_id = %(tenant_id)s AND kind = 1 AND repricing_id = %(undo_of)s
            AND id > %(after_id)s
        ORDER BY id LIMIT %(limit)s
    ) AS portion
), placed AS (
    SELECT u.*, coalesce(moved.slice_id, u.slice_id) AS now_slice_id
    FROM undone AS u
    CROSS JOIN LATERAL (
        SELECT %(tenant_id)s::bigint AS tenant_id, u.corrects_id AS id, u.occurred_at
    ) AS l
    {LEFT_JOIN_MOVED}
), written AS (
    INSERT INTO usage_ledger ({_COLUMNS})
    SELECT %(tenant_id)s, %(first_id)s + row, occurred_at, %(now)s, 1, corrects_id,
        %(repricing_id)s, -unpriced_change, now_slice_id, {_NO_EVENT}, -cost_usd,
        %(rate_revision)s
    FROM placed
    RETURNING occurred_at
), queued AS ({QUEUE_COMMIT})
SELECT count(*), max(id), coalesce(-sum(cost_usd), 0), coalesce(-sum(unpriced_change), 0)
FROM undone
"""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a charge's effective cost and unpriced count change by."""

    charge: PricedCharge
    cost_units: int
    unpriced_change: int


@dataclass(frozen=True, slots=True)
class Written:
    """One portion of adjustments. `last_id`: where the next portion goes on from."""

    rows: int
    last_id: int
    cost_change_usd: Decimal
    unpriced_change: int


def write_adjustments(
    adjustments: Sequence[Adjustment], *, repricing_id: int, rate_revision: int, now: datetime
) -> None:
    """Write up to MAX_ROWS_PER_COMMIT adjustments as one commit, in the scope's transaction."""
    if not adjustments:
        return
    charges = [adjustment.charge for adjustment in adjustments]
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE,
            commit_parameters(repricing_id, rate_revision, now)
            | {
                "corrects_id": as_array(charge.id for charge in charges),
                "occurred_at": as_array(charge.occurred_at.isoformat() for charge in charges),
                "slice_id": as_array(charge.slice_id for charge in charges),
                "cost_units": as_array(a.cost_units for a in adjustments),
                "unpriced_change": as_array(a.unpriced_change for a in adjustments),
            },
        )


def write_opposites(
    undo_of: int,
    *,
    after_id: int,
    limit: int,
    repricing_id: int,
    rate_revision: int,
    now: datetime,
) -> Written:
    """Take back the next `limit` adjustments of a run, as one commit of this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            OPPOSITES,
            commit_parameters(repricing_id, rate_revision, now)
            | {"undo_of": undo_of, "after_id": after_id, "limit": limit},
        )
        rows, last_id, cost_change_usd, unpriced_change = cursor.fetchone()
    return Written(rows, last_id or after_id, cost_change_usd, int(unpriced_change))


def as_array(values: Iterable[int | str]) -> str:
    """Numbers and times as PostgreSQL writes an array: a third of a portion's time is saved."""
    return f"{{{','.join(map(str, values))}}}"


def commit_parameters(repricing_id: int, rate_revision: int, now: datetime) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('usage_commit_number')")
        (commit_number,) = cursor.fetchone()
    return {
        "tenant_id": current_tenant_id(),
        "commit_number": commit_number,
        "first_id": commit_number << ROW_BITS,
        "repricing_id": repricing_id,
        "rate_revision": rate_revision,
        "now": now,
    }
