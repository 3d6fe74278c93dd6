"""Writing again, at earlier times and under ids of their own, charges that stand: for demos and
measurements of size. Part of services.

A repeated row is what ingest would have written of such an event: identity, slice, quantities and
the cost at the same prices; it is queued for the rollups and folded as all others. What is not made
is the content hash: the same id sent later is told that it contradicts, and is not counted again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from apps.pricing.selectors import list_backends
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.identities import find_sealed, hold_open_segment, keep_segments
from apps.usage.ledger import ROW_BITS, ensure_partitions, identity_of
from apps.usage.unit_prices import read_price_history

ROWS_PER_COMMIT: Final = 50_000
MOST_DAYS_BACK: Final = 395
LONGEST_LOOK_UP_S: Final = 60
# No content of the native door (whose number is 0) has this hash: no report is the same as a row
# that no report made, and none is counted beside it.
NO_CONTENT: Final = 0

_OWN: Final = """source, uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens,
    cache_write_1h_tokens, output_tokens, reasoning_tokens, cost_usd, rate_revision,
    requested_model, end_user, tags, meters, price_context, latency_ms, time_to_first_token_ms,
    revenue_usd, converted, quality_score, reported_cost_usd, energy_wh"""

# Charges as ingest wrote them, numbered by time: those that were never moved or repriced, of
# backends whose prices did not change over the time that is filled.
TEMPLATE: Final = f"""
CREATE TEMPORARY TABLE usage_template ON COMMIT PRESERVE ROWS AS
SELECT row_number() OVER (ORDER BY l.occurred_at, l.id) - 1 AS n, l.occurred_at, l.slice_id, {_OWN}
FROM usage_ledger AS l JOIN usage_slice AS s ON s.tenant_id = l.tenant_id AND s.id = l.slice_id
WHERE l.tenant_id = %(tenant_id)s AND l.kind = 0 AND s.backend_id = ANY(%(backends)s)
    AND l.occurred_at >= %(start)s AND l.occurred_at < %(end)s AND NOT EXISTS (
        SELECT 1 FROM usage_ledger AS c WHERE c.tenant_id = l.tenant_id AND c.kind > 0
            AND c.corrects_id = l.id)
"""

WRITE: Final = f"""
WITH this_commit AS MATERIALIZED (
    SELECT nextval('usage_commit_number') AS number
), made AS MATERIALIZED (
    SELECT (number << {ROW_BITS}) + name.row - 1 AS ledger_id, name.identity, name.event_id,
        t.occurred_at - %(back)s AS occurred_at, t.slice_id, {_OWN}
    FROM this_commit, unnest(%(event_id)s::text[], %(identity)s::uuid[])
        WITH ORDINALITY AS name (event_id, identity, row)
    JOIN usage_template AS t ON t.n = %(first)s + name.row - 1
    WHERE name.row - 1 <> ALL (%(sealed)s::integer[])
), known AS (
    INSERT INTO usage_identity (tenant_id, identity, content_hash, ledger_id, occurred_at, segment)
    SELECT %(tenant_id)s, identity, {NO_CONTENT}, ledger_id, occurred_at, %(segment)s FROM made
    ON CONFLICT (tenant_id, identity, segment) DO NOTHING RETURNING ledger_id
), written AS (
    INSERT INTO usage_ledger (tenant_id, id, occurred_at, received_at, slice_id, event_id, {_OWN})
    SELECT %(tenant_id)s, ledger_id, occurred_at, %(now)s, slice_id, event_id, {_OWN}
    FROM made JOIN known USING (ledger_id)
    RETURNING id, occurred_at
)
INSERT INTO usage_commit (tenant_id, id, rows, first_occurred_at, last_occurred_at)
SELECT %(tenant_id)s, min(id) >> {ROW_BITS}, count(*), min(occurred_at), max(occurred_at)
FROM written HAVING count(*) > 0
RETURNING rows
"""


@dataclass(frozen=True, slots=True)
class Template:
    """What is repeated: charges of [start, end), numbered from 0."""

    rows: int
    start: datetime
    end: datetime


def take_template(tenant_id: int, start: datetime, end: datetime, *, now: datetime) -> Template:
    """Keep a tenant's charges of a stretch in the session, to be repeated; needs `end` <= now.

    The session's own: repeat on the same connection.
    """
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS usage_template")
        parameters: dict[str, Any] = {
            "tenant_id": tenant_id,
            "start": start,
            "end": end,
            "backends": _steady_backends(now),
        }
        cursor.execute(TEMPLATE, parameters)
        cursor.execute("ALTER TABLE usage_template ADD PRIMARY KEY (n)")
        cursor.execute("ANALYZE usage_template")
        cursor.execute("SELECT count(*) FROM usage_template")
        return Template(int(cursor.fetchone()[0]), start, end)


def repeat_charges(
    tenant_id: int, template: Template, *, first: int, rows: int, back: timedelta, now: datetime
) -> int:
    """Write rows [first, first + rows) of the template again, `back` earlier, as one commit.

    Ids come of the template and of the time they are moved by: the same call twice writes once.
    Returns the rows written.
    """
    if rows > ROWS_PER_COMMIT or template.start - back < now - timedelta(days=MOST_DAYS_BACK):
        raise ValueError(
            f"{rows} rows, {back} back: at most {ROWS_PER_COMMIT} rows, {MOST_DAYS_BACK} days"
        )
    minutes = back // timedelta(minutes=1)
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(
            "SELECT source, n FROM usage_template WHERE n >= %s AND n < %s ORDER BY n",
            [first, first + rows],
        )
        segments = hold_open_segment()
        begun = f"{template.start:%y%m%d%H}"
        names = [(source, f"again-{begun}-{minutes}-{n}") for source, n in cursor.fetchall()]
        identities = [identity_of(source, name) for source, name in names]
        sealed = find_sealed(tenant_id, identities, segments, statement_limit_s=LONGEST_LOOK_UP_S)
        parameters: dict[str, Any] = {
            "tenant_id": current_tenant_id(),
            "segment": segments.open,
            "sealed": list(sealed),
            "first": first,
            "back": back,
            "now": now,
            "event_id": [name for _, name in names],
            "identity": [identity.hex() for identity in identities],
        }
        cursor.execute(WRITE, parameters)
        written = cursor.fetchone()
    keep_segments(now=now)
    return int(written[0]) if written else 0


def ensure_months(first: datetime, last: datetime) -> None:
    """The ledger's partitions for a stretch that is to be filled."""
    ensure_partitions(first, last)


def _steady_backends(now: datetime) -> list[int]:
    """Backends whose prices were the same all the time: their charges cost as much at any of it."""
    tenant = get_tenant()
    backends = {one.key: one.id for one in list_backends()}
    changes: dict[str, int] = dict.fromkeys(backends, 0)
    today = tenant.local_date(now)
    ids = set(backends.values())
    for change in read_price_history(ids, today=today, days=MOST_DAYS_BACK, zone=tenant.zone):
        changes[change.backend] += 1
    # One entry is "as far back as was looked"; none is a backend without any price, then and now.
    return [backends[key] for key, number in changes.items() if number <= 1]
