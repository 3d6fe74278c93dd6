"""Medians and quantiles down the rows of arrays with gaps, one answer per column.

numpy's nan-functions do this a column at a time; these sort once. NaN sorts last.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating[Any]]


def row_quantile(rows: Rows, share: float) -> Rows:
    """The `share` quantile of each column's known values (the nearest one); NaN where none is."""
    return row_quantiles(rows, (share,))[0]


def row_quantiles(rows: Rows, shares: tuple[float, ...]) -> list[Rows]:
    """`row_quantile` of each share, sorting once."""
    ordered = np.sort(rows, axis=0)
    known = (~np.isnan(rows)).sum(axis=0)
    places = [np.floor(share * (known - 1) + 0.5).astype(np.intp).clip(0) for share in shares]
    return [np.take_along_axis(ordered, place[None], axis=0)[0] for place in places]


def sample_quantiles(values: Rows, shares: tuple[float, ...]) -> list[float]:
    """np.quantile of a few known values, whose own checks take ten times as long as its work."""
    ordered = np.sort(values).tolist()
    found = []
    for share in shares:
        place = share * (len(ordered) - 1)
        below = int(place)
        low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
        part = place - below
        # The nearer end is what is moved from, as numpy does it.
        step = (high - low) * (part if part < 0.5 else 1 - part)
        found.append(low + step if part < 0.5 else high - step)
    return found


def row_median(rows: Rows) -> Rows:
    """The median of each column's known values; NaN where none is."""
    ordered = np.sort(rows, axis=0)
    known = (~np.isnan(rows)).sum(axis=0)
    below = np.take_along_axis(ordered, (np.maximum(known - 1, 0) // 2)[None], axis=0)[0]
    above = np.take_along_axis(ordered, np.minimum(known // 2, len(rows) - 1)[None], axis=0)[0]
    return np.where(known > 0, (below + above) / 2, np.nan)


def weighted_median(rows: Rows, weights: Rows) -> Rows:
    """The value at which half of each column's weight is reached; NaN where there is no weight."""
    weights = np.where(np.isnan(rows) | np.isnan(weights), 0, weights)
    order = np.argsort(rows, axis=0)
    ordered = np.take_along_axis(rows, order, axis=0)
    reached = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    place = np.minimum((reached < reached[-1] / 2).sum(axis=0), len(rows) - 1)
    middle = np.take_along_axis(ordered, place[None], axis=0)[0]
    return np.where(reached[-1] > 0, middle, np.nan)


def row_mean(rows: Rows) -> Rows:
    """The mean of each column's known values; NaN where none is."""
    known = (~np.isnan(rows)).sum(axis=0)
    total = np.where(np.isnan(rows), 0, rows).sum(axis=0)
    return np.where(known > 0, total / np.maximum(known, 1), np.nan)
