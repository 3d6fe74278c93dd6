"""A bounded sample of a window's charges, for replays; and what the whole window came to, cell by
cell, so that the sample can be weighed. A part of selectors.

Sums are the rollups' and exact. The sample is drawn from the ledger by a hash of the charge's id:
the same seed draws the same charges. A ledger of more rows than MAX_SCANNED is looked at in many
short runs of ids, evenly placed: what a read costs has a bound, whatever the window holds.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Final

from django.db import connection

from apps.tenants.scoping import current_tenant_id
from apps.usage.core.rating import Tokens
from apps.usage.core.repricing import units_from_usd
from apps.usage.ledger import LEFT_JOIN_MOVED
from apps.usage.repricing_charges import ChargeSlice, Places, whole_months

__all__ = ["ChargeSlice", "SampledCharge", "read_sample"]

MAX_SAMPLE: Final = 100_000
MAX_SCANNED: Final = 600_000
RUNS: Final = 2_000
HASH_RANGE: Final = 1_000_000

_COLUMNS: Final = """l.id, l.occurred_at, l.slice_id, l.uncached_input_tokens, l.cache_read_tokens,
    l.cache_write_5m_tokens, l.cache_write_1h_tokens, l.output_tokens, l.reasoning_tokens,
    l.meters, l.price_context, l.cost_usd, l.quality_score, l.converted, l.revenue_usd,
    l.time_to_first_token_ms IS NOT NULL"""
_IN_MONTHS: Final = """l.tenant_id = %(tenant_id)s
    AND l.occurred_at >= %(months_start)s AND l.occurred_at < %(months_end)s"""
_BOUNDS: Final = f"SELECT min(l.id), max(l.id) FROM usage_ledger AS l WHERE {_IN_MONTHS}"
_CHOSEN: Final = """l.kind = 0 AND l.occurred_at >= %(start)s AND l.occurred_at < %(end)s
    AND abs(hashint8extended(l.id, %(seed)s) %% %(hash_range)s) < %(drawn)s"""
_SCAN: Final = f"""SELECT {_COLUMNS} FROM usage_ledger AS l
    WHERE {_IN_MONTHS} AND {_CHOSEN} LIMIT %(most)s"""
_RUNS_OF_IDS: Final = f"""SELECT DISTINCT ON (r.id) r.* FROM (
    SELECT {_COLUMNS} FROM unnest(%(places)s::bigint[]) AS place, LATERAL (
        SELECT * FROM usage_ledger AS l
        WHERE {_IN_MONTHS} AND l.id >= place ORDER BY l.id LIMIT %(run)s
    ) AS l WHERE {_CHOSEN}) AS r"""
_MOVED: Final = f"""SELECT l.id, moved.slice_id FROM usage_ledger AS l {LEFT_JOIN_MOVED}
    WHERE {_IN_MONTHS} AND l.id = ANY(%(ids)s) AND moved.slice_id IS NOT NULL"""
_ANY_MOVES: Final = f"""SELECT EXISTS (
    SELECT 1 FROM usage_ledger AS l WHERE {_IN_MONTHS} AND l.kind = 2 AND l.corrects_id > 0)"""


@dataclass(frozen=True, slots=True)
class SampledCharge:
    """A request as it ran. `cost_units` in 1e-24 USD as first rated, -1 while it had no price;
    `place` is where it belongs by now."""

    id: int
    occurred_at: datetime
    place: ChargeSlice
    tokens: Tokens
    meters: Mapping[str, int]
    context: Mapping[str, str]
    cost_units: int
    quality_score: float | None
    converted: bool | None
    revenue_usd: float | None
    is_streamed: bool

    @property
    def input_tokens(self) -> int:
        return sum(self.tokens[:4])


def read_sample(
    start: datetime, end: datetime, *, requests: int, limit: int, seed: int = 0
) -> list[SampledCharge]:
    """About `limit` charges of [start, end), by time; all of them where there are no more.

    `requests`: how many the rollups count there. The tenant in scope's.
    """
    limit = min(limit, MAX_SAMPLE)
    share = min(1.0, limit / max(requests, 1))
    parameters: dict[str, Any] = {
        "tenant_id": current_tenant_id(),
        "start": start,
        "end": end,
        **whole_months(start, end),
        "seed": seed,
        "hash_range": HASH_RANGE,
        "drawn": round(share * HASH_RANGE),
        "limit": limit,
        # The draw is by chance: a few more or less than asked for.
        "most": limit + limit // 4 + 100,
    }
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDS, parameters)
        first, last = cursor.fetchone()
        if first is None:
            return []
        cursor.execute(*_statement(cursor, parameters, first, last, seed))
        rows = cursor.fetchall()
    if len(rows) > parameters["most"]:
        rows = Random(seed).sample(rows, limit)  # noqa: S311 - a sample, no secret
    return sorted(_charges(rows, parameters), key=lambda one: (one.occurred_at, one.id))


def _statement(
    cursor: Any, parameters: dict[str, Any], first: int, last: int, seed: int
) -> tuple[str, dict[str, Any]]:
    cursor.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM usage_ledger AS l WHERE {_IN_MONTHS}"
        " LIMIT %(looked_at)s) AS found",
        parameters | {"looked_at": MAX_SCANNED + 1},
    )
    (rows,) = cursor.fetchone()
    if rows <= MAX_SCANNED:
        return _SCAN, parameters
    chance, step = Random(seed), (last - first) / RUNS  # noqa: S311 - a sample, no secret
    places = [int(first + (n + chance.random()) * step) for n in range(RUNS)]
    # Runs see other months' ends too: some more are drawn, and too many are thinned out again.
    drawn = min(HASH_RANGE, 3 * parameters["limit"] * HASH_RANGE // MAX_SCANNED)
    return _RUNS_OF_IDS, parameters | {
        "places": places,
        "run": MAX_SCANNED // RUNS,
        "drawn": drawn,
    }


def _charges(rows: list[tuple[Any, ...]], parameters: dict[str, Any]) -> list[SampledCharge]:
    with connection.cursor() as cursor:
        cursor.execute(_ANY_MOVES, parameters)
        moved: dict[int, int] = {}
        if cursor.fetchone()[0]:
            cursor.execute(_MOVED, parameters | {"ids": [row[0] for row in rows]})
            moved = dict(cursor.fetchall())
    places = Places().read({row[2] for row in rows} | set(moved.values()))
    return [_charge(row, places[moved.get(row[0], row[2])]) for row in rows]


def _charge(row: tuple[Any, ...], place: ChargeSlice) -> SampledCharge:
    meters, context = (json.loads(text) if text else {} for text in row[9:11])
    return SampledCharge(
        id=row[0],
        occurred_at=row[1],
        place=place,
        tokens=row[3:9],
        meters=meters,
        context=context,
        cost_units=-1 if row[11] is None else units_from_usd(row[11]),
        quality_score=row[12],
        converted=row[13],
        revenue_usd=None if row[14] is None else float(row[14]),
        is_streamed=row[15],
    )
