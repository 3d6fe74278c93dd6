"""Anomalies in a real browser: opened and answered by keyboard, on a phone and on a desk."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from apps.tenants.scoping import tenant_scope
from apps.tenants.services import add_member, create_customer, create_user
from tests.conftest import Key
from tests.insights.spend_history import HOUR, runaway_hour, spend, this_hour, usual_hours, watch
from tests.web import WebServer

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"
WIDTHS = (1440, 375)


@pytest.fixture
def signed_in(page: Page, web: WebServer, key: Key) -> Page:
    """An admin's browser; a loop of customer Acme Air ran away, and was found."""
    tenant_id, now, bad = key.identity.tenant_id, datetime.now(UTC), this_hour() - 3 * HOUR
    email = f"a-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=email, password=PASSWORD, now=now)
    with tenant_scope(tenant_id):
        add_member(user_id=user_id, role="admin", now=now)
        create_customer(external_id="acme", name="Acme Air", tier="standard", now=now)
    spend(key.identity, [*usual_hours(bad - 23 * 24 * HOUR, 23 * 24 + 2), *runaway_hour(bad)])
    watch(tenant_id, bad + HOUR + timedelta(minutes=11))
    page.goto(f"{web.url}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{web.url}/")
    return page


def press(page: Page, name: str) -> None:
    """A button, by keyboard."""
    button = page.get_by_role("button", name=name, exact=True)
    button.focus()
    page.keyboard.press("Enter")


def test_a_finding_is_opened_and_answered_by_keyboard(signed_in: Page, web: WebServer) -> None:
    page = signed_in
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for address in ("/anomalies", "/forecasts", "/alerts/log"):
            page.goto(web.url + address)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (address, width)
        page.goto(f"{web.url}/anomalies")
        link = page.locator(".findings a").first
        # People know customers by their names.
        expect(link).to_contain_text("Acme Air")
        link.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("Why did")
        expect(page.locator("#hours-figure svg.main-svg").first).to_be_attached()
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, ("finding", width)

    page.get_by_label("Comment").focus()
    page.keyboard.type("The agent retries for ever.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".comments")).to_contain_text("The agent retries for ever.")
    page.get_by_label("for", exact=True).select_option("24")
    press(page, "Snooze")
    expect(page.get_by_role("status")).to_contain_text("Snoozed for a day")
    press(page, "I look after it")
    expect(page.get_by_role("status")).to_contain_text("You look after it")
    press(page, "It was to be expected")
    expect(page.get_by_role("status")).to_contain_text("a little more to stand out")

    page.goto(f"{web.url}/anomalies")
    row = page.locator("#sensitivities tbody tr").first
    expect(row.locator("td").nth(3)).to_have_text("1")  # to be expected
    page.locator("summary", has_text="What is worth a finding").focus()
    page.keyboard.press("Enter")
    page.get_by_label("When spend runs away").select_option("suspend")
    press(page, "Save")
    expect(page.get_by_role("status")).to_contain_text("Saved")
