"""Periods tile time in every zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.budgets.core.periods import PERIOD_KINDS, Calendar, Period, PeriodKind

ZONES = sorted(available_timezones() - {"localtime", "Factory"})
RECURRING: list[PeriodKind] = [kind for kind in PERIOD_KINDS if kind != "grant"]
LONGER: list[PeriodKind] = ["week", "month", "quarter", "year"]
moments = st.integers(157_766_400, 2_051_222_400).map(lambda s: datetime.fromtimestamp(s, UTC))


@settings(max_examples=600)
@given(moment=moments, zone=st.sampled_from(ZONES), kind=st.sampled_from(RECURRING))
def test_each_moment_is_in_the_one_period_between_its_neighbours(
    moment: datetime, zone: str, kind: PeriodKind
) -> None:
    calendar = Calendar(kind, ZoneInfo(zone))
    period = calendar.at(moment)
    assert period is not None
    assert period.contains(moment)
    assert calendar.after(period).start == period.end
    assert calendar.before(period).end == period.start
    assert not calendar.after(period).contains(moment)
    assert not calendar.before(period).contains(moment)
    assert calendar.starting(period.first_day) == period


@settings(max_examples=100)
@given(zone=st.sampled_from(ZONES), kind=st.sampled_from(RECURRING), moment=moments)
def test_a_run_of_periods_has_no_gap_and_no_overlap(
    zone: str, kind: PeriodKind, moment: datetime
) -> None:
    calendar = Calendar(kind, ZoneInfo(zone))
    period = calendar.at(moment)
    assert period is not None
    for _ in range(40):
        following = calendar.after(period)
        assert period.start <= period.end == following.start
        assert period.first_day < following.first_day
        period = following


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Asia/Kathmandu", date(2026, 11, 1), 24),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Africa/Cairo", date(2026, 4, 24), 23),  # midnight itself is skipped
        ("America/Havana", date(2026, 11, 1), 25),  # midnight comes twice
        ("Pacific/Apia", date(2011, 12, 30), 0),  # the day that was not
    ],
)
def test_a_local_day_is_as_long_as_its_zone_makes_it(zone: str, day: date, hours: float) -> None:
    period = Calendar("day", ZoneInfo(zone)).starting(day)
    assert period.end - period.start == timedelta(hours=hours)


def test_months_quarters_and_years_start_on_the_tenants_own_first_day() -> None:
    zone = ZoneInfo("Asia/Kathmandu")
    moment = datetime(2026, 12, 31, 18, 30, tzinfo=UTC)  # 00:15 of 1 January there
    for kind in ("month", "quarter", "year"):
        period = Calendar(kind, zone).at(moment)
        assert period is not None
        assert period.first_day == date(2027, 1, 1)
        assert period.start == datetime(2026, 12, 31, 18, 15, tzinfo=UTC)


def test_a_grant_is_its_own_dates_and_nothing_else() -> None:
    start, end = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    calendar = Calendar("grant", ZoneInfo("UTC"), start, end)
    period = calendar.at(start)
    assert period is not None
    assert (period.start, period.end) == (start, end)
    assert calendar.at(end) is None
    assert calendar.at(start - timedelta(seconds=1)) is None
    with pytest.raises(ValueError, match="not after"):
        Calendar("grant", ZoneInfo("UTC"), end, start)
    with pytest.raises(ValueError, match="no dates of its own"):
        Calendar("month", ZoneInfo("UTC"), start, end)


@settings(max_examples=2, deadline=None)
@given(year=st.integers(1976, 2035))
def test_in_every_zone_all_periods_of_a_year_tile_it_days_about_each_change_of_clocks(
    year: int,
) -> None:
    """Every IANA zone: each week, month, quarter and year ends where the next begins; so does each
    day of the fortnights in which its clocks change."""
    for name in ZONES:
        zone = ZoneInfo(name)
        for kind in LONGER:
            calendar = Calendar(kind, zone)
            period = calendar.starting(first_day_of(kind, year))
            while period.first_day.year <= year:
                following = calendar.after(period)
                assert period.start <= period.end == following.start, (name, kind, period)
                if kind == "week" and _clocks_change(period, zone):
                    _check_days(period.first_day - timedelta(days=3), zone)
                period = following


def _clocks_change(week: Period, zone: ZoneInfo) -> bool:
    start, end = (moment.astimezone(zone).utcoffset() for moment in (week.start, week.end))
    return start != end


def _check_days(first: date, zone: ZoneInfo) -> None:
    calendar = Calendar("day", zone)
    period = calendar.starting(first)
    for _ in range(14):
        following = calendar.after(period)
        assert period.start <= period.end == following.start, (zone, period)
        assert period.end - period.start <= timedelta(hours=48), (zone, period)
        if period.start < period.end:
            assert calendar.at(period.start) == period, (zone, period)
            assert calendar.at(period.end - timedelta(microseconds=1)) == period, (zone, period)
        period = following


def first_day_of(kind: PeriodKind, year: int) -> date:
    """Of the first period that is named after a day of the year."""
    first = date(year, 1, 1)
    return first + timedelta(days=-first.weekday() % 7) if kind == "week" else first
