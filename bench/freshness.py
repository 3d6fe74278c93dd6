"""How soon an event is in the rollups, at 5,000 a second for a minute: web, worker and beat.

A probe asks once every tenth of a second how many requests the day's rollup holds, over a
connection of its own; with every body acknowledged at a known time, that tells when each was seen.
"""

import time
from collections.abc import Iterator
from statistics import quantiles
from typing import Final

import psycopg
from django.conf import settings

from bench import installation
from bench.events import as_json, native_events
from bench.load import Plan, Sender, request
from bench.results import Result

GOAL_P95_S: Final = 2.0
EVENTS_PER_SECOND: Final = 5000
BATCH: Final = 250
SECONDS: Final = 60
CONNECTIONS: Final = 8
PROBE_EVERY_S: Final = 0.1
DRAIN_LIMIT_S: Final = 60
ROLLED_UP: Final = "SELECT coalesce(sum(requests), 0) FROM usage_rollup_day WHERE tenant_id = %s"


def run() -> Iterator[Result]:
    with installation.running(with_worker=True) as here:
        bodies = EVENTS_PER_SECOND * SECONDS // BATCH
        requests = [
            request(
                "/api/v1/usage/events",
                as_json(native_events(BATCH, 5_000_000 + n)),
                secret=here.secret,
            )
            for n in range(bodies)
        ]
        sender = Sender(Plan(here.port, requests, CONNECTIONS, every_s=BATCH / EVENTS_PER_SECOND))
        samples = _probe(here.tenant_id, bodies * BATCH)
        report = sender.report().require(200)
    delays = sorted(_delays(report.answered_at, samples))
    marks = quantiles(delays, n=20)
    yield Result("sent and acknowledged", bodies * BATCH / report.seconds, "events/s")
    yield Result("in the rollups after, p50", marks[9], "s", digits=2)
    yield Result("in the rollups after, p95", marks[18], "s", GOAL_P95_S, at_most=True, digits=2)
    yield Result("in the rollups after, max", delays[-1], "s", digits=2)


def _probe(tenant_id: int, expected: int) -> list[tuple[float, int]]:
    """(time, requests in the rollup) until all are there."""
    samples: list[tuple[float, int]] = []
    deadline = time.time() + SECONDS * 3 + DRAIN_LIMIT_S
    with psycopg.connect(settings.DATABASE_OWNER_URL, autocommit=True) as connection:
        while not samples or samples[-1][1] < expected:
            if time.time() > deadline:
                raise RuntimeError(f"{samples[-1][1]} of {expected} events were rolled up in time")
            ((count,),) = connection.execute(ROLLED_UP, [tenant_id]).fetchall()
            samples.append((time.time(), int(count)))
            time.sleep(PROBE_EVERY_S)
    return samples


def _delays(answered_at: list[float], samples: list[tuple[float, int]]) -> Iterator[float]:
    """Seconds from a body's answer until the rollup first held as many events as were answered.

    Commits are folded in their order, near enough: the n-th body is seen when n bodies are.
    """
    at = 0
    for number, answered in enumerate(sorted(answered_at), start=1):
        while samples[at][1] < number * BATCH:
            at += 1
        yield max(samples[at][0] - answered, 0.0)
