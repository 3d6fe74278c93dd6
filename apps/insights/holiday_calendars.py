"""Public holidays of the countries a series may keep, hour by hour, from the `holidays` package."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import holidays
import numpy as np
from numpy.typing import NDArray

# One zone each: in the others the edges of the day are an hour or two off, which is tolerated.
ZONES: Final = {
    "US": "America/Chicago",
    "CA": "America/Toronto",
    "BR": "America/Sao_Paulo",
    "GB": "Europe/London",
    "DE": "Europe/Berlin",
    "FR": "Europe/Paris",
    "ES": "Europe/Madrid",
    "IT": "Europe/Rome",
    "NL": "Europe/Amsterdam",
    "PL": "Europe/Warsaw",
    "SE": "Europe/Stockholm",
    "IN": "Asia/Kolkata",
    "SG": "Asia/Singapore",
    "CN": "Asia/Shanghai",
    "KR": "Asia/Seoul",
    "JP": "Asia/Tokyo",
    "AU": "Australia/Sydney",
    "NZ": "Pacific/Auckland",
}
# Of standard time, but between both where there are two.
UTC_OFFSETS: Final = (-6, -5, -3, 0, 1, 1, 1, 1, 1, 1, 1, 5.5, 8, 8, 9, 9, 10.5, 12.5)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def holiday_hours(first_hour: int, hours: int) -> NDArray[np.bool_]:
    """(countries, hours): whether each hour since 1970 UTC is part of a local public holiday."""
    starts = EPOCH + timedelta(hours=first_hour)
    years = range(starts.year - 1, (starts + timedelta(hours=hours)).year + 2)
    flags = np.zeros((len(ZONES), hours), dtype=bool)
    for row, (country, name) in enumerate(ZONES.items()):
        zone = ZoneInfo(name)
        for day in holidays.country_holidays(country, years=years):
            begins = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
            ends = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(days=1)
            first = -((starts - begins) // timedelta(hours=1))
            last = -((starts - ends.astimezone(UTC)) // timedelta(hours=1))
            flags[row, max(first, 0) : max(last, 0)] = True
    return flags
