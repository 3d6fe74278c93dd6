"""When people work: weights per local hour of the week, public holidays, growth. Pure."""

from collections.abc import Callable
from datetime import date, timedelta
from functools import lru_cache
from math import exp

GROWTH_PER_DAY = 0.0034
HOURS_PER_WEEK = 168
SATURDAY = 5


def _bump(hour: int, peak: float, width: float) -> float:
    distance = min(abs(hour - peak), 24 - abs(hour - peak))
    return exp(-((distance / width) ** 2))


def _office(weekday: int, hour: int) -> float:
    day = _bump(hour, 10.5, 2.4) + 0.9 * _bump(hour, 15.0, 2.6)
    return 0.03 + day * (0.06 if weekday >= SATURDAY else 0.75 if weekday == 4 else 1.0)


def _service(weekday: int, hour: int) -> float:
    day = 0.16 + _bump(hour, 11.0, 4.0) + 0.6 * _bump(hour, 18.0, 3.5)
    return day * (0.55 if weekday >= SATURDAY else 1.15 if weekday == 0 else 1.0)


def _evening(weekday: int, hour: int) -> float:
    day = 0.12 + 0.5 * _bump(hour, 12.5, 3.5) + _bump(hour, 20.0, 3.0)
    return day * (1.2 if weekday >= SATURDAY else 1.0)


def _late(weekday: int, hour: int) -> float:
    return (0.10 + _bump(hour, 16.0, 4.5)) * (0.3 if weekday >= SATURDAY else 1.0)


def _night(weekday: int, hour: int) -> float:
    return (0.06 + 1.4 * _bump(hour, 2.5, 1.8)) * (0.5 if weekday >= SATURDAY else 1.0)


def _always(weekday: int, hour: int) -> float:
    return (0.35 + 0.65 * _bump(hour, 14.0, 5.0)) * (0.8 if weekday >= SATURDAY else 1.0)


_SHAPES: dict[str, Callable[[int, int], float]] = {
    "office": _office,
    "service": _service,
    "evening": _evening,
    "late": _late,
    "night": _night,
    "always": _always,
}
# How much of its usual work a department does on a public holiday.
_ON_HOLIDAY = {
    "office": 0.12,
    "service": 0.60,
    "evening": 1.05,
    "late": 0.3,
    "night": 0.6,
    "always": 0.85,
}
SEASONS = tuple(_SHAPES)


def _normalised(shape: Callable[[int, int], float]) -> tuple[float, ...]:
    weights = [shape(hour // 24, hour % 24) for hour in range(HOURS_PER_WEEK)]
    mean = sum(weights) / HOURS_PER_WEEK
    return tuple(weight / mean for weight in weights)


# Season -> 168 weights from Monday 00:00 local time, mean 1.
HOUR_OF_WEEK = {name: _normalised(shape) for name, shape in _SHAPES.items()}


def easter_sunday(year: int) -> date:
    """By the anonymous Gregorian algorithm (Meeus, Astronomical Algorithms, chapter 8)."""
    a, b, c = year % 19, year // 100, year % 100
    d = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    e = (32 + 2 * (b % 4) + 2 * (c // 4) - d - c % 4) % 7
    f = d + e - 7 * ((a + 11 * d + 22 * e) // 451) + 114
    return date(year, f // 31, f % 31 + 1)


@lru_cache(maxsize=8)
def public_holidays(year: int) -> frozenset[date]:
    """Of Berlin, with Christmas Eve and New Year's Eve, when hardly anybody works."""
    fixed = ((1, 1), (3, 8), (5, 1), (10, 3), (12, 24), (12, 25), (12, 26), (12, 31))
    # Good Friday, Easter Monday, Ascension Day, Whit Monday.
    moving = (-2, 1, 39, 50)
    return frozenset(
        [date(year, month, day) for month, day in fixed]
        + [easter_sunday(year) + timedelta(days=days) for days in moving]
    )


def holiday_factor(season: str, day: date) -> float:
    return _ON_HOLIDAY[season] if day in public_holidays(day.year) else 1.0


def growth_factor(days_since_start: float) -> float:
    """Compound growth, which stops after half a year: a demo left running stays believable."""
    return exp(GROWTH_PER_DAY * min(days_since_start, 180.0))
