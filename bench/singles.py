"""Posts of one event: over 64 connections against an address that does nothing; and alone.

All addresses are of one server and get the same requests in turns. The no-op is a plain view of
Django's; beside it stands the same view by the short way that the doors themselves take. A lone
post waits for no company (group_commit.py has no timer), so its latency is that of its own commit
alone.
"""

from collections.abc import Iterator
from statistics import median
from typing import Final

from bench import installation
from bench.events import as_json, native_events
from bench.load import Plan, Report, request, send
from bench.results import Result

GOAL_RATIO: Final = 0.5
CONNECTIONS: Final = 64
REQUESTS: Final = 6000
ROUNDS: Final = 3
LONE_REQUESTS: Final = 300


def run() -> Iterator[Result]:
    with installation.running() as here:
        # What a process reads once, one request reads.
        _post(here, "/api/v1/usage/events", seed=0, count=LONE_REQUESTS, connections=1)
        ours: list[Report] = []
        nothing: list[Report] = []
        short: list[Report] = []
        for turn in range(1, ROUNDS + 1):
            nothing.append(_post(here, "/noop", seed=turn))
            short.append(_post(here, "/noop/short", seed=turn))
            ours.append(_post(here, "/api/v1/usage/events", seed=turn))
        lone = _post(here, "/api/v1/usage/events", seed=99, count=LONE_REQUESTS, connections=1)
    ratios = [a.per_second / b.per_second for a, b in zip(ours, nothing, strict=True)]
    yield Result("single events, 64 connections", max(r.per_second for r in ours), "requests/s")
    yield Result("  no-op of the same server", max(r.per_second for r in nothing), "requests/s")
    yield Result("  ratio, median of turns", median(ratios), "times", GOAL_RATIO, digits=2)
    yield Result("  no-op by the short way", max(r.per_second for r in short), "requests/s")
    yield Result("  median latency", median(r.median_ms for r in ours), "ms", digits=2)
    yield Result(
        "  load generator", median(r.cpu_share for r in ours) * 100, "% of a core", digits=1
    )
    yield Result("lone post, median latency", lone.median_ms, "ms", digits=2)


def _post(
    here: installation.Installation,
    path: str,
    *,
    seed: int,
    count: int = REQUESTS,
    connections: int = CONNECTIONS,
) -> Report:
    events = native_events(count, 1_000_000 + seed)
    requests = [request(path, as_json([event]), secret=here.secret) for event in events]
    return send(Plan(here.port, requests, connections)).require(200)
