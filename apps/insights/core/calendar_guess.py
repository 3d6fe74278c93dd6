"""Whose holidays a series keeps, guessed from when its days are and what it did on past ones. Pure.

For those who know neither country nor zone of a series (`detect_series` has only its numbers); a
tenant's country is known. A calendar is possible while the middle of the series' day fits its
zone, and until the series worked through its holidays more often than it kept them. The middle of
the day tells a zone only of those who rest at weekends: others may keep any calendar.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.expectations import open_day
from apps.insights.core.series_state import (
    DAY,
    DAYS,
    PROFILE_HOURS,
    VALUE_HOURS,
    WEEK,
    WINDOW_HOURS,
    SeriesState,
)

Flags = NDArray[np.bool_]

MIDDLE_OF_DAY: Final = 12.8  # local hour around which a working day lies
PHASE_TOLERANCE_HOURS: Final = 2.75
KEPT_SHARE: Final = 0.3  # of the way from a day off to a usual day
WORKED_SHARE: Final = 0.75
TELLING_SHARE: Final = 0.8  # only where a day off is less than this of a usual one
MIN_WEEKS: Final = 2
RESTING_SHARE: Final = 0.5  # whose two lowest days of the week are less than this of its middle one


class CalendarGuess:
    """Calendars given by their zones' offsets from UTC in hours; `count` series."""

    def __init__(self, utc_offsets: Sequence[float], count: int) -> None:
        self._offsets = np.array(utc_offsets)[:, None]
        self._kept = np.zeros((len(utc_offsets), count), dtype=np.int32)
        self._worked = np.zeros_like(self._kept)
        self._fits = np.zeros_like(self._kept, dtype=bool)

    def quiet(self, is_holiday: Flags) -> Flags:
        """(n,) whether the hour may be a holiday of each series; `is_holiday` by calendar."""
        possible = self._fits & (self._kept - self._worked >= -1)
        best = self._kept.max(axis=0)
        # Once two holidays were kept, calendars that explain clearly fewer are out.
        possible &= (best < 2) | (self._kept >= best - 1)
        return np.asarray((possible & is_holiday[:, None]).any(axis=0))

    def observe(self, state: SeriesState, ended: Flags) -> None:
        """Learn before hour `state.hour`: each midnight the phase, and from holidays that ended."""
        if state.hour % DAY == 0:
            self._fits = self._phase_fits(state)
        begun = state.first_hour <= state.hour - MIN_WEEKS * WEEK
        if not ended.any() or not begun.any():
            return
        hours = np.arange(state.hour - DAY, state.hour)
        spent = state.value[0, hours % VALUE_HOURS].sum(axis=0)
        usual = state.expected[0, hours % WINDOW_HOURS].sum(axis=0)
        off = _day_off(state, hours)
        with np.errstate(invalid="ignore"):
            telling = begun & (off < TELLING_SHARE * usual)
            kept = spent < KEPT_SHARE * usual + (1 - KEPT_SHARE) * np.minimum(off, usual)
            worked = spent > WORKED_SHARE * usual + (1 - WORKED_SHARE) * off
        self._kept += ended[:, None] & (telling & kept)
        self._worked += ended[:, None] & (telling & worked)

    def _phase_fits(self, state: SeriesState) -> Flags:
        hours = np.arange(state.hour - WEEK, state.hour)
        week = state.value[0, hours % VALUE_HOURS].reshape(7, DAY, state.count)
        by_hour = np.where(np.isnan(week), 0, week).mean(axis=0)
        angles = np.exp(2j * np.pi * (np.arange(DAY) + 0.5) / DAY)[:, None]
        middle_utc = np.angle((by_hour * angles).sum(axis=0)) / (2 * np.pi) * DAY
        apart = (self._offsets - (MIDDLE_OF_DAY - middle_utc) + DAY / 2) % DAY - DAY / 2
        is_near = np.abs(apart) <= PHASE_TOLERANCE_HOURS
        days = [(state.hour // DAY - k) % DAYS for k in range(1, 8)]
        week_shape = np.sort(state.day_profile[0, days], axis=0)
        rests = week_shape[:2].mean(axis=0) < RESTING_SHARE * week_shape[3]
        return np.asarray(is_near | ~rests)


def _day_off(state: SeriesState, hours: NDArray[Any]) -> NDArray[Any]:
    """What these hours would hold if each were the quietest of the week at its time of day."""
    level = open_day(state, int(hours[-1]) // DAY).level[0]
    off = np.zeros(state.count)
    for hour in hours:
        week = state.profile[0, [(int(hour) - DAY * k) % PROFILE_HOURS for k in range(1, 8)]]
        off += np.fmin.reduce(week, axis=0) * level
    return off
