"""Exchange rates: which holds, that conversion is exact, files of them, closed months."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.tenants.core.exchange import DayRate, Rates, read_rates_csv
from apps.tenants.core.money_words import MoneyWords
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.exchange import import_rates, list_rates, read_rates, set_rate
from apps.tenants.locales import conventions_of
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit_of
from apps.tenants.services import write_books_closed_through

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FRIDAY = date(2026, 11, 20)
ECB = """Date,USD,JPY,GBP,CYP,
2026-11-20,1.0823,161.45,0.8412,N/A,
2026-11-19,1.25,160,0.8,N/A,
2026-11-18,N/A,160,0.8,N/A,
"""


def eur(*rates: tuple[date, str]) -> Rates:
    return Rates("EUR", [DayRate(day, Decimal(value)) for day, value in rates])


def test_the_last_rate_before_a_day_holds_for_a_week() -> None:
    rates = eur((FRIDAY, "0.92"), (FRIDAY - timedelta(days=1), "0.91"))
    assert rates.on(FRIDAY) == Decimal("0.92")
    assert rates.on(FRIDAY + timedelta(days=2)) == Decimal("0.92")
    assert rates.on(FRIDAY + timedelta(days=7)) == Decimal("0.92")
    assert rates.on(FRIDAY + timedelta(days=8)) is None
    assert rates.on(FRIDAY - timedelta(days=2)) is None


def test_a_sum_with_an_unrated_day_is_not_converted_and_names_it() -> None:
    before = FRIDAY - timedelta(days=1)
    converted = eur((FRIDAY, "0.92")).convert({before: Decimal(3), FRIDAY: Decimal(10)})
    assert (converted.usd, converted.amount) == (Decimal(13), None)
    assert converted.unrated_days == (before,)
    # A day that cost nothing needs no rate.
    assert eur((FRIDAY, "0.92")).convert({before: Decimal(0), FRIDAY: Decimal(10)}).amount == (
        Decimal("9.2")
    )


@settings(deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 60),
        st.tuples(st.decimals(-(10**9), 10**9, places=24), st.decimals("1e-12", 10**8, places=12)),
        max_size=20,
    )
)
def test_conversion_is_exact(days: dict[int, tuple[Decimal, Decimal]]) -> None:
    dated = {FRIDAY + timedelta(days=n): pair for n, pair in days.items()}
    rates = Rates("EUR", [DayRate(day, rate) for day, (_, rate) in dated.items()])
    converted = rates.convert({day: cost for day, (cost, _) in dated.items()})
    assert converted.amount is not None
    assert Fraction(converted.amount) == sum(
        Fraction(cost) * Fraction(rate) for cost, rate in dated.values()
    )


def test_the_banks_file_is_read_as_the_quotient_of_its_columns() -> None:
    rates, wrong = read_rates_csv(ECB, "GBP")
    assert wrong == ""
    assert rates == [
        DayRate(FRIDAY, Decimal("0.777233669038")),
        DayRate(FRIDAY - timedelta(days=1), Decimal("0.640000000000")),
    ]
    assert read_rates_csv(ECB, "EUR")[0][1].per_usd == Decimal("0.8")


@pytest.mark.parametrize(
    ("text", "currency", "says"),
    [
        ("", "EUR", "empty"),
        ("when,what\n", "EUR", "heading"),
        (ECB, "CHF", "no column CHF"),
        (ECB, "CYP", "quotes no rate of CYP"),
        ("date,per_usd\n2026-11-20,x\n", "EUR", "line 2"),
        ("date,per_usd\nFriday,0.9\n", "EUR", "line 2"),
        ("date,per_usd\n2026-11-20\n", "EUR", "line 2"),
        ("date,per_usd\n2026-11-20,0\n", "EUR", "above 0"),
        ("date,per_usd\n2026-11-20,NaN\n", "EUR", "line 2"),
        ("date,per_usd\n" + "2026-11-20,1\n" * 20_001, "EUR", "at most"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, currency: str, says: str) -> None:
    rates, wrong = read_rates_csv(text, currency)
    assert rates == []
    assert says in wrong


def test_rates_are_entered_imported_and_audited(tenant: TenantInfo) -> None:
    rates, _ = read_rates_csv(ECB, "EUR")
    with tenant_scope(tenant.id):
        with pytest.raises(InvalidTenantInputError, match="in USD"):
            set_rate(day=FRIDAY, per_usd=Decimal(1), actor="olga", now=NOW)
        change_tenant(name="Acme", currency="EUR", country="", actor="olga", now=NOW)
        assert import_rates(rates, file_name="ecb.csv", actor="olga", now=NOW) == (2, 0)
        assert import_rates(rates, file_name="ecb.csv", actor="olga", now=NOW) == (0, 0)
        set_rate(day=FRIDAY, per_usd=Decimal("0.93"), actor="olga", now=NOW)
        assert [rate.per_usd for rate in list_rates("EUR", limit=5)] == [
            Decimal("0.93"),
            Decimal("0.8"),
        ]
        (changed,) = list_audit_of(f"exchange_rate:EUR {FRIDAY}", limit=5)
        (imported,) = list_audit_of("exchange_rate:EUR", limit=5)
    assert (changed.after or {})["per_usd"] == "0.93"
    assert (imported.after or {})["rates"] == 2


def test_what_was_reported_of_a_closed_month_stays(tenant: TenantInfo) -> None:
    october = date(2026, 10, 30)
    with tenant_scope(tenant.id):
        change_tenant(name="Acme", currency="EUR", country="", actor="olga", now=NOW)
        set_rate(day=october, per_usd=Decimal("0.9"), actor="olga", now=NOW)
        write_books_closed_through(date(2026, 10, 31))
        with pytest.raises(InvalidTenantInputError, match="closed"):
            set_rate(day=october, per_usd=Decimal("0.8"), actor="olga", now=NOW)
        other = [DayRate(october, Decimal("0.8")), DayRate(october - timedelta(days=1), Decimal(1))]
        assert import_rates(other, file_name="x", actor="olga", now=NOW) == (1, 1)
        found = read_rates("EUR", first=october, last=october)
        assert found.on(october) == Decimal("0.9")


def test_messages_tell_amounts_as_the_organisation_writes_and_reports_them() -> None:
    monday = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
    swiss = conventions_of("de-CH")
    assert swiss is not None
    words = MoneyWords(swiss, eur((FRIDAY, "0.9")), ZoneInfo("Europe/Zurich"))
    assert words.amount(Decimal("-12345.675"), monday) == "EUR\xa0-11’111.11 (USD\xa0-12’345.68)"
    assert words.amount(Decimal("0.00031"), monday) == "EUR\xa00.000279 (USD\xa00.00031)"
    # A rate holds for a week, and a budget is what was set.
    assert words.amount(Decimal(1), monday + timedelta(days=9)) == "USD\xa01.00"
    assert words.usd(Decimal("1234.5")) == "USD\xa01’234.50"
    assert MoneyWords().amount(Decimal("1234.5"), monday) == "1,234.50 USD"
    assert MoneyWords().count(Decimal(1234567)) == "1,234,567"
