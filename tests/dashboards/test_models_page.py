"""Models: what a token costs by kind, what caches save, how prices changed."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.pricing.core.meters import CACHE_READ, CACHE_WRITE_5M, INPUT, OUTPUT
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage.core.cache_savings import METERS, NOTHING_LISTED, TokenSums, add_listed, listed_day
from apps.usage.unit_prices import read_listed
from tests.conftest import native_event
from tests.dashboards.test_budget_pages import text, words

TODAY = datetime.now(UTC).date()
CLAUDE = {
    INPUT: Decimal(3),
    CACHE_READ: Decimal("0.3"),
    CACHE_WRITE_5M: Decimal("3.75"),
    OUTPUT: Decimal(15),
}


def sums(**tokens: int) -> TokenSums:
    return TokenSums(dict.fromkeys(METERS, 0) | tokens)


def test_writing_to_a_cache_counts_against_what_reading_from_it_saves() -> None:
    read = listed_day(sums(cache_read_tokens=1_000_000), CLAUDE)
    assert read.saved_usd == Decimal("2.7")
    written = listed_day(sums(cache_write_5m_tokens=1_000_000), CLAUDE)
    assert written.saved_usd == Decimal("-0.75")
    both = add_listed(add_listed(NOTHING_LISTED, read), written)
    assert both.saved_usd == Decimal("1.95")
    assert both.unit_price(CACHE_READ) == Decimal("0.3")


def test_a_cached_token_without_a_price_of_its_own_saves_nothing_and_costs_as_input() -> None:
    one = listed_day(sums(cache_read_tokens=500_000), {INPUT: Decimal(2), OUTPUT: Decimal(4)})
    assert (one.saved_usd, one.usd[CACHE_READ]) == (0, 1)


def test_without_a_price_nothing_is_known_not_zero() -> None:
    unknown = listed_day(sums(cache_read_tokens=5, output_tokens=5), {})
    assert (unknown.saved_usd, unknown.unit_price(OUTPUT)) == (None, None)
    assert listed_day(sums(output_tokens=5), CLAUDE).saved_usd is None


@pytest.fixture
def usage(tenant: TenantInfo, post_events: Callable[..., dict[str, Any]]) -> TenantInfo:
    post_events(
        [native_event() for _ in range(4)]
        + [native_event(provider="nobody", model="home-grown-7b")]
    )
    return tenant


def test_meters_at_their_prices_add_up_to_what_the_ledger_charged(usage: TenantInfo) -> None:
    with tenant_scope(usage.id):
        found = read_listed(
            TODAY.replace(day=1), TODAY.replace(year=TODAY.year + 1), usage.zone, {}
        )
    listed = found["gpt-4o-mini-2024-07-18", "cloud"]
    assert sum(listed.usd.values()) == 4 * Decimal("0.000225")
    # 600 of each call's tokens at half the price of input, 0.15 a million.
    assert listed.saved_usd == 4 * 600 * Decimal("0.075") / 1_000_000
    assert found["home-grown-7b", "cloud"].saved_usd is None


def test_the_page_tells_what_caches_saved_and_links_to_each_model(
    usage: TenantInfo, sign_in: Callable[..., Client]
) -> None:
    viewer = sign_in("viewer")
    html = text(viewer.get("/models"))
    assert "Caches saved 0.000180 USD" in words(html)
    assert 'href="/models/one?model=gpt-4o-mini-2024-07-18"' in html
    one = words(text(viewer.get("/models/one?model=gpt-4o-mini-2024-07-18")))
    assert "What does gpt-4o-mini-2024-07-18 cost us?" in one
    assert "cache read 2,400 0.0750 0.000180" in one
    assert "for a year or longer openai/gpt-4o-mini 0.150 0.0750" in one
    assert viewer.get("/models/one?model=unheard-of").status_code == 404
    assert viewer.get("/models/one").status_code == 404
    assert "no price is known" in words(text(viewer.get("/models/one?model=home-grown-7b")))
