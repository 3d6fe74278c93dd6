"""Negotiated discounts: over the catalogue's prices, dated, the most particular alone, exact."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from django.db import Error, IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.core.discounts import apply_discounts, net_units
from apps.pricing.core.meters import CACHE_READ, INPUT, OUTPUT
from apps.pricing.core.rates import Discount, Rate
from apps.pricing.core.rating import MeteredUsage, RateCard
from apps.pricing.errors import InvalidRateError, RateNotFoundError, RateOverlapError
from apps.pricing.models import TenantDiscount
from apps.pricing.selectors import list_discounts, rate_book_as_of
from apps.pricing.services import add_discount, end_discount, withdraw_discount
from apps.tenants.models import AuditEntry
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant
from tests.pricing.conftest import NOW, SetRate, book_of

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JULY = datetime(2026, 7, 1, tzinfo=UTC)
MILLION = MeteredUsage(uncached_input_tokens=1_000_000)
MINI = {"provider": "openai", "model": "gpt-4o-mini"}


def give(tenant: TenantInfo, **options: Any) -> int:
    defaults: dict[str, Any] = {"provider": "openai", "effective_from": None}
    if "amount_usd_per_mtok" not in options:
        defaults["percent"] = Decimal(10)
    with tenant_scope(tenant.id):
        return add_discount(**(defaults | options), actor="ann", now=NOW)


def cost(
    tenant: TenantInfo,
    at: datetime = NOW,
    usage: MeteredUsage = MILLION,
    names: tuple[str, str] = ("openai", "gpt-4o-mini"),
) -> Decimal | None:
    card = book_of(tenant).resolve(*names).card
    return card.cost(usage, at) if card else None


def test_a_percentage_comes_off_every_meter(tenant: TenantInfo) -> None:
    give(tenant)
    usage = MeteredUsage(400, 600, 0, 0, 200, 64)
    assert cost(tenant, usage=usage) == Decimal("0.000225") * Decimal("0.9")


def test_an_amount_comes_off_one_meter_and_stops_at_nothing(tenant: TenantInfo) -> None:
    give(tenant, amount_usd_per_mtok=Decimal("0.05"), meter=INPUT)
    give(tenant, amount_usd_per_mtok=Decimal(99), meter=OUTPUT)
    assert cost(tenant) == Decimal("0.1")
    assert cost(tenant, usage=MeteredUsage(output_tokens=1_000_000)) == 0


def test_the_most_particular_stands_alone(tenant: TenantInfo) -> None:
    give(tenant, percent=Decimal(1))
    give(tenant, percent=Decimal(2), meter=INPUT)
    assert cost(tenant) == Decimal("0.147")
    give(tenant, **MINI, percent=Decimal(4))
    assert cost(tenant) == Decimal("0.144")
    give(tenant, **MINI, percent=Decimal(8), meter=INPUT)
    assert cost(tenant) == Decimal("0.138")
    assert cost(tenant, usage=MeteredUsage(output_tokens=1_000_000)) == Decimal("0.576")
    assert cost(tenant, names=("openai", "gpt-4o")) == Decimal("2.45")
    assert cost(tenant, names=("azure", "gpt-4o-mini")) == Decimal("0.15")


def test_it_is_in_force_between_its_dates(tenant: TenantInfo) -> None:
    give(tenant, effective_from=MARCH, effective_to=JUNE)
    instant = timedelta(microseconds=1)
    prices = [cost(tenant, at) for at in (MARCH - instant, MARCH, JUNE - instant, JUNE)]
    assert prices == [Decimal(p) for p in ("0.15", "0.135", "0.135", "0.15")]


def test_a_variant_is_discounted_too(tenant: TenantInfo) -> None:
    give(tenant)
    card = book_of(tenant).resolve("openai", "gpt-4o-mini").card
    assert card is not None
    assert card.cost(MILLION, NOW, {"processing": "batch"}) == Decimal("0.0675")


def test_own_rates_are_net(tenant: TenantInfo, set_rate: SetRate) -> None:
    """But meters that the tenant says nothing about keep the catalogue's price, less discount."""
    give(tenant)
    set_rate(INPUT, "0.12", **MINI)
    assert cost(tenant) == Decimal("0.12")
    assert cost(tenant, usage=MeteredUsage(output_tokens=1_000_000)) == Decimal("0.54")


def test_it_has_a_line_of_its_own(tenant: TenantInfo) -> None:
    discount_id = give(tenant, meter=INPUT)
    card = book_of(tenant).resolve("openai", "gpt-4o-mini").card
    assert card is not None
    usage = MeteredUsage(1_000_000, 500_000)
    lines = card.explain(usage, NOW)
    assert [(x.kind, x.meter, x.quantity, x.cost_usd) for x in lines] == [
        ("rate", INPUT, 1_000_000, Decimal("0.15")),
        ("discount", INPUT, 1_000_000, Decimal("-0.015")),
        ("rate", CACHE_READ, 500_000, Decimal("0.0375")),
    ]
    assert lines[1].rate_id == f"discount:{discount_id}"
    assert lines[1].unit_price_usd_per_mtok == Decimal("-0.015")
    assert sum(x.cost_usd for x in lines) == card.cost(usage, NOW)


def test_what_was_agreed_can_be_read_again(tenant: TenantInfo) -> None:
    first = give(tenant)
    before = book_of(tenant).revision
    with tenant_scope(tenant.id):
        second = end_discount(discount_id=first, effective_to=JUNE, actor="ann", now=NOW)
    assert [cost(tenant, at) for at in (MARCH, JULY)] == [Decimal("0.135"), Decimal("0.15")]
    with tenant_scope(tenant.id):
        withdraw_discount(discount_id=second, actor="bob", now=NOW)
        card = rate_book_as_of(before).resolve("openai", "gpt-4o-mini").card
        assert (card and card.cost(MILLION, JULY)) == Decimal("0.135")
        assert list_discounts() == []
        assert [d.id for d in list_discounts(as_of_revision=before)] == [first]
        trail = AuditEntry.objects.order_by("id").values_list("actor", "action")
        assert list(trail)[-3:] == [
            ("ann", "discount.added"),
            ("ann", "discount.ended"),
            ("bob", "discount.withdrawn"),
        ]
        with pytest.raises(RateNotFoundError, match="no open discount"):
            withdraw_discount(discount_id=second, actor="bob", now=NOW)
    assert cost(tenant) == Decimal("0.15")


@pytest.mark.parametrize(
    ("standing", "added"),
    [
        ({}, {}),
        ({"effective_from": MARCH}, {"effective_to": JUNE, "percent": Decimal(5)}),
        (MINI, {"provider": "openai", "model": "GPT-4o-mini"}),
        ({"meter": INPUT}, {"meter": INPUT, "amount_usd_per_mtok": Decimal(1)}),
    ],
)
def test_an_overlap_is_refused_with_its_numbers(
    tenant: TenantInfo, standing: dict[str, Any], added: dict[str, Any]
) -> None:
    first = give(tenant, **standing)
    with pytest.raises(RateOverlapError, match=rf"already has 10 percent off.*discount {first}"):
        give(tenant, **added)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"percent": None}, "percent"),
        ({"percent": Decimal(0)}, "percent"),
        ({"percent": Decimal("100.1")}, "percent"),
        ({"percent": Decimal("NaN")}, "percent"),
        ({"percent": Decimal("1.0000001")}, "percent"),
        ({"percent": Decimal(1), "amount_usd_per_mtok": Decimal(1)}, "percent"),
        ({"amount_usd_per_mtok": Decimal(1)}, "meter"),
        ({"amount_usd_per_mtok": Decimal(-1), "meter": INPUT}, "amount_usd_per_mtok"),
        ({"amount_usd_per_mtok": Decimal("1e-19"), "meter": INPUT}, "amount_usd_per_mtok"),
        ({"meter": "thoughts"}, "meter"),
        ({"provider": "acme"}, "provider"),
        ({"model": "gpt-nonesuch"}, "model"),
        ({"effective_from": JUNE, "effective_to": MARCH}, "effective_to"),
        ({"effective_from": JUNE.replace(tzinfo=None)}, "effective_from"),
    ],
)
def test_a_discount_that_cannot_be_is_refused(
    tenant: TenantInfo, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRateError) as refusal:
        give(tenant, **options)
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({}, "tenant_discount_no_overlap"),
        ({"effective_from": MARCH}, "tenant_discount_no_overlap"),
        ({"meter": INPUT, "percent": Decimal(-1)}, "percent_or_amount"),
        ({"meter": INPUT, "percent": Decimal(101)}, "percent_or_amount"),
        ({"meter": INPUT, "amount_usd": Decimal(1)}, "percent_or_amount"),
        (
            {"meter": INPUT, "effective_from": JUNE, "effective_to": MARCH},
            "starts_before_it_ends",
        ),
        ({"meter": INPUT, "closed_revision": 1}, "closed_after_recorded"),
    ],
)
def test_the_database_refuses_too(
    tenant: TenantInfo, changes: dict[str, Any], constraint: str
) -> None:
    discount_id = give(tenant)
    with tenant_scope(tenant.id):
        row = TenantDiscount.objects.get(pk=discount_id)
        row.pk = None
        row._state.adding = True
        for name, value in changes.items():
            setattr(row, name, value)
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            row.save()


def test_history_is_not_edited_and_stays_behind_the_wall(
    tenant: TenantInfo, make_tenant: MakeTenant
) -> None:
    discount_id = give(tenant)
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        with pytest.raises(Error, match="permission denied"), transaction.atomic():
            cursor.execute("UPDATE pricing_tenantdiscount SET percent = 50")
        withdraw_discount(discount_id=discount_id, actor="ann", now=NOW)
        with pytest.raises(Error, match="was closed at revision"), transaction.atomic():
            TenantDiscount.objects.filter(pk=discount_id).update(closed_revision=None)
    other = make_tenant()
    assert cost(other) == Decimal("0.15")
    with tenant_scope(other.id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pricing_tenantdiscount")
        assert cursor.fetchone() == (0,)


# Arithmetic.

percents = st.decimals(Decimal("0.000001"), 100, places=6)
prices = st.decimals(0, 10**6, places=18)


@given(st.integers(0, 10**30), percents)
def test_a_whole_price_stays_whole_and_within_half_a_unit(units: int, percent: Decimal) -> None:
    net = net_units(Fraction(units), Discount(1, "p", percent=percent))
    assert net.denominator == 1
    assert 0 <= net <= units
    assert abs(net - units * (1 - Fraction(percent) / 100)) <= Fraction(1, 2)


@given(prices, st.one_of(percents, st.none()), prices, st.integers(0, 10**9))
def test_lines_add_up_to_the_charge(
    price: Decimal, percent: Decimal | None, amount: Decimal, tokens: int
) -> None:
    rates = [Rate(n, "catalogue", m, price, 10**6) for n, m in enumerate((INPUT, OUTPUT))]
    off = {"percent": percent} if percent is not None else {"amount_usd": amount}
    card = RateCard(apply_discounts(rates, [Discount(1, "p", **off)]))  # type: ignore[arg-type]
    usage = MeteredUsage(tokens, 0, 0, 0, tokens)
    charge = card.cost(usage, NOW)
    assert charge is not None
    assert sum(Fraction(line.cost_usd) for line in card.explain(usage, NOW)) == Fraction(charge)
    assert charge <= RateCard(rates).cost(usage, NOW)  # type: ignore[operator]
    units = card.cost_units(tokens, 0, 0, 0, tokens, 0, NOW.timestamp())
    assert Fraction(units, 10**24) == Fraction(charge)
