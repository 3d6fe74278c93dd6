"""Whether pages slow down as the ledger grows, and how soon they show: `make bench ARGS=pages`.

The demo's company, its usage repeated over a year (costboard/demo/large.py): every page's server
time with a million events, then with ten, in one run; then weight and largest-contentful-paint in
Chromium with a CPU four times as slow. BENCH_PAGES_FEW and BENCH_PAGES_MANY make it smaller; some
8 GB of disk and half an hour at full size. Reconcile proves what was loaded.
"""

import http.client
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from bench import installation
from bench.results import Result

GOAL_MS: Final = 150.0
GOAL_RATIO: Final = 1.3
GOAL_WEIGHT_KB: Final = 200.0
GOAL_PAINT_S: Final = 1.5
SLOWER: Final = 4
FEW: Final = int(os.environ.get("BENCH_PAGES_FEW", "1000000"))
MANY: Final = int(os.environ.get("BENCH_PAGES_MANY", "10000000"))
# Written by ingest itself, in 35 days; the rest is repeated from it: few events, too, are of twelve
# months, so that nothing but their number differs.
SEEDED: Final = FEW // 13
TURNS: Final = int(os.environ.get("BENCH_PAGES_TURNS", "20"))
PAGES: Final = {
    "overview": "/",
    "overview, 90 days": "/?period=90d",
    "explorer": "/explorer",
    "explorer, customers, 90 days": "/explorer?period=90d&group_by=customer",
    "explorer, customers by task": "/explorer?group_by=customer,task",
    "why": "/why",
    "why, by customer": "/why?by=customer",
    "customers": "/customers",
    "customers, 90 days": "/customers?period=90d",
    "a customer": "/customers/{customer}",
    "departments": "/departments",
    "models": "/models",
    "models, 90 days": "/models?period=90d",
    "a model": "/models/one?model=claude-sonnet-4-6",
    "charges": "/charges",
    "a charge": "/charges/{charge}",
    "forecasts": "/forecasts",
    "opportunities": "/opportunities",
    "what-if": "/what-if",
    "routing": "/routing",
    "routing, a week": "/routing?window=week",
    "routing, 30 days": "/routing?window=month",
    "routing: policy": "/routing/policy",
    "routing: decisions": "/routing/decisions",
    "routing: values": "/routing/values",
    "budgets": "/budgets",
    "a budget": "/budgets/{budget}",
    "department budgets": "/budgets/departments",
    "statements": "/budgets/statements",
    "anomalies": "/anomalies",
    "reports": "/reports",
    "pricing": "/pricing",
    "agreements": "/pricing/agreements",
    "catalogue": "/pricing/catalogue",
    "repricing": "/repricing",
    "attribution": "/attribution",
    "hardware": "/hardware",
    "local against cloud": "/hardware/comparison",
    "keys": "/keys",
    "alerts": "/alerts",
    "alert log": "/alerts/log",
    "import": "/import",
    "organisation": "/organisation",
    "organisation: customers": "/organisation/customers",
    "exchange rates": "/organisation/rates",
    "people": "/people",
    "audit log": "/audit",
    "account": "/account",
}


def run() -> Iterator[Result]:
    from apps.usage.services import reconcile_usage
    from costboard.demo.statics import collect_changed_files

    # As production serves them: hashed, compressed, cached for good.
    collect_changed_files()
    with installation.running() as here:
        state, cookie = _seed()
        pages = _addresses(state.tenant_id)
        _fill(state.tenant_id, FEW)
        few = {name: _times_ms(here.port, path, cookie) for name, path in pages.items()}
        if MANY > FEW:
            _fill(state.tenant_id, MANY)
        many = {name: _times_ms(here.port, path, cookie) for name, path in pages.items()}
        found = reconcile_usage(state.tenant_id, now=datetime.now(UTC))
        yield Result("ledger rows", found.ledger_rows, "rows")
        yield Result("  buckets that differ from them", len(found.drifts), "", 0, at_most=True)
        yield from _compared(few, many)
        yield from _painted(here.port, pages, cookie)


def _compared(
    few: Mapping[str, tuple[float, float]], many: Mapping[str, tuple[float, float]]
) -> Iterator[Result]:
    for name, (p50_ms, p95_ms) in many.items():
        yield Result(f"{name}, p50", p50_ms, "ms")
        yield Result(f"{name}, p95", p95_ms, "ms", GOAL_MS, at_most=True)
        ratio = p50_ms / few[name][0]
        yield Result("  of that with fewer events", ratio, "times", GOAL_RATIO, "", True, 2)


def _seed() -> tuple[Any, str]:
    """The demo's company with a month of usage; a session's cookie of its admin."""
    from django.conf import settings
    from django.test import Client

    from apps.tenants.scoping import tenant_scope
    from costboard.demo.budgets import ensure_budgets
    from costboard.demo.history import load_history
    from costboard.demo.seed import ACTOR, DEMO_PASSWORD, LOGINS, seed_tenants
    from costboard.demo.state import History, save_state
    from costboard.demo.traffic import DEFAULT_SEED

    folder, now = Path(settings.DATA_DIR), datetime.now(UTC)
    state = seed_tenants(folder, now=now)
    state.history = History(reference=now, days=35, events=SEEDED, seed=DEFAULT_SEED)
    save_state(folder, state)
    load_history(folder, state, until=now, revive=lambda: None)
    _fold(state.tenant_id)
    with tenant_scope(state.tenant_id):
        ensure_budgets(ACTOR, now)
    client = Client()
    client.login(username=LOGINS[1][0], password=DEMO_PASSWORD)
    return state, client.cookies[settings.SESSION_COOKIE_NAME].value


def _fold(tenant_id: int) -> None:
    from apps.usage.services import fold_pending

    while fold_pending(tenant_id, now=datetime.now(UTC)):
        pass


def _addresses(tenant_id: int) -> dict[str, str]:
    from apps.budgets.status import read_statuses
    from apps.tenants.scoping import tenant_scope
    from apps.tenants.selectors import list_customers
    from apps.usage.charges import ChargeQuery, list_charges

    with tenant_scope(tenant_id):
        now = datetime.now(UTC)
        ids = {
            "customer": list_customers()[0].id,
            "budget": read_statuses(now=now)[0].terms.id,
            "charge": list_charges(ChargeQuery(start=now - timedelta(days=30), end=now))[0].id,
        }
    return {name: path.format(**ids) for name, path in PAGES.items()}


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


def _times_ms(port: int, path: str, cookie: str) -> tuple[float, float]:
    """p50 and p95 of a page asked for again and again, one at a time, after two to warm up."""
    from django.conf import settings

    headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken = []
    for _ in range(TURNS + 2):
        started = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        taken.append((time.perf_counter() - started) * 1000)
        if answer.status != 200:
            raise SystemExit(f"{path} answers {answer.status}")
    connection.close()
    cuts = quantiles(taken[2:], n=20, method="inclusive")
    return cuts[9], cuts[18]


PAINTED: Final = """() => new Promise((resolve) => {
    let last = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) last = entry.startTime;
    }).observe({ type: "largest-contentful-paint", buffered: true });
    let shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => resolve([last, shift]), 1500);
})"""


def _painted(port: int, pages: Mapping[str, str], cookie: str) -> Iterator[Result]:
    """Weight beside Plotly's file, and when the largest thing stands, CPU slowed, Plotly cached."""
    from django.conf import settings
    from playwright.sync_api import sync_playwright

    base = f"http://127.0.0.1:{port}"
    worst_kb, worst_s, worst_shift, uncached = ("", 0.0), ("", 0.0), ("", 0.0), 0
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": base}])
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        urls: dict[str, str] = {}
        sizes: dict[str, float] = {}
        session.on(
            "Network.requestWillBeSent",
            lambda e: urls.update({e["requestId"]: e["request"]["url"]}),
        )
        session.on(
            "Network.loadingFinished",
            lambda e: sizes.update({e["requestId"]: e["encodedDataLength"]}),
        )
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        for name, path in pages.items():
            urls.clear()
            sizes.clear()
            page.goto(base + path, wait_until="load")
            page.wait_for_timeout(300)
            weight = sum(n for key, n in sizes.items() if "plotly" not in urls.get(key, ""))
            worst_kb = max(worst_kb, (name, weight / 1000), key=lambda one: one[1])
        session.send("Network.setCacheDisabled", {"cacheDisabled": False})
        page.goto(base, wait_until="load")
        session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        for name, path in pages.items():
            urls.clear()
            sizes.clear()
            page.goto(base + path, wait_until="load")
            paint_ms, shift = page.evaluate(PAINTED)
            uncached += any(n > 1000 for key, n in sizes.items() if "plotly" in urls.get(key, ""))
            worst_s = max(worst_s, (name, paint_ms / 1000), key=lambda one: one[1])
            worst_shift = max(worst_shift, (name, shift), key=lambda one: one[1])
        browser.close()
    yield Result(f"heaviest page: {worst_kb[0]}", worst_kb[1], "kB", GOAL_WEIGHT_KB, "", True, 1)
    yield Result(f"slowest paint: {worst_s[0]}", worst_s[1], "s", GOAL_PAINT_S, "", True, 2)
    yield Result(f"largest layout shift: {worst_shift[0]}", worst_shift[1], "", 0.1, "", True, 3)
    yield Result("pages that fetch Plotly again", uncached, "", 0, at_most=True)
