"""Taking the catalogue package: once, whole, and with its history kept."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from genai_prices.data import providers

from apps.pricing import catalogue_sync
from apps.pricing.catalogue_source import Listing, read_listing
from apps.pricing.core.meters import INPUT
from apps.pricing.core.rating import MeteredUsage, RateBook
from apps.pricing.models import CatalogueModel, CatalogueProvider, CatalogueRate
from apps.pricing.selectors import (
    current_rate_book,
    list_rates,
    rate_book_as_of,
    read_catalogue_info,
)
from apps.pricing.services import preview_catalogue_sync, sync_catalogue
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.pricing.conftest import NOW

MILLION = MeteredUsage(1_000_000)


@pytest.fixture
def undone(database: None) -> Iterator[None]:
    """The catalogue belongs to all tests: what this one does to it is rolled back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def newer_package(monkeypatch: pytest.MonkeyPatch, listing: Listing) -> None:
    monkeypatch.setattr(catalogue_sync, "content_hash", lambda: "newer")
    monkeypatch.setattr(catalogue_sync, "read_listing", lambda: listing)


def test_the_whole_package_is_in_the_tables(database: None) -> None:
    assert CatalogueProvider.objects.count() == len(providers)
    assert CatalogueModel.objects.count() == sum(len(p.models) for p in providers)
    info = read_catalogue_info()
    assert info is not None
    assert info.package_version == "0.2.3"


def test_a_second_sync_does_nothing_and_reads_little(
    database: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = CatalogueRate.objects.count()
    monkeypatch.delattr(catalogue_sync, "read_listing")
    call_command("sync_catalogue")
    assert capsys.readouterr().out == "catalogue 0.2.3 stands already\n"
    assert CatalogueRate.objects.count() == rates


def test_a_second_preview_reads_neither_the_package_nor_our_prices(
    database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = preview_catalogue_sync()
    monkeypatch.delattr(catalogue_sync, "read_listing")
    with CaptureQueriesContext(connection) as queries:
        assert preview_catalogue_sync() is first
    assert [q for q in queries.captured_queries if "cataloguerate" in q["sql"]] == []


def test_a_preview_is_made_again_for_another_package_and_after_it_is_taken(
    undone: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preview_catalogue_sync().changed == 0
    listing = read_listing()
    first, *others = listing.prices
    dearer = replace(first, price_usd=first.price_usd + 1)
    newer_package(monkeypatch, replace(listing, prices=[dearer, *others]))
    assert preview_catalogue_sync().changed == 1
    sync_catalogue(now=NOW)
    assert preview_catalogue_sync().changed == 0


def test_a_newer_package_closes_what_is_gone_and_records_what_is_new(
    undone: None, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = read_listing()
    line = ("openai", "gpt-4o-mini", INPUT, ())
    (old,) = [p for p in listing.prices if (p.provider, p.model, p.meter, p.when) == line]
    new = replace(old, price_usd=Decimal("0.20"))
    prices = [p for p in listing.prices if p != old] + [new]
    newer_package(monkeypatch, replace(listing, prices=prices))

    with tenant_scope(tenant.id):
        before = current_rate_book()
        result = sync_catalogue(now=NOW)
        after = current_rate_book()
        as_before = rate_book_as_of(before.revision)

    assert (result.changed, result.rates_added, result.rates_closed) == (True, 1, 1)
    assert after.revision == result.revision > before.revision
    assert [price(book) for book in (before, after, as_before)] == [
        Decimal("0.15"),
        Decimal("0.2"),
        Decimal("0.15"),
    ]
    with tenant_scope(tenant.id):
        rates = list_rates(source="catalogue", provider="openai", model="gpt-4o-mini")
    assert [r.price_usd for r in rates if r.meter == INPUT and not r.when] == [Decimal("0.2")]


def price(book: RateBook) -> Decimal | None:
    card = book.resolve("openai", "gpt-4o-mini").card
    return card.cost(MILLION, NOW) if card else None


def test_a_model_that_is_gone_is_no_longer_found(
    undone: None, tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = read_listing()
    gone = ("openai", "gpt-4o-mini")
    models = [m for m in listing.models if (m.provider, m.model) != gone]
    prices = [p for p in listing.prices if (p.provider, p.model) != gone]
    newer_package(monkeypatch, replace(listing, models=models, prices=prices))
    sync_catalogue(now=NOW)
    with tenant_scope(tenant.id):
        assert current_rate_book().resolve("openai", "gpt-4o-mini").card is None


def test_a_listed_model_without_prices_is_free_by_rates_of_zero(catalogue_book: RateBook) -> None:
    card = catalogue_book.resolve("openrouter", "openai/gpt-oss-20b:free").card
    assert card is not None
    assert card.cost(MILLION, NOW) == 0
    assert [line.rate_id is not None for line in card.explain(MILLION, NOW)] == [True]


def test_a_preview_says_what_would_change_and_changes_nothing(
    undone: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("sync_catalogue", "--dry-run")
    assert capsys.readouterr().out == "nothing would change\n"
    listing = read_listing()
    line = ("openai", "gpt-4o-mini", INPUT, ())
    (old,) = [p for p in listing.prices if (p.provider, p.model, p.meter, p.when) == line]
    gone = ("anthropic", "claude-sonnet-4-5")
    models = [replace(m, model="gpt-next") if m.model == "gpt-4" else m for m in listing.models]
    prices = [p for p in listing.prices if p != old and (p.provider, p.model) != gone]
    closed = len(listing.prices) - 1 - len(prices)
    prices += [replace(old, price_usd=Decimal("0.2")), replace(old, model="gpt-next")]
    newer_package(monkeypatch, replace(listing, models=models, prices=prices))
    rates = list(CatalogueRate.objects.order_by("id").values())

    diff = preview_catalogue_sync()

    assert (diff.added, diff.changed, diff.closed) == (1, 1, closed)
    assert [(m.model, m.added, m.changed, m.closed) for m in diff.models] == [
        ("claude-sonnet-4-5", 0, 0, closed),
        ("gpt-4o-mini", 0, 1, 0),
        ("gpt-next", 1, 0, 0),
    ]
    assert ("openai/gpt-next" in diff.models_added, "openai/gpt-4" in diff.models_removed) == (
        True,
        True,
    )
    (first, *_) = diff.samples
    assert (first.kind, first.before and first.before.price_usd) == ("changed", Decimal("0.15"))
    call_command("sync_catalogue", "--dry-run")
    told = capsys.readouterr().out
    assert "changed: openai/gpt-4o-mini input_tokens: 0.15 USD per 1000000 -> 0.2 USD per" in told
    assert list(CatalogueRate.objects.order_by("id").values()) == rates
    result = sync_catalogue(now=NOW)
    assert (result.rates_added, result.rates_closed) == (2, closed + 1)
