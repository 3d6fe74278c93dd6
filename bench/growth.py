"""Whether ingest slows down as the ledger grows: the same batches at 100 thousand rows and at 10 M.

The rows between are not posted: the owner inserts them into ledger and identities from
generate_series, spread over twelve months, with every index in place. `make bench ARGS=growth`;
BENCH_GROWTH_ROWS makes it smaller. Not among the entries that run by default: it takes minutes.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from statistics import median
from typing import Final

import psutil  # type: ignore[import-untyped,unused-ignore]
import psycopg
from django.conf import settings

from bench import installation
from bench.ingest import BATCH, post
from bench.results import Result

GOAL_RATIO: Final = 0.9
FEW_ROWS: Final = 100_000
MANY_ROWS: Final = int(os.environ.get("BENCH_GROWTH_ROWS", "10000000"))
PORTION: Final = 100_000
BATCHES: Final = 40
TURNS: Final = 3

# No row is put in the queue of the rollups: what is measured is ingest.
FILL: Final = """
WITH made AS (
    SELECT nextval('usage_commit_number') << 16 AS id, n,
        date_trunc('second', now()) - (n * 3137 %% 31536000) * interval '1 second' AS occurred_at,
        gen_random_uuid() AS identity
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
), known AS (
    INSERT INTO usage_identity (tenant_id, identity, content_hash, ledger_id, occurred_at, segment)
    SELECT %(tenant_id)s, identity, n, id, occurred_at, segment
    FROM made, usage_identity_segment WHERE sealed_at IS NULL
)
INSERT INTO usage_ledger (tenant_id, id, occurred_at, received_at, slice_id, source, event_id,
    uncached_input_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,
    output_tokens, reasoning_tokens, cost_usd, rate_revision, latency_ms)
SELECT %(tenant_id)s, id, occurred_at, now(), 1 + n %% 400, 'router-1', 'req-' || identity,
    1000, 500, 0, 0, 200, 50, 0.000225, 1, 900
FROM made
"""


def run() -> Iterator[Result]:
    with installation.running() as here:
        post(here, seed=0, batches=BATCHES)
        _fill(here, 0, FEW_ROWS)
        few, few_cpu_us = _measure(here, 1)
        _fill(here, FEW_ROWS, MANY_ROWS)
        many, many_cpu_us = _measure(here, 2)
    yield Result(f"ingest at {FEW_ROWS:,} rows", few, "events/s")
    yield Result(f"ingest at {MANY_ROWS:,} rows", many, "events/s")
    yield Result("  ratio", many / few, "times", GOAL_RATIO, digits=2)
    yield Result("  CPU time of web and PostgreSQL, before", few_cpu_us, "µs/event", digits=1)
    yield Result("  CPU time of web and PostgreSQL, after", many_cpu_us, "µs/event", digits=1)


def _measure(here: installation.Installation, stage: int) -> tuple[float, float]:
    """Events a second, median of some turns; and CPU time an event, in µs, over all of them."""
    cpu_before_s = installation.cpu_seconds(here)
    turns = [post(here, seed=100 * stage + turn, batches=BATCHES) for turn in range(TURNS)]
    cpu_s = installation.cpu_seconds(here) - cpu_before_s
    events = BATCH * BATCHES * TURNS
    return median(report.per_second for report in turns) * BATCH, cpu_s / events * 1e6


def _fill(here: installation.Installation, first: int, last: int) -> None:
    """With a batch posted after each portion: the web worker sees the ledger grow."""
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as connection:
        for start in range(first, last, PORTION):
            connection.execute(
                FILL,
                {
                    "tenant_id": here.tenant_id,
                    "first": start,
                    "last": min(start + PORTION, last) - 1,
                },
            )
            installation.keep_segments(now=datetime.now(UTC))
            post(here, seed=1000 + start // PORTION, batches=1)
        # Of rows that come in minutes and not in a year the upkeep is not ingest's.
        connection.execute("VACUUM (ANALYZE) usage_identity, usage_ledger")
        connection.execute("CHECKPOINT")
        ((backend,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
    # Its CPU time goes with it, and must be gone before the next is read.
    with suppress(psutil.NoSuchProcess):
        psutil.wait_procs([psutil.Process(backend)], timeout=10)
