"""Contracts: what a customer pays a month, spread over the tenant's own days."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from apps.tenants.contracts import list_contracts, set_contract
from apps.tenants.core.contracts import Contract, accrued_usd
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_customer

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 3, 20, tzinfo=UTC)
HUNDRED = Contract("acme", Decimal(100), date(2026, 1, 1))


def local(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=NEW_YORK).astimezone(UTC)  # type: ignore[arg-type]


def test_a_whole_month_earns_its_amount_with_a_change_of_clocks_in_it() -> None:
    assert accrued_usd(HUNDRED, local(2026, 3, 1), local(2026, 4, 1), NEW_YORK) == 100
    assert accrued_usd(HUNDRED, local(2026, 2, 1), local(2026, 4, 1), NEW_YORK) == 200


def test_days_count_evenly_and_a_cut_day_in_part() -> None:
    start = local(2026, 2, 1)
    assert accrued_usd(HUNDRED, start, local(2026, 2, 8), NEW_YORK) == 25
    of_days = Contract("acme", Decimal(28), date(2026, 1, 1))
    assert accrued_usd(of_days, start, local(2026, 2, 7, 12), NEW_YORK) == Decimal("6.5")


def test_a_contract_earns_on_its_own_days_alone() -> None:
    bounded = Contract("acme", Decimal(280), date(2026, 2, 3), date(2026, 2, 5))
    assert accrued_usd(bounded, local(2026, 1, 1), local(2026, 5, 1), NEW_YORK) == 20


def test_a_new_amount_ends_the_one_before_and_replaces_what_was_to_come(
    tenant: TenantInfo,
) -> None:
    with tenant_scope(tenant.id):
        create_customer(external_id="acme", name="Acme", tier="premium", now=NOW)
        for amount, starts_on in (
            ("100", date(2026, 1, 1)),
            ("900", date(2026, 6, 1)),
            ("200", date(2026, 3, 1)),
            ("250", date(2026, 3, 1)),
        ):
            usd = Decimal(amount)
            set_contract(
                customer="acme", usd_per_month=usd, starts_on=starts_on, actor="t", now=NOW
            )
        expected = [
            Contract("acme", Decimal(100), date(2026, 1, 1), date(2026, 3, 1)),
            Contract("acme", Decimal(250), date(2026, 3, 1)),
        ]
        assert list_contracts() == expected
        set_contract(
            customer="acme", usd_per_month=None, starts_on=date(2026, 4, 1), actor="t", now=NOW
        )
        assert list_contracts()[-1].ends_on == date(2026, 4, 1)


@pytest.mark.parametrize(
    ("customer", "usd", "field"),
    [
        ("nobody", "1", "customer"),
        ("acme", "-1", "usd_per_month"),
        ("acme", "NaN", "usd_per_month"),
    ],
)
def test_a_wrong_contract_is_refused_by_name(
    tenant: TenantInfo, customer: str, usd: str, field: str
) -> None:
    with tenant_scope(tenant.id):
        create_customer(external_id="acme", name="Acme", tier="premium", now=NOW)
        with pytest.raises(InvalidTenantInputError) as refused:
            set_contract(
                customer=customer,
                usd_per_month=Decimal(usd),
                starts_on=NOW.date(),
                actor="t",
                now=NOW,
            )
    assert refused.value.field == field
