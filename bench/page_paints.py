"""Pages in Chromium with a slow CPU: how heavy they are, and when their largest thing stands.

Each is visited twice in a browser of its own: with nothing cached, then with what the first visit
left. Plotly's file is left out of the weight; it must not block a page's first sight, and must come
from the cache the second time.
"""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from bench.results import Result, tell

GOAL_WEIGHT_KB: Final = 200.0
GOAL_PAINT_S: Final = 1.5
GOAL_SHIFT: Final = 0.1
SLOWER: Final = 4
# A page that is too slow is looked at so often, as long as there is time; the middle one counts.
LOOKS: Final = 3
TIME_FOR_MORE_S: Final = 600
# No page is begun later than this.
TIME_S: Final = 1_800
PATIENCE_S: Final = 60

# Figures are there, or there are none to draw.
DRAWN: Final = """() => [...document.querySelectorAll("[data-figure]")]
    .every((figure) => figure.querySelector("svg.main-svg") || !figure.clientWidth)"""
SEEN: Final = """() => new Promise((resolve) => {
    let paint_ms = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) paint_ms = entry.startTime;
    }).observe({ type: "largest-contentful-paint", buffered: true });
    let shift = 0;
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
    const plotly = performance.getEntriesByType("resource")
        .find((entry) => entry.name.includes("plotly"));
    const fetched = plotly ? plotly.transferSize > 0 : false;
    const blocks = plotly ? plotly.renderBlockingStatus !== "non-blocking" : false;
    setTimeout(() => resolve({ paint_ms, shift, fetched, blocks }), 400);
})"""


@dataclass(frozen=True, slots=True)
class Sight:
    """One visit. `fetched` and `blocks` are of Plotly's file."""

    paint_s: float
    weight_kb: float
    shift: float
    fetched: bool
    blocks: bool


def painted(base: str, pages: Mapping[str, str]) -> Iterator[Result]:
    """`pages`: address -> the session's cookie, empty for whoever is signed out."""
    from playwright.sync_api import sync_playwright

    tell(f"looking at {len(pages)} pages in Chromium")
    cold: dict[str, Sight] = {}
    warm: dict[str, Sight] = {}
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        started = time.monotonic()
        for page, cookie in pages.items():
            if time.monotonic() - started > TIME_S:
                break
            looks = [_look(browser, base, page, cookie)]
            while _is_slow(looks[-1]) and len(looks) < LOOKS:
                if time.monotonic() - started > TIME_FOR_MORE_S:
                    break
                looks.append(_look(browser, base, page, cookie))
            cold[page], warm[page] = (_middle([look[visit] for look in looks]) for visit in (0, 1))
        browser.close()
    yield Result("pages and questions seen in Chromium", len(cold), "", len(pages))
    yield from _worst("heaviest", {p: s.weight_kb for p, s in cold.items()}, "kB", GOAL_WEIGHT_KB)
    for name, sights in (("nothing cached", cold), ("cached", warm)):
        paints = {page: sight.paint_s for page, sight in sights.items()}
        yield Result(f"largest paint, {name}, median", median(paints.values()), "s", digits=2)
        yield from _worst(f"slowest paint, {name}", paints, "s", GOAL_PAINT_S, 2)
    shifts = {page: max(sight.shift, warm[page].shift) for page, sight in cold.items()}
    yield from _worst("largest layout shift", shifts, "", GOAL_SHIFT, 3)
    blocked = sum(sight.blocks for sight in (*cold.values(), *warm.values()))
    yield Result("visits that Plotly's file blocks", blocked, "", 0, at_most=True)
    fetched = sum(sight.fetched for sight in cold.values())
    yield Result("pages that fetch Plotly's file, nothing cached", fetched, "")
    again = sum(sight.fetched for sight in warm.values())
    yield Result("pages that fetch Plotly's file again", again, "", 0, at_most=True)


def _worst(
    name: str, figures: Mapping[str, float], unit: str, goal: float, digits: int = 1
) -> Iterator[Result]:
    """The worst page, and every other that is over."""
    ordered = sorted(figures, key=lambda page: -figures[page])
    for page in ordered[:1] + [page for page in ordered[1:] if figures[page] > goal]:
        yield Result(f"{name}: {page}", figures[page], unit, goal, "", True, digits)


def _is_slow(look: tuple[Sight, Sight]) -> bool:
    return max(sight.paint_s for sight in look) > GOAL_PAINT_S


def _middle(sights: list[Sight]) -> Sight:
    return sorted(sights, key=lambda sight: sight.paint_s)[len(sights) // 2]


def _look(browser: Any, base: str, path: str, cookie: str) -> tuple[Sight, Sight]:
    """With an empty cache, then with what that left in it."""
    from django.conf import settings

    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_S * 1000)
    if cookie:
        session = {"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": base}
        context.add_cookies([session])
    page = context.new_page()
    protocol = context.new_cdp_session(page)
    protocol.send("Network.enable")
    protocol.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    addresses: dict[str, str] = {}
    sizes: dict[str, float] = {}
    protocol.on(
        "Network.requestWillBeSent",
        lambda sent: addresses.update({sent["requestId"]: sent["request"]["url"]}),
    )
    protocol.on(
        "Network.loadingFinished",
        lambda done: sizes.update({done["requestId"]: done["encodedDataLength"]}),
    )

    def visit() -> Sight:
        addresses.clear()
        sizes.clear()
        page.goto(base + path, wait_until="load")
        page.wait_for_function(DRAWN)
        seen = page.evaluate(SEEN)
        weight = sum(n for key, n in sizes.items() if "plotly" not in addresses.get(key, ""))
        return Sight(
            seen["paint_ms"] / 1000, weight / 1000, seen["shift"], seen["fetched"], seen["blocks"]
        )

    try:
        first, second = visit(), visit()
    except Exception as error:
        sys.exit(f"{path} in Chromium: {error}")
    finally:
        context.close()
    return first, second
