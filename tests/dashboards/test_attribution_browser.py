"""Attribution with a real browser, server and worker: a rule tried, usage assigned."""

import pytest
from playwright.sync_api import Page, expect

from apps.tenants.selectors import TenantInfo
from tests.conftest import Key
from tests.dashboards.test_attribution_page import filled
from tests.dashboards.test_browser import enter
from tests.web import WebServer

__all__ = ["filled"]
pytestmark = pytest.mark.browser


def test_the_main_flow_in_a_browser(
    tenant: TenantInfo, filled: Key, page: Page, web: WebServer, worker: None
) -> None:
    enter(page, web, tenant)
    page.goto(f"{web.url}/departments")
    page.get_by_role("link", name="what hides in it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Whose usage is it?")
    page.locator("#rule-attribute").fill("user")
    page.locator("#rule-value").fill("ann")
    page.locator("#rule-name").fill("research")
    expect(page.locator("#rule-preview")).to_contain_text("Would match 3 requests")
    page.get_by_role("button", name="Add the rule").click()
    expect(page.locator("#rules tbody")).to_contain_text("user = ann")
    page.get_by_role("link", name="assign user ann").click()
    expect(page.locator("#move-w_user")).to_have_value("ann")
    page.locator("#move-to_name").fill("research")
    page.locator("#move-reason").fill("she works there")
    page.get_by_role("button", name="Make the dry run").click()
    start = page.get_by_role("button", name="Start: move 3 charges")
    expect(start).to_be_visible(timeout=30_000)
    start.click()
    expect(page.get_by_label("Why take it back")).to_be_visible(timeout=30_000)
    expect(page.locator("#run")).to_contain_text("department research")
