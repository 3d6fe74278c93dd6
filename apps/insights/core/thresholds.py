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
DRIFT_LIMIT: Final = 2.3

ABOVE: Final = np.array(
    [
        [4.3, 3.3, 3.4, 3.0, 3.3, 3.2],
        [4.7, 3.6, 3.5, 3.2, 3.5, 3.6],
        [2.8, 2.8, 2.7, 2.7, 3.0, 3.6],
    ]
)
BELOW: Final = np.array(
    [
        [1.5, 1.5, 1.5, 1.9, 2.1, 2.4],
        [1.6, 1.6, 1.6, 1.9, 2.3, 2.5],
        [2.0, 2.0, 2.0, 2.0, 2.0, 2.0],
    ]
)
ABOVE_ZERO_HEAVY: Final = np.array(
    [
        [3.0, 2.9, 2.5, 2.9, 3.3, 2.5],
        [2.2, 2.0, 2.1, 2.5, 3.6, 3.6],
        [4.2, 3.6, 3.2, 3.1, 2.8, 2.4],
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
