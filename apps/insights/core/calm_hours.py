"""What is too much where next to nothing is usual: nights of offices and jobs, sparse series. Pure.

A series' own records are made in its busy hours, so that a loop at night hides behind a job that
once ran late. Windows in which little is expected, and all of a series that no profile explains,
have records of their own. Square roots make counts of any size equally noisy (Anscombe 1948).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.deviations import Deviations
from apps.insights.core.expectations import DayOpening
from apps.insights.core.series_state import CALM_WINDOWS, WINDOWS

Numbers = NDArray[np.floating[Any]]

CALM_SHARE: Final = 0.6  # of a mean hour: windows in which no more is ordinary
FLOOR_SHARE: Final = 0.10  # of a mean hour: less is as good as nothing
SPARSE_FLOOR_SHARE: Final = 1.0
MIN_DAYS: Final = 20
# By what a record must be beaten. In roots of mean windows; in roots of requests.
RECORD_TIMES: Final = np.array([1.2, 1.1])
LEAST: Final = np.array([0.35, 0.25])
LEAST_COUNT: Final = 1.1
SPARSE_SPEND_LEAST: Final = 1.6
_WIDTHS: Final = np.array(CALM_WINDOWS)
_AT: Final = [WINDOWS.index(window) for window in CALM_WINDOWS]


def calm_deviations(found: Deviations, opening: DayOpening) -> Numbers:
    """(2, calm windows, n): roots beyond what is ordinary, in roots of mean windows; NaN where
    the window is busy."""
    mean = opening.mean_hour[:, None] * _WIDTHS[:, None]
    total, high = found.total[:2, _AT], found.high[:2, _AT]
    sparse = opening.is_zero_heavy
    floor = np.where(sparse, SPARSE_FLOOR_SHARE, FLOOR_SHARE) * mean
    beyond = (np.sqrt(np.maximum(total, 0)) - np.sqrt(np.maximum(high, floor))) / np.sqrt(mean)
    return np.where(sparse | (high <= CALM_SHARE * mean), beyond, np.nan)


def calm_scores(beyond: Numbers, opening: DayOpening) -> Numbers:
    """(2, calm windows, n): 1.0 is the default threshold, 0 where nothing is judged."""
    least = np.broadcast_to(LEAST[:, None, None], beyond.shape).copy()
    mean_requests = np.maximum(opening.mean_hour[1] * _WIDTHS[:, None], 1e-9)
    least[1] += LEAST_COUNT / np.sqrt(mean_requests)
    least[0] = np.where(opening.is_zero_heavy, SPARSE_SPEND_LEAST, least[0])
    limit = RECORD_TIMES[:, None, None] * np.maximum(opening.calm_record, 0) + least
    limit[0] = np.where(opening.has_requests, np.inf, limit[0])
    is_known = opening.calm_days >= MIN_DAYS
    return np.where(is_known, np.nan_to_num(beyond / limit, nan=0, posinf=0, neginf=0), 0)
