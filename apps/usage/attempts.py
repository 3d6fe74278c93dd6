"""Paid attempts at what looks like one prompt, for finding retries. A part of selectors.

Prompts are not stored. Attempts are taken to be at one prompt when key, customer, department,
project, environment, task, model and user agree, their input has as many tokens to the token, and
they follow one another within minutes. Two prompts may agree by chance: `seen` says how often the
shape came up at all.
"""

from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Final

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.usage.core.rating import Tokens
from apps.usage.core.repricing import units_from_usd
from apps.usage.repricing_charges import ChargeSlice, Places, whole_months

GAP_S: Final = 300
MAX_SCANNED: Final = 600_000
# Long enough that attempts of a few minutes stand in one run of ids.
RUNS: Final = 60
MAX_ATTEMPTS: Final = 50_000

_IN_MONTHS: Final = """l.tenant_id = %(tenant_id)s
    AND l.occurred_at >= %(months_start)s AND l.occurred_at < %(months_end)s"""
_CHOSEN: Final = """l.kind = 0 AND l.cost_usd > 0
    AND l.occurred_at >= %(start)s AND l.occurred_at < %(end)s"""
_OWN: Final = """l.id, l.occurred_at, l.slice_id, l.end_user, l.cost_usd, l.uncached_input_tokens,
    l.cache_read_tokens, l.cache_write_5m_tokens, l.cache_write_1h_tokens, l.output_tokens,
    l.reasoning_tokens"""
_ALL: Final = f"SELECT {_OWN} FROM usage_ledger AS l WHERE {_IN_MONTHS} AND {_CHOSEN}"
_RUNS_OF_IDS: Final = f"""SELECT DISTINCT ON (r.id) r.* FROM (
    SELECT {_OWN} FROM unnest(%(places)s::bigint[]) AS place, LATERAL (
        SELECT * FROM usage_ledger AS l
        WHERE {_IN_MONTHS} AND l.id >= place ORDER BY l.id LIMIT %(run)s
    ) AS l WHERE {_CHOSEN}) AS r"""
_BOUNDS: Final = f"SELECT min(l.id), max(l.id) FROM usage_ledger AS l WHERE {_IN_MONTHS}"
_NEIGHBOURS: Final = """
SELECT occurred_at, slice_id, end_user, cost_usd, uncached_input_tokens, cache_read_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, reasoning_tokens, shape, seen
FROM (
    SELECT *, count(*) OVER shapes AS seen,
        occurred_at - lag(occurred_at) OVER in_time AS since,
        lead(occurred_at) OVER in_time - occurred_at AS until
    FROM (
        SELECT l.*, hashtextextended(ROW(s.api_key_id, s.provider, s.model, s.customer_id,
            s.department_id, s.project, s.environment, s.task, l.end_user,
            l.uncached_input_tokens + l.cache_read_tokens + l.cache_write_5m_tokens
                + l.cache_write_1h_tokens)::text, 0) AS shape
        FROM ({charges}) AS l
        JOIN usage_slice AS s ON s.tenant_id = %(tenant_id)s AND s.id = l.slice_id
    ) AS shaped
    WINDOW shapes AS (PARTITION BY shape),
        in_time AS (PARTITION BY shape ORDER BY occurred_at, id)
) AS placed
WHERE since <= %(gap_s)s * interval '1 second' OR until <= %(gap_s)s * interval '1 second'
ORDER BY occurred_at, id LIMIT %(most)s"""


@dataclass(frozen=True, slots=True)
class PaidAttempt:
    """`shape` is the same for attempts that look alike; the window holds `seen` of them."""

    occurred_at: datetime
    place: ChargeSlice
    user: str | None
    cost_units: int
    tokens: Tokens
    shape: int
    seen: int


@dataclass(frozen=True, slots=True)
class Attempts:
    """Each stands for `weight` attempts: 1 where the whole window was looked at."""

    rows: list[PaidAttempt]
    weight: float


def read_attempts(start: datetime, end: datetime, *, requests: int, seed: int = 0) -> Attempts:
    """Those of [start, end) that have another of their shape within GAP_S, in the order of time.

    `requests`: how many the rollups count there. Of more than MAX_SCANNED, runs of ids are read,
    other ones for another seed. The tenant in scope's.
    """
    parameters: dict[str, Any] = {
        "tenant_id": current_tenant_id(),
        "start": start,
        "end": end,
        **whole_months(start, end),
        "gap_s": GAP_S,
        "most": MAX_ATTEMPTS,
    }
    charges = _ALL
    with connection.cursor() as cursor:
        if requests > MAX_SCANNED:
            charges = _RUNS_OF_IDS
            cursor.execute(_BOUNDS, parameters)
            first, last = cursor.fetchone()
            parameters |= {"run": MAX_SCANNED // RUNS, "places": _places(first, last, seed)}
        cursor.execute(_NEIGHBOURS.format(charges=charges), parameters)
        rows = cursor.fetchall()
    places = Places().read({row[1] for row in rows})
    return Attempts(
        [
            PaidAttempt(
                occurred_at=row[0],
                place=places[row[1]],
                user=row[2],
                cost_units=units_from_usd(row[3]),
                tokens=row[4:10],
                shape=row[10],
                seen=row[11],
            )
            for row in rows
        ],
        weight=max(1.0, requests / MAX_SCANNED),
    )


def _places(first: int | None, last: int | None, seed: int) -> list[int]:
    """Where runs of ids begin: evenly placed, each somewhere in its own stretch."""
    if first is None or last is None:
        return []
    chance, step = Random(seed), (last - first) / RUNS  # noqa: S311 - a sample, no secret
    return [int(first + (n + chance.random()) * step) for n in range(RUNS)]
