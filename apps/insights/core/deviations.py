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


def deviations(state: SeriesState, opening: DayOpening, hour: int) -> Deviations:
    hours = np.arange(hour + EARLY_BY_HOURS, hour + EARLY_BY_HOURS - ROWS, -1)
    values = state.value[:, hours[EARLY_BY_HOURS:] % VALUE_HOURS][[0, 1, 0]]
    ring = hours % WINDOW_HOURS
    total = _sums(values, 0)
    expected = _sums(state.expected[:, ring], EARLY_BY_HOURS)
    low, high = _shifted(state.low[:, ring], np.minimum), _shifted(state.high[:, ring], np.maximum)
    mean = opening.mean_hour[[0, 1, 0], None] * _WIDTHS[:, None]
    noise = (np.maximum(expected, 0) + 0.02 * mean) ** PROPORTION * mean ** (1 - PROPORTION)
    over, outside = total - expected, np.stack([total - high, low - total], axis=2)
    usual = np.maximum(expected, 0) + 0.05 * mean
    return Deviations(
        beyond_expected=np.stack([over, -over], axis=2) / noise[:, :, None],
        beyond_ordinary=outside / noise[:, :, None],
        share_of_day=np.stack([over, -over], axis=2)
        / (opening.mean_hour[[0, 1, 0], None, None] * DAY),
        share_of_expected=outside / usual[:, :, None],
        excess_usd=over[0],
    )


def _sums(rows: Numbers, skip: int) -> Numbers:
    """(channels, windows, n) sums of rows newest first, the first `skip` left out."""
    running = np.cumsum(rows[:, skip:], axis=1, dtype=np.float64)
    return np.asarray(running[:, _WIDTHS - 1])


def _shifted(rows: Numbers, choose: np.ufunc) -> Numbers:
    """The sums as they are or, of spend and requests, an hour early or up to two late."""
    best = _sums(rows, EARLY_BY_HOURS)
    for skip in (0, *range(EARLY_BY_HOURS + 1, EARLY_BY_HOURS + LATE_BY_HOURS + 1)):
        best[:2] = choose(best[:2], _sums(rows[:2], skip))
    return best
