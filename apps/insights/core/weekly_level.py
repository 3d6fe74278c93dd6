"""How a series of days goes on: a level, its usual week, a trend. Pure; numpy alone.

Everything works on many windows at once: a window is the WINDOW_DAYS days before an origin, oldest
first, NaN where a day is unknown. Because the window is whole weeks long, its first column has the
weekday of the origin itself, so that no calendar is needed: day t after an origin (0 is the
origin's own) has weekday t % 7 of `weekday`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW_WEEKS: Final = 8
WINDOW_DAYS: Final = WINDOW_WEEKS * 7
# Each opinion on how it goes on: how fast its level forgets, in days, and whether it follows the
# trend. Which of them is heard is settled by how each would have done (see replay.py).
HALF_LIVES_DAYS: Final = (3.0, 6.0, 12.0, 28.0)
OPINIONS: Final = 2 * len(HALF_LIVES_DAYS)
# The trend of a day keeps this part of its strength on the next.
TREND_KEPT: Final = 0.96
MAX_TREND_PER_DAY: Final = 0.012
MIN_WEEKS_FOR_A_TREND: Final = 3
# A weekday's part of the week is not told apart below this; dividing by less would be noise.
LEAST_PART: Final = 0.02
# Standard deviation of a median, in units of that of a mean of as many normal values.
MEDIAN_SPREAD: Final = 1.2533
MAD_TO_SIGMA: Final = 1.4826
FAR_SIGMAS: Final = 3.0
# With less than two weeks nobody knows how much weeks differ: this much, relative.
UNKNOWN_WEEK_SPREAD: Final = 0.25


@dataclass(frozen=True, slots=True)
class Fit:
    """What each of N windows says. `level` is USD on a day of weekday part 1.

    weekday (N, 7), level (N, OPINIONS), trend (N, OPINIONS) in log units a day (0: none followed).
    """

    weekday: Floats
    level: Floats
    trend: Floats

    def at(self, origin: int) -> "Fit":
        return Fit(self.weekday[[origin]], self.level[[origin]], self.trend[[origin]])


def windows_before(days: Floats, origins: NDArray[np.int64]) -> Floats:
    """The window before each origin (an index into `days`, or its length), NaN before the first."""
    padded = np.concatenate([np.full(WINDOW_DAYS, np.nan), days])
    found: Floats = sliding_window_view(padded, WINDOW_DAYS)[origins]
    return found


def fit_windows(windows: Floats) -> Fit:
    """Read each window by itself. A window that knows no day has level 0."""
    weekday = _weekday_parts(windows)
    parts = np.tile(weekday, (1, WINDOW_WEEKS))
    clean = _without_outliers(windows, parts)
    levels = np.stack([_level(clean, parts, days) for days in HALF_LIVES_DAYS], axis=1)
    trend = _trend(clean, parts)
    # Half of the opinions follow no trend; a level that forgets slowly is older by its own age.
    ages = np.minimum(np.array(HALF_LIVES_DAYS) / np.log(2), 14.0)
    return Fit(
        weekday=weekday,
        level=np.concatenate([levels, levels * np.exp(trend[:, None] * ages)], axis=1),
        trend=np.concatenate([np.zeros_like(levels), np.repeat(trend[:, None], len(ages), 1)], 1),
    )


def expected_days(fit: Fit, length: int) -> Floats:
    """USD of each of `length` days from the origin on, by window and opinion: (N, OPINIONS,
    days)."""
    weekday = fit.weekday[:, np.arange(length) % 7]
    steps = np.cumsum(TREND_KEPT ** np.arange(1, length + 1))
    growth = np.exp(fit.trend[:, :, None] * steps)
    expected: Floats = fit.level[:, :, None] * growth * weekday[:, None, :]
    return expected


def median(values: Floats, axis: int) -> Floats:
    """The median of what is known along an axis; NaN where nothing is. Quiet, unlike nanmedian."""
    ordered = np.sort(values, axis=axis)
    known = np.isfinite(values).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((known - 1) // 2, 0), axis)
    high = np.take_along_axis(ordered, np.minimum(known // 2, np.maximum(known - 1, 0)), axis)
    found: Floats = ((low + high) / 2).squeeze(axis)
    return found


def _weekday_parts(windows: Floats) -> Floats:
    """Each weekday's part of the usual day, mean 1: medians over weeks, shrunk by their noise.

    Shrinkage is James and Stein's: a spread between weekdays that the noise of weeks explains
    is no rhythm.
    """
    weeks = windows.reshape(len(windows), WINDOW_WEEKS, 7)
    known = np.isfinite(weeks)
    count = known.sum(axis=2, keepdims=True)
    mean = np.where(known, weeks, 0.0).sum(axis=2, keepdims=True) / np.maximum(count, 1)
    usable = (count >= 5) & (mean > 0)
    ratios = np.where(usable & known, weeks / np.where(mean > 0, mean, 1.0), np.nan)
    seen = np.isfinite(ratios).sum(axis=1)
    typical = median(ratios, 1)
    spread = MAD_TO_SIGMA * median(
        np.abs(ratios - typical[:, None, :]).reshape(len(windows), WINDOW_DAYS), 1
    )
    counted = seen.mean(axis=1)
    spread = np.where(counted < 2, UNKNOWN_WEEK_SPREAD, np.nan_to_num(spread))
    typical = np.where(np.isfinite(typical), typical, 1.0)
    noise = (MEDIAN_SPREAD * spread) ** 2 / np.maximum(counted, 1)
    between = typical.var(axis=1)
    kept = np.clip(1 - noise / np.maximum(between, 1e-12), 0.0, 1.0)
    parts = np.maximum(1 + (typical - 1) * kept[:, None], 0.0)
    mean_part = parts.mean(axis=1, keepdims=True)
    return np.where(mean_part > 0, parts / np.where(mean_part > 0, mean_part, 1.0), 1.0)


def _without_outliers(windows: Floats, parts: Floats) -> Floats:
    """Days pulled to within FAR_SIGMAS of the median of the seven days around them.

    A spike or an outage of up to three days hardly moves a level; a shift that stays does, after
    four. Series that are often zero keep what they have: their rare days are all there is.
    """
    deseasoned = windows / np.maximum(parts, LEAST_PART)
    edge = np.full((len(windows), 3), np.nan)
    around = sliding_window_view(np.concatenate([edge, deseasoned, edge], axis=1), 7, axis=1)
    usual = median(around, 2)
    busy = parts > 0.3
    sigma = MAD_TO_SIGMA * median(np.where(busy, np.abs(deseasoned - usual), np.nan), 1)
    far = FAR_SIGMAS * np.maximum(np.nan_to_num(sigma)[:, None], 0.05 * np.abs(usual))
    pulled = np.clip(deseasoned, usual - far, usual + far)
    zero_days = (busy & (windows <= 0)).sum(axis=1)
    often_zero = zero_days > 0.2 * (busy & np.isfinite(windows)).sum(axis=1)
    kept = np.where(often_zero[:, None], deseasoned, pulled)
    return np.asarray(kept * np.maximum(parts, LEAST_PART))


def _level(clean: Floats, parts: Floats, half_life_days: float) -> Floats:
    weights = 0.5 ** (np.arange(WINDOW_DAYS)[::-1] / half_life_days)
    known = np.isfinite(clean)
    spent = (np.where(known, clean, 0.0) * weights).sum(axis=1)
    usual = (np.where(known, parts, 0.0) * weights).sum(axis=1)
    return np.asarray(np.where(usual > 1e-9, spent / np.maximum(usual, 1e-9), 0.0))


def _trend(clean: Floats, parts: Floats) -> Floats:
    """Theil and Sen's slope of weekly levels in log units a day, shrunk by its own uncertainty.

    The uncertainty is that of a random walk: weeks that wander by as much as they rise have no
    trend. A bound keeps one odd month from becoming a year.
    """
    weeks = len(clean), WINDOW_WEEKS, 7
    known = np.isfinite(clean)
    spent = np.where(known, clean, 0.0).reshape(weeks).sum(axis=2)
    usual = np.where(known, parts, 0.0).reshape(weeks).sum(axis=2)
    usable = (usual >= 3.5) & (spent > 0)
    log_level = np.where(
        usable, np.log(np.where(usable, spent / np.maximum(usual, 1e-9), 1)), np.nan
    )
    first, second = np.triu_indices(WINDOW_WEEKS, 1)
    slope = median((log_level[:, second] - log_level[:, first]) / (7.0 * (second - first)), 1)
    steps = np.diff(log_level, axis=1)
    counted = np.isfinite(steps).sum(axis=1)
    mean_step = np.where(np.isfinite(steps), steps, 0.0).sum(axis=1) / np.maximum(counted, 1)
    off = np.where(np.isfinite(steps), steps - mean_step[:, None], 0.0)
    wander = np.sqrt((off**2).sum(axis=1) / np.maximum(counted - 1, 1))
    error = np.maximum(wander, 0.01) / np.sqrt(np.maximum(counted, 1)) / 7.0
    slope = np.nan_to_num(slope)
    shrunk = slope * slope**2 / (slope**2 + error**2)
    enough = counted >= MIN_WEEKS_FOR_A_TREND
    return np.where(enough, np.clip(shrunk, -MAX_TREND_PER_DAY, MAX_TREND_PER_DAY), 0.0)
