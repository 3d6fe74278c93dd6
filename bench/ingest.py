"""Ingest against raw COPY: native batches through HTTP into the ledger, and the same rows copied.

Ours is everything: HTTP, key, validation, rating, deduplication, row-level security, the durable
ledger and the queue, in one web worker. Raw COPY is psycopg's `write_row` of tuples that stand in
memory, 1,000 a transaction, by the tables' owner (a table with row-level security refuses COPY from
anyone else), into the same table. They take turns in one run, as others use the machine too.
"""

from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Any, Final

import psycopg
from django.conf import settings
from psycopg.types.json import Jsonb

from bench import installation
from bench.events import as_json, native_events
from bench.load import Plan, Report, request, send
from bench.results import Result

GOAL_PER_SECOND: Final = 40_000
GOAL_RATIO: Final = 0.40
BATCH: Final = 1000
BATCHES: Final = 100
CONNECTIONS: Final = 8
ROUNDS: Final = 4
# Rows of raw COPY belong to no tenant.
NO_TENANT: Final = 0


def run() -> Iterator[Result]:
    with installation.running() as here:
        post(here, seed=0)
        ours: list[Report] = []
        raw: list[float] = []
        cpu_s = 0.0
        for turn in range(1, ROUNDS + 1):
            rows = ledger_rows(here.tenant_id, BATCH * BATCHES)
            raw.append(len(rows) / copy_rows(rows))
            cpu_before_s = installation.cpu_seconds(here)
            ours.append(post(here, seed=turn))
            cpu_s += installation.cpu_seconds(here) - cpu_before_s
        per_second = [report.per_second * BATCH for report in ours]
        ratios = [ours / copied for ours, copied in zip(per_second, raw, strict=True)]
        yield Result("ingest, batches of 1,000", max(per_second), "events/s", GOAL_PER_SECOND)
        yield Result("  raw COPY of the same rows", max(raw), "rows/s")
        yield Result("  ratio, median of turns", median(ratios), "times", GOAL_RATIO, digits=2)
        yield Result(
            "  median latency of a batch", median(r.median_ms for r in ours), "ms", digits=2
        )
        yield Result(
            "  CPU time of web and PostgreSQL", cpu_s / (ROUNDS * BATCHES * BATCH) * 1e6, "µs/event"
        )
        yield Result(
            "  load generator", median(r.cpu_share for r in ours) * 100, "% of a core", digits=1
        )


def post(here: installation.Installation, *, seed: int, batches: int = BATCHES) -> Report:
    bodies = [as_json(native_events(BATCH, seed * 10_000 + n)) for n in range(batches)]
    requests = [request("/api/v1/usage/events", body, secret=here.secret) for body in bodies]
    return send(Plan(here.port, requests, CONNECTIONS)).require(200)


def ledger_rows(tenant_id: int, count: int) -> list[tuple[Any, ...]]:
    """The newest rows of the ledger, as tuples of their own new identity."""
    with psycopg.connect(settings.DATABASE_OWNER_URL) as connection:
        cursor = connection.execute(
            "SELECT * FROM usage_ledger WHERE tenant_id = %s ORDER BY id DESC LIMIT %s",
            [tenant_id, count],
        )
        names = [column.name for column in cursor.description or ()]
        tenant, identity = names.index("tenant_id"), names.index("id")
        found = cursor.fetchall()
        (first,) = connection.execute("SELECT nextval('usage_commit_number') << 16").fetchone() or (
            0,
        )
    rows = []
    for number, row in enumerate(found):
        values = [Jsonb(value) if isinstance(value, dict) else value for value in row]
        values[tenant], values[identity] = NO_TENANT, -(first + number)
        rows.append(tuple(values))
    return rows


def copy_rows(rows: list[tuple[Any, ...]]) -> float:
    """Seconds that raw COPY takes for the rows."""
    with psycopg.connect(settings.DATABASE_OWNER_URL) as connection:
        started = perf_counter()
        for start in range(0, len(rows), BATCH):
            with connection.cursor() as cursor, cursor.copy("COPY usage_ledger FROM STDIN") as copy:
                for row in rows[start : start + BATCH]:
                    copy.write_row(row)
            connection.commit()
        return perf_counter() - started
