"""An hour's cost: named lines that add up, and hours that add up to the month."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pricing.core.depreciation import Asset, Method
from apps.pricing.core.electricity import MeasuredEnergy
from apps.pricing.core.local_time import DateRange, Interval, clock_hours, month_interval
from apps.pricing.core.sharing import exact_sum
from apps.pricing.core.tco import (
    Activity,
    CostKind,
    Hardware,
    RunningCost,
    hour_cost,
    schedule_asset,
    split_cost,
)
from tests.pricing.tco.hardware import ASSET, BERLIN, HARDWARE, hour_at

BUSY = Activity(Fraction(1, 4))


def test_lines_are_named_and_add_up() -> None:
    cost = hour_cost(HARDWARE, hour_at("2026-05-04T10:00"), BUSY)
    assert [(line.kind, line.source) for line in cost.lines] == [
        (CostKind.DEPRECIATION, "server"),
        (CostKind.INTEREST, "server"),
        (CostKind.ELECTRICITY, "electricity"),
        (CostKind.MAINTENANCE, "support contract"),
        (CostKind.HOSTING, "rack"),
        (CostKind.STAFF, "engineer"),
    ]
    assert exact_sum(cost.by_kind().values()) == cost.total_usd
    assert cost.by_kind()[CostKind.ELECTRICITY] == Decimal("0.2418")


@pytest.mark.parametrize("month", [date(2026, 2, 1), date(2026, 3, 1), date(2026, 10, 1)])
def test_the_hours_of_a_month_sum_to_the_month(month: date) -> None:
    over = month_interval(month, BERLIN)
    quiet = replace(HARDWARE, power=None)
    hours = [hour_cost(quiet, hour, BUSY) for hour in clock_hours(over, BERLIN)]
    sums = {kind: exact_sum(hour.by_kind()[kind] for hour in hours) for kind in CostKind}
    scheduled = HARDWARE.assets[0]
    place = month.month - 1
    assert sums[CostKind.DEPRECIATION] == scheduled.depreciation[place].amount_usd
    assert sums[CostKind.INTEREST] == scheduled.interest[place].amount_usd
    assert sums[CostKind.MAINTENANCE] == 120
    assert sums[CostKind.HOSTING] == 250
    assert sums[CostKind.STAFF] == 400
    assert exact_sum(hour.total_usd for hour in hours) == hour_cost(quiet, over, BUSY).total_usd


def test_an_asset_costs_nothing_before_and_after_its_life() -> None:
    alone = Hardware(BERLIN, HARDWARE.assets)
    assert hour_cost(alone, hour_at("2025-12-31T23:00"), BUSY).lines == ()
    assert hour_cost(alone, hour_at("2030-01-01T00:00"), BUSY).lines == ()
    whole_life = Interval(
        month_interval(date(2026, 1, 1), BERLIN).starts_at,
        month_interval(date(2030, 1, 1), BERLIN).starts_at,
    )
    assert hour_cost(alone, whole_life, BUSY).by_kind()[CostKind.DEPRECIATION] == 20_000


def test_the_first_hours_of_a_month_before_service_bear_nothing() -> None:
    late = replace(ASSET, in_service=date(2026, 3, 15), loan=None)
    hardware = Hardware(BERLIN, (schedule_asset(late, BERLIN),))
    assert hour_cost(hardware, hour_at("2026-03-14T23:00"), BUSY).total_usd == 0
    march = hour_cost(hardware, month_interval(date(2026, 3, 1), BERLIN), BUSY)
    assert march.total_usd == Decimal("228.49")  # 17/31 of 416.67


def test_production_is_due_by_the_token() -> None:
    asset = Asset(
        "server", Decimal(24000), Decimal(4000), date(2026, 1, 1), 48,
        Method.UNITS_OF_PRODUCTION, lifetime_tokens=10**9,
    )  # fmt: skip
    hardware = Hardware(BERLIN, (schedule_asset(asset, BERLIN),))
    hour = hour_at("2026-05-04T10:00")
    served = Activity(tokens=10**6, tokens_before={"server": 10**8})
    assert hour_cost(hardware, hour, served).total_usd == 20
    assert hour_cost(hardware, hour, Activity()).total_usd == 0
    nearly_done = Activity(tokens=10**6, tokens_before={"server": 10**9 - 1})
    assert hour_cost(hardware, hour, nearly_done).total_usd == Decimal("0.00002")
    assert hour_cost(hardware, hour_at("2030-01-01T00:00"), served).total_usd == 0


def test_a_running_cost_from_the_middle_of_a_month_bears_its_hours_only() -> None:
    from_the_16th = RunningCost(
        CostKind.HOSTING, "rack", Decimal(300), DateRange(date(2026, 4, 16), date(2026, 5, 16))
    )
    hardware = Hardware(BERLIN, running_costs=(from_the_16th,))
    assert hour_cost(hardware, month_interval(date(2026, 4, 1), BERLIN), BUSY).total_usd == 150


def test_measured_energy_reaches_the_hour() -> None:
    hour = hour_at("2026-05-04T10:00")
    cost = hour_cost(HARDWARE, hour, replace(BUSY, measured=MeasuredEnergy(Decimal(700))))
    assert cost.by_kind()[CostKind.ELECTRICITY] == Decimal("0.2184")


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text("abcd", min_size=1), st.integers(0, 10**6), min_size=1))
def test_shared_hardware_is_shared_out_whole(weights: dict[str, int]) -> None:
    cost = hour_cost(HARDWARE, hour_at("2026-05-04T10:00"), BUSY)
    if not any(weights.values()):
        with pytest.raises(ValueError, match="share nothing out"):
            split_cost(cost, weights)
        return
    parts = split_cost(cost, weights)
    assert exact_sum(part.total_usd for part in parts.values()) == cost.total_usd


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="not paid by the month"):
        RunningCost(CostKind.INTEREST, "x", Decimal(1), DateRange(date(2026, 1, 1)))
    with pytest.raises(ValueError, match="load share 2"):
        Activity(Fraction(2))
    at = hour_at("2026-05-04T10:00").starts_at
    with pytest.raises(ValueError, match="no time between"):
        hour_cost(HARDWARE, Interval(at, at), BUSY)
