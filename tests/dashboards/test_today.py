from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from apps.dashboards.overview.today import compare_today, days_compared
from apps.dashboards.periods import local_midnight

BERLIN = ZoneInfo("Europe/Berlin")
KATHMANDU = ZoneInfo("Asia/Kathmandu")
MONDAY = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)  # 10:30 in Berlin


def hours(zone: ZoneInfo, now: datetime, per_hour: list[str]) -> dict[datetime, Decimal]:
    """Full days of one hourly amount each, newest day first; today ends with this hour."""
    made = {}
    for day, usd in zip(days_compared(zone, now), per_hour, strict=False):
        for n in range(24):
            hour = local_midnight(day, zone) + timedelta(hours=n)
            if hour <= now:
                made[hour] = Decimal(usd)
    return made


def test_the_days_compared_are_the_same_weekday() -> None:
    assert days_compared(BERLIN, MONDAY)[:2] == [date(2026, 11, 23), date(2026, 11, 16)]


def test_usual_is_the_median_of_the_same_weekdays_by_the_same_time() -> None:
    today = compare_today(hours(BERLIN, MONDAY, ["2", "1", "1", "3", "9"]), BERLIN, MONDAY)
    # Today counts the whole of the hour that runs; the others 10 hours and a half of it.
    assert today.spent == 22
    assert today.usual == (Decimal("10.5") + Decimal("31.5")) / 2
    assert today.usual_in_words == "a usual Monday by 10:30"


def test_one_day_is_not_usual() -> None:
    today = compare_today(hours(BERLIN, MONDAY, ["2", "1"]), BERLIN, MONDAY)
    assert today.usual_in_words == "last Monday by 10:30"


def test_the_first_week_compares_with_nothing() -> None:
    today = compare_today(hours(BERLIN, MONDAY, ["2"]), BERLIN, MONDAY)
    assert (today.usual, today.change, today.usual_running) == (None, None, ())


def test_a_day_without_spend_after_the_first_counts_as_one() -> None:
    known = hours(BERLIN, MONDAY, ["2", "0", "0", "4"])
    known = {hour: usd for hour, usd in known.items() if usd}
    assert compare_today(known, BERLIN, MONDAY).usual == 0


def test_running_sums_end_with_this_hour_and_the_usual_with_its_day() -> None:
    today = compare_today(hours(BERLIN, MONDAY, ["2", "1", "1"]), BERLIN, MONDAY)
    assert list(today.running[:3]) == [0, 2, 4]
    assert today.running[11] == 22
    assert set(today.running[12:]) == {None}
    assert today.usual_running[-1] == 24


def test_a_local_day_at_three_quarters_of_an_hour_is_whole() -> None:
    now = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)  # 11:45 in Kathmandu
    today = compare_today(hours(KATHMANDU, now, ["1", "1", "1"]), KATHMANDU, now)
    assert today.spent == 12
    assert today.usual == Decimal("11.75")
