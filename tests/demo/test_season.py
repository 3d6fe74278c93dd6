from datetime import date

import pytest

from costboard.demo.season import (
    HOUR_OF_WEEK,
    SEASONS,
    easter_sunday,
    growth_factor,
    holiday_factor,
    public_holidays,
)


@pytest.mark.parametrize(
    ("year", "sunday"),
    [
        (2024, date(2024, 3, 31)),
        (2025, date(2025, 4, 20)),
        (2026, date(2026, 4, 5)),
        (2027, date(2027, 3, 28)),
        (2038, date(2038, 4, 25)),
    ],
)
def test_easter_is_on_its_day(year: int, sunday: date) -> None:
    assert easter_sunday(year) == sunday


def test_whit_monday_and_unity_day_are_holidays_and_their_neighbours_are_not() -> None:
    holidays = public_holidays(2026)
    assert {date(2026, 5, 25), date(2026, 10, 3)} <= holidays
    assert date(2026, 10, 4) not in holidays


@pytest.mark.parametrize("season", SEASONS)
def test_every_season_covers_the_week_with_mean_one(season: str) -> None:
    weights = HOUR_OF_WEEK[season]
    assert len(weights) == 168
    assert min(weights) > 0
    assert sum(weights) / 168 == pytest.approx(1.0)


def test_a_holiday_empties_the_office_and_not_the_sofa() -> None:
    assert holiday_factor("office", date(2026, 12, 25)) < 0.2
    assert holiday_factor("evening", date(2026, 12, 25)) > 1.0
    assert holiday_factor("office", date(2026, 12, 22)) == 1.0


def test_growth_stops_after_half_a_year() -> None:
    assert growth_factor(90) > growth_factor(30) > growth_factor(0) == 1.0
    assert growth_factor(500) == growth_factor(180)
