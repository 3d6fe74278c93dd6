"""The whole road: a router's event, over HTTP, through Celery, onto an open page."""

import json
import time
import urllib.request
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import add_member, create_user
from tests.conftest import Key, native_event
from tests.web import WebServer

PASSWORD = "correct horse battery"


def post(web: WebServer, key: Key, events: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{web.url}/api/v1/usage/events",
        json.dumps(events).encode(),
        {"Content-Type": "application/json", **key.headers},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return dict(json.load(answer))


def sign_in(page: Page, web: WebServer, tenant: TenantInfo) -> None:
    now = datetime.now(UTC)
    email = f"finance-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=email, password=PASSWORD, now=now)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role="viewer", now=now)
    page.goto(f"{web.url}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{web.url}/")


@pytest.mark.browser
def test_posted_event_shows_on_the_open_routing_page_within_5_seconds(
    page: Page, web: WebServer, worker: None, tenant: TenantInfo, key: Key
) -> None:
    post(web, key, native_event())
    sign_in(page, web, tenant)
    page.goto(f"{web.url}/routing")
    expect(page.get_by_role("rowheader", name="openai/gpt-4o-mini")).to_be_visible(timeout=15_000)
    page.evaluate("window.notReloaded = true")
    answer = post(web, key, native_event(provider="anthropic", model="claude-sonnet-4-5-20250929"))
    assert answer["accepted"] == 1
    started = time.monotonic()
    row = page.get_by_role("rowheader", name="anthropic/claude-sonnet-4-5")
    expect(row).to_be_visible(timeout=5_000)
    print(f"shown after {time.monotonic() - started:.1f} s")
    assert page.evaluate("window.notReloaded") is True


@pytest.mark.browser
def test_empty_tenant_is_told_how_to_send_its_first_event_and_sees_it_arrive(
    page: Page, web: WebServer, worker: None, tenant: TenantInfo, key: Key
) -> None:
    sign_in(page, web, tenant)
    expect(page.get_by_text("/api/v1/usage/events").first).to_be_visible()
    post(web, key, native_event())
    expect(page.get_by_text("Month to date").first).to_be_visible(timeout=30_000)


@pytest.mark.browser
def test_api_documentation_opens_in_a_browser(page: Page, web: WebServer) -> None:
    page.goto(f"{web.url}/api/docs")
    expect(page.get_by_text("/api/v1/usage/events").first).to_be_visible(timeout=15_000)
