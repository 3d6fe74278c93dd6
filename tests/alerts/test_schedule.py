"""Quiet hours, digests and caps over the clocks of the world, their changes included."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.alerts.core.facts import Severity
from apps.alerts.core.local_clock import day_begins, moment_of, next_day_begins
from apps.alerts.core.schedule import (
    Cap,
    Schedule,
    next_digest,
    quiet_until,
    release,
    room_again_at,
)

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe",
    "America/Santiago", "Pacific/Apia", "Africa/Casablanca", "Asia/Tehran", "America/St_Johns",
]  # fmt: skip
BERLIN = ZoneInfo("Europe/Berlin")
zones = st.sampled_from(ZONES).map(ZoneInfo)
moments = st.integers(1_262_304_000, 1_893_456_000).map(lambda s: datetime.fromtimestamp(s, UTC))
times = st.times().map(lambda t: t.replace(second=0, microsecond=0))


def schedules(**fixed: object) -> st.SearchStrategy[Schedule]:
    return st.builds(
        Schedule,
        zone=zones,
        quiet_from=times,
        quiet_until=times,
        critical_passes=st.booleans(),
        digest=st.sampled_from(["none", "hourly", "daily"]),
        digest_hour=st.integers(0, 23),
    ).filter(lambda s: s.quiet_from != s.quiet_until)


@given(zones, st.dates(date(2010, 1, 2), date(2029, 12, 30)), times)
def test_moment_is_the_first_at_which_the_clock_has_come_so_far(
    zone: ZoneInfo, day: date, at: time
) -> None:
    moment = moment_of(day, at, zone)
    wanted = datetime.combine(day, at)
    shown = moment.astimezone(zone).replace(tzinfo=None)
    assert shown >= wanted
    before = (moment - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
    assert before < wanted


@given(zones, moments)
def test_days_follow_on_each_other_without_a_gap(zone: ZoneInfo, moment: datetime) -> None:
    begins, ends = day_begins(moment, zone), next_day_begins(moment, zone)
    assert begins <= moment < ends
    # Samoa left out a whole day in 2011: the day after is then empty, and begins when it ends.
    assert timedelta(hours=22) <= ends - begins <= timedelta(hours=26)


@given(schedules(), moments)
def test_quiet_hours_end_and_are_quiet_until_then(schedule: Schedule, moment: datetime) -> None:
    end = quiet_until(schedule, moment)
    if end is None:
        return
    assert moment < end <= moment + timedelta(hours=27)
    assert quiet_until(schedule, end - timedelta(seconds=1)) is not None
    after = quiet_until(schedule, end)
    # Only where the clocks leave out the loud part of a day do two quiet nights meet.
    assert after is None or after > end


@given(schedules(), moments)
def test_quiet_is_what_the_clock_on_the_wall_says_on_a_day_of_24_hours(
    schedule: Schedule, moment: datetime
) -> None:
    zone = schedule.zone
    around = [moment + timedelta(hours=h) for h in range(-30, 31)]
    if len({m.astimezone(zone).utcoffset() for m in around}) > 1:
        return
    assert schedule.quiet_from is not None
    assert schedule.quiet_until is not None
    shown = moment.astimezone(zone).time()
    begins, ends = schedule.quiet_from, schedule.quiet_until
    quiet = begins <= shown < ends if begins < ends else not ends <= shown < begins
    assert (quiet_until(schedule, moment) is not None) == quiet


@given(schedules(), moments)
def test_digest_comes_after_the_moment_within_a_day_and_not_in_quiet_hours(
    schedule: Schedule, moment: datetime
) -> None:
    at = next_digest(schedule, moment)
    assert moment < at <= moment + timedelta(hours=52)
    if schedule.digest == "hourly" and quiet_until(schedule, at - timedelta(seconds=1)) is None:
        assert at.astimezone(schedule.zone).minute == 0


@given(schedules(), moments)
def test_critical_goes_out_at_once_where_the_channel_lets_it(
    schedule: Schedule, moment: datetime
) -> None:
    when = release(schedule, Severity.CRITICAL, moment)
    if schedule.critical_passes:
        assert (when.due_at, when.held) == (moment, False)
    else:
        assert when == release(schedule, Severity.WARNING, moment)


@pytest.mark.parametrize(
    ("local", "end"),
    [
        ("2026-03-28 23:00", "2026-03-29 06:00"),  # the night with an hour less
        ("2026-10-24 23:00", "2026-10-25 06:00"),  # and the one with an hour more
        ("2026-11-23 05:59", "2026-11-23 06:00"),
        ("2026-11-23 22:00", "2026-11-24 06:00"),
    ],
)
def test_a_night_in_berlin_ends_at_six(local: str, end: str) -> None:
    schedule = Schedule(BERLIN, time(22), time(6))
    moment = datetime.fromisoformat(local).replace(tzinfo=BERLIN)
    ends_at = quiet_until(schedule, moment.astimezone(UTC))
    assert ends_at is not None
    assert ends_at.astimezone(BERLIN).isoformat(" ", "minutes")[:16] == end
    six = moment.replace(hour=6, minute=0)
    assert quiet_until(schedule, six.astimezone(UTC)) is None


def test_hour_that_the_clocks_leave_out_ends_the_night_when_they_jump() -> None:
    schedule = Schedule(BERLIN, time(23), time(2, 30))
    ends_at = quiet_until(schedule, datetime(2026, 3, 29, 0, 30, tzinfo=UTC))
    assert ends_at == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)


def test_hourly_digest_of_kathmandu_is_at_its_own_full_hour() -> None:
    schedule = Schedule(ZoneInfo("Asia/Kathmandu"), digest="hourly")
    at = next_digest(schedule, datetime(2026, 11, 23, 12, 0, tzinfo=UTC))
    assert at == datetime(2026, 11, 23, 12, 15, tzinfo=UTC)


def test_daily_digest_is_at_its_hour_by_the_clock_of_either_season() -> None:
    schedule = Schedule(BERLIN, digest="daily", digest_hour=8)
    summer = next_digest(schedule, datetime(2026, 7, 1, 12, tzinfo=UTC))
    winter = next_digest(schedule, datetime(2026, 12, 1, 12, tzinfo=UTC))
    assert (summer, winter) == (
        datetime(2026, 7, 2, 6, tzinfo=UTC),
        datetime(2026, 12, 2, 7, tzinfo=UTC),
    )


def test_cap_of_the_day_opens_at_midnight_and_of_the_hour_an_hour_on() -> None:
    cap, now = Cap(per_hour=2, per_day=3), datetime(2026, 11, 23, 12, tzinfo=UTC)

    def told_at(last_hour: int, today: int) -> datetime | None:
        return room_again_at(cap, last_hour=last_hour, today=today, moment=now, zone=BERLIN)

    assert told_at(1, 2) is None
    assert told_at(2, 2) == now + timedelta(hours=1)
    assert told_at(0, 3) == datetime(2026, 11, 23, 23, tzinfo=UTC)
