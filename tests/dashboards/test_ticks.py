from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from apps.dashboards.periods import Window, days_between, read_window
from apps.dashboards.routing.buckets import cut_window
from apps.dashboards.ticks import day_axis, hour_axis
from tests.dashboards.rows import row

KATHMANDU = ZoneInfo("Asia/Kathmandu")
NEW_YORK = ZoneInfo("America/New_York")


def window(slug: str, now: str, zone: ZoneInfo = NEW_YORK) -> Window:
    return read_window(slug, zone, datetime.fromisoformat(now).replace(tzinfo=UTC))


def test_every_tier_of_days_is_sparser_and_names_the_month_where_it_changes() -> None:
    axis = day_axis(days_between(date(2026, 8, 26), date(2026, 11, 24)))
    sizes = [len(tier) for tier in axis.tiers]
    assert sizes == sorted(sizes, reverse=True)
    weekly = [text for _, text in axis.tiers[2]]
    assert weekly[:3] == ["31 Aug", "7 Sep", "14"]


def test_labels_of_a_month_are_its_days() -> None:
    axis = day_axis(days_between(date(2026, 11, 1), date(2026, 12, 1)))
    assert axis.labels[0] == "Sun 1 Nov"
    assert [text for _, text in axis.tiers[2]] == ["1 Nov", "8", "15", "22", "29"]


def test_an_hour_that_comes_twice_has_two_labels() -> None:
    # 1 November 2026: New York has 01:00 twice.
    start = datetime(2026, 11, 1, 4, tzinfo=UTC)
    hours = [(start + timedelta(hours=n)).astimezone(NEW_YORK) for n in range(4)]
    labels = hour_axis(hours).labels
    assert len(set(labels)) == 4
    assert labels[2] == "Sun 1 Nov, 01:00 again"


def test_hours_are_in_phase_with_rollups_of_a_zone_at_quarter_hours() -> None:
    # Local hours of Kathmandu start at :15 of UTC.
    bucket = datetime(2026, 11, 23, 5, 15, tzinfo=UTC)
    cut = cut_window(window("day", "2026-11-23T12:07"), KATHMANDU, [row(bucket=bucket)])
    place = cut.place(bucket)
    assert place is not None
    assert cut.axis.labels[place] == "Mon 23 Nov, 11:00"
    assert cut.count == 25


def test_hours_without_rows_are_local_hours() -> None:
    cut = cut_window(window("day", "2026-11-23T12:07"), KATHMANDU, [])
    assert {label[-2:] for label in cut.axis.labels} == {"00"}


def test_a_week_is_cut_into_quarters_of_local_days_also_when_clocks_change() -> None:
    cut = cut_window(window("week", "2026-11-04T12:00"), NEW_YORK, [])
    assert len(cut.axis.labels) == len(set(cut.axis.labels))
    clock = datetime(2026, 11, 1, 6, 30, tzinfo=UTC).replace(minute=0)
    night = cut.place(clock)
    assert night is not None
    assert cut.axis.labels[night] == "Sun 1 Nov, 00:00"
    places = sorted(set(cut.places.values()))
    assert places == list(range(cut.count))


def test_minutes_are_put_together_until_a_bucket_holds_enough() -> None:
    quiet = cut_window(window("hour", "2026-11-23T12:07"), NEW_YORK, [row(requests=60)])
    busy = cut_window(window("hour", "2026-11-23T12:07"), NEW_YORK, [row(requests=6000)])
    assert (quiet.in_words, busy.in_words) == ("5 minutes", "minute")
    minute = datetime(2026, 11, 23, 11, 44, tzinfo=UTC)
    place = quiet.place(minute)
    assert place is not None
    assert quiet.axis.labels[place] == "06:40"


def test_what_is_outside_the_window_has_no_place() -> None:
    cut = cut_window(window("hour", "2026-11-23T12:07"), NEW_YORK, [])
    assert cut.place(datetime(2026, 11, 23, 10, tzinfo=UTC)) is None
    assert cut.place(None) is None


def test_days_of_thirty_days_are_local_ones() -> None:
    cut = cut_window(window("month", "2026-11-23T20:00", KATHMANDU), KATHMANDU, [])
    assert cut.count == 30
    assert cut.place(date(2026, 11, 24)) == cut.count - 1
