"""A tenant's own rates: dated, closed but never edited, refused when they cannot be."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, IntegrityError, connection, transaction

from apps.pricing.core.meters import INPUT, OUTPUT
from apps.pricing.core.rating import MeteredUsage, RateBook
from apps.pricing.errors import InvalidRateError, RateNotFoundError, RateOverlapError
from apps.pricing.models import TenantRate
from apps.pricing.selectors import list_backends, list_rates, rate_book_as_of
from apps.pricing.services import change_rate, end_rate, withdraw_rate
from apps.tenants.models import AuditEntry
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant
from tests.pricing.conftest import NOW, SetRate, book_of

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
USAGE = MeteredUsage(1_000_000)


def cost(book: RateBook, at: datetime, usage: MeteredUsage = USAGE) -> Decimal | None:
    card = book.resolve("local", "llama-3-70b").card
    return card.cost(usage, at) if card else None


@pytest.fixture
def rate_id(set_rate: SetRate) -> int:
    set_rate(OUTPUT, "0.10")
    return set_rate(INPUT, "0.10")


def test_the_chapters_local_rate(tenant: TenantInfo, set_rate: SetRate) -> None:
    for meter in (INPUT, OUTPUT):
        set_rate(meter, "0.10", kind="local")
    book = book_of(tenant)
    backend = book.resolve("local", "llama-3-70b")
    assert (backend.key, backend.kind, backend.source) == (
        "local/llama-3-70b",
        "local",
        "tenant",
    )
    assert cost(book, NOW, MeteredUsage(1000, 0, 0, 0, 1000)) == Decimal("0.0002")
    with tenant_scope(tenant.id):
        assert [(b.key, b.kind, b.discovered) for b in list_backends()] == [
            ("local/llama-3-70b", "local", False)
        ]


def test_a_change_prices_from_its_moment_on(tenant: TenantInfo, rate_id: int) -> None:
    with tenant_scope(tenant.id):
        change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal("0.25"),
            effective_from=JUNE,
            actor="ann",
            now=NOW,
        )
    book = book_of(tenant)
    assert cost(book, JUNE - timedelta(microseconds=1)) == Decimal("0.1")
    assert cost(book, JUNE) == Decimal("0.25")


def test_what_was_believed_can_be_read_again(tenant: TenantInfo, rate_id: int) -> None:
    first = book_of(tenant).revision
    with tenant_scope(tenant.id):
        changed_id = change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal("0.25"),
            effective_from=MARCH,
            actor="ann",
            now=NOW,
        )
    second = book_of(tenant).revision
    with tenant_scope(tenant.id):
        end_rate(rate_id=changed_id, effective_to=JUNE, actor="ann", now=NOW)
    third = book_of(tenant).revision
    assert first < second < third
    with tenant_scope(tenant.id):
        believed = {r: rate_book_as_of(r) for r in (first - 1, first, second, third)}
    april, july = datetime(2026, 4, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)
    assert [cost(believed[r], april) for r in believed] == [
        None,
        Decimal("0.1"),
        Decimal("0.25"),
        Decimal("0.25"),
    ]
    assert [cost(believed[r], july) for r in believed] == [
        None,
        Decimal("0.1"),
        Decimal("0.25"),
        None,
    ]


def test_withdrawing_closes_and_keeps_the_row(tenant: TenantInfo, rate_id: int) -> None:
    revision = book_of(tenant).revision
    with tenant_scope(tenant.id):
        withdraw_rate(rate_id=rate_id, actor="ann", now=NOW)
        assert [r.meter for r in list_rates(source="tenant")] == [OUTPUT]
        before = list_rates(source="tenant", as_of_revision=revision)
        assert sorted(r.meter for r in before) == [INPUT, OUTPUT]
    assert cost(book_of(tenant), NOW) is None
    with tenant_scope(tenant.id), pytest.raises(RateNotFoundError):
        withdraw_rate(rate_id=rate_id, actor="ann", now=NOW)


def test_changes_are_audited(tenant: TenantInfo, rate_id: int) -> None:
    with tenant_scope(tenant.id):
        end_rate(rate_id=rate_id, effective_to=JUNE, actor="ann@example.org", now=NOW)
        entry = AuditEntry.objects.latest("id")
    assert (entry.actor, entry.action, entry.subject) == (
        "ann@example.org",
        "rate.ended",
        f"rate:{rate_id}",
    )
    assert entry.before["effective_to"] is None
    assert entry.after["rates"][0]["effective_to"] == JUNE.isoformat()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"price_usd_per_mtok": "-0.01"}, "price_usd_per_mtok"),
        ({"price_usd_per_mtok": "NaN"}, "price_usd_per_mtok"),
        ({"price_usd_per_mtok": "1E+20"}, "price_usd_per_mtok"),
        ({"price_usd_per_mtok": "1E-19"}, "price_usd_per_mtok"),
        ({"meter": "thoughts"}, "meter"),
        ({"effective_from": JUNE, "effective_to": MARCH}, "effective_to"),
        ({"effective_from": JUNE, "effective_to": JUNE}, "effective_to"),
        ({"effective_from": JUNE.replace(tzinfo=None)}, "effective_from"),
        ({"tier_start_tokens": -1}, "tier_start_tokens"),
        ({"model": " "}, "model"),
        ({"provider": "p" * 201}, "provider"),
        ({"kind": "hybrid"}, "kind"),
    ],
)
def test_a_rate_that_cannot_be_is_refused(
    set_rate: SetRate, fields: dict[str, Any], field: str
) -> None:
    meter, price = fields.pop("meter", INPUT), fields.pop("price_usd_per_mtok", "1")
    with pytest.raises(InvalidRateError) as refusal:
        set_rate(meter, price, **fields)
    assert refusal.value.field == field


def test_one_backend_is_of_one_kind(set_rate: SetRate) -> None:
    set_rate(INPUT, "0.10", kind="local")
    with pytest.raises(InvalidRateError, match="the same for all rates"):
        set_rate(OUTPUT, "0.10", kind="cloud")


@pytest.mark.parametrize(
    ("standing", "added"),
    [
        ({}, {}),
        ({"effective_from": MARCH}, {"effective_from": JUNE}),
        ({"effective_to": JUNE}, {"effective_from": MARCH}),
        (
            {"when": {"service_tier": "flex"}},
            {"when": {"service_tier": "flex"}, "effective_from": JUNE},
        ),
        ({}, {"model": "LLAMA-3-70B"}),
    ],
)
def test_an_overlap_is_refused_with_its_numbers(
    set_rate: SetRate, standing: dict[str, Any], added: dict[str, Any]
) -> None:
    first_id = set_rate(INPUT, "0.10", **standing)
    with pytest.raises(RateOverlapError, match=rf"costs 0\.1 USD.*\(rate {first_id}\)"):
        set_rate(INPUT, "0.20", **added)


@pytest.mark.parametrize(
    "added",
    [
        {"effective_from": JUNE},
        {"when": {"service_tier": "flex"}},
        {"tier_start_tokens": 200_000},
        {"model": "llama-3-8b"},
        {"provider": "vllm"},
    ],
)
def test_what_does_not_overlap_stands_beside(set_rate: SetRate, added: dict[str, Any]) -> None:
    set_rate(INPUT, "0.10", effective_to=JUNE)
    assert set_rate(INPUT, "0.20", **added)


def test_a_change_before_the_rate_begins_is_refused(tenant: TenantInfo, set_rate: SetRate) -> None:
    rate_id = set_rate(INPUT, "0.10", effective_from=JUNE)
    with tenant_scope(tenant.id), pytest.raises(InvalidRateError, match="before the rate begins"):
        change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal(1),
            effective_from=MARCH,
            actor="ann",
            now=NOW,
        )


def test_of_two_overlapping_rates_at_once_one_is_taken(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    refusals: list[RateOverlapError] = []

    def add() -> None:
        try:
            set_rate(INPUT, "0.10")
        except RateOverlapError as refusal:
            refusals.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 3
    with tenant_scope(tenant.id):
        assert len(list_rates(source="tenant")) == 1


# The database's own refusals, past every check in Python.


def copy_of(rate_id: int, **changes: Any) -> TenantRate:
    row = TenantRate.objects.get(pk=rate_id)
    row.pk = None
    row._state.adding = True
    for name, value in changes.items():
        setattr(row, name, value)
    return row


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({}, "tenant_rate_no_overlap"),
        ({"effective_from": MARCH}, "tenant_rate_no_overlap"),
        ({"model": "other", "price_usd": Decimal("-1")}, "price_not_negative"),
        (
            {"model": "other", "effective_from": JUNE, "effective_to": MARCH},
            "starts_before_it_ends",
        ),
        ({"model": "other", "window_end_s": 86_401}, "window_within_a_day"),
        ({"model": "other", "closed_revision": 1}, "closed_after_recorded"),
    ],
)
def test_the_database_refuses_too(
    tenant: TenantInfo, rate_id: int, changes: dict[str, Any], constraint: str
) -> None:
    with tenant_scope(tenant.id):
        copy = copy_of(rate_id, **changes)
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            copy.save()


@pytest.mark.parametrize("column", ["price_usd", "effective_to", "recorded_revision"])
def test_the_application_may_not_edit_a_rate(tenant: TenantInfo, rate_id: int, column: str) -> None:
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        with pytest.raises(Error, match="permission denied"), transaction.atomic():
            cursor.execute(f"UPDATE pricing_tenantrate SET {column} = {column}")
        with pytest.raises(Error, match="permission denied"), transaction.atomic():
            cursor.execute("DELETE FROM pricing_tenantrate")


def test_what_is_closed_stays_closed(tenant: TenantInfo, rate_id: int) -> None:
    with tenant_scope(tenant.id):
        withdraw_rate(rate_id=rate_id, actor="ann", now=NOW)
        with pytest.raises(Error, match="was closed at revision"), transaction.atomic():
            TenantRate.objects.filter(pk=rate_id).update(closed_revision=None)


def test_own_rates_are_behind_the_wall(
    make_tenant: MakeTenant, tenant: TenantInfo, rate_id: int
) -> None:
    other = make_tenant()
    assert cost(book_of(other), NOW) is None
    with tenant_scope(other.id):
        assert list_rates(source="tenant") == []
        with pytest.raises(RateNotFoundError):
            withdraw_rate(rate_id=rate_id, actor="eve", now=NOW)
        with connection.cursor() as cursor:
            for table in ("tenantrate", "raterevision", "backend"):
                cursor.execute(
                    f"SELECT count(*) FROM pricing_{table} WHERE tenant_id = %s", [tenant.id]
                )
                assert cursor.fetchone() == (0,)
