"""Why spend changed, and what of now the overview tells: figures that add up as they are shown."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.pricing.core.money import EXACT
from apps.tenants.selectors import TenantInfo
from tests.conftest import make_key, native_event


@pytest.fixture
def changed(post_events: Callable[..., Any], sign_in: Callable[..., Client]) -> Client:
    """A viewer of a tenant whose use, models and caching changed within two months."""
    now = datetime.now(UTC)
    before, lately = (now - timedelta(days=40)).isoformat(), (now - timedelta(hours=1)).isoformat()
    uncached = {"input_tokens": 9000, "output_tokens": 100}
    cached = uncached | {"cache_read_tokens": 8000}
    post_events(
        [native_event(timestamp=before, usage=cached, customer="acme") for _ in range(3)]
        + [native_event(timestamp=before, model="o3", customer="umbra")]
        + [native_event(timestamp=lately, usage=uncached, customer="acme") for _ in range(4)]
        + [native_event(timestamp=lately, model="gpt-4o", customer="new")]
    )
    return sign_in()


def exact_rows(page: str) -> list[list[Decimal]]:
    """Effects and change of each line of the table, the whole last."""
    rows = page.split('id="why-table"')[1].split("</thead>")[1].split("</tr>")
    found = [re.findall(r'data-value="([^"]+)"', row) for row in rows]
    return [[Decimal(value) for value in row] for row in found if row]


@pytest.mark.parametrize("by", ["model", "customer", "department"])
def test_every_line_and_column_adds_up(changed: Client, by: str) -> None:
    page = changed.get(f"/why?period=30d&by={by}").content.decode()
    *lines, whole = exact_rows(page)
    for row in (*lines, whole):
        assert exact(row[:-1]) == row[-1]
    assert [exact(column) for column in zip(*lines, strict=True)] == whole
    assert whole[-1] != 0


def test_a_broken_cache_is_told_as_one(changed: Client) -> None:
    page = changed.get("/why?period=30d&customer=acme").content.decode()
    *_, whole = exact_rows(page)
    assert whole[2] > 0
    assert whole[2] == max(whole[:-1])
    assert "less from caches" in page


def test_what_is_shown_adds_up_to_the_cent_shown(changed: Client) -> None:
    page = changed.get("/why?period=30d").content.decode()
    row = page.split('<th scope="row">all</th>')[1].split("</tr>")[0]
    shown = re.findall(r'USD">([^<]+)</span>', row)
    values = [Decimal(text.replace("−", "-").replace(",", "")) for text in shown]
    assert sum(values[:-1]) == values[-1]


def test_the_overview_tells_what_waits_and_what_runs(
    changed: Client, tenant: TenantInfo, post_events: Callable[..., Any]
) -> None:
    key = make_key(tenant.id, "manage")
    budget = {"scope": {}, "period": "month", "amount_usd": "0.0001", "on_limit": "notify"}
    answer = Client(headers=key.headers).post(
        "/api/v1/budgets", budget, content_type="application/json"
    )
    assert answer.status_code in (200, 201), answer.content
    post_events([native_event()])
    page = changed.get("/").content.decode()
    assert "of the budget of" in page
    assert "openai/gpt-4o-mini is busiest now" in page
    assert 'class="tag health-over"' in page


def exact(values: Any) -> Decimal:
    result = Decimal(0)
    for value in values:
        result = EXACT.add(result, value)
    return result
