"""How far is too far: each series' own records, times constants tuned on bench/spend_series.py.

The constants were set on seeds 1 to 3 of the worlds and never on the seeds that `make bench`
reports. By channel (spend; requests; spend against the requests made) and window of hours.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.deviations import Deviations
from apps.insights.core.expectations import DayOpening

Numbers = NDArray[np.floating[Any]]

MIN_DAYS: Final = 13  # of records before anything is scored
FEW_DAYS_SHARE: Final = 2.0  # a young series' limits are this share higher, per day beyond six
# Of a mean day: below the first nothing counts, below the second it must be the farther out.
LEAST_SHARE_OF_DAY: Final = 0.04
MATERIAL_SHARE_OF_DAY: Final = 0.10
# Of what was expected, by channel, above and below.
LEAST_SHARE_OF_EXPECTED: Final = np.array([[0.28, 0.25], [0.28, 0.25], [0.20, 0.20]])
CARRIED_SHARE: Final = 0.4
RARE_RECORD_SHARE: Final = 0.41
HIGHEST_RECORD_SHARE: Final = 0.15
DRIFT_LIMIT: Final = 2.10

ABOVE: Final = np.array(
    [
        [4.79, 2.86, 3.46, 3.22, 3.28, 5.26],
        [7.29, 3.12, 3.57, 3.43, 3.48, 5.80],
        [4.73, 3.40, 3.54, 3.54, 3.64, 6.44],
    ]
)
BELOW: Final = np.array(
    [
        [1.35, 2.21, 1.59, 1.71, 2.42, 2.98],
        [1.72, 2.26, 1.62, 1.78, 2.54, 2.99],
        [1.84, 1.84, 1.84, 1.84, 1.84, 1.84],
    ]
)
ABOVE_ZERO_HEAVY: Final = np.array(
    [
        [2.76, 2.67, 1.95, 2.67, 3.04, 2.30],
        [2.02, 2.17, 1.93, 2.30, 3.31, 3.31],
        [3.86, 3.31, 2.94, 2.85, 2.58, 2.21],
    ]
)


def weight(found: Deviations) -> Numbers:
    """(3, windows, 2, n) what a deviation counts: 1, less where it is small, 0 where it is none."""
    share = found.share_of_day
    small = np.sqrt(np.clip(share / MATERIAL_SHARE_OF_DAY, 0, 1))
    is_large = found.share_of_expected > LEAST_SHARE_OF_EXPECTED[:, None, :, None]
    return np.where((share > LEAST_SHARE_OF_DAY) & is_large, small, 0)


def limits(opening: DayOpening) -> Numbers:
    """(3, windows, 2, n): the deviation that scores 1.0; infinite where nothing is judged.

    Usually a multiple of what 85% of the series' days stay below, or of its higher records where
    its tail is heavy; the highest counts for little, it may have been an event. Series that no
    profile explains need a new record, and have no below.
    """
    above = np.maximum.reduce(
        [
            opening.usual_record[:, :, 0],
            RARE_RECORD_SHARE * opening.rare_record[:, :, 0],
            HIGHEST_RECORD_SHARE * opening.highest_record[:, :, 0],
        ]
    )
    limit = np.stack(
        [above * ABOVE[..., None], opening.usual_record[:, :, 1] * BELOW[..., None]], axis=2
    )
    record = opening.highest_record[:, :, 0] * ABOVE_ZERO_HEAVY[..., None]
    limit[:, :, 0] = np.where(opening.is_zero_heavy, record, limit[:, :, 0])
    limit[:, :, 1] = np.where(opening.is_zero_heavy, np.inf, limit[:, :, 1])
    # Where requests are known they are judged, and what each cost; spend says nothing more.
    limit[0] = np.where(opening.has_requests, np.inf, limit[0])
    limit[2, :, 1] = np.inf  # cheaper requests are no anomaly
    limit *= 1 + FEW_DAYS_SHARE / np.maximum(opening.known_days - 6, 1)
    return np.where(opening.known_days >= MIN_DAYS, np.maximum(limit, 1e-6), np.inf)
