"""An asset's months add up to its cost less salvage, to the cent, whatever the method."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pricing.core.depreciation import (
    Asset,
    Loan,
    Method,
    charge_interest,
    depreciate,
    depreciate_production,
    interest_cents,
    production_usd,
    unproduced_usd,
)
from apps.pricing.core.local_time import MonthAmount, add_months
from apps.pricing.core.sharing import exact_sum

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
).map(ZoneInfo)
BY_TIME = [method for method in Method if method != Method.UNITS_OF_PRODUCTION]
CENTS = st.integers(0, 10**9).map(lambda cents: Decimal(cents) / 100)


def asset(price: str = "24000", salvage: str = "4000", **changes: Any) -> Asset:
    fields = {"in_service": date(2026, 1, 1), "life_months": 48} | changes
    return Asset("server", Decimal(price), Decimal(salvage), **fields)


def total(months: Iterable[MonthAmount]) -> Decimal:
    return sum((month.amount_usd for month in months), Decimal(0))


def by_year(months: Iterable[MonthAmount]) -> list[Decimal]:
    years: dict[int, Decimal] = {}
    for month in months:
        years[month.month.year] = years.get(month.month.year, Decimal(0)) + month.amount_usd
    return list(years.values())


@st.composite
def assets(draw: st.DrawFn, methods: Iterable[Method] = Method) -> Asset:
    method = draw(st.sampled_from(list(methods)))
    prices = sorted((draw(CENTS), draw(CENTS)))
    return Asset(
        "server",
        prices[1],
        prices[0],
        draw(st.dates(date(1990, 1, 1), date(2060, 12, 31))),
        draw(st.integers(1, 150)),
        method,
        factor=draw(st.sampled_from([Decimal(1), Decimal("1.5"), Decimal(2), Decimal(3)])),
        lifetime_tokens=(
            draw(st.integers(1, 10**15)) if method == Method.UNITS_OF_PRODUCTION else None
        ),
    )


@settings(max_examples=150, deadline=None)
@given(assets(BY_TIME), ZONES)
def test_life_sums_to_cost_less_salvage_to_the_cent(bought: Asset, zone: ZoneInfo) -> None:
    months = depreciate(bought, zone)
    assert total(months) == bought.purchase_price_usd - bought.salvage_value_usd
    assert all(month.amount_usd >= 0 for month in months)
    assert all(month.amount_usd == round(month.amount_usd, 2) for month in months)
    assert len({month.month for month in months}) == len(months)


@settings(max_examples=60, deadline=None)
@given(assets([Method.UNITS_OF_PRODUCTION]), ZONES, st.data())
def test_production_and_what_is_written_off_sum_to_cost_less_salvage(
    bought: Asset, zone: ZoneInfo, data: st.DataObject
) -> None:
    first = bought.in_service.replace(day=1)
    lifetime = bought.lifetime_tokens or 0
    tokens = data.draw(st.lists(st.integers(0, lifetime), max_size=bought.life_months))
    served = {add_months(first, place): count for place, count in enumerate(tokens)}
    months = depreciate_production(bought, served, zone)
    base = bought.purchase_price_usd - bought.salvage_value_usd
    assert total(months) + unproduced_usd(bought, sum(tokens)) == base
    if sum(tokens) >= lifetime:
        assert total(months) == base


@settings(max_examples=60, deadline=None)
@given(assets([Method.UNITS_OF_PRODUCTION]), st.lists(st.integers(0, 10**12), max_size=30))
def test_production_by_the_hour_sums_exactly(bought: Asset, hours: list[int]) -> None:
    due = []
    before = 0
    for tokens in hours:
        due.append(production_usd(bought, tokens_before=before, tokens=tokens))
        before += tokens
    assert exact_sum(due) == production_usd(bought, tokens_before=0, tokens=before)


@settings(max_examples=60, deadline=None)
@given(assets([Method.DECLINING_BALANCE, Method.SUM_OF_YEARS_DIGITS]))
def test_accelerated_methods_never_lag_behind_the_straight_line(bought: Asset) -> None:
    straight = asset(
        str(bought.purchase_price_usd),
        str(bought.salvage_value_usd),
        in_service=bought.in_service,
        life_months=bought.life_months,
    )
    fast_sum = line_sum = Decimal(0)
    for fast, line in zip(depreciate(bought, BERLIN), depreciate(straight, BERLIN), strict=True):
        fast_sum += fast.amount_usd
        line_sum += line.amount_usd
        assert fast_sum >= line_sum


def test_straight_line_carries_its_cents_forward() -> None:
    months = depreciate(asset("100", "0", life_months=3), BERLIN)
    assert [str(month.amount_usd) for month in months] == ["33.33", "33.34", "33.33"]


def test_sum_of_years_digits_as_in_the_regulation() -> None:
    """26 CFR 1.167(b)-3 (a)(1)(i), examples 1 and 2."""
    bought = {"price": "1750", "salvage": "250", "life_months": 60}
    method = Method.SUM_OF_YEARS_DIGITS
    whole = depreciate(asset(**bought, method=method), BERLIN)
    assert by_year(whole) == [500, 400, 300, 200, 100]
    from_april = asset(**bought, method=method, in_service=date(2026, 4, 1))
    assert by_year(depreciate(from_april, BERLIN))[:3] == [375, 425, 325]


def test_sum_of_years_digits_of_a_broken_life() -> None:
    """3 1/2 years: 3.5, 2.5, 1.5 and 0.5 eighths."""
    months = depreciate(
        asset("800", "0", life_months=42, method=Method.SUM_OF_YEARS_DIGITS), BERLIN
    )
    assert by_year(months) == [350, 250, 150, 50]


def test_declining_balance_as_the_spreadsheet_function_vdb() -> None:
    """VDB(10000, 1000, 7, 3, 4) is 1041.23 by its published example; never below salvage."""
    method = Method.DECLINING_BALANCE
    years = by_year(depreciate(asset("10000", "1000", life_months=84, method=method), BERLIN))
    assert [str(year) for year in years] == [
        "2857.14", "2040.82", "1457.73", "1041.23", "743.74", "531.24", "328.10",
    ]  # fmt: skip


def test_declining_balance_turns_straight_when_that_is_more() -> None:
    method = Method.DECLINING_BALANCE
    years = by_year(depreciate(asset("10000", "0", life_months=60, method=method), BERLIN))
    assert years == [4000, 2400, 1440, 1080, 1080]


def test_a_month_begun_counts_by_its_days() -> None:
    """In service on 15 March: 17 of the 31 days of its own first month are in March."""
    months = depreciate(asset("3100", "0", life_months=1, in_service=date(2026, 3, 15)), BERLIN)
    assert [(month.month, month.amount_usd) for month in months] == [
        (date(2026, 3, 1), 1700),
        (date(2026, 4, 1), 1400),
    ]


def test_a_life_from_the_last_of_the_month() -> None:
    months = depreciate(asset("100", "0", life_months=1, in_service=date(2026, 1, 31)), BERLIN)
    assert [month.month for month in months] == [date(2026, 1, 1), date(2026, 2, 1)]
    assert total(months) == 100


def test_a_first_day_that_the_zone_skipped_is_carried_forward() -> None:
    kiritimati = ZoneInfo("Pacific/Kiritimati")  # had no 31 December 1994
    months = depreciate(asset("100", "0", life_months=2, in_service=date(1994, 12, 31)), kiritimati)
    assert total(months) == 100
    assert all(month.over.microseconds for month in months)


@settings(max_examples=60, deadline=None)
@given(
    CENTS.filter(bool),
    st.integers(0, 3000).map(lambda points: Decimal(points) / 10_000),
    st.integers(1, 120),
    st.dates(date(1990, 1, 1), date(2060, 12, 31)),
    ZONES,
)
def test_interest_by_month_sums_to_that_of_the_instalments(
    principal: Decimal, rate: Decimal, term: int, start: date, zone: ZoneInfo
) -> None:
    loan = Loan(principal, rate, term)
    cents = list(interest_cents(loan))
    assert len(cents) == term
    assert min(cents) >= 0
    assert total(charge_interest(loan, start, zone)) * 100 == sum(cents)


def test_interest_of_a_known_loan() -> None:
    """10,000 at 6% for 3 years: instalments of 304.22; 50.00 of the first is interest."""
    cents = list(interest_cents(Loan(Decimal(10_000), Decimal("0.06"), 36)))
    assert cents[:2] == [5000, 4873]
    assert abs(sum(cents) - (36 * 30422 - 1_000_000)) <= 36


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"salvage": "24000.01"}, "salvage 24000.01 USD is not from 0 to the price 24000 USD"),
        ({"price": "1.001", "salvage": "0"}, "1.001 has more than 2 decimals"),
        ({"life_months": 0}, "life 0 months is not from 1 to 600"),
        ({"factor": Decimal(0)}, "factor 0 is not over 0, to 10"),
        ({"method": Method.UNITS_OF_PRODUCTION}, "lifetime tokens None do not go with units"),
        ({"lifetime_tokens": 5}, "lifetime tokens 5 do not go with straight_line"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        asset(**changes)


def test_tokens_of_a_strange_month_are_not_lost_silently() -> None:
    bought = asset(method=Method.UNITS_OF_PRODUCTION, lifetime_tokens=10)
    with pytest.raises(ValueError, match="2026-01-02"):
        depreciate_production(bought, {date(2026, 1, 2): 5}, BERLIN)
