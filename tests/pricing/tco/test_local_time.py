"""The hours of a month sum to the month, in every zone and over every change of clocks."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.pricing.core.local_time import (
    Interval,
    add_months,
    clock_hours,
    month_interval,
    offset_changes,
    spread,
)
from apps.pricing.core.sharing import exact_sum

ZONES = sorted(available_timezones())
AMOUNT = Decimal("416.67")
SECOND = timedelta(seconds=1)


def months_with_a_change(zone: ZoneInfo, year: int) -> list[date]:
    """Looked for a week at a time; the two changes of a Ramadan are over four weeks apart."""
    months = (date(year, number, 1) for number in range(1, 13))
    return [month for month in months if _changes(month_interval(month, zone), zone)]


def _changes(month: Interval, zone: ZoneInfo) -> bool:
    weeks = range((month.ends_at - month.starts_at) // timedelta(days=7) + 1)
    moments = [month.starts_at + week * timedelta(days=7) for week in weeks]
    return len({moment.astimezone(zone).utcoffset() for moment in (*moments, month.ends_at)}) > 1


@pytest.mark.parametrize("first", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
def test_hours_sum_to_the_month_in_every_zone_over_dst(first: str) -> None:
    for name in (name for name in ZONES if name.upper().startswith(first)):
        zone = ZoneInfo(name)
        for month in months_with_a_change(zone, 2026):
            over = month_interval(month, zone)
            hours = list(clock_hours(over, zone))
            assert hours[0].starts_at == over.starts_at
            assert hours[-1].ends_at == over.ends_at
            assert exact_sum(spread(AMOUNT, over, hour) for hour in hours) == AMOUNT, name


@pytest.mark.parametrize(
    ("zone", "month", "hours", "days"),
    [
        ("Europe/Berlin", date(2026, 3, 1), 743, 31),
        ("Europe/Berlin", date(2026, 10, 1), 745, 31),
        ("America/New_York", date(2026, 11, 1), 721, 30),
        ("Asia/Kathmandu", date(2026, 11, 1), 720, 30),
    ],
)
def test_real_hours_of_a_month(zone: str, month: date, hours: int, days: int) -> None:
    over = month_interval(month, ZoneInfo(zone))
    pieces = list(clock_hours(over, ZoneInfo(zone)))
    assert len(pieces) == hours
    assert all(piece.microseconds == 3_600_000_000 for piece in pieces)
    assert hours != days * 24 or zone == "Asia/Kathmandu"


def test_lord_howe_moves_by_half_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    for month, length in ((date(2026, 4, 1), 720.5), (date(2026, 10, 1), 743.5)):
        pieces = list(clock_hours(month_interval(month, zone), zone))
        halves = [piece for piece in pieces if piece.microseconds != 3_600_000_000]
        assert [half.microseconds for half in halves] == [1_800_000_000]
        assert sum(piece.microseconds for piece in pieces) == length * 3_600_000_000


def test_a_month_whose_first_midnight_comes_twice() -> None:
    """St John's went from 00:01 on 1 November 2009 back to 23:01: months still meet."""
    zone = ZoneInfo("America/St_Johns")
    october, november = (month_interval(date(2009, month, 1), zone) for month in (10, 11))
    assert october.ends_at == november.starts_at
    hours = list(clock_hours(november, zone))
    assert exact_sum(spread(AMOUNT, november, hour) for hour in hours) == AMOUNT


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(ZONES).map(ZoneInfo),
    st.dates(date(1925, 1, 1), date(2060, 12, 1)),
    st.decimals(0, 10**9, places=2),
    st.lists(st.integers(0, 32 * 24 * 3600), max_size=20),
)
def test_any_cut_of_a_month_sums_to_it(
    zone: ZoneInfo, month: date, amount: Decimal, seconds: list[int]
) -> None:
    over = month_interval(month, zone)
    inside = {over.starts_at + second * SECOND for second in seconds}
    cuts = sorted({over.starts_at, over.ends_at} | {cut for cut in inside if cut < over.ends_at})
    parts = [spread(amount, over, Interval(start, end)) for start, end in pairwise(cuts)]
    assert exact_sum(parts) == amount
    assert min(parts) >= 0


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(ZONES).map(ZoneInfo), st.dates(date(1925, 1, 1), date(2060, 12, 1)))
def test_clock_hours_miss_nothing_and_repeat_nothing(zone: ZoneInfo, month: date) -> None:
    over = month_interval(month, zone)
    hours = list(clock_hours(over, zone))
    assert sum(hour.microseconds for hour in hours) == over.microseconds
    assert all(one.ends_at == two.starts_at for one, two in pairwise(hours))
    assert all(0 < hour.microseconds <= 3_600_000_000 for hour in hours)


def test_the_moment_clocks_move() -> None:
    zone = ZoneInfo("Europe/Berlin")
    year = Interval(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert offset_changes(year, zone) == [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
    ]


def test_months_are_added_within_the_calendar() -> None:
    assert add_months(date(2026, 1, 31), 1) == date(2026, 2, 28)
    assert add_months(date(2026, 11, 30), 15) == date(2028, 2, 29)
    assert add_months(date(2026, 1, 1), -1) == date(2025, 12, 1)


def test_an_interval_needs_zones_and_order() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="no time zone"):
        Interval(at.replace(tzinfo=None), at)
    with pytest.raises(ValueError, match="is before"):
        Interval(at, at - SECOND)


def test_an_interval_measures_real_time_not_clocks() -> None:
    zone = ZoneInfo("Europe/Berlin")
    night = Interval(datetime(2026, 3, 29, 0, tzinfo=zone), datetime(2026, 3, 29, 6, tzinfo=zone))
    assert night.microseconds == 5 * 3_600_000_000
