"""What docs/hardware.md shows is so: each table is computed again from its own cells."""

import re
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from apps.pricing.core.allocation import (
    Basis,
    HourCharge,
    TokenCounts,
    TokenPrices,
    true_up,
    unit_costs,
)
from apps.pricing.core.breakeven import break_even, effective_usd_per_mtok, payback, plan_month
from apps.pricing.core.depreciation import Method, depreciate, depreciate_production
from apps.pricing.core.electricity import Covers, MeasuredEnergy, Power
from apps.pricing.core.local_time import (
    Interval,
    MonthAmount,
    add_months,
    clock_hours,
    month_interval,
)
from apps.pricing.core.money import plain_decimal
from apps.pricing.core.sharing import exact_sum
from apps.pricing.core.tco import Activity, hour_cost
from tests.pricing.tco.hardware import (
    ASSET,
    BERLIN,
    FLAT,
    HARDWARE,
    NODE,
    THROUGHPUT,
    TIME_OF_USE,
    hour_at,
)

PAGE = (Path(__file__).parents[3] / "docs" / "hardware.md").read_text()
QUARTER = Fraction(1, 4)
TEN = hour_at("2026-05-04T10:00")
MIX = TokenCounts(3, 0, 1)
JANUARY = date(2026, 1, 1)


def table(heading: str) -> list[list[str]]:
    """The rows under the table row that begins with these words."""
    body = re.search(rf"(?m)^\| {re.escape(heading)} .*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE)
    assert body is not None, heading
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in body[1].splitlines()]


def first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def posted(months: tuple[MonthAmount, ...]) -> dict[date, Decimal]:
    return {month.month: month.amount_usd for month in months}


def shown(amount: Decimal) -> str:
    return plain_decimal(amount)


def schedule(method: Method) -> tuple[MonthAmount, ...]:
    if method != Method.UNITS_OF_PRODUCTION:
        return depreciate(replace(ASSET, method=method), BERLIN)
    years = (18, 15, 9, 6)
    tokens = {add_months(JANUARY, month): years[month // 12] * 10**9 // 12 for month in range(48)}
    asset = replace(ASSET, method=method, lifetime_tokens=48 * 10**9)
    return depreciate_production(asset, tokens, BERLIN)


def test_the_page_is_about_the_hardware_of_the_tests() -> None:
    assert "24,000.00 USD, worth 4,000.00 after 48 months, in service on 2026-01-01" in " ".join(
        PAGE.split()
    )
    assert len(re.findall(r"(?m)^\|[-|]+\|$", PAGE)) == 13


def test_four_methods() -> None:
    rows = table("method")
    assert [row[0] for row in rows] == [method.value for method in Method]
    for name, first, *years, life in rows:
        months = posted(schedule(Method(name)))
        by_year = [sum(list(months.values())[at : at + 12]) for at in range(0, 48, 12)]
        assert [str(year) for year in by_year] == years
        assert (str(months[JANUARY]), str(sum(by_year))) == (first, life)


def test_a_month_begun() -> None:
    months = posted(depreciate(replace(ASSET, in_service=date(2026, 3, 15)), BERLIN))
    for month, amount in table("calendar month | depreciation"):
        assert str(months[first_day(month)]) == amount


def test_interest() -> None:
    months = posted(HARDWARE.assets[0].interest)
    for month, amount in table("calendar month | interest"):
        due = sum(months.values()) if month == "all" else months[first_day(month)]
        assert str(due) == amount


@pytest.mark.parametrize("row", table("month"))
def test_clock_changes(row: list[str]) -> None:
    month = next(m for m in HARDWARE.assets[0].depreciation if m.month == first_day(row[0]))
    hours = [month.between(h) for h in clock_hours(month_interval(month.month, BERLIN), BERLIN)]
    amounts = [month.amount_usd, hours[0], hours[1], exact_sum(hours)]
    assert [str(len(hours)), *map(shown, amounts)] == row[1:]


def test_energy() -> None:
    measured = {
        "nameplate": None,
        "700 Wh, metered at the machine": MeasuredEnergy(Decimal(700)),
        "700 Wh, metered at the facility": MeasuredEnergy(Decimal(700), at_facility=True),
        "500 Wh, of requests": MeasuredEnergy(Decimal(500), Covers.REQUESTS),
    }
    power = Power((NODE,), FLAT, Decimal("1.3"))
    assert table("energy") == [
        [name, shown(power.electricity_usd(TEN, QUARTER, energy))]
        for name, energy in measured.items()
    ]


def test_time_of_use() -> None:
    power = Power((NODE,), TIME_OF_USE, Decimal("1.3"))
    for hour, usd in table("hour from"):
        assert shown(power.electricity_usd(hour_at(hour), QUARTER)) == usd
    for evening, hours, usd in table("night from"):
        start = hour_at(evening).starts_at
        night = Interval(start, start + timedelta(hours=int(hours)))
        assert night.ends_at.astimezone(BERLIN).hour == 6
        assert shown(power.electricity_usd(night, Fraction(0))) == usd


def test_lines_of_an_hour() -> None:
    cost = hour_cost(HARDWARE, TEN, Activity(QUARTER))
    lines = [[line.kind.value, line.source, shown(line.amount_usd)] for line in cost.lines]
    assert table("line") == [*lines, ["total", "", shown(cost.total_usd)]]


@pytest.mark.parametrize("row", table("input"))
def test_two_utilisations(row: list[str]) -> None:
    tokens = TokenCounts(int(row[0]), 0, int(row[1]))
    costs = unit_costs(Decimal(2), TEN, tokens, THROUGHPUT)
    amounts = [shown(costs.utilisation), *unit_prices(costs.allocated), *unit_prices(costs.usage)]
    assert [*amounts, shown(costs.used_usd), shown(costs.idle_usd)] == row[2:]


def unit_prices(prices: TokenPrices | None) -> tuple[str, str]:
    if prices is None:
        return "", ""
    return shown(prices.input_usd_per_mtok), shown(prices.output_usd_per_mtok)


def test_true_up() -> None:
    rows = table("charge")
    charges = [
        HourCharge(name, TokenCounts(int(input_), 0, int(output)), Decimal(charged))
        for name, input_, output, charged, _, _ in rows
    ]
    closed = true_up(Decimal(2), TEN, charges, THROUGHPUT, Basis.ALLOCATED)
    assert [row[4:] for row in rows] == [
        [shown(done.final_usd), shown(done.difference_usd)] for done in closed.adjustments
    ]


def test_local_against_cloud() -> None:
    march = plan_month(HARDWARE, date(2026, 3, 1), THROUGHPUT, MIX)
    for utilisation, usd in table("utilisation"):
        cost = effective_usd_per_mtok(march, MIX, Fraction(utilisation))
        assert cost is not None
        assert shown(cost) == usd
    for cloud, *answer in table("cloud | break-even"):
        found = break_even(march, MIX, Decimal(cloud))
        if found.utilisation is None or found.mtok_per_month is None:
            assert ["never", found.never] == answer
        else:
            assert [shown(found.utilisation), shown(found.mtok_per_month)] == answer


def test_payback() -> None:
    for cloud, running, *answer in table("cloud bill"):
        found = payback(
            outlay_usd=Decimal(24000),
            cloud_usd_per_month=Decimal(cloud),
            running_usd_per_month=Decimal(running),
            in_service=JANUARY,
            life_months=48,
        )
        if found.month is None:
            assert ["never", found.never] == answer
        else:
            assert [str(found.months), f"{found.month:%Y-%m}"] == answer
