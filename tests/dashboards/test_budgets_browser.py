"""Budgets in a real browser: drawn, set in place, imported, without trouble on either screen."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import add_member, create_user
from tests.budgets.asks import make_budget
from tests.conftest import native_event
from tests.web import WebServer

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"


@pytest.fixture
def signed_in(
    page: Page, web: WebServer, tenant: TenantInfo, post_events: Callable[..., Any]
) -> Page:
    """An admin's browser; a department has spent on some days."""
    now, email = datetime.now(UTC), f"a-{uuid.uuid4().hex[:8]}@example.org"
    days = [now - timedelta(days=n) for n in range(20)]
    post_events([native_event(department="support", timestamp=d.isoformat()) for d in days])
    user_id = create_user(email=email, password=PASSWORD, now=now)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role="admin", now=now)
    page.goto(f"{web.url}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{web.url}/")
    return page


def test_budgets_are_drawn_and_no_page_is_wider_than_its_screen(
    signed_in: Page, web: WebServer, tenant: TenantInfo
) -> None:
    budget_id = make_budget(tenant.id, "0.001", period="year", on_limit="notify")
    make_budget(tenant.id, "9", scope={"department": "support"}, period="quarter")
    for width in (375, 1440):
        signed_in.set_viewport_size({"width": width, "height": 900})
        for address in (
            "/budgets",
            f"/budgets/{budget_id}",
            "/budgets/departments",
            "/budgets/statements",
            "/budgets/statements?payer=customer",
        ):
            signed_in.goto(web.url + address)
            for figure in signed_in.locator("[data-figure]").all():
                expect(figure.locator("svg.main-svg").first).to_be_attached()
            wide = signed_in.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (address, width)
    signed_in.goto(f"{web.url}/budgets")
    assert signed_in.locator("[data-figure]").count() == 2


def test_a_budget_is_added_in_place_and_opened(signed_in: Page, web: WebServer) -> None:
    signed_in.goto(f"{web.url}/budgets")
    signed_in.get_by_label("Amount").fill("100")
    signed_in.get_by_label("It covers").select_option("department")
    signed_in.locator("#new-scope_value").fill("support")
    signed_in.get_by_role("button", name="Add the budget").click()
    expect(signed_in.get_by_role("status").first).to_contain_text("The budget stands")
    signed_in.get_by_role("link", name="See how it goes").click()
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("department support")


def test_a_department_budget_is_set_by_keyboard_and_by_a_sheet(
    signed_in: Page, web: WebServer
) -> None:
    signed_in.goto(f"{web.url}/budgets/departments")
    signed_in.get_by_label("Monthly budget of support, USD").fill("12.5")
    signed_in.keyboard.press("Enter")
    expect(signed_in.get_by_role("status").first).to_contain_text("1 budget set")
    sheet = b"department,amount_usd\nsupport,20\nmars,1\n"
    signed_in.get_by_label("A CSV file").set_input_files(
        {"name": "b.csv", "mimeType": "text/csv", "buffer": sheet}
    )
    signed_in.get_by_role("button", name="a dry run").click()
    expect(signed_in.locator("#plan-title")).to_contain_text("1 line would change a budget")
    signed_in.get_by_role("button", name="Set 1 budget").click()
    expect(signed_in.get_by_role("status").first).to_contain_text("1 budget set")
    expect(signed_in.get_by_label("Monthly budget of support, USD")).to_have_value("20")


def test_what_is_printed_has_no_buttons(signed_in: Page, web: WebServer) -> None:
    signed_in.goto(f"{web.url}/budgets/statements")
    signed_in.get_by_role("link", name="support").first.click()
    expect(signed_in.get_by_role("heading", level=1)).to_contain_text("support")
    signed_in.emulate_media(media="print")
    assert signed_in.locator(".button:visible").count() == 0
    expect(signed_in.locator(".statement")).to_be_visible()
