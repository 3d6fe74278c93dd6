"""The pages about own hardware as a viewer sees them and an admin uses them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from playwright.sync_api import Page, expect

from apps.dashboards.hardware.forms import asset_form, has_errors, read_form, with_error
from apps.pricing.hardware_selectors import list_pools
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant, native_event
from tests.dashboards import test_browser
from tests.dashboards.test_pages import words
from tests.pricing.hardware.machine_room import add_local_rates, add_machine_room
from tests.web import WebServer

Post = Callable[..., dict[str, Any]]
SignIn = Callable[..., Client]
signed_in = test_browser.signed_in
TODAY = datetime(2026, 11, 1, tzinfo=UTC).date()
ASSET = {
    "form": "asset",
    "name": "second server",
    "purchase_price_usd": "12000",
    "salvage_value_usd": "0",
    "in_service": "2026-03-01",
    "life_months": "36",
    "method": "declining_balance",
    "lifetime_tokens": "",
    "loan_principal_usd": "12000",
    "loan_annual_rate": "6,5",
    "loan_term_months": "24",
}
PARTS = [
    ASSET,
    {
        "form": "node",
        "name": "n",
        "count": "2",
        "gpus": "8",
        "idle_watts": "300",
        "load_watts": "2200",
        "starts_on": "2026-01-01",
    },
    {
        "form": "tariff",
        "usd_per_kwh": "0.24",
        "pue": "1.3",
        "starts_on": "2026-01-01",
        "window_usd_per_kwh": "0.15",
        "window_starts": "22:00",
        "window_ends": "06:00",
        "window_days": "all",
    },
    {
        "form": "running_cost",
        "kind": "staff",
        "name": "engineer",
        "usd_per_month": "8000",
        "share": "5%",
        "starts_on": "2026-01-01",
    },
    {
        "form": "deployment",
        "backend": "local/llama-3-70b",
        "input_tokens_per_second": "10000",
        "output_tokens_per_second": "1000",
        "pool_share": "100",
        "basis": "allocated",
        "cached_input_weight": "10",
        "starts_on": "2026-01-01",
    },
]


@pytest.fixture
def pool_id(tenant: TenantInfo) -> int:
    return add_machine_room(tenant.id, zone="UTC")


@pytest.fixture
def local_usage(pool_id: int, post_events: Post) -> None:
    """Two hours ago: a quarter of an hour's capacity on own hardware; and a cloud model."""
    at = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    usage = {"input_tokens": 3_600_000, "output_tokens": 540_000}
    local = native_event(provider="local", model="llama-3-70b", usage=usage, timestamp=at)
    post_events([local, native_event(timestamp=at)])


def test_the_page_says_what_a_token_costs_on_both_bases(local_usage: None, sign_in: SignIn) -> None:
    html = sign_in("viewer").get("/hardware").content.decode()
    read = words(html)
    assert "What does our own hardware cost a token?" in read
    assert "goes to time that nobody used" in read
    for line in ("depreciation", "interest", "electricity", "maintenance", "hosting", "staff"):
        assert line in read
    assert "allocated" in read
    assert "24,000.00 USD, 4,000.00 after 48 months, straight line" in read
    assert "Requests are charged by own rates" in read
    assert "1 machine with 8 GPUs, 300 W idle, 2.20 k W under load" in read.replace("\u202f", " ")


def test_viewers_see_and_do_not_change(local_usage: None, pool_id: int, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    html = client.get("/hardware").content.decode()
    assert "<form" not in re.sub(r"<section class=\"rail\".*?</section>", "", html, flags=re.S)
    assert client.post("/hardware/add", ASSET | {"pool": pool_id}).status_code == 403
    assert client.post("/hardware/end", {"form": "asset", "part_id": 1}).status_code == 403


def test_an_admin_describes_hardware_from_nothing(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events(native_event(provider="local", model="llama-3-70b"))
    with tenant_scope(tenant.id):
        add_local_rates()
    client = sign_in("admin")
    assert "Describe your hardware" in client.get("/hardware").content.decode()
    added = client.post("/hardware/add", {"form": "pool", "name": "rack", "time_zone": "UTC"})
    assert (added.status_code, added["Location"]) == (302, "/hardware")
    with tenant_scope(tenant.id):
        pool = list_pools()[0].id
    for part in PARTS:
        answer = client.post("/hardware/add", part | {"pool": pool})
        assert answer.status_code == 302, words(answer.content.decode())
    with tenant_scope(tenant.id):
        (found,) = list_pools()
    assert found.assets[0].asset.loan is not None
    assert found.assets[0].asset.loan.annual_rate == Decimal("0.065")
    assert found.running_costs[0].cost.monthly_usd == 400
    assert found.deployments[0].throughput.cached_input_weight == Decimal("0.1")
    assert found.deployments[0].basis == "allocated"
    read = words(client.get("/hardware").content.decode())
    assert "0.15 from 22:00 to 06:00" in read
    ended = client.post(
        "/hardware/end",
        {"form": "asset", "part_id": found.assets[0].id, "ends_before": "2026-06-01"},
    )
    assert ended.status_code == 302
    assert "before 1 Jun 2026" in words(client.get("/hardware").content.decode())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": ""}, "This is needed."),
        ({"purchase_price_usd": "a lot"}, "This is not a number."),
        ({"in_service": "yesterday"}, "This is not a day such as"),
        ({"method": "magic"}, "Choose one of the list."),
        ({"salvage_value_usd": "13000"}, "Salvage 13000 USD is not from 0 to the price"),
        ({"loan_term_months": ""}, "A loan has an amount, interest and a term."),
        ({"name": "server"}, "Rack has an asset called"),
        ({"purchase_price_usd": "99999999999999"}, "no more than"),
    ],
)
def test_what_cannot_be_taken_comes_back_as_typed_with_the_reason(
    tenant: TenantInfo, pool_id: int, sign_in: SignIn, changes: dict[str, str], told: str
) -> None:
    answer = sign_in("admin").post("/hardware/add", ASSET | {"pool": pool_id} | changes)
    assert answer.status_code == 422
    html = answer.content.decode()
    assert told in words(html)
    assert 'value="36"' in html
    with tenant_scope(tenant.id):
        assert len(list_pools()[0].assets) == 1


@pytest.mark.parametrize(
    "ending",
    [
        {"form": "asset", "part_id": "999999999", "ends_before": "2026-06-01"},
        {"form": "asset", "part_id": "x", "ends_before": "2026-06-01"},
        {"form": "nothing", "part_id": "1", "ends_before": "2026-06-01"},
        {"form": "asset", "part_id": "1", "ends_before": "soon"},
    ],
)
def test_an_ending_that_cannot_be_says_so(
    pool_id: int, sign_in: SignIn, ending: dict[str, str]
) -> None:
    answer = sign_in("owner").post("/hardware/end", ending)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()


def test_an_unknown_form_is_not_found(pool_id: int, sign_in: SignIn) -> None:
    client = sign_in("admin")
    assert client.post("/hardware/add", {"form": "yacht", "pool": pool_id}).status_code == 404
    assert client.post("/hardware/add", ASSET | {"pool": "x"}).status_code == 404


def test_another_tenants_pool_cannot_be_added_to(
    pool_id: int, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    stranger = sign_in("admin", tenant_id=make_tenant().id)
    answer = stranger.post("/hardware/add", ASSET | {"pool": pool_id})
    assert answer.status_code == 422
    assert "24,000" not in words(stranger.get("/hardware").content.decode())


def test_the_comparison_says_when_it_pays(local_usage: None, sign_in: SignIn) -> None:
    html = sign_in("viewer").get("/hardware/comparison").content.decode()
    read = words(html)
    assert "When does our own hardware pay?" in read
    assert "gpt-4o-mini" in read
    assert re.search(r"never: |from \d+(\.\d)?% in use", read)
    assert '"kind": "curve"' in html


def test_pages_without_hardware_have_a_next_step(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    assert "No hardware is described yet" in client.get("/hardware").content.decode()
    assert "Nothing to compare yet" in client.get("/hardware/comparison").content.decode()


def test_statements_do_not_grow_with_usage(
    local_usage: None, sign_in: SignIn, post_events: Post
) -> None:
    client = sign_in("viewer")
    counts = []
    for hours in (3, 30):
        client.get("/hardware")
        with CaptureQueriesContext(connection) as captured:
            client.get("/hardware")
        counts.append(len(captured))
        at = datetime.now(UTC) - timedelta(hours=hours)
        post_events(
            [
                native_event(provider="local", model="llama-3-70b", timestamp=at.isoformat())
                for _ in range(5)
            ]
        )
    # One more where a process asks whether prices have changed: it does so once a second.
    assert counts[1] <= counts[0] + 1 < 40


def test_a_form_keeps_what_was_typed_and_marks_the_field() -> None:
    values, form = read_form(asset_form(TODAY), ASSET)
    assert not has_errors(form)
    assert values["loan_annual_rate"] == Decimal("0.065")
    assert values["lifetime_tokens"] is None
    marked = with_error(form, "the price is odd", "purchase_price_usd")
    assert [f.error for f in marked.fields if f.error] == ["The price is odd."]
    assert with_error(form, "it is odd", None).error == "It is odd."


@pytest.mark.browser
def test_the_curve_is_drawn_and_a_form_adds_without_leaving(
    local_usage: None, signed_in: Page, web: WebServer
) -> None:
    for width in (375, 1440):
        signed_in.set_viewport_size({"width": width, "height": 900})
        for address in ("/hardware", "/hardware/comparison"):
            signed_in.goto(web.url + address)
            for figure in signed_in.locator("[data-figure]").all():
                expect(figure.locator("svg.main-svg").first).to_be_attached()
            wide = signed_in.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (address, width)
    signed_in.goto(f"{web.url}/hardware")
    signed_in.locator("summary", has_text="Add an asset").click()
    form = signed_in.locator("form.part-form", has_text="Purchase price")
    form.get_by_label("Name").fill("spare server")
    form.get_by_label("Purchase price").fill("5000")
    form.get_by_role("button", name="Add the asset").click()
    expect(signed_in.get_by_role("row", name="spare server")).to_be_visible()
    assert signed_in.url == f"{web.url}/hardware"
