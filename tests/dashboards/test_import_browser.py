"""The import page in a browser: a real upload, columns by keyboard, a live dry run and run."""

import os
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import add_member, create_user
from tests.usage.imports.tables import a_row, as_csv, charges_of
from tests.web import WebServer

pytestmark = pytest.mark.browser
PASSWORD = "correct horse battery"


@pytest.fixture
def admin(page: Page, web: WebServer, tenant: TenantInfo) -> Page:
    now, email = datetime.now(UTC), f"i-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=email, password=PASSWORD, now=now)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role="admin", now=now)
    page.goto(f"{web.url}/login?next=/import")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{web.url}/import")
    return page


def look(page: Page, name: str) -> None:
    """A picture for a person, where one is asked for; and never wider than the screen."""
    for width, scheme in ((1440, "light"), (375, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
        if folder := os.environ.get("COSTBOARD_PICTURES"):
            page.screenshot(path=f"{folder}/{name}-{width}-{scheme}.png", full_page=True)
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_file_is_uploaded_mapped_tried_and_imported(
    admin: Page, tenant: TenantInfo, worker: None, tmp_path: Path
) -> None:
    rows = [a_row(n, request_body="x" * 300) for n in range(12_000)]
    rows = [{("llm" if k == "model" else k): v for k, v in row.items()} for row in rows]
    rows[7]["output_tokens"] = "1,5"
    path = tmp_path / "last-year.csv"
    path.write_bytes(as_csv(rows))
    look(admin, "empty")
    admin.get_by_label("File", exact=True).set_input_files(path)
    admin.get_by_role("button", name="Upload").click()
    expect(admin.get_by_role("heading", name="last-year.csv")).to_be_visible()
    model = admin.get_by_label("llm", exact=True)
    expect(model).to_have_value("")
    look(admin, "columns")
    model.focus()
    admin.keyboard.type("model")
    expect(model).to_have_value("model")
    admin.get_by_role("button", name="Make the dry run").press("Enter")
    added = admin.get_by_role("heading", name="last-year.csv would add 11,999 charges, 2.70 USD")
    expect(added).to_be_visible(timeout=60_000)
    expect(admin.get_by_text("Comma in number in output_tokens")).to_be_visible()
    look(admin, "dry-run")
    admin.get_by_role("button", name="Import 11,999 rows").press("Enter")
    done = admin.get_by_role("heading", name="last-year.csv added 11,999 charges, 2.70 USD")
    expect(done).to_be_visible(timeout=60_000)
    look(admin, "done")
    assert len(charges_of(tenant)) == 11_999
    with admin.expect_download() as download:
        admin.get_by_role("link", name="All rejected rows as CSV").click()
    assert download.value.path().read_text().splitlines()[1].startswith("8,output_tokens,comma")
    admin.get_by_role("link", name="See the charges").click()
    expect(admin.locator(".charge-list tbody tr").first).to_be_visible(timeout=60_000)
