"""Energy by nameplate or meter, its price by the local clock."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pricing.core.electricity import (
    Covers,
    Days,
    ElectricityPrice,
    MeasuredEnergy,
    Node,
    Power,
    PriceWindow,
    Tariff,
)
from apps.pricing.core.local_time import DateRange, Interval
from tests.pricing.tco.hardware import (
    BERLIN,
    DAY_AND_NIGHT,
    FLAT,
    FROM_2026,
    NODE,
    TIME_OF_USE,
    hour_at,
)

POWER = Power((NODE,), FLAT, Decimal("1.3"))
HOUR = hour_at("2026-05-04T10:00")
QUARTER = Fraction(1, 4)


def test_nameplate_is_a_line_from_idle_to_load() -> None:
    """300 W + 25% of 1,900 W = 775 W, times 1.3, at 0.24 USD."""
    assert POWER.electricity_usd(HOUR, QUARTER) == Decimal("0.2418")
    assert POWER.electricity_usd(HOUR, Fraction(0)) == Decimal("0.0936")


def test_measured_energy_stands_over_nameplate() -> None:
    measured = MeasuredEnergy(Decimal(700))
    assert POWER.electricity_usd(HOUR, QUARTER, measured) == Decimal("0.2184")
    at_facility = MeasuredEnergy(Decimal(700), at_facility=True)
    assert POWER.electricity_usd(HOUR, QUARTER, at_facility) == Decimal("0.168")


def test_energy_of_requests_leaves_the_time_between_them_to_nameplate() -> None:
    """500 Wh and 300 W idle for three quarters of the hour."""
    requests = MeasuredEnergy(Decimal(500), Covers.REQUESTS)
    assert POWER.electricity_usd(HOUR, QUARTER, requests) == Decimal("0.2262")


def test_a_node_draws_only_while_it_is_powered() -> None:
    until_may = replace(NODE, powered=DateRange(date(2026, 1, 1), date(2026, 5, 1)))
    power = Power((until_may,), FLAT)
    assert power.electricity_usd(HOUR, QUARTER) == 0
    across = hour_at("2026-04-30T23:00", hours=2)
    assert power.electricity_usd(across, Fraction(0)) == Decimal("0.072")


@pytest.mark.parametrize(
    ("local", "usd_per_kwh"),
    [
        ("2026-05-04T07:00", "0.30"),  # Monday
        ("2026-05-04T19:59", "0.30"),
        ("2026-05-04T20:00", "0.20"),
        ("2026-05-04T22:00", "0.15"),
        ("2026-05-05T05:59", "0.15"),
        ("2026-05-05T06:00", "0.20"),
        ("2026-05-09T12:00", "0.20"),  # Saturday
    ],
)
def test_windows_of_the_local_week(local: str, usd_per_kwh: str) -> None:
    assert TIME_OF_USE.usd_per_kwh_at(hour_at(local).starts_at) == Decimal(usd_per_kwh)


@pytest.mark.parametrize(
    ("evening", "night_hours"),
    [("2026-03-28T22:00", 7), ("2026-05-04T22:00", 8), ("2026-10-24T22:00", 9)],
)
def test_a_night_has_the_hours_that_its_clocks_leave_it(evening: str, night_hours: int) -> None:
    pieces = list(TIME_OF_USE.cut(hour_at(evening, hours=10)))
    night = [piece for piece, price in pieces if price == Decimal("0.15")]
    assert sum(piece.microseconds for piece in night) == night_hours * 3_600_000_000


def test_a_window_in_the_hour_that_comes_twice_counts_twice() -> None:
    cheap = PriceWindow(Decimal(0), time(2), time(3))
    tariff = Tariff(BERLIN, (ElectricityPrice(Decimal(1), FROM_2026, (cheap,)),))
    for day, free in (("2026-03-29T00:00", 0), ("2026-10-25T00:00", 2)):
        pieces = list(tariff.cut(hour_at(day, hours=12)))
        assert sum(p.microseconds for p, price in pieces if not price) == free * 3_600_000_000


def test_holidays_are_weekend() -> None:
    price = ElectricityPrice(
        Decimal("0.20"), FROM_2026, DAY_AND_NIGHT.windows, frozenset({date(2026, 5, 1)})
    )
    friday = hour_at("2026-05-01T12:00").starts_at
    assert Tariff(BERLIN, (price,)).usd_per_kwh_at(friday) == Decimal("0.20")
    assert TIME_OF_USE.usd_per_kwh_at(friday) == Decimal("0.30")


def test_a_dated_price_ends_at_local_midnight() -> None:
    may = date(2026, 5, 1)
    old = ElectricityPrice(Decimal("0.2"), DateRange(date(2026, 1, 1), may))
    new = ElectricityPrice(Decimal("0.4"), DateRange(may))
    power = Power((Node("n", Decimal(1000), Decimal(1000), FROM_2026),), Tariff(BERLIN, (old, new)))
    across = Interval(
        datetime(2026, 4, 30, 21, 30, tzinfo=UTC), datetime(2026, 4, 30, 22, 30, tzinfo=UTC)
    )
    assert power.electricity_usd(across, Fraction(0)) == Decimal("0.3")


def test_no_price_is_not_free() -> None:
    with pytest.raises(LookupError, match="no electricity price for 2025-12-31"):
        FLAT.usd_per_kwh_at(datetime(2025, 12, 31, 12, tzinfo=UTC))


def test_what_cannot_be_is_refused() -> None:
    day = PriceWindow(Decimal(1), time(7), time(20), Days.WEEKDAYS)
    with pytest.raises(ValueError, match="two windows have a price at"):
        ElectricityPrice(Decimal(1), FROM_2026, (day, PriceWindow(Decimal(1), time(19), time(22))))
    weekend = PriceWindow(Decimal(1), time(7), time(20), Days.WEEKEND)
    ElectricityPrice(Decimal(1), FROM_2026, (day, weekend))
    with pytest.raises(ValueError, match="prices overlap"):
        Tariff(BERLIN, (DAY_AND_NIGHT, ElectricityPrice(Decimal(1), FROM_2026)))
    with pytest.raises(ValueError, match="is below 1"):
        Power((NODE,), FLAT, Decimal("0.9"))
    with pytest.raises(ValueError, match="idle 5 W, load 4 W"):
        Node("n", Decimal(5), Decimal(4), FROM_2026)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"]).map(ZoneInfo),
    st.integers(0, 2 * 366 * 24 * 60),
    st.integers(1, 3 * 24 * 60),
)
def test_pieces_cover_the_interval_each_at_one_price(
    zone: ZoneInfo, start_minute: int, minutes: int
) -> None:
    tariff = Tariff(zone, (DAY_AND_NIGHT,))
    start = datetime(2026, 1, 2, tzinfo=UTC) + timedelta(minutes=start_minute)
    whole = Interval(start, start + timedelta(minutes=minutes))
    pieces = list(tariff.cut(whole))
    assert sum(piece.microseconds for piece, _ in pieces) == whole.microseconds
    for piece, price in pieces:
        for part in (0, 1, 2, 3):
            moment = piece.starts_at + part * (piece.ends_at - piece.starts_at) / 4
            assert tariff.usd_per_kwh_at(moment) == price


@settings(max_examples=50, deadline=None)
@given(st.fractions(0, 1), st.fractions(0, 1))
def test_more_load_never_costs_less(one: Fraction, other: Fraction) -> None:
    less, more = sorted((one, other))
    assert POWER.electricity_usd(HOUR, less) <= POWER.electricity_usd(HOUR, more)
