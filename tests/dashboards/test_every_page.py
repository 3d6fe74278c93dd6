"""Every page of the URL list in a real browser: nothing inaccessible, nothing amiss.

axe-core finds no serious or critical violation, the console no error (CSP reports are errors),
no request fails, and no page is wider than its screen. In the quick suite each page is seen dark
on a phone and light on a desk; with COSTBOARD_ALL_LOOKS=1 (make looks) in both themes on both.
"""

import os
import re
from collections.abc import Iterator
from itertools import product
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from playwright.sync_api import Browser, Page

from tests.dashboards.furnished import Furnished, furnish
from tests.dashboards.page_list import SIGNED_OUT
from tests.web import WebServer

pytestmark = pytest.mark.browser

QUICK: Final = (("dark", 375), ("light", 1440))
LOOKS: Final = (
    tuple(product(("light", "dark"), (375, 1440)))
    if os.environ.get("COSTBOARD_ALL_LOOKS")
    else QUICK
)
GRAVE: Final = ("serious", "critical")
# Figures are there, or there are none to draw.
DRAWN: Final = """() => [...document.querySelectorAll("[data-figure]")]
    .every((figure) => figure.querySelector("svg.main-svg") || !figure.clientWidth)"""

OF_A_PROGRAM = r".{60}(Decimal\(|datetime\.|<\w+ object).{60}"


@pytest.fixture(scope="module")
def furnished(django_db_setup: None, django_db_blocker: Any) -> Iterator[Furnished]:
    with django_db_blocker.unblock():
        yield furnish()


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_every_page_is_accessible_and_clean(
    browser: Browser, web: WebServer, furnished: Furnished, theme: Any, width: int
) -> None:
    context = browser.new_context(
        locale="en",
        color_scheme=theme,
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",
    )
    troubles: list[str] = []
    # Of an idle machine's time; a busy one takes ten times as long.
    context.set_default_timeout(120_000)
    try:
        page = context.new_page()
        listen(page, troubles)
        session = {"name": settings.SESSION_COOKIE_NAME, "value": furnished.cookie, "url": web.url}
        for name, addresses in furnished.addresses.items():
            context.clear_cookies()
            if name not in SIGNED_OUT:
                context.add_cookies([session])  # type: ignore[list-item]
            for address in addresses:
                look_at(page, web.url + address, width, troubles)
    finally:
        context.close()
    assert len(furnished.addresses) > 25
    assert not troubles, "\n".join(troubles)


def listen(page: Page, troubles: list[str]) -> None:
    def told(what: str) -> None:
        troubles.append(f"{page.url}: {what}")

    page.on("console", lambda said: told(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: told(str(error)))
    # A poll that is under way when the page is left is given up, by the browser: no failure.
    page.on(
        "requestfailed",
        lambda request: (
            told(f"{request.url} {request.failure}")
            if request.failure != "net::ERR_ABORTED"
            else None
        ),
    )
    page.on("response", lambda answer: told(answer.url) if answer.status >= 400 else None)


def look_at(page: Page, url: str, width: int, troubles: list[str]) -> None:
    page.goto(url)
    page.wait_for_function(DRAWN)
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        troubles.append(f"{url}: {wide} px wide on a screen of {width}")
    # What only a program would say: an object where its figure was meant.
    if said := re.search(
        r".{60}(Decimal\(|datetime\.|<\w+ object).{60}", page.content(), re.DOTALL
    ):
        troubles.append(f"{url}: {said.group()!r}")
    found = Axe().run(page).response["violations"]
    troubles += [
        f"{url}: {one['impact']} {one['id']}: {node['html'][:300]}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"][:4]
    ]
