"""How far is too far: each series' own records, times constants tuned on bench/spend_series.py.

The constants were set on seeds 1 and 2 of every world and never on the seeds that `make bench`
reports. By channel (spend; requests; spend against the requests made) and window of hours.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.expectations import DayOpening

Numbers = NDArray[np.floating[Any]]

MIN_DAYS: Final = 13  # of records before anything is scored
FEW_DAYS_SHARE: Final = 2.0  # a young series' limits are this share higher, per day beyond six
MATERIAL_SHARE_OF_DAY: Final = 0.10
CARRIED_SHARE: Final = 0.4
HIGHEST_RECORD_SHARE: Final = 0.4
DRIFT_LIMIT: Final = 2.1

ABOVE: Final = np.array(
    [
        [3.76, 2.88, 2.97, 2.76, 3.04, 3.30],
        [4.11, 3.15, 3.06, 2.94, 3.22, 3.64],
        [3.09, 3.09, 2.98, 2.98, 3.31, 3.97],
    ]
)
BELOW: Final = np.array(
    [
        [1.59, 1.59, 1.59, 2.19, 2.42, 2.98],
        [1.62, 1.62, 1.62, 2.10, 2.54, 2.99],
        [1.84, 1.84, 1.84, 1.84, 1.84, 1.84],
    ]
)
ABOVE_ZERO_HEAVY: Final = np.array(
    [
        [2.76, 2.67, 2.30, 2.67, 3.04, 2.30],
        [2.02, 1.84, 1.93, 2.30, 3.31, 3.31],
        [3.86, 3.31, 2.94, 2.85, 2.58, 2.21],
    ]
)


def limits(opening: DayOpening) -> Numbers:
    """(3, windows, 2, n): the deviation that scores 1.0; infinite where nothing is judged.

    Usually a multiple of what 85% of the series' days stay below, or of its highest record where
    its tail is heavy. Series that no profile explains need a new record, and have no below.
    """
    above = np.maximum(
        opening.usual_record[:, :, 0], HIGHEST_RECORD_SHARE * opening.highest_record[:, :, 0]
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
