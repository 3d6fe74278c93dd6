"""What only a browser can tell: figures drawn, themes, the phone, the keyboard, no trouble."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import add_member, create_user
from tests.conftest import native_event
from tests.web import WebServer

pytestmark = pytest.mark.browser
PAGES = [
    "/",
    "/models",
    "/customers",
    "/departments",
    "/routing",
    "/keys",
    "/pricing",
    "/charges",
    "/attribution",
]
PASSWORD = "correct horse battery"
COLOUR_OF_FIRST_BAR = """() => getComputedStyle(
    document.querySelector("#days-figure .bars .point path")).fill"""


@pytest.fixture
def signed_in(
    page: Page, web: WebServer, tenant: TenantInfo, post_events: Callable[..., Any]
) -> Page:
    """An admin's browser on the overview of a tenant with a little usage."""
    models = ["gpt-4o-mini", "gpt-4o", "gpt-4.1"]
    post_events([native_event(model=m, customer=f"c-{m}") for m in models for _ in range(4)])
    enter(page, web, tenant)
    return page


def enter(page: Page, web: WebServer, tenant: TenantInfo) -> None:
    """Sign a new admin in to the overview."""
    now, email = datetime.now(UTC), f"a-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=email, password=PASSWORD, now=now)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role="admin", now=now)
    page.goto(f"{web.url}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{web.url}/")


def test_every_figure_is_drawn_and_no_page_is_wider_than_its_screen(
    signed_in: Page, web: WebServer
) -> None:
    for width in (375, 1440):
        signed_in.set_viewport_size({"width": width, "height": 900})
        for address in PAGES:
            signed_in.goto(web.url + address)
            for figure in signed_in.locator("[data-figure]").all():
                expect(figure.locator("svg.main-svg").first).to_be_attached()
            wide = signed_in.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (address, width)


def test_the_theme_changes_figures_in_place_and_is_kept(signed_in: Page, web: WebServer) -> None:
    expect(signed_in.locator("#days-figure svg.main-svg").first).to_be_attached()
    signed_in.evaluate("window.notReloaded = true")
    ink = """() => getComputedStyle(document.querySelector("#days-figure .xtick text")).fill"""
    before = signed_in.evaluate(ink)
    signed_in.get_by_role("button", name="Dark").click()
    signed_in.wait_for_function(f"({ink})() !== {json.dumps(before)}")
    assert signed_in.evaluate("window.notReloaded") is True
    signed_in.goto(f"{web.url}/models")
    assert signed_in.evaluate("document.documentElement.dataset.theme") == "dark"


def test_a_colour_is_the_same_in_legend_and_bar(signed_in: Page) -> None:
    expect(signed_in.locator("#days-figure .bars .point path").first).to_be_attached()
    dot = signed_in.locator("#days-head .dot").first
    of_dot = dot.evaluate("element => getComputedStyle(element).backgroundColor")
    assert signed_in.evaluate(COLOUR_OF_FIRST_BAR) == of_dot


def test_moving_between_pages_needs_no_reload_and_keeps_the_back_button(
    signed_in: Page, web: WebServer
) -> None:
    signed_in.evaluate("window.notReloaded = true")
    rail = signed_in.get_by_role("navigation", name="Pages")
    rail.get_by_role("link", name="Routing").click()
    expect(signed_in).to_have_title("Routing · Costboard")
    expect(signed_in.locator("#pair-figure svg.main-svg").first).to_be_attached()
    assert signed_in.evaluate("window.notReloaded") is True
    assert signed_in.evaluate("document.activeElement.id") == "main"
    signed_in.go_back()
    expect(signed_in).to_have_title("Overview · Costboard")
    expect(signed_in.locator("#days-figure svg.main-svg").first).to_be_attached()


def test_the_keyboard_reaches_the_content_and_sorts_a_table(
    signed_in: Page, web: WebServer
) -> None:
    signed_in.goto(f"{web.url}/models")
    signed_in.keyboard.press("Tab")
    expect(signed_in.get_by_role("link", name="Skip to the figures")).to_be_focused()
    signed_in.keyboard.press("Enter")
    table = signed_in.get_by_role("region", name="Table of models")
    heading = table.get_by_role("columnheader", name="model", exact=True)
    heading.get_by_role("button").focus()
    signed_in.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    names = signed_in.locator("#models-table tbody th").all_inner_texts()
    assert names == sorted(names)


def test_the_phones_menu_opens_and_closes(signed_in: Page) -> None:
    signed_in.set_viewport_size({"width": 375, "height": 800})
    link = signed_in.get_by_role("link", name="Customers", exact=True)
    expect(link).to_be_hidden()
    signed_in.get_by_role("button", name="Menu").click()
    expect(link).to_be_visible()
    signed_in.keyboard.press("Escape")
    expect(link).to_be_hidden()
    signed_in.get_by_role("button", name="Menu").click()
    link.click()
    expect(signed_in).to_have_title("Customers · Costboard")
    expect(link).to_be_hidden()


def test_a_hidden_tab_asks_for_nothing(signed_in: Page, web: WebServer) -> None:
    signed_in.goto(f"{web.url}/routing")
    signed_in.wait_for_timeout(500)
    signed_in.evaluate("""() => {
        Object.defineProperty(document, "hidden", { value: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    asked: list[str] = []
    signed_in.on("request", lambda request: asked.append(request.url))
    signed_in.wait_for_timeout(4_500)
    assert asked == []


def test_a_key_is_made_shown_and_revoked_without_leaving_the_page(
    signed_in: Page, web: WebServer
) -> None:
    signed_in.goto(f"{web.url}/keys")
    signed_in.evaluate("window.notReloaded = true")
    signed_in.get_by_label("Name of the router").fill("gateway-9")
    signed_in.get_by_role("button", name="Make the key").click()
    expect(signed_in.locator("#new-secret")).to_contain_text("cb_")
    row = signed_in.get_by_role("row", name="gateway-9")
    row.locator("summary").click()
    row.get_by_role("button", name="Revoke for good").click()
    expect(signed_in.get_by_text("Revoked keys (1)")).to_be_visible()
    expect(signed_in.locator("#new-secret")).to_have_count(0)
    assert signed_in.evaluate("window.notReloaded") is True
