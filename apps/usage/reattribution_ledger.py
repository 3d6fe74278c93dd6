"""Writing moves: two rows a charge, one that takes all it has come to from where it was, one that
gives it to where it belongs; queued for the rollups as ingest's rows are. Part of reattribution."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.usage.ledger import LEFT_JOIN_MOVED, QUEUE_COMMIT
from apps.usage.reattribution_charges import MovingCharge
from apps.usage.repricing_ledger import as_array, commit_parameters

MOVE: Final = f"""
WITH written AS (
    INSERT INTO usage_ledger (tenant_id, id, occurred_at, received_at, kind, corrects_id,
        repricing_id, unpriced_change, request_change, slice_id, source, event_id,
        uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
        output_tokens, reasoning_tokens, cost_usd, rate_revision, latency_ms, revenue_usd,
        converted)
    SELECT %(tenant_id)s, %(first_id)s + 2 * (a.row - 1) + half.row, l.occurred_at, %(now)s, 2,
        l.id, %(repricing_id)s, half.sign * a.unpriced, half.sign,
        CASE half.row WHEN 0 THEN a.from_slice_id ELSE a.to_slice_id END,
        'reattribution', (%(repricing_id)s)::text,
        half.sign * l.uncached_input_tokens, half.sign * l.cache_read_tokens,
        half.sign * l.cache_write_5m_tokens, half.sign * l.cache_write_1h_tokens,
        half.sign * l.output_tokens, half.sign * l.reasoning_tokens,
        half.sign * a.cost_units * 1e-24, %(rate_revision)s, half.sign * l.latency_ms,
        half.sign * l.revenue_usd, l.converted
    FROM unnest(%(id)s::bigint[], %(occurred_at)s::timestamptz[], %(from_slice_id)s::bigint[],
        %(to_slice_id)s::bigint[], %(cost_units)s::numeric[], %(unpriced)s::smallint[])
        WITH ORDINALITY
        AS a (id, occurred_at, from_slice_id, to_slice_id, cost_units, unpriced, row)
    JOIN usage_ledger AS l ON l.tenant_id = %(tenant_id)s AND l.id = a.id
        AND l.occurred_at = a.occurred_at
        AND l.occurred_at BETWEEN %(first_occurred_at)s AND %(last_occurred_at)s
    CROSS JOIN (VALUES (0, -1::smallint), (1, 1::smallint)) AS half (row, sign)
    RETURNING occurred_at
){QUEUE_COMMIT}"""

# Charges that a run moved, by the half that took them away: where they came from, where they are
# by now, and what they have come to by now, which repricing may have changed since.
MOVED_BY_RUN: Final = f"""
SELECT o.id, o.corrects_id, o.occurred_at, moved.slice_id, o.slice_id,
    (coalesce(l.cost_usd, 0) + coalesce(adjusted.cost_usd, 0)) * 1e24,
    (l.cost_usd IS NULL)::integer + coalesce(adjusted.unpriced_change, 0)
FROM (
    SELECT id, corrects_id, occurred_at, slice_id FROM usage_ledger
    WHERE tenant_id = %(tenant_id)s AND kind = 2 AND repricing_id = %(undo_of)s
        AND request_change = -1 AND id > %(after_id)s
    ORDER BY id LIMIT %(limit)s
) AS o
CROSS JOIN LATERAL (
    SELECT tenant_id, id, occurred_at, cost_usd FROM usage_ledger
    WHERE tenant_id = %(tenant_id)s AND id = o.corrects_id AND occurred_at = o.occurred_at
    -- Keeps it one row of an index a charge: free to choose, PostgreSQL reads all of the ledger.
    OFFSET 0
) AS l
{LEFT_JOIN_MOVED}
LEFT JOIN LATERAL (
    SELECT sum(a.cost_usd) AS cost_usd, sum(a.unpriced_change) AS unpriced_change
    FROM usage_ledger AS a
    WHERE a.tenant_id = %(tenant_id)s AND a.kind = 1 AND a.corrects_id = o.corrects_id
        AND a.occurred_at = o.occurred_at
) AS adjusted ON true
ORDER BY o.id
"""


def write_moves(
    charges: Sequence[MovingCharge], *, repricing_id: int, rate_revision: int, now: datetime
) -> None:
    """Write up to MAX_ROWS_PER_COMMIT / 2 moves as one commit, in the scope's transaction."""
    if not charges:
        return
    parameters = commit_parameters(repricing_id, rate_revision, now)
    parameters |= {
        "id": as_array(c.id for c in charges),
        "occurred_at": as_array(c.occurred_at.isoformat() for c in charges),
        "from_slice_id": as_array(c.from_slice_id for c in charges),
        "to_slice_id": as_array(c.to_slice_id for c in charges),
        "cost_units": as_array(c.cost_units for c in charges),
        "unpriced": as_array(c.unpriced for c in charges),
        # Leaves the other months' partitions closed.
        "first_occurred_at": min(c.occurred_at for c in charges),
        "last_occurred_at": max(c.occurred_at for c in charges),
    }
    with connection.cursor() as cursor:
        cursor.execute(MOVE, parameters)


def read_moved_by_run(run_id: int, *, after_id: int, limit: int) -> tuple[list[MovingCharge], int]:
    """The next charges that a run moved, on their way back; and the id to go on from."""
    with connection.cursor() as cursor:
        cursor.execute(
            MOVED_BY_RUN,
            {
                "tenant_id": current_tenant_id(),
                "undo_of": run_id,
                "after_id": after_id,
                "limit": limit,
            },
        )
        rows = cursor.fetchall()
    return [_going_back(row) for row in rows], rows[-1][0] if rows else after_id


def _going_back(row: tuple[Any, ...]) -> MovingCharge:
    _, charge_id, occurred_at, from_slice_id, to_slice_id, cost_units, unpriced = row
    return MovingCharge(
        charge_id, occurred_at, from_slice_id, to_slice_id, int(cost_units), int(unpriced)
    )
