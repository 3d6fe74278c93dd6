"""The pages as a member gets them, from events that went through ingest and rollup."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_customer, create_department
from tests.conftest import MakeTenant, make_key, native_event, roll_up

PAGES = ["/", "/models", "/customers", "/departments", "/routing"]
Post = Callable[..., dict[str, Any]]
SignIn = Callable[..., Client]


def page(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    """What is read: no tags, one space between words."""
    html = re.sub(r"<script.*?</script>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.fixture
def usage(tenant: TenantInfo, post_events: Post) -> None:
    """Two customers on two models, one of them dear."""
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        create_customer(external_id="acme", name="Acme & Sons", tier="premium", now=now)
        create_department(code="support", name="Support", now=now)
    events = [native_event(customer="acme", department="support") for _ in range(3)]
    events.append(
        native_event(
            provider="anthropic",
            model="claude-3-opus-20240229",
            customer="globex",
            usage={"input_tokens": 10_000, "output_tokens": 2_000},
        )
    )
    post_events(events)


@pytest.mark.parametrize("address", PAGES)
def test_every_page_opens_for_a_viewer(usage: None, sign_in: SignIn, address: str) -> None:
    html = page(sign_in("viewer"), address)
    assert "gpt-4o-mini" in html
    assert "claude-3-opus" in html


@pytest.mark.parametrize("address", PAGES)
@pytest.mark.parametrize("period", ["last-month", "7d", "30d", "90d", "nonsense"])
def test_every_page_opens_for_every_period(
    usage: None, sign_in: SignIn, address: str, period: str
) -> None:
    page(sign_in("viewer"), f"{address}?period={period}")


@pytest.mark.parametrize("window", ["15m", "hour", "day", "week", "month", "nonsense"])
def test_routing_opens_for_every_window(usage: None, sign_in: SignIn, window: str) -> None:
    html = page(sign_in("viewer"), f"/routing?window={window}")
    assert "75% of requests" in html
    assert "0.2% of spend" in html


def test_the_openai_call_costs_what_it_costs(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events(native_event())
    client = sign_in("viewer")
    assert 'title="0.000225 USD">0.000225</data>' in page(client, "/models")
    assert "all of spend" in page(client, "/")


def test_money_on_the_customers_page_is_the_sum_over_models(usage: None, sign_in: SignIn) -> None:
    html = page(sign_in("viewer"), "/customers")
    assert "Acme &amp; Sons" in html
    assert "premium" in html
    # Three calls of 0.000225; 10,000 in at 15 and 2,000 out at 75 USD a million.
    assert 'title="0.000675 USD"' in html
    assert 'title="0.30 USD"' in html
    assert 'title="0.300675 USD"' in html


def test_unpriced_requests_are_shown_and_not_counted_as_free(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events([native_event(), native_event(provider="nobody", model="unheard-of-1")])
    client = sign_in("viewer")
    assert "1 request has no price yet" in words(page(client, "/"))
    row = re.search(r"unheard-of-1</a>.*?</tr>", page(client, "/models"), re.DOTALL)
    assert row is not None
    cells = [words(cell).strip() for cell in re.findall(r"<td.*?</td>", row[0], re.DOTALL)]
    cost, share, _, requests, _, per_mtok, per_request, _, saved, unpriced = cells
    assert (cost, share, per_mtok, per_request, saved) == ("—", "—", "—", "—", "—")
    assert (requests, unpriced) == ("1", "1")


def test_a_filter_narrows_the_page_and_can_be_taken_away(usage: None, sign_in: SignIn) -> None:
    html = page(sign_in("viewer"), "/models?customer=acme")
    assert "Customer: Acme &amp; Sons" in html
    assert "claude-3-opus" not in html
    assert 'href="/models"' in html


def test_a_filter_that_matches_nothing_says_so(usage: None, sign_in: SignIn) -> None:
    assert "Show everything" in page(sign_in("viewer"), "/models?customer=nobody")


def test_unattributed_usage_can_be_asked_for(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events([native_event(), native_event(customer="acme", model="gpt-4o-2024-08-06")])
    html = page(sign_in("viewer"), "/models?customer=")
    assert "gpt-4o-mini" in html
    assert "gpt-4o-2024" not in html


def test_names_from_events_are_never_markup(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events(native_event(customer="<script>alert(1)</script>", department="</script><b>x"))
    client = sign_in("viewer")
    for address in PAGES:
        html = page(client, address)
        assert "<script>alert" not in html
        assert "</script><b>" not in html


def test_nothing_of_another_tenant_is_shown(
    usage: None, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    other = make_tenant(name="Other")
    key = make_key(other.id)
    event = native_event(model="gpt-4o-2024-08-06", customer="elsewhere")
    answer = Client().post(
        "/api/v1/usage/events", event, content_type="application/json", headers=key.headers
    )
    assert answer.json()["accepted"] == 1
    roll_up(other.id)
    here = sign_in("viewer")
    for address in PAGES:
        assert "elsewhere" not in page(here, address)
    there = sign_in("viewer", tenant_id=other.id)
    assert "elsewhere" in page(there, "/customers")
    assert "Acme" not in page(there, "/customers")


def test_a_local_day_decides_where_spend_is_drawn(make_tenant: MakeTenant, sign_in: SignIn) -> None:
    tenant = make_tenant(time_zone="Asia/Kathmandu")
    key = make_key(tenant.id)
    yesterday = datetime.now(tenant.zone).date() - timedelta(days=1)
    late = datetime.combine(yesterday, datetime.max.time(), tzinfo=tenant.zone)
    event = native_event(timestamp=late.isoformat())
    Client().post(
        "/api/v1/usage/events", event, content_type="application/json", headers=key.headers
    )
    roll_up(tenant.id)
    html = page(sign_in("viewer", tenant_id=tenant.id), "/models?period=7d")
    assert re.search(rf"{yesterday:%a} {yesterday.day} {yesterday:%b}</th>", html)


def test_a_poll_gets_the_living_parts_and_204_while_they_are_as_it_has_them(
    usage: None, sign_in: SignIn, post_events: Post
) -> None:
    client = sign_in("viewer")
    first = client.get("/departments", headers={"HX-Request": "true"})
    html = first.content.decode()
    assert "<html" not in html
    assert 'id="answer"' in html
    seen = re.search(r'id="seen" name="seen" value="(\w+)"', html)
    assert seen is not None
    address = f"/departments?seen={seen[1]}"
    assert client.get(address, headers={"HX-Request": "true"}).status_code == 204
    post_events(native_event(department="new"))
    assert client.get(address, headers={"HX-Request": "true"}).status_code == 200


def test_every_part_a_poll_picks_is_in_what_it_fetches(usage: None, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    for address in PAGES:
        parts = re.search(r'hx-select-oob="([^"]+)"', page(client, address))
        assert parts is not None
        fragment = client.get(address, headers={"HX-Request": "true"}).content.decode()
        for part in parts[1].split(","):
            assert f'id="{part[1:]}"' in fragment, (address, part)


def test_a_models_colour_is_the_same_on_every_page_and_kept(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events(native_event(model="gpt-4o-mini"))
    client = sign_in("viewer")
    page(client, "/")
    # A model that costs more comes later: it does not take the first one's colour.
    post_events([native_event(model="gpt-4o") for _ in range(5)])
    for address in ("/", "/models"):
        html = page(client, address)
        assert re.search(r'series-0"></span>gpt-4o-mini<', html)
        assert re.search(r'series-1"></span>gpt-4o<', html)


def test_figures_of_a_tenant_are_not_cached(usage: None, sign_in: SignIn) -> None:
    assert sign_in("viewer").get("/").headers["Cache-Control"] == "private, no-store"


def test_statements_of_a_page_do_not_grow_with_its_rows(
    usage: None, sign_in: SignIn, post_events: Post
) -> None:
    client = sign_in("viewer")
    counts = []
    for _ in range(2):
        client.get("/customers")
        with CaptureQueriesContext(connection) as captured:
            client.get("/customers")
        # Whether rates changed is asked by the clock, by whichever request comes by.
        asked = [q["sql"] for q in captured if "pricing_raterevision" not in q["sql"]]
        counts.append(len(asked))
        post_events([native_event(customer=f"customer-{n}") for n in range(30)])
    assert counts[0] == counts[1]
    assert counts[0] < 50


def test_a_long_table_ends_with_a_row_for_the_rest(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.dashboards.spending.earnings.MOST_LISTED", 3)
    post_events([native_event(customer=f"customer-{n}") for n in range(5)])
    read = words(page(sign_in("viewer"), "/customers"))
    assert "all 2 not listed" in read
    table = read[read.index("USD per request") :]
    assert [f"customer-{n}" in table for n in range(5)].count(True) == 3
