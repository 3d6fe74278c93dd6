"""From moments to local days: parts of days, changes of clocks, quarter-hour zones, prices."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.insights.core.forecast import KnownDays
from apps.insights.core.known_days import Effect, PriceStep, known_days, local_midnight
from apps.insights.public_holidays import public_holidays

FIRST, END = date(2026, 10, 1), date(2026, 12, 1)
BERLIN = ZoneInfo("Europe/Berlin")


def days_of(*effects: Effect, steps: list[PriceStep] | None = None, zone: ZoneInfo) -> KnownDays:
    return known_days(
        effects=effects, steps=steps or [], holidays=frozenset(), zone=zone, first=FIRST, end=END
    )


def test_an_event_counts_by_the_part_of_the_local_day_it_takes() -> None:
    kathmandu = ZoneInfo("Asia/Kathmandu")
    noon = datetime(2026, 11, 3, 12, tzinfo=kathmandu)
    launch = Effect(noon, noon + timedelta(hours=24), multiplier=3.0)
    found = days_of(launch, zone=kathmandu).multipliers
    assert found == {date(2026, 11, 3): 2.0, date(2026, 11, 4): 2.0}


def test_a_day_of_25_hours_has_25_hours() -> None:
    start = local_midnight(date(2026, 10, 25), BERLIN)
    half = Effect(start, start + timedelta(hours=12.5), multiplier=2.0)
    assert days_of(half, zone=BERLIN).multipliers == {date(2026, 10, 25): 1.5}


@given(
    st.integers(min_value=0, max_value=49 * 24 * 60),
    st.timedeltas(min_value=timedelta(minutes=1), max_value=timedelta(days=9)),
    st.sampled_from(["Asia/Kathmandu", "Europe/Berlin", "America/New_York", "UTC"]),
)
def test_what_comes_on_top_adds_up_over_the_days_it_falls_on(
    minutes: int, length: timedelta, zone: str
) -> None:
    begins = datetime(2026, 10, 2, tzinfo=UTC) + timedelta(minutes=minutes)
    found = days_of(Effect(begins, begins + length, extra_usd=90.0), zone=ZoneInfo(zone))
    assert sum(found.additions_usd.values()) == pytest.approx(90)


def test_an_event_of_unknown_size_sets_its_days_aside_unless_it_is_minor() -> None:
    start = datetime(2026, 11, 3, 23, tzinfo=UTC)
    unknown = Effect(start, start + timedelta(hours=2))
    minor = Effect(start, start + timedelta(days=9), is_minor=True)
    found = days_of(unknown, minor, zone=ZoneInfo("UTC"))
    assert found.set_aside == {date(2026, 11, 3), date(2026, 11, 4)}


def test_a_price_holds_from_its_moment_on() -> None:
    utc = ZoneInfo("UTC")
    steps = [
        PriceStep(datetime(2026, 10, 1, tzinfo=UTC), 0.5),
        PriceStep(datetime(2026, 10, 10, tzinfo=UTC), 1.0),
        PriceStep(datetime(2026, 11, 20, 18, tzinfo=UTC), 3.0),
    ]
    found = days_of(steps=steps, zone=utc).multipliers
    assert found[date(2026, 10, 9)] == 0.5
    assert date(2026, 10, 10) not in found
    assert found[date(2026, 11, 20)] == 1.5
    assert found[date(2026, 11, 21)] == 3.0


def test_holidays_are_those_of_the_zones_country() -> None:
    year = date(2026, 1, 1), date(2027, 1, 1)
    assert date(2026, 10, 3) in public_holidays("Europe/Berlin", *year)
    assert date(2026, 11, 26) in public_holidays("America/New_York", *year)
    assert public_holidays("UTC", *year) == frozenset()
    assert public_holidays("Europe/Berlin", date(2026, 10, 4), date(2026, 10, 9)) == frozenset()


def test_a_part_of_a_country_keeps_its_own_holidays_too() -> None:
    year, corpus_christi = (date(2026, 1, 1), date(2027, 1, 1)), date(2026, 6, 4)
    whole = public_holidays("UTC", *year, country="DE")
    bavaria = public_holidays("UTC", *year, country="DE-BY")
    assert corpus_christi in bavaria - whole
    assert whole < bavaria
    assert public_holidays("UTC", *year, country="DE-XX") == whole
