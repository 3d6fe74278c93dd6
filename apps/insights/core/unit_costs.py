"""A jump in what a token costs, as when a cache fails: told within the hour. Pure.

The detector waits until a deviation is worth a tenth of a day. What a token of one model's task
costs hardly scatters, so there a new record is certain much sooner: it is told when a day of it
would matter.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.series_state import DAY, VALUE_HOURS, SeriesState

Numbers = NDArray[np.floating[Any]]

WINDOWS: Final = (1, 2, 3)  # hours
RECORD_DAYS: Final = 28
# Hours just past set no record: a jump that lasts stays one for this long.
RECENT_HOURS: Final = 48
# Hours with usage in the month: fewer have not shown yet how far they scatter.
MIN_HOURS: Final = 400
# How far beyond the month's record, and beyond what is nothing anyway.
BEYOND_RECORD: Final = 2.0
LEAST_RECORD: Final = 0.15
LEAST_VOLUME: Final = 0.2
MATERIAL_SHARE: Final = 0.25


def unit_cost_jumps(
    state: SeriesState, hour: int, columns: NDArray[np.intp]
) -> tuple[Numbers, NDArray[np.intp]]:
    """(score, window in hours) of some series at the end of `hour`; 1.0 is the threshold.

    `state` has learnt that hour. The deviation of a window is counted in the noise of its volume:
    (cost - usual price x volume) / (usual price x sqrt(volume x mean volume)).
    """
    hours = np.arange(hour - RECORD_DAYS * DAY, hour + 1)
    spend, volume = np.nan_to_num(
        state.value[:, hours % VALUE_HOURS][:, :, columns].astype(float), nan=0.0
    )
    before = slice(0, -RECENT_HOURS)
    known = (volume[before] > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        price = spend[before].sum(axis=0) / volume[before].sum(axis=0)
        mean_day = spend[before].sum(axis=0) / (RECORD_DAYS * DAY - RECENT_HOURS + 1) * DAY
        scores = []
        for width in WINDOWS:
            usd, units = _sums(spend, width), _sums(volume, width)
            usual = units[before].sum(axis=0) / np.maximum((units[before] > 0).sum(axis=0), 1)
            over = usd - price * units
            deviation = over / (price * np.sqrt(units * usual))
            deviation[~(units > LEAST_VOLUME * usual)] = 0
            record = np.maximum(deviation[before].max(axis=0), LEAST_RECORD)
            is_material = over[-1] / width * DAY >= MATERIAL_SHARE * mean_day
            scores.append(np.where(is_material, deviation[-1] / (BEYOND_RECORD * record), 0))
    score = np.nan_to_num(np.stack(scores), nan=0.0, posinf=0.0, neginf=0.0)
    score[:, known < MIN_HOURS] = 0
    best = score.argmax(axis=0)
    return score[best, np.arange(len(columns))], np.array(WINDOWS)[best]


def _sums(rows: Numbers, width: int) -> Numbers:
    """Sums over the last `width` rows; the first ones of what there is."""
    sums = np.cumsum(rows, axis=0)
    sums[width:] -= sums[:-width].copy()
    return np.asarray(sums)
