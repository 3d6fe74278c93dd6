"""Rate books in a process: shared, current within a second, never another's."""

import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.pricing import catalogue_sync, rate_books
from apps.pricing.catalogue_source import read_listing
from apps.pricing.core.catalogue_diff import ListedPrice
from apps.pricing.core.meters import INPUT, OUTPUT
from apps.pricing.core.rating import MeteredUsage
from apps.pricing.selectors import current_rate_book, list_backends, rate_book_as_of
from apps.pricing.services import add_discount, ensure_backends
from apps.tenants.errors import UnscopedQueryError
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant
from tests.pricing.conftest import NOW, SetRate, book_of


def test_the_catalogue_is_one_object_for_all_tenants(make_tenant: MakeTenant) -> None:
    assert book_of(make_tenant()).catalogue is book_of(make_tenant()).catalogue


def test_within_a_second_no_query_is_made(tenant: TenantInfo) -> None:
    book = book_of(tenant)
    with (
        tenant_scope(tenant.id),
        CaptureQueriesContext(
            connection,
        ) as queries,
    ):
        assert current_rate_book() is book
    assert [q for q in queries.captured_queries if "pricing" in q["sql"]] == []


def test_after_a_second_one_query_finds_it_current(
    tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = book_of(tenant)
    monkeypatch.setattr(rate_books._books, "limit_s", 0.0)
    with tenant_scope(tenant.id), CaptureQueriesContext(connection) as queries:
        assert current_rate_book() is book
    assert len([q for q in queries.captured_queries if "pricing" in q["sql"]]) == 1


def test_a_change_is_seen_here_at_once(tenant: TenantInfo, set_rate: SetRate) -> None:
    assert book_of(tenant).resolve("local", "llama-3-70b").card is None
    set_rate(INPUT, "1")
    assert book_of(tenant).resolve("local", "llama-3-70b").card is not None


def test_a_change_of_another_process_is_seen_after_the_check(
    tenant: TenantInfo, set_rate: SetRate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_books._books, "limit_s", 3600.0)
    book = book_of(tenant)
    with monkeypatch.context() as patch:
        patch.setattr(rate_books._Forget, "__call__", lambda self: None)
        set_rate(INPUT, "1")
    assert book_of(tenant) is book
    monkeypatch.setattr(rate_books._books, "limit_s", 0.0)
    assert book_of(tenant).resolve("local", "llama-3-70b").card is not None


def test_a_change_that_is_rolled_back_was_never_there(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    before = book_of(tenant)
    with transaction.atomic():
        set_rate(INPUT, "1")
        # Its own transaction prices by it, others do not.
        assert book_of(tenant).resolve("local", "llama-3-70b").card is not None
        seen = in_another_thread(tenant)
        transaction.set_rollback(True)
    assert seen.resolve("local", "llama-3-70b").card is None
    assert book_of(tenant) is before


def in_another_thread(tenant: TenantInfo) -> rate_books.RateBook:
    books = []

    def read() -> None:
        books.append(book_of(tenant))
        connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    return books[0]


def test_outside_a_scope_there_is_no_book(database: None) -> None:
    with pytest.raises(UnscopedQueryError):
        current_rate_book()


def test_remembering_is_bounded(tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.pricing.core.rating.MAX_REMEMBERED", 10)
    monkeypatch.setattr("apps.pricing.core.catalogue.MAX_REMEMBERED", 10)
    book = book_of(tenant)
    for n in range(100):
        assert book.resolve("openai", f"model-{n}").card is None
    assert len(book._resolved) <= 10
    assert len(book.catalogue._remembered) <= 10


def test_backends_named_by_usage_are_added_once(tenant: TenantInfo) -> None:
    book = book_of(tenant)
    seen = [book.resolve("openai", "gpt-4o-mini"), book.resolve("ollama", "llama3.3")]
    with tenant_scope(tenant.id):
        first = ensure_backends(seen, now=NOW)
        again = ensure_backends([*seen, ("local/x", "local", "x", "local")], now=NOW)
        stored = {b.key: (b.id, b.kind, b.source, b.discovered) for b in list_backends()}
    assert again.items() >= first.items()
    assert stored == {
        "openai/gpt-4o-mini": (first["openai/gpt-4o-mini"], "cloud", "catalogue", True),
        "ollama/llama3.3": (first["ollama/llama3.3"], "local", None, True),
        "local/x": (again["local/x"], "local", None, True),
    }


def test_backends_added_by_many_at_once_are_one(tenant: TenantInfo) -> None:
    ids: list[dict[str, int]] = []

    def add() -> None:
        with tenant_scope(tenant.id):
            wanted = [(f"local/m{n}", "local", f"m{n}", "local") for n in range(20)]
            ids.append(ensure_backends(wanted, now=datetime.now(UTC)))
        connection.close()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert all(found == ids[0] and len(found) == 20 for found in ids)


def test_a_rate_makes_a_discovered_backend_known(tenant: TenantInfo, set_rate: SetRate) -> None:
    with tenant_scope(tenant.id):
        ensure_backends([("ollama/llama3.3", "ollama", "llama3.3", "cloud")], now=NOW)
    for meter in (INPUT, OUTPUT):
        set_rate(meter, "0.1", provider="ollama", model="llama3.3", kind="local")
    with tenant_scope(tenant.id):
        (backend,) = list_backends()
    assert (backend.kind, backend.discovered, backend.source) == ("local", False, "tenant")


def test_one_revision_reads_catalogue_and_own_rates_again(
    tenant: TenantInfo, make_tenant: MakeTenant, set_rate: SetRate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes of the catalogue, of the tenant and of another, in any order: each book that was
    ever current can be read again by its one revision."""
    listing = read_listing()
    other = make_tenant()
    usage = MeteredUsage(1_000_000, 0, 0, 0, 1_000_000)

    def prices(book: rate_books.RateBook) -> list[object]:
        cards = [book.resolve("openai", "gpt-4o-mini").card, book.resolve("local", "x").card]
        return [card and card.cost(usage, NOW) for card in cards]

    def take_catalogue(price_usd: str) -> None:
        monkeypatch.setattr(catalogue_sync, "content_hash", lambda: f"at {price_usd}")
        changed = [
            replace(p, price_usd=Decimal(price_usd)) if _is_mini_input(p) else p
            for p in listing.prices
        ]
        monkeypatch.setattr(
            catalogue_sync, "read_listing", lambda: replace(listing, prices=changed)
        )
        catalogue_sync.sync_catalogue(now=NOW)

    def other_changes() -> None:
        with tenant_scope(other.id):
            add_discount(provider="openai", percent=Decimal(5), effective_from=None, **BY)

    def discount() -> None:
        with tenant_scope(tenant.id):
            add_discount(provider="openai", percent=Decimal(10), effective_from=None, **BY)

    steps = [
        lambda: take_catalogue("0.3"),
        lambda: [set_rate(m, "1", model="x") for m in (INPUT, OUTPUT)],
        other_changes,
        lambda: take_catalogue("0.45"),
        discount,
        lambda: take_catalogue("0.6"),
    ]
    with transaction.atomic():
        seen = [(book_of(tenant).revision, prices(book_of(tenant)))]
        for step in steps:
            step()
            seen.append((book_of(tenant).revision, prices(book_of(tenant))))
        with tenant_scope(tenant.id):
            again = [(revision, prices(rate_book_as_of(revision))) for revision, _ in seen]
        transaction.set_rollback(True)
    assert again == seen
    assert len({str(p) for _, p in seen}) == 6


def test_a_past_revision_is_read_once(tenant: TenantInfo, set_rate: SetRate) -> None:
    set_rate(INPUT, "1", model="x")
    past = book_of(tenant)
    set_rate(OUTPUT, "2", model="x")
    with tenant_scope(tenant.id):
        first = rate_book_as_of(past.revision)
        with CaptureQueriesContext(connection) as queries:
            assert rate_book_as_of(past.revision) is first
            assert rate_book_as_of(current_rate_book().revision) is current_rate_book()
    assert [q for q in queries.captured_queries if "tenantrate" in q["sql"]] == []
    assert [r.meter for r in first.resolve("local", "x").card.rates] == [INPUT]  # type: ignore[union-attr]


def test_a_revision_still_to_come_is_not_remembered(tenant: TenantInfo, set_rate: SetRate) -> None:
    far = 10**12
    with tenant_scope(tenant.id):
        assert rate_book_as_of(far).resolve("local", "x").card is None
    set_rate(INPUT, "1", model="x")
    with tenant_scope(tenant.id):
        assert rate_book_as_of(far).resolve("local", "x").card is not None


def test_what_is_rolled_back_is_not_remembered(tenant: TenantInfo, set_rate: SetRate) -> None:
    set_rate(INPUT, "1", model="x")
    before = book_of(tenant).revision
    with transaction.atomic():
        set_rate(OUTPUT, "2", model="x")
        undone = book_of(tenant).revision
        set_rate(INPUT, "3", model="y")
        with tenant_scope(tenant.id):
            assert rate_book_as_of(undone).resolve("local", "y").card is None
        transaction.set_rollback(True)
    set_rate(INPUT, "5", model="z")
    with tenant_scope(tenant.id):
        as_undone = rate_book_as_of(undone)
        assert undone > before
    assert as_undone.resolve("local", "y").card is None
    assert [r.meter for r in as_undone.resolve("local", "x").card.rates] == [INPUT]  # type: ignore[union-attr]


def test_a_remembered_past_is_the_tenants_own(
    tenant: TenantInfo, make_tenant: MakeTenant, set_rate: SetRate
) -> None:
    set_rate(INPUT, "1", model="x")
    revision = book_of(tenant).revision
    set_rate(OUTPUT, "1", model="x")
    other = make_tenant()
    with tenant_scope(tenant.id):
        assert rate_book_as_of(revision).resolve("local", "x").card is not None
    with tenant_scope(other.id):
        assert rate_book_as_of(revision).resolve("local", "x").card is None


BY = {"actor": "test", "now": NOW}


def _is_mini_input(price: ListedPrice) -> bool:
    return (price.provider, price.model, price.meter, price.when) == (
        "openai",
        "gpt-4o-mini",
        INPUT,
        (),
    )
