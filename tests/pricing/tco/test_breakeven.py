"""Own hardware against the cloud: cost by utilisation, break-even, payback, and never."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pricing.core.allocation import TokenCounts, TokenPrices
from apps.pricing.core.breakeven import (
    BreakEven,
    LocalMonth,
    Never,
    Payback,
    blended_usd_per_mtok,
    break_even,
    effective_usd_per_mtok,
    payback,
    plan_month,
    utilisation_curve,
)
from apps.pricing.core.local_time import month_interval
from apps.pricing.core.tco import Activity, hour_cost
from tests.pricing.tco.hardware import BERLIN, HARDWARE, THROUGHPUT

MIX = TokenCounts(3, 0, 1)
# 4 tokens of the mix take 1.3 ms: 730 h serve 8,086.153846 million.
LOCAL = LocalMonth(Decimal(1200), Decimal(300), Decimal(730), THROUGHPUT)
MONEY = st.decimals(0, 10**5, places=2)


def test_cost_per_million_tokens_falls_with_use() -> None:
    at = {part: effective_usd_per_mtok(LOCAL, MIX, Fraction(part, 100)) for part in (25, 50, 100)}
    assert {part: str(usd)[:8] for part, usd in at.items()} == {
        25: "0.630707",
        50: "0.333904",
        100: "0.185502",
    }
    assert effective_usd_per_mtok(LOCAL, MIX, Fraction(0)) is None


def test_cloud_prices_blend_by_the_mix() -> None:
    cloud = TokenPrices(Decimal("0.15"), Decimal("0.075"), Decimal("0.60"))
    assert blended_usd_per_mtok(cloud, MIX) == Decimal("0.2625")


def test_break_even_against_a_cloud_price() -> None:
    """1,200 / (8,086.15 x 0.2625 - 300) of the month."""
    found = break_even(LOCAL, MIX, Decimal("0.2625"))
    assert found == BreakEven(Decimal("0.658394530261"), Decimal("5323.879463155229"))


def test_never_when_even_full_use_costs_more() -> None:
    assert break_even(LOCAL, MIX, Decimal("0.18")).never == Never.FULL_USE_COSTS_MORE
    assert break_even(LOCAL, MIX, Decimal("0.01")).never == Never.FULL_USE_COSTS_MORE
    assert break_even(LOCAL, MIX, Decimal(0)) == BreakEven(None, None, Never.FULL_USE_COSTS_MORE)


@settings(max_examples=60, deadline=None)
@given(MONEY, MONEY, st.decimals("0.01", 100, places=4))
def test_at_break_even_both_cost_the_same(fixed: Decimal, load: Decimal, cloud: Decimal) -> None:
    local = LocalMonth(fixed, load, Decimal(730), THROUGHPUT)
    found = break_even(local, MIX, cloud)
    if found.utilisation is None:
        assert local.usd_per_mtok(MIX, Fraction(1)) > Fraction(cloud) or not cloud
    elif found.utilisation:
        there = local.usd_per_mtok(MIX, Fraction(found.utilisation))
        assert abs(there / Fraction(cloud) - 1) < Fraction(1, 10**4)


@settings(max_examples=40, deadline=None)
@given(MONEY, MONEY)
def test_the_curve_never_rises(fixed: Decimal, load: Decimal) -> None:
    curve = utilisation_curve(LocalMonth(fixed, load, Decimal(730), THROUGHPUT), MIX)
    assert [point.utilisation for point in curve] == [Decimal(n) / 100 for n in range(1, 101)]
    costs = [point.usd_per_mtok for point in curve]
    assert costs == sorted(costs, reverse=True)


def pays_back(**changes: object) -> Payback:
    usual = {
        "outlay_usd": Decimal(24_000),
        "cloud_usd_per_month": Decimal(3_000),
        "running_usd_per_month": Decimal(1_000),
        "in_service": date(2026, 1, 1),
        "life_months": 48,
    }
    return payback(**(usual | changes))  # type: ignore[arg-type]


def test_payback_month() -> None:
    assert pays_back() == Payback(12, date(2026, 12, 1))
    assert pays_back(in_service=date(2026, 1, 15)) == Payback(12, date(2027, 1, 1))
    assert pays_back(outlay_usd=Decimal("24000.01")) == Payback(13, date(2027, 1, 1))
    assert pays_back(outlay_usd=Decimal(0)) == Payback(0, date(2026, 1, 1))


def test_payback_never() -> None:
    same = pays_back(cloud_usd_per_month=Decimal(1_000))
    assert same == Payback(None, None, Never.NOTHING_SAVED)
    late = pays_back(cloud_usd_per_month=Decimal(1_400))
    assert late == Payback(None, None, Never.LIFE_TOO_SHORT)


def test_a_planned_month_is_the_month_itself() -> None:
    march = date(2026, 3, 1)
    local = plan_month(HARDWARE, march, THROUGHPUT, MIX)
    assert local.hours == 743
    # 1.9 kW more under load, for 743 hours, PUE 1.3, 0.24 USD.
    assert local.full_load_usd == Decimal("440.4504")
    half = hour_cost(HARDWARE, month_interval(march, BERLIN), Activity(Fraction(1, 2))).total_usd
    assert local.cost_usd(Fraction(1, 2)) == Fraction(half)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="takes no hardware time"):
        LOCAL.capacity_mtok(TokenCounts())
    with pytest.raises(ValueError, match="utilisation 2"):
        effective_usd_per_mtok(LOCAL, MIX, Fraction(2))
    with pytest.raises(ValueError, match="no tokens"):
        blended_usd_per_mtok(TokenPrices(*[Decimal(1)] * 3), TokenCounts())
