"""Sums over the last 1, 3, 6, 12, 24 and 72 hours against what they should be. Pure."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.expectations import DayOpening
from apps.insights.core.series_state import DAY, VALUE_HOURS, WINDOW_HOURS, WINDOWS, SeriesState

Numbers = NDArray[np.floating[Any]]

# A job may start early or late by the hour of a change of clocks, and late by one of its own.
EARLY_BY_HOURS: Final = 1
LATE_BY_HOURS: Final = 2
ROWS: Final = EARLY_BY_HOURS + WINDOWS[-1] + LATE_BY_HOURS
_WIDTHS: Final = np.array(WINDOWS)
# Between counting in proportion (1) and in money (0): the noise of counts lies half-way.
PROPORTION: Final = 0.5


@dataclass(frozen=True, slots=True)
class Deviations:
    """Arrays of (channels, windows, 2 for above and below, n)."""

    beyond_expected: Numbers  # in units of the series' usual noise; what its records are made of
    beyond_ordinary: Numbers  # the same beyond the ordinary range, clocks changed or not
    share_of_day: Numbers  # of a mean day's spend or requests
    share_of_expected: Numbers
    excess_usd: Numbers  # (windows, n): spend above what was expected
    total: Numbers  # (channels, windows, n), and the highest that is ordinary
    high: Numbers


def deviations(state: SeriesState, opening: DayOpening, hour: int) -> Deviations:
    hours = np.arange(hour + EARLY_BY_HOURS, hour + EARLY_BY_HOURS - ROWS, -1)
    ring = hours % WINDOW_HOURS
    # The next hour has a range, and no value or expectation of its own yet.
    values = state.value[:, hours[EARLY_BY_HOURS:] % VALUE_HOURS][[0, 1, 0]]
    expectations = state.expected[:, ring[EARLY_BY_HOURS:]]
    until_now = _IN_TIME[:, EARLY_BY_HOURS:]
    unknown = np.isnan(values + expectations)
    total = until_now @ np.where(unknown, 0, values)
    # A window is known when all of it is. (Zeros, lest NaN outside a window spoil it.)
    total[until_now @ unknown.astype(np.float32) > 0] = np.nan
    expected = until_now @ np.where(unknown, 0, expectations)
    lows, highs = np.nan_to_num(state.low[:, ring]), np.nan_to_num(state.high[:, ring])
    low, high = _IN_TIME @ lows, _IN_TIME @ highs
    for shifted in _SHIFTED:
        low[:2] = np.minimum(low[:2], shifted @ lows[:2])
        high[:2] = np.maximum(high[:2], shifted @ highs[:2])
    mean = opening.mean_hour[[0, 1, 0], None] * _WIDTHS[:, None]
    noise = (np.maximum(expected, 0) + 0.02 * mean) ** PROPORTION * mean ** (1 - PROPORTION)
    over, outside = total - expected, np.stack([total - high, low - total], axis=2)
    usual = np.maximum(expected, 0) + 0.05 * mean
    both = np.stack([over, -over], axis=2)
    return Deviations(
        beyond_expected=both / noise[:, :, None],
        beyond_ordinary=outside / noise[:, :, None],
        share_of_day=both / (opening.mean_hour[[0, 1, 0], None, None] * DAY),
        share_of_expected=outside / usual[:, :, None],
        excess_usd=over[0],
        total=total,
        high=high,
    )


def _windows(skip: int) -> Numbers:
    """(windows, ROWS): times rows newest first, the sums of the windows ending `skip` rows back."""
    row = np.arange(ROWS)
    return ((row >= skip) & (row < skip + _WIDTHS[:, None])).astype(np.float32)


# A product with ones and zeros: twenty times as fast as running sums.
_IN_TIME: Final = _windows(EARLY_BY_HOURS)
_SHIFTED: Final = [
    _windows(skip) for skip in range(EARLY_BY_HOURS + LATE_BY_HOURS + 1) if skip != EARLY_BY_HOURS
]
