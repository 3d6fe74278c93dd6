"""Series of so few requests that an hour's usual number says little: sparse and quiet ones. Pure.

Medians of their hours are zero, and square roots of small numbers no longer equally noisy. What
such a series does is count: its hours are compared with a Poisson rate of its own, a smooth one by
the hour of the day and the day of the week, in units of its own dispersion (McCullagh and Nelder
1989, *quasi-likelihood*), so that bursts and dear requests widen what is ordinary. The deviance
residual is close to normal however small the rate.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.robust import row_mean, row_quantile
from apps.insights.core.series_state import (
    DAY,
    RECORD_DAYS,
    VALUE_HOURS,
    WEEK,
    WINDOWS,
    SeriesState,
)

Numbers = NDArray[np.floating[Any]]

LEARNT_DAYS: Final = 42
# What began in the last days is not yet usual.
LEFT_OUT_DAYS: Final = 3
MIN_DAYS: Final = 20
LEAST_IDLE_SHARE: Final = 0.04  # of the hours of the last week are without any
FEW_AN_HOUR: Final = 4.0  # counts, after dispersion
SMOOTHING: Final = np.array([1, 2, 3, 2, 1]) / 9
WEEKDAY_COUNTS: Final = 10.0  # as many as a weekday must have to be believed half
LEAST_RATE_SHARE: Final = 0.15  # of the mean rate
TRIMMED_SHARE: Final = 0.005  # of the hours, the strangest: they may have been an event
# Of deviance roots, by channel (spend; requests), above and below: some 4.5 normal deviations, as
# an hour in each of six windows is a try. What requests cost has heavier tails than their number.
LIMIT: Final = np.array([[7.0, 5.0], [4.7, 4.4]])
RECORD_TIMES: Final = np.array([[1.25], [1.1]])  # bursts have no end, silences have
# Near its limit a root that is a tenth smaller is several times as frequent.
STEEPNESS: Final = 3


@dataclass(frozen=True, slots=True)
class ScarceCounts:
    """Of the k series at `columns`, for one day."""

    columns: NDArray[np.intp]
    channel: NDArray[np.intp]  # 1 where requests are known, 0: spend
    rate: Numbers  # (WEEK, k): requests or USD due in each hour of the week, the one of 1970 first
    dispersion: Numbers  # (k,): variance over mean; what counts as one
    limit: Numbers  # (2, k): of roots, above and below


def open_counts(
    state: SeriesState, day: int, has_requests: NDArray[np.bool_], is_unsure: NDArray[np.bool_]
) -> ScarceCounts:
    """Learn the rates of the series that are scarce on `day`; the others are left out.

    `is_unsure`: no profile explains the series well. A job at the same hour every day is idle
    most of the time too, and nothing that chance brings.
    """
    channel = has_requests.astype(np.intp)
    columns = np.flatnonzero(is_unsure & _is_often_idle(state, day, has_requests))
    days = np.arange(day - LEFT_OUT_DAYS - LEARNT_DAYS, day - LEFT_OUT_DAYS)
    hours = (days[:, None] * DAY + np.arange(DAY)).ravel()
    seen = state.value[channel[columns], (hours % VALUE_HOURS)[:, None], columns].astype(float)
    known = ~np.isnan(seen)
    is_judged = (known.sum(axis=0) >= MIN_DAYS * DAY) & (np.nansum(seen, axis=0) > 0)
    columns, seen, known = columns[is_judged], seen[:, is_judged], known[:, is_judged]
    seen = np.where(known, seen, 0)
    rate = _rates(seen, known, hours)
    dispersion = np.maximum(_dispersion(seen, known, rate[hours % WEEK]), 1e-9)
    # A clock is more even than chance, and no less a number of requests.
    dispersion = np.where(has_requests[columns], np.maximum(dispersion, 1), dispersion)
    is_scarce = rate.mean(axis=0) < FEW_AN_HOUR * dispersion
    columns = columns[is_scarce]
    lately = [(day - k) % RECORD_DAYS for k in range(1, LEARNT_DAYS + 1)]
    highest = np.nan_to_num(np.fmax.reduce(state.scarce[:, lately][..., columns], axis=1))
    limit = np.maximum(LIMIT[channel[columns]].T, RECORD_TIMES * highest)
    return ScarceCounts(columns, channel[columns], rate[:, is_scarce], dispersion[is_scarce], limit)


def scarce_scores(counts: ScarceCounts, roots: Numbers) -> Numbers:
    """Of `scarce_deviations`: 1.0 is the default threshold."""
    return np.asarray((roots / counts.limit) ** STEEPNESS)


def scarce_deviations(counts: ScarceCounts, total: Numbers, hour: int) -> Numbers:
    """(windows, 2, k): roots of deviances, above and below, of sums that end at `hour`.

    `total` is (channels, windows, n). 0 where a window is not known, or on the other side.
    """
    hours = (hour - np.arange(WINDOWS[-1])) % WEEK
    due = np.cumsum(counts.rate[hours], axis=0)[np.array(WINDOWS) - 1] / counts.dispersion
    seen = total[counts.channel, :, counts.columns].T / counts.dispersion
    # Half a count off: a number stands for all that rounds to it.
    above, below = np.maximum(seen - 0.5, due), np.minimum(seen + 0.5, due)
    return np.asarray(np.nan_to_num(np.stack([_root(above, due), _root(below, due)], axis=1)))


def _root(seen: Numbers, due: Numbers) -> Numbers:
    return np.asarray(np.sqrt(np.maximum(2 * (seen * np.log(seen / due) - seen + due), 0)))


def _is_often_idle(
    state: SeriesState, day: int, has_requests: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """A cheap look, so that most series cost nothing more."""
    lately = np.arange(day * DAY - WEEK, day * DAY) % VALUE_HOURS
    values = np.where(has_requests, state.value[1, lately], state.value[0, lately])
    return np.asarray((values == 0).mean(axis=0) >= LEAST_IDLE_SHARE)


def _dispersion(seen: Numbers, known: NDArray[np.bool_], expected: Numbers) -> Numbers:
    """Pearson's, without the strangest hours."""
    strange = np.where(known, (seen - expected) ** 2 / expected, np.nan)
    most = row_quantile(strange, 1 - TRIMMED_SHARE)
    return np.asarray(row_mean(np.minimum(strange, most)))


def _rates(seen: Numbers, known: NDArray[np.bool_], hours: NDArray[np.int_]) -> Numbers:
    """(WEEK, k): hour of the day, smoothed over its neighbours, times day of the week."""
    shape = (LEARNT_DAYS // 7, WEEK, seen.shape[1])
    order = np.argsort(hours[:WEEK] % WEEK)
    sums, counts = (
        array.reshape(shape).sum(axis=0)[order].reshape(7, DAY, -1) for array in (seen, known)
    )
    of_hour = _smoothed(sums.sum(axis=0)) / np.maximum(_smoothed(counts.sum(axis=0)), 1e-9)
    due = (counts * of_hour).sum(axis=1)
    one = seen.sum(axis=0) / np.maximum((seen > 0).sum(axis=0), 1)
    of_day = (sums.sum(axis=1) + WEEKDAY_COUNTS * one) / (due + WEEKDAY_COUNTS * one)
    least = LEAST_RATE_SHARE * sums.sum(axis=(0, 1)) / np.maximum(counts.sum(axis=(0, 1)), 1)
    return np.asarray(np.maximum(of_hour * of_day[:, None], least)).reshape(WEEK, -1)


def _smoothed(by_hour: NDArray[Any]) -> Numbers:
    """Over the hours beside; the day is a circle."""
    middle = len(SMOOTHING) // 2
    parts = (share * np.roll(by_hour, n - middle, axis=0) for n, share in enumerate(SMOOTHING))
    return np.asarray(sum(parts))
