"""The explorer by keyboard alone: group, narrow, look at charges, keep the view, take the file."""

from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dashboards.test_browser import signed_in
from tests.web import WebServer

__all__ = ["signed_in"]
pytestmark = pytest.mark.browser
MOST_TABS = 80


def tab_to(page: Page, wanted: Locator) -> None:
    for _ in range(MOST_TABS):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by {MOST_TABS} tabs")


def test_a_question_is_answered_kept_and_taken_home_by_keyboard(
    signed_in: Page, web: WebServer
) -> None:
    page = signed_in
    page.goto(f"{web.url}/explorer")
    page.evaluate("window.notReloaded = true")
    expect(page.locator("#explorer-figure svg.main-svg").first).to_be_attached()

    tab_to(page, page.get_by_label("by", exact=True))
    page.keyboard.type("Customer")
    expect(page.locator("#explorer-table tbody th")).to_have_text(
        ["c-gpt-4o", "c-gpt-4.1", "c-gpt-4o-mini"], ignore_case=True
    )
    assert page.url.endswith("/explorer?group_by=customer")
    assert page.evaluate("document.activeElement.id") == "x-by"

    tab_to(page, page.get_by_label("Narrow to a"))
    page.keyboard.type("Customer")
    values = page.get_by_label("called")
    expect(values.locator("option")).to_have_count(3)
    tab_to(page, values)
    page.keyboard.type("c-gpt-4o-m")
    tab_to(page, page.get_by_role("button", name="Narrow"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Customer: c-gpt-4o-mini, remove")).to_be_visible()
    expect(page.locator("#explorer-table tbody tr")).to_have_count(1)
    assert page.evaluate("window.notReloaded") is True

    tab_to(page, page.get_by_role("link", name="Charges of c-gpt-4o-mini"))
    page.keyboard.press("Enter")
    expect(page).to_have_title("Charges · Costboard")
    expect(page.locator(".charge-list tbody tr")).to_have_count(4)
    page.go_back()
    expect(page).to_have_title("Explorer · Costboard")

    tab_to(page, page.get_by_role("link", name="CSV"))
    with page.expect_download() as taken:
        page.keyboard.press("Enter")
    assert taken.value.suggested_filename == "cost_usd-by-customer.csv"
    assert Path(taken.value.path()).read_text().count("c-gpt-4o-mini") == 1

    tab_to(page, page.get_by_label("Keep what is shown as"))
    page.keyboard.type("The small one")
    page.keyboard.press("Enter")
    kept = page.get_by_role("link", name="The small one")
    tab_to(page, kept)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Customer: c-gpt-4o-mini, remove")).to_be_visible()


def test_the_explorer_fits_a_phone(signed_in: Page, web: WebServer) -> None:
    signed_in.set_viewport_size({"width": 375, "height": 800})
    for address in ("/explorer", "/explorer?interval=none&group_by=customer,model", "/why"):
        signed_in.goto(web.url + address)
        wide = signed_in.evaluate("document.documentElement.scrollWidth")
        assert wide <= 375, address
