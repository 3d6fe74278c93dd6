"""How many requests are still to come: the forecast, at the level that the traffic shows. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOURS: Final = 24
# A burst lasts a day and must not be taken for growth; a launch nobody announced shows in three.
DAYS_LOOKED_BACK: Final = 5
# Today's own level is believed as if so many hours of the usual had been seen before it.
PRIOR_HOURS: Final = 3.0
MEMORY_HOURS: Final = 8.0


class Volumes:
    """`forecast` is hours x departments; `count` tells of each request as it arrives."""

    def __init__(self, forecast: Sequence[Sequence[float]]) -> None:
        self.forecast: Floats = np.array(forecast, dtype=float)
        self.counted: Floats = np.zeros_like(self.forecast)

    def count(self, hour: int, department: int) -> None:
        if hour < len(self.counted):
            self.counted[hour, department] += 1

    def levels(self, hour: int) -> tuple[Floats, Floats]:
        """Actual over forecast by department: to expect of later days, and of the rest of today.

        Later days: the median of the last whole days (before there is one, what came so far, held
        against half a day of the usual). Today: what came lately, held against that.
        """
        hour = min(hour, len(self.forecast))
        today = hour - hour % HOURS
        usual = self.forecast.mean(axis=0) + 1e-9
        whole = range(max(0, today - DAYS_LOOKED_BACK * HOURS), today, HOURS)
        if whole:
            ratios = [
                (self.counted[h : h + HOURS].sum(axis=0) + 0.01 * usual)
                / (self.forecast[h : h + HOURS].sum(axis=0) + 0.01 * usual)
                for h in whole
            ]
            later = np.median(ratios, axis=0)
        else:
            prior = usual * 6
            seen = self.counted[:hour].sum(axis=0), self.forecast[:hour].sum(axis=0)
            later = (seen[0] + prior) / (seen[1] + prior)
        ages = hour - np.arange(today, hour) - 1
        fading = 0.5 ** (ages / MEMORY_HOURS)
        prior = usual * PRIOR_HOURS
        seen_now = fading @ self.counted[today:hour] + prior * later
        expected_now = fading @ self.forecast[today:hour] + prior
        return later, seen_now / expected_now

    def remaining(self, ts_s: float) -> Floats:
        """Hours from now on x departments; the running hour counts by what is left of it."""
        hour = int(ts_s // 3600)
        if hour >= len(self.forecast):
            return np.zeros((1, self.forecast.shape[1]))
        later, now = self.levels(hour)
        expected = self.forecast[hour:].copy()
        rest_of_day = HOURS - hour % HOURS
        expected[:rest_of_day] *= now
        expected[rest_of_day:] *= later
        expected[0] *= 1.0 - (ts_s / 3600 - hour)
        return expected
