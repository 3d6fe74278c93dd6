from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.dashboards.periods import PERIOD_LABELS, read_period, read_window

KATHMANDU = ZoneInfo("Asia/Kathmandu")
NEW_YORK = ZoneInfo("America/New_York")
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["UTC", "Asia/Kathmandu", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati"]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_this_month_starts_at_the_tenants_own_midnight() -> None:
    # 18:20 UTC on 31 October is already 1 November, 00:05 in Kathmandu.
    period = read_period("month", KATHMANDU, utc("2026-10-31T18:20"))
    assert period.start == utc("2026-10-31T18:15")
    assert period.days[0] == date(2026, 11, 1)
    assert period.in_words == "in November so far"


def test_this_month_is_compared_with_the_last_by_the_same_wall_clock() -> None:
    # New York leaves summer time on 1 November 2026.
    period = read_period("month", NEW_YORK, utc("2026-11-23T15:40"))
    assert period.start == utc("2026-11-01T04:00")
    assert period.before_start == utc("2026-10-01T04:00")
    # 10:40 in New York is 15:40 UTC in November and 14:40 UTC in October.
    assert period.before_end == utc("2026-10-23T14:40")
    assert period.before_in_words == "October by this moment"


def test_the_last_days_of_a_month_are_compared_with_the_whole_of_a_shorter_one() -> None:
    period = read_period("month", BERLIN, utc("2026-03-31T10:00"))
    assert period.before_start == utc("2026-01-31T23:00")
    assert period.before_end == period.start == utc("2026-02-28T23:00")


def test_last_month_is_whole_and_compared_with_the_month_before_it() -> None:
    period = read_period("last-month", BERLIN, utc("2026-01-10T10:00"))
    assert (period.days[0], period.days[-1]) == (date(2025, 12, 1), date(2025, 12, 31))
    assert period.end == utc("2025-12-31T23:00")
    assert period.before_end == period.start == utc("2025-11-30T23:00")
    assert (period.in_words, period.before_in_words) == ("in December", "November")


def test_seven_days_are_today_and_the_six_before_it() -> None:
    period = read_period("7d", KATHMANDU, utc("2026-11-23T06:00"))
    assert (period.days[0], period.days[-1]) == (date(2026, 11, 17), date(2026, 11, 23))
    assert period.before_end == utc("2026-11-16T06:00")


def test_a_day_of_25_hours_is_one_day() -> None:
    period = read_period("7d", NEW_YORK, utc("2026-11-02T12:00"))
    assert period.days == tuple(date(2026, 10, 27) + timedelta(days=n) for n in range(7))
    # Six local midnights and the hour that came twice.
    assert period.end - period.start == timedelta(days=6, hours=7 + 1)


def test_a_wall_time_that_the_clocks_skip_is_read_an_hour_later() -> None:
    # 8 March 2026, 02:30 does not exist in New York; a week later it does.
    period = read_period("7d", NEW_YORK, utc("2026-03-15T06:30"))
    assert period.before_end == utc("2026-03-08T07:30")


def test_an_unknown_period_is_this_month() -> None:
    assert read_period("century", BERLIN, utc("2026-11-23T12:00")).slug == "month"


@pytest.mark.parametrize(
    ("slug", "minutes"), [("15m", 15), ("hour", 60), ("day", 1440), ("week", 10_080)]
)
def test_windows_end_now_and_have_as_much_before_them(slug: str, minutes: int) -> None:
    now = utc("2026-11-23T12:00")
    window = read_window(slug, KATHMANDU, now)
    assert (window.end, window.minutes) == (now, minutes)
    assert window.start - window.before_start == window.end - window.start


@given(
    slug=st.sampled_from(sorted(PERIOD_LABELS)),
    zone=st.sampled_from(ZONES),
    hours=st.floats(0, 6 * 365 * 24),
)
def test_a_period_never_overlaps_what_it_is_compared_with(
    slug: str, zone: str, hours: float
) -> None:
    now = utc("2024-01-01T00:00") + timedelta(hours=hours)
    period = read_period(slug, ZoneInfo(zone), now)
    assert period.before_start <= period.before_end <= period.start <= period.end <= now
    assert period.days == tuple(sorted(set(period.days)))
    assert period.start.astimezone(ZoneInfo(zone)).date() == period.days[0]


def test_thirty_days_of_routing_are_local_days() -> None:
    window = read_window("month", KATHMANDU, utc("2026-11-23T12:00"))
    assert window.start == utc("2026-10-24T18:15")
    assert window.before_start == utc("2026-09-24T18:15")
