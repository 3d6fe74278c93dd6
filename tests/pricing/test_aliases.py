"""A tenant's names for models, and its default rate: stated, dated, never a guess."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, IntegrityError, connection, transaction

from apps.pricing.core.meters import INPUT, OUTPUT
from apps.pricing.core.rating import MeteredUsage
from apps.pricing.errors import InvalidRateError, RateOverlapError
from apps.pricing.models import TenantAlias
from apps.pricing.selectors import list_aliases, list_backends, list_rates, rate_book_as_of
from apps.pricing.services import (
    add_alias,
    add_default_rate,
    end_alias,
    end_rate,
    withdraw_alias,
    withdraw_rate,
)
from apps.tenants.models import AuditEntry
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant
from tests.pricing.conftest import NOW, SetRate, book_of

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
MILLION = MeteredUsage(uncached_input_tokens=1_000_000)
PROD = ("openai", "our-prod-model")


def name(tenant: TenantInfo, priced: str = "openai/gpt-4o-mini", **options: Any) -> int:
    provider, _, model = priced.partition("/")
    fields = {"provider": PROD[0], "model": PROD[1]} | options
    with tenant_scope(tenant.id):
        return add_alias(
            **fields, priced_provider=provider, priced_model=model, actor="ann", now=NOW
        )


def price(tenant: TenantInfo, at: datetime = NOW, *names: str) -> tuple[str, Decimal | None]:
    backend = book_of(tenant).resolve(*(names or PROD))
    return backend.key, backend.card.cost(MILLION, at) if backend.card else None


def test_a_name_is_priced_as_the_model_it_means(tenant: TenantInfo) -> None:
    assert price(tenant) == ("openai/our-prod-model", None)
    name(tenant)
    assert price(tenant) == ("openai/gpt-4o-mini", Decimal("0.15"))
    for names in (
        ("openai.chat", "OUR-prod-model"),
        ("openai", "openai/our-prod-model"),
        ("litellm", "openai/our-prod-model"),
        ("openai", "mystery", "our-prod-model"),
    ):
        assert price(tenant, NOW, *names)[0] == "openai/gpt-4o-mini"
    assert price(tenant, NOW, "azure", "our-prod-model")[1] is None


def test_a_protocols_model_can_be_named(tenant: TenantInfo) -> None:
    name(tenant, provider="openai_like", model="gpt-4o")
    assert price(tenant, NOW, "openai_like", "gpt-4o")[0] == "openai/gpt-4o-mini"


def test_a_name_of_the_catalogue_may_mean_another(tenant: TenantInfo) -> None:
    name(tenant, priced="azure/gpt-4o", model="gpt-4o")
    assert price(tenant, NOW, "openai", "gpt-4o")[0] == "azure/gpt-4o"


def test_own_rates_by_that_name_stand_before_it(tenant: TenantInfo, set_rate: SetRate) -> None:
    name(tenant)
    for meter in (INPUT, OUTPUT):
        set_rate(meter, "7", provider=PROD[0], model=PROD[1])
    assert price(tenant) == ("openai/our-prod-model", Decimal(7))


def test_it_means_a_model_between_its_dates(tenant: TenantInfo) -> None:
    name(tenant, effective_from=MARCH, effective_to=JUNE)
    name(tenant, priced="openai/gpt-4o", effective_from=JUNE)
    instant = timedelta(microseconds=1)
    costs = [price(tenant, at)[1] for at in (MARCH - instant, MARCH, JUNE - instant, JUNE)]
    assert costs == [None, Decimal("0.15"), Decimal("0.15"), Decimal("2.5")]
    assert price(tenant)[0] == "openai/gpt-4o"


def test_outside_its_dates_a_name_means_what_it_did(tenant: TenantInfo) -> None:
    name(tenant, priced="openai/gpt-4o", model="gpt-4o-mini", effective_from=JUNE)
    costs = [price(tenant, at, "openai", "gpt-4o-mini")[1] for at in (MARCH, JUNE)]
    assert costs == [Decimal("0.15"), Decimal("2.5")]


def test_what_a_name_meant_can_be_read_again(tenant: TenantInfo) -> None:
    first = name(tenant)
    before = book_of(tenant).revision
    with tenant_scope(tenant.id):
        second = end_alias(alias_id=first, effective_to=JUNE, actor="bob", now=NOW)
    assert [price(tenant, at)[1] for at in (MARCH, JUNE)] == [Decimal("0.15"), None]
    with tenant_scope(tenant.id):
        withdraw_alias(alias_id=second, actor="bob", now=NOW)
        assert rate_book_as_of(before).resolve(*PROD).key == "openai/gpt-4o-mini"
        assert list_aliases() == []
        assert [a.id for a in list_aliases(as_of_revision=before)] == [first]
        actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
        assert list(actions)[-3:] == ["alias.added", "alias.ended", "alias.withdrawn"]
    assert price(tenant)[1] is None


@pytest.mark.parametrize(
    ("priced", "options", "field"),
    [
        ("openai/gpt-nonesuch", {}, "priced_model"),
        ("acme/gpt-4o", {}, "priced_model"),
        ("openai/our-prod-model", {}, "priced_model"),
        ("openai/gpt-4o", {"model": "gpt-4o"}, "priced_model"),
        ("openai/gpt-4o", {"model": " "}, "model"),
        ("openai/gpt-4o", {"model": "*"}, "model"),
        ("openai/gpt-4o", {"effective_from": JUNE, "effective_to": MARCH}, "effective_to"),
        ("openai/gpt-4o", {"effective_to": MARCH.replace(tzinfo=None)}, "effective_to"),
    ],
)
def test_an_alias_that_cannot_be_is_refused(
    tenant: TenantInfo, priced: str, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRateError) as refusal:
        name(tenant, priced, **options)
    assert refusal.value.field == field


def test_a_name_means_one_model_at_a_time(tenant: TenantInfo) -> None:
    first = name(tenant, effective_to=JUNE)
    with pytest.raises(RateOverlapError, match=rf"already means openai/gpt-4o-mini.*alias {first}"):
        name(tenant, priced="openai/gpt-4o", model="Our-Prod-Model", effective_from=MARCH)
    with tenant_scope(tenant.id):
        row = TenantAlias.objects.get(pk=first)
        row.pk = None
        row._state.adding = True
        row.model = row.model.upper()
        with pytest.raises(IntegrityError, match="tenant_alias_no_overlap"), transaction.atomic():
            row.save()
        with (
            connection.cursor() as cursor,
            pytest.raises(Error, match="permission denied"),
            transaction.atomic(),
        ):
            cursor.execute("UPDATE pricing_tenantalias SET priced_model = 'x'")


def test_aliases_are_behind_the_wall(tenant: TenantInfo, make_tenant: MakeTenant) -> None:
    name(tenant)
    other = make_tenant()
    assert price(other)[1] is None
    with tenant_scope(other.id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pricing_tenantalias")
        assert cursor.fetchone() == (0,)


# The default rate.


def set_default(tenant: TenantInfo, **options: Any) -> list[int]:
    with tenant_scope(tenant.id):
        return [
            add_default_rate(
                **({"effective_from": None} | options),
                meter=meter,
                price_usd_per_mtok=Decimal(9),
                actor="ann",
                now=NOW,
            )
            for meter in (INPUT, OUTPUT)
        ]


def test_the_default_is_off_until_it_is_set_and_marked_then(tenant: TenantInfo) -> None:
    assert book_of(tenant).resolve("acme", "x").source is None
    set_default(tenant)
    backend = book_of(tenant).resolve("acme", "x")
    assert (backend.key, backend.source) == ("acme/x", "default")
    assert backend.card is not None
    assert backend.card.cost(MILLION, NOW) == 9
    assert backend.card.explain(MILLION, NOW)[0].rate_id.startswith("default:")  # type: ignore[union-attr]
    with tenant_scope(tenant.id):
        assert {rate.source for rate in list_rates(source="tenant")} == {"default"}
        assert list_backends() == []


def test_the_default_prices_only_what_nothing_else_does(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    set_default(tenant)
    set_rate(INPUT, "1")
    assert price(tenant, NOW, "openai", "gpt-4o-mini")[1] == Decimal("0.15")
    assert price(tenant, NOW, "openai", "mystery", "gpt-4o-mini")[0] == "openai/gpt-4o-mini"
    card = book_of(tenant).resolve("local", "llama-3-70b").card
    assert card is not None
    # A model with rates of its own is known: what they leave out is not lent the default's.
    assert card.cost(MeteredUsage(0, 0, 0, 0, 5), NOW) is None
    assert book_of(tenant).resolve_anywhere("acme/x") is None


def test_the_default_is_dated_ended_and_withdrawn_as_any_rate(tenant: TenantInfo) -> None:
    ids = set_default(tenant, effective_from=MARCH)
    with tenant_scope(tenant.id):
        ended = end_rate(rate_id=ids[0], effective_to=JUNE, actor="ann", now=NOW)
    costs = [price(tenant, at, "acme", "x")[1] for at in (MARCH - timedelta(1), MARCH, JUNE)]
    assert costs == [None, Decimal(9), None]
    with pytest.raises(RateOverlapError):
        set_default(tenant)
    with tenant_scope(tenant.id):
        for rate_id in (ended, ids[1]):
            withdraw_rate(rate_id=rate_id, actor="ann", now=NOW)
    assert book_of(tenant).resolve("acme", "x").card is None


def test_nobody_can_report_or_rate_the_default_by_its_name(
    tenant: TenantInfo, set_rate: SetRate
) -> None:
    with pytest.raises(InvalidRateError, match="default rate"):
        set_rate(INPUT, "1", provider="*", model="*")
    set_default(tenant)
    assert book_of(tenant).resolve("*", "*").source == "default"
