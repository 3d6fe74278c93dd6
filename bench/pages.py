"""Whether pages slow down as the ledger grows, and how soon they show: `make bench ARGS=pages`.

The demo's company, its usage repeated over a year (costboard/demo/large.py): the server time of
every page of the URL list with a million events, then with ten, in one run; then each in Chromium
(bench/page_paints.py). BENCH_PAGES_FEW and BENCH_PAGES_MANY make it smaller; some 8 GB of disk and
half an hour at full size. Reconcile proves what was loaded.

Other work on the machine makes the clock's times longer than they are: the CPU time of the web
worker and PostgreSQL stands beside them, and how much of the machine others took.
"""

import http.client
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from bench import installation
from bench.page_paints import painted
from bench.results import Result, tell

GOAL_MS: Final = 150.0
GOAL_RATIO: Final = 1.3
FEW: Final = int(os.environ.get("BENCH_PAGES_FEW", "1000000"))
MANY: Final = int(os.environ.get("BENCH_PAGES_MANY", "10000000"))
# Written by ingest itself, in 35 days; the rest is repeated from it: few events, too, are of twelve
# months, so that nothing but their number differs.
SEEDED: Final = FEW // 13
TURNS: Final = int(os.environ.get("BENCH_PAGES_TURNS", "20"))
# A page over a limit is asked as often again; all its answers count.
MOST_ROUNDS: Final = 2
# What takes very long is not asked much longer.
PATIENCE_S: Final = 10.0
FEWEST_TURNS: Final = 3
MODELS: Final = ("claude-sonnet-4-6", "llama-3-70b")
# Beside the addresses that every page has: long periods, much to tell apart, searches.
MORE_ADDRESSES: Final = (
    "/?period=90d",
    "/explorer?period=90d&group_by=customer",
    "/explorer?period=90d&group_by=customer,task&top=250",
    "/explorer?period=90d&group_by=customer,model&top=250",
    "/explorer?period=90d&group_by=project,customer&measure=requests&top=250",
    "/explorer?group_by=customer,task",
    "/explorer?group_by=customer,status&interval=hour",
    "/why?by=customer",
    "/customers?period=90d",
    "/departments?period=90d",
    "/models?period=90d",
    "/models/one?model=claude-sonnet-4-6&period=90d",
    "/charges?span=year",
    "/charges?span=year&price=unpriced",
    "/charges?span=year&status=rate_limited",
    "/charges?span=year&model=llama-3-70b",
    "/charges?span=year&customer={customer}",
    "/charges?span=year&customer={customer}&model=claude-sonnet-4-6&status=timeout",
    "/charges?span=year&where=task:nothing-of-that-name",
    "/routing?window=week",
    "/routing?window=month",
)


@dataclass(frozen=True, slots=True)
class Site:
    """A web server with a company on it, and where its pages are; `cookie` signs an admin in."""

    here: installation.Installation
    tenant_id: int
    cookie: str
    pages: list[str]
    signed_out: frozenset[str]

    def cookie_for(self, page: str) -> str:
        return "" if page in self.signed_out else self.cookie


@dataclass(slots=True)
class Timing:
    """Answers of one page: the clock's time of each, the server's CPU time of all."""

    taken_ms: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0

    @property
    def p95_ms(self) -> float:
        return quantiles(self.taken_ms, n=20, method="inclusive")[18]

    @property
    def mean_cpu_ms(self) -> float:
        return self.cpu_ms / len(self.taken_ms)


def run() -> Iterator[Result]:
    from apps.usage.services import reconcile_usage
    from costboard.demo.statics import collect_changed_files

    # As production serves them: hashed, compressed, cached for good.
    collect_changed_files()
    with installation.running() as here:
        tell("making a company")
        tenant_id, client = _seed()
        yield from _filled(tenant_id, FEW)
        site = _site(here, tenant_id, client)
        few, others = _timed(site, {})
        yield Result("of the machine taken by others, timing few", others, "%")
        if MANY > FEW:
            yield from _filled(tenant_id, MANY)
        many, others = _timed(site, few)
        yield Result("of the machine taken by others, timing many", others, "%")
        tell("reconciling")
        found = reconcile_usage(tenant_id, now=datetime.now(UTC))
        yield Result("ledger rows", found.ledger_rows, "rows")
        yield Result("  buckets that differ from them", len(found.drifts), "", 0, at_most=True)
        yield from _compared(few, many)
        base = f"http://127.0.0.1:{here.port}"
        yield from painted(base, {page: site.cookie_for(page) for page in site.pages})


def _compared(few: Mapping[str, Timing], many: Mapping[str, Timing]) -> Iterator[Result]:
    for page, timing in many.items():
        before = few[page]
        yield Result(f"{page}, p95", timing.p95_ms, "ms", GOAL_MS, at_most=True)
        ratio = timing.p95_ms / before.p95_ms
        yield Result("  of that with fewer events", ratio, "times", GOAL_RATIO, "", True, 2)
        yield Result("  CPU time, mean", timing.mean_cpu_ms, "ms")
        yield Result("  of that", timing.mean_cpu_ms / before.mean_cpu_ms, "times", digits=2)
    yield Result("pages and questions timed", len(many), "")
    slowest = max(many, key=lambda page: many[page].p95_ms)
    yield Result(f"slowest: {slowest}", many[slowest].p95_ms, "ms", GOAL_MS, at_most=True)


def _seed() -> tuple[int, Any]:
    """The demo's company with a month of usage, furnished; a client signed in as its admin."""
    from django.conf import settings
    from django.test import Client

    from costboard.demo.history import load_history
    from costboard.demo.seed import DEMO_PASSWORD, LOGINS, seed_tenants
    from costboard.demo.state import History, save_state
    from costboard.demo.traffic import DEFAULT_SEED

    folder, now = Path(settings.DATA_DIR), datetime.now(UTC)
    state = seed_tenants(folder, now=now)
    state.history = History(reference=now, days=35, events=SEEDED, seed=DEFAULT_SEED)
    save_state(folder, state)
    load_history(folder, state, until=now, revive=lambda: None)
    _fold(state.tenant_id)
    client = Client(SERVER_NAME="127.0.0.1")
    client.login(username=LOGINS[1][0], password=DEMO_PASSWORD)
    _furnish(state.tenant_id, client, now)
    return state.tenant_id, client


def _furnish(tenant_id: int, client: Any, now: datetime) -> None:
    """One at least of each thing that has a page of its own."""
    from django.core.files.uploadedfile import SimpleUploadedFile

    from apps.dashboards.reports.schedules import add_schedule
    from apps.dashboards.reports.times import Rhythm
    from apps.insights.ticks import tick_tenant
    from apps.routing.decision_log import log_decision, store_decisions
    from apps.routing.planning import plan_policy
    from apps.tenants.scoping import tenant_scope
    from costboard.demo.budgets import ensure_budgets
    from costboard.demo.routing import ensure_routing
    from costboard.demo.seed import ACTOR
    from costboard.demo.telling import ensure_channel
    from tests.dashboards.rows import decision_record

    user_id = int(client.session["_auth_user_id"])
    with tenant_scope(tenant_id):
        ensure_channel(ACTOR, now)
        ensure_budgets(ACTOR, now)
        ensure_routing(ACTOR, now)
        add_schedule(
            Rhythm("monthly", 31, 8), member_ids=[user_id], channel_ids=[], actor=ACTOR, now=now
        )
    plan_policy(tenant_id, now=now, reasons=["the bench asked"])
    log_decision(decision_record(tenant_id, "openai/gpt-5-mini", None))
    while store_decisions():
        pass
    while tick_tenant(tenant_id, now=now).hours:
        pass
    client.post("/import/upload", {"file": SimpleUploadedFile("usage.csv", b"id,model\n1,x\n")})


def _fold(tenant_id: int) -> None:
    from apps.usage.services import fold_pending

    while fold_pending(tenant_id, now=datetime.now(UTC)):
        pass


def _site(here: installation.Installation, tenant_id: int, client: Any) -> Site:
    from django.conf import settings

    from apps.tenants.scoping import tenant_scope
    from apps.tenants.selectors import list_customers
    from costboard.demo.seed import LOGINS
    from tests.dashboards.page_list import SIGNED_OUT, page_addresses

    with tenant_scope(tenant_id):
        customer = list_customers()[0].external_id
    named = dict(page_addresses(tenant_id, client, LOGINS[1][0], models=MODELS))
    signed_out = frozenset(page for name in SIGNED_OUT for page in named[name])
    known = [page for pages in named.values() for page in pages]
    more = [page.format(customer=customer) for page in MORE_ADDRESSES]
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    site = Site(here, tenant_id, cookie, list(dict.fromkeys([*known, *more])), signed_out)
    # Some only move on: a company that is set up is not set up again.
    pages = [page for page in site.pages if not 300 <= _status(site, page) < 400]
    return Site(here, tenant_id, cookie, pages, signed_out)


def _status(site: Site, page: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", site.here.port, timeout=60)
    status = _ask(connection, page, site.cookie_for(page))
    connection.close()
    if status >= 400:
        raise SystemExit(f"{page} answers {status}")
    return status


def _filled(tenant_id: int, events: int) -> Iterator[Result]:
    tell(f"loading up to {events:,} events")
    started = time.perf_counter()
    _fill(tenant_id, events)
    yield Result(f"loaded up to {events:,} events in", time.perf_counter() - started, "s")


def _fill(tenant_id: int, events: int) -> None:
    from django.db import connections

    from apps.budgets.projections import refresh_projections
    from costboard.demo.large import load_large

    if shutil.disk_usage(Path.cwd()).free < 2_000 * events:
        raise SystemExit(f"{events:,} events need some {events * 2_000 >> 30} GB of free disk")
    load_large(tenant_id, wanted_events=events, now=datetime.now(UTC))
    # Pages read what the worker keeps of budgets; here there is none.
    refresh_projections(tenant_id, now=datetime.now(UTC))
    with connections["owner"].cursor() as cursor:
        cursor.execute("ANALYZE")


def _timed(site: Site, few: Mapping[str, Timing]) -> tuple[dict[str, Timing], float]:
    """Every page's answers, and how many percent of the machine others took meanwhile."""
    busy = installation.BusyMeter(site.here)
    timings: dict[str, Timing] = {}
    tell(f"timing {len(site.pages)} pages")
    for page in site.pages:
        timings[page] = Timing()
        for _ in range(MOST_ROUNDS):
            _ask_again_and_again(site, page, timings[page])
            timing = timings[page]
            is_hopeless = sum(timing.taken_ms) > PATIENCE_S * 1000
            if is_hopeless or not _is_over(timing, few.get(page)):
                break
    return timings, busy.others_percent()


def _is_over(timing: Timing, before: Timing | None) -> bool:
    is_grown = before is not None and timing.p95_ms > GOAL_RATIO * before.p95_ms
    return is_grown or timing.p95_ms > GOAL_MS


def _ask_again_and_again(site: Site, page: str, timing: Timing) -> None:
    """One at a time, after one to warm up."""
    cookie = site.cookie_for(page)
    connection = http.client.HTTPConnection("127.0.0.1", site.here.port, timeout=60)
    _ask(connection, page, cookie)
    cpu_before_s = installation.cpu_seconds(site.here)
    deadline = time.monotonic() + PATIENCE_S
    for turn in range(TURNS):
        if turn >= FEWEST_TURNS and time.monotonic() > deadline:
            break
        started = time.perf_counter()
        status = _ask(connection, page, cookie)
        timing.taken_ms.append((time.perf_counter() - started) * 1000)
        if status != 200:
            raise SystemExit(f"{page} answers {status}")
    timing.cpu_ms += (installation.cpu_seconds(site.here) - cpu_before_s) * 1000
    connection.close()


def _ask(connection: http.client.HTTPConnection, page: str, cookie: str) -> int:
    from django.conf import settings

    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"} if cookie else {}
    connection.request("GET", page, headers=headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status
