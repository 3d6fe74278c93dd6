"""The journeys of docs/journeys.md, walked in a browser by keyboard alone."""

import json
import re
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from playwright.sync_api import Locator, Page, expect

from apps.routing.opportunities import recompute
from apps.routing.opportunity_actions import measure_accepted
from apps.tenants.contracts import set_contract
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.tenants.services import add_member, create_customer, create_department, create_user
from tests.conftest import Key, native_event, roll_up
from tests.insights.spend_history import HOUR, OPUS, request_at, spend
from tests.web import WebServer

pytestmark = pytest.mark.browser
PASSWORD: Final = "correct horse battery"
# More stops than any page has: what is not reached by then cannot be.
MOST_STOPS: Final = 250
HAS_FOCUS: Final = "element => element === document.activeElement"
TODAY: Final = datetime.now(UTC)
LAST_MONTH: Final = TODAY.replace(day=1) - timedelta(days=1)


def walk_to(page: Page, wanted: Locator) -> None:
    """Tab until this has the focus."""
    target = wanted.first
    expect(target).to_be_attached()
    for _ in range(MOST_STOPS):
        if target.evaluate(HAS_FOCUS):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no Tab reaches {wanted}")


def press(page: Page, wanted: Locator) -> None:
    walk_to(page, wanted)
    page.keyboard.press("Enter")


def enter(page: Page, web: WebServer, tenant: TenantInfo, role: str = "admin") -> None:
    """Sign in by keyboard: the address has the focus."""
    email = f"{role}-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=email, password=PASSWORD, now=TODAY)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role=role, now=TODAY)
    # Of an idle machine's time; a busy one takes ten times as long.
    page.set_default_timeout(120_000)
    page.goto(f"{web.url}/login")
    walk_to(page, page.get_by_label("E-mail"))
    page.keyboard.type(email)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{web.url}/", wait_until="commit")


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    expect.set_options(timeout=60_000)
    yield
    expect.set_options(timeout=5_000)


def rail(page: Page, name: str) -> Locator:
    return page.get_by_role("navigation", name="Pages").get_by_role("link", name=name, exact=True)


@pytest.fixture
def spending(tenant: TenantInfo, post_events: Callable[..., Any]) -> TenantInfo:
    """Twice as much this month as in the last; Acme brings less than it costs, Umbra more."""
    with tenant_scope(tenant.id):
        create_department(code="support", name="Support", now=TODAY)
        for one in ("Acme", "Umbra"):
            create_customer(external_id=one.lower(), name=one, tier="premium", now=TODAY)
        set_contract(
            customer="umbra",
            usd_per_month=Decimal(100),
            starts_on=LAST_MONTH.date().replace(day=1),
            actor="test",
            now=TODAY,
        )
    before = LAST_MONTH.replace(day=1, hour=0, minute=30).isoformat()
    events = [
        native_event(customer=customer, department="support", revenue="0.0001", timestamp=at)
        for customer in ("acme", "umbra")
        for at in (before, TODAY.isoformat(), TODAY.isoformat())
    ]
    post_events(events)
    return tenant


def test_first_event(page: Page, web: WebServer, tenant: TenantInfo) -> None:
    enter(page, web, tenant)
    press(page, page.get_by_role("button", name="Create a key and show the line"))
    line = page.locator("#first-line")
    expect(line).to_contain_text("Bearer cb_")
    secret = re.search(r"Bearer (cb_[\w-]+)", line.inner_text())
    assert secret is not None
    request = urllib.request.Request(
        f"{web.url}/api/v1/usage/events",
        json.dumps(native_event()).encode(),
        {"Authorization": f"Bearer {secret[1]}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["accepted"] == 1
    roll_up(tenant.id)
    expect(page.get_by_text("It arrived.")).to_be_visible()
    press(page, page.get_by_role("link", name="See the overview"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Where did the money go?")
    expect(page.locator("#answer")).to_contain_text("0.000225 USD")


def test_why_did_spend_rise(page: Page, web: WebServer, spending: TenantInfo) -> None:
    enter(page, web, spending, "viewer")
    press(page, page.get_by_role("link", name="By model, customer and department"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Why did spend change?")
    press(page, page.locator("#why-table tbody th a"))
    narrowed = page.get_by_role("navigation", name="Narrowed to")
    expect(narrowed).to_contain_text("gpt-4o-mini-2024-07-18")


def test_who_costs_us_money(page: Page, web: WebServer, spending: TenantInfo) -> None:
    enter(page, web, spending, "viewer")
    press(page, rail(page, "Customers"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("who costs us?")
    expect(page.locator("#margins-title")).to_have_text("Acme costs more than it brings")
    press(page, page.locator("#customers-table tbody th a"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Is Acme worth what it costs?")
    press(page, page.get_by_role("link", name="every charge"))
    expect(page).to_have_title("Charges · Costboard")


def test_set_a_department_budget_and_see_it_burn(
    page: Page, web: WebServer, spending: TenantInfo
) -> None:
    enter(page, web, spending)
    press(page, rail(page, "Budgets"))
    press(page, page.get_by_role("main").get_by_role("link", name="Departments", exact=True))
    walk_to(page, page.get_by_label("Monthly budget of Support, USD"))
    page.keyboard.type("0.0018")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("1 budget set")
    press(page, rail(page, "Departments"))
    row = page.locator("#departments-table tbody tr").first
    # Four calls of 0.000225 of 0.0018: half is left.
    expect(row).to_contain_text("0.00180")
    expect(row).to_contain_text("0.000900")
    press(page, row.get_by_role("link", name="The budget of Support"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("Support")


@pytest.fixture
def wasteful(key: Key) -> TenantInfo:
    """A week of summaries on the dearest model; a cheap one made some, as well."""
    start = TODAY - timedelta(days=8)
    spend(key.identity, [e for n in range(120) for e in summaries(start + n * HOUR)])
    recompute(key.identity.tenant_id, now=TODAY)
    with tenant_scope(key.identity.tenant_id):
        return get_tenant()


def summaries(at: datetime, dear: dict[str, str] = OPUS) -> list[dict[str, Any]]:
    models = (dear, {"provider": "openai", "model": "gpt-5-mini"}, dear)
    return [
        request_at(at + timedelta(minutes=n), f"s{n}", task="summarise", **model)
        for n, model in enumerate(models)
    ]


def test_accept_an_opportunity(page: Page, web: WebServer, key: Key, wasteful: TenantInfo) -> None:
    enter(page, web, wasteful)
    press(page, rail(page, "Opportunities"))
    expect(page.get_by_role("heading", level=1)).to_have_text("What could be saved?")
    press(page, page.get_by_role("button", name=re.compile("Accept ?: Move summarise work off")))
    expect(page.get_by_role("status").first).to_contain_text("Accepted.")
    row = page.get_by_role("region", name="Accepted opportunities").locator("tbody tr")
    expect(row).to_have_count(1)
    # Nothing was measured yet: that is not zero.
    expect(row.locator("td").nth(3)).to_have_text("—")
    press(page, page.get_by_role("link", name="Routing, Policy"))
    in_force = page.get_by_role("region", name="Overrides").locator("tbody tr")
    expect(in_force).to_contain_text("claude-3-opus")
    expect(in_force).to_contain_text("Opportunity")
    # From then on the same work runs elsewhere.
    after = datetime.now(UTC) + timedelta(minutes=1)
    cheap = {"provider": "openai", "model": "gpt-5-mini"}
    spend(key.identity, summaries(after, dear=cheap))
    measure_accepted(wasteful.id, now=after + 2 * HOUR)
    press(page, rail(page, "Opportunities"))
    expect(page.locator("#accepted-title")).to_contain_text("have saved 0.5")
    promised, saved = (row.locator("td").nth(n).locator("data") for n in (2, 3))
    assert Decimal(promised.get_attribute("value") or 0) > 0
    # Two calls of about 0.3 USD went where one costs a hundredth.
    assert Decimal("0.5") < Decimal(saved.get_attribute("value") or 0) < Decimal("0.7")


def test_close_the_month(page: Page, web: WebServer, spending: TenantInfo) -> None:
    enter(page, web, spending)
    press(page, rail(page, "Budgets"))
    press(page, page.get_by_role("main").get_by_role("link", name="Statements", exact=True))
    expect(page.get_by_role("heading", level=1)).to_have_text("Who is charged what?")
    walk_to(page, page.locator("#close-reason"))
    page.keyboard.type("reported")
    press(page, page.get_by_role("button", name="Close it for good"))
    expect(page.get_by_role("status").first).to_be_visible()
    walk_to(page, page.get_by_role("link", name="As a workbook"))
