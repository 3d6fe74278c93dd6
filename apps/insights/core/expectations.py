"""What an hour and a day of each series should be, from the rings of its past. Pure.

Robust hour-of-week profile times level: profile = median over up to six weeks of the hour divided
by its own week's mean; level = weighted median of the last seven days against their profile. The
level of earlier weeks counts as ordinary too, so that a change is told once and its return is none.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.robust import (
    row_mean,
    row_median,
    row_quantile,
    row_quantiles,
    weighted_median,
)
from apps.insights.core.scarce_counts import ScarceCounts, open_counts
from apps.insights.core.series_state import (
    CHANNELS,
    DAY,
    DAYS,
    HISTORY_WEEKS,
    PROFILE_HOURS,
    RECORD_DAYS,
    VALUE_HOURS,
    WEEK,
    SeriesState,
)

Numbers = NDArray[np.floating[Any]]

LEVEL_DAYS: Final = 7
EARLIER_LEVELS_DAYS: Final = (14, 21, 28)
FEW_WEEKS: Final = 2  # fewer: the hour of the day helps out
RECORDS_USED_DAYS: Final = 42
RECORD_SHARES: Final = (0.85, 0.95, 1.0)
RECENT_DAYS: Final = 28
ZERO_HEAVY_ERROR: Final = 0.75  # the hourly error of four weeks is this share of the spend
UNSURE_ERROR: Final = 0.35  # counting says more than a profile that is off by this share
QUIET_DAY_HOURS: Final = 8  # a day with more of them says little about the level

DRIFT_AGAINST_DAYS: Final = (10, 35)
DRIFT_NOISE_DAYS: Final = 49
DRIFT_NOISE_FLOOR: Final = 0.07  # in logarithms: 7% a week is nothing
DRIFT_SILENT_DAYS: Final = 14
DRIFT_MIN_DAYS: Final = 24


@dataclass(frozen=True, slots=True)
class DayOpening:
    """What holds for all hours of one day; made from the days before it, never stored."""

    day: int
    week_means: Numbers  # (2, weeks, n): mean hour of the week around each week ago
    level: Numbers  # (3, n); [2] is USD per request
    earlier_level: Numbers  # (3, n)
    mean_hour: Numbers  # (2, n): of the last four weeks, in USD and requests
    usual_record: Numbers  # (3, windows, 2, n): 85% of days stay below
    rare_record: Numbers  # 95%: two days of an event do not move it
    highest_record: Numbers
    calm_record: Numbers  # (2, calm windows, n): the highest of the same days
    calm_days: Numbers
    known_days: Numbers  # (n,)
    is_zero_heavy: NDArray[np.bool_]  # no profile explains it: judged by its own records
    has_requests: NDArray[np.bool_]
    drift_before: Numbers  # (n,): highest drift of the last two weeks
    scarce: ScarceCounts


def open_day(state: SeriesState, day: int) -> DayOpening:
    """Take stock of the days before `day`; writes the day's level and drift into the state."""
    with np.errstate(divide="ignore", invalid="ignore"):
        _set_levels(state, day)
        _set_drift(state, day)
        earlier = _days(day, EARLIER_LEVELS_DAYS)
        level = state.level[:, day % DAYS]
        earlier_level = np.stack([row_median(state.level[c, earlier]) for c in range(CHANNELS)])
        recent = _days(day, range(1, RECENT_DAYS + 1))
        usual_record, rare_record, highest_record = _records(state, day)
        totals = state.day_total[:, recent]
        used = _record_days(day, RECORDS_USED_DAYS)
        has_requests = (~np.isnan(totals[1])).any(axis=0)
        return DayOpening(
            day=day,
            week_means=_week_means(state, day),
            level=level,
            earlier_level=np.where(np.isnan(earlier_level), level, earlier_level),
            mean_hour=np.stack([row_mean(totals[c]) for c in (0, 1)]) / DAY,
            usual_record=usual_record,
            rare_record=rare_record,
            highest_record=highest_record,
            calm_record=np.nan_to_num(np.fmax.reduce(state.calm[:, :, used], axis=2)),
            calm_days=(~np.isnan(state.calm[:, :, used])).sum(axis=2).astype(float),
            known_days=(~np.isnan(state.record[0, 0, 0, used])).sum(axis=0).astype(float),
            is_zero_heavy=_is_zero_heavy(state, day),
            has_requests=has_requests,
            drift_before=state.drift[_days(day, range(1, DRIFT_SILENT_DAYS + 1))].max(axis=0),
            scarce=open_counts(state, day, has_requests, _is_off_by(UNSURE_ERROR, state, day)),
        )


def hour_profile(state: SeriesState, opening: DayOpening, hour: int) -> Numbers:
    """(2, n): what share of a mean hour this hour of the week is. NaN before a week is known."""
    weeks = [(hour - WEEK * k) % VALUE_HOURS for k in range(1, HISTORY_WEEKS + 1)]
    shares = state.value[:, weeks] / opening.week_means
    shares[~np.isfinite(shares)] = np.nan
    days = [(hour - DAY * k) % VALUE_HOURS for k in range(1, 8)]
    profile = np.empty((2, state.count), dtype=np.float32)
    for channel in (0, 1):
        known = (~np.isnan(shares[channel])).sum(axis=0)
        by_week = row_median(shares[channel])
        if (known < FEW_WEEKS).any():
            of_day = row_median(state.value[channel, days]) / opening.mean_hour[channel]
            weight = np.where(known < FEW_WEEKS, known / (known + 0.5), 1)
            by_week = np.where(weight < 1, weight * by_week + (1 - weight) * of_day, by_week)
        profile[channel] = np.where(known > 0, by_week, np.nan)
    return profile


def ordinary_range(
    state: SeriesState, opening: DayOpening, hour: int, is_quiet: NDArray[np.bool_]
) -> tuple[Numbers, Numbers]:
    """(2, n) low and high: both levels, and on holidays any weekday's same hour."""
    profile = state.profile[:, hour % PROFILE_HOURS]
    at_levels = (profile * opening.level[:2], profile * opening.earlier_level[:2])
    low, high = np.fmin(*at_levels), np.fmax(*at_levels)
    if is_quiet.any():
        days = state.profile[:, [(hour - DAY * k) % PROFILE_HOURS for k in range(1, 8)]]
        lowest = np.fmin(opening.level, opening.earlier_level)[:2] * np.fmin.reduce(days, axis=1)
        highest = np.fmax(opening.level, opening.earlier_level)[:2] * np.fmax.reduce(days, axis=1)
        low = np.where(is_quiet, np.fmin(low, lowest), low)
        high = np.where(is_quiet, np.fmax(high, highest), high)
    return low, high


def _set_levels(state: SeriesState, day: int) -> None:
    days = _days(day, range(1, LEVEL_DAYS + 1))
    total, profile = state.day_total[:, days], state.day_profile[:, days]
    trust = np.where(state.day_quiet[days] >= QUIET_DAY_HOURS, 1e-6, 1.0)
    for channel in (0, 1):
        shares = total[channel] / np.maximum(profile[channel], 1e-9)
        state.level[channel, day % DAYS] = weighted_median(shares, profile[channel] * trust)
    unit_cost = total[0] / np.where(total[1] > 0, total[1], np.nan)
    state.level[2, day % DAYS] = weighted_median(unit_cost, total[1])


def _set_drift(state: SeriesState, day: int) -> None:
    """How far the level stands outside those of 10 to 35 days ago, in usual weekly changes.

    Of requests where they are known, of spend otherwise; in logarithms, so that twice and half
    are equally far.
    """
    near, far = DRIFT_AGAINST_DAYS
    knows_requests = ~np.isnan(state.level[1, day % DAYS])
    levels = np.where(knows_requests, state.level[1], state.level[0])
    log_level = np.log(np.maximum(levels, 1e-9))
    now = log_level[day % DAYS]
    then = log_level[_days(day, range(near, far + 1))]
    later = log_level[_days(day, range(3, DRIFT_NOISE_DAYS - 6))]
    week_before = log_level[_days(day, range(10, DRIFT_NOISE_DAYS + 1))]
    noise = row_quantile(np.abs(later - week_before), 0.7) + DRIFT_NOISE_FLOOR
    outside = np.fmax(now - np.fmax.reduce(then, axis=0), np.fmin.reduce(then, axis=0) - now)
    is_old = day * DAY - state.first_hour >= DRIFT_MIN_DAYS * DAY
    # The level of a series that hardly ever spends jumps with each request.
    drift = np.where(is_old & ~_is_zero_heavy(state, day), outside / noise, 0)
    state.drift[day % DAYS] = np.nan_to_num(drift, nan=0, posinf=0, neginf=0)


def _is_zero_heavy(state: SeriesState, day: int) -> NDArray[np.bool_]:
    return _is_off_by(ZERO_HEAVY_ERROR, state, day)


def _is_off_by(share: float, state: SeriesState, day: int) -> NDArray[np.bool_]:
    """Whether the hourly error of four weeks is more than this share of the spend."""
    recent = _days(day, range(1, RECENT_DAYS + 1))
    spent = np.nansum(state.day_total[0, recent], axis=0)
    return np.asarray(np.nansum(state.day_error[recent], axis=0) > share * spent)


def _records(state: SeriesState, day: int) -> Numbers:
    """(3 of 85%, 95% and all, 3, windows, 2, n): what that share of the records stays below."""
    days = _record_days(day, RECORDS_USED_DAYS)
    found = np.empty((len(RECORD_SHARES), *state.record.shape[:3], state.count), dtype=np.float32)
    # One window at a time stays in the processor's cache; np.take copies whole rows.
    for at in np.ndindex(state.record.shape[:3]):
        found[(slice(None), *at)] = row_quantiles(
            np.take(state.record[at], days, axis=0), RECORD_SHARES
        )
    return found


def _week_means(state: SeriesState, day: int) -> Numbers:
    weeks = [
        [row_mean(state.day_total[c, _days(day, range(7 * k - 3, 7 * k + 4))]) for c in (0, 1)]
        for k in range(1, HISTORY_WEEKS + 1)
    ]
    return np.stack([np.stack(week) for week in weeks], axis=1) / DAY


def _days(day: int, back: Any) -> list[int]:
    return [(day - k) % DAYS for k in back]


def _record_days(day: int, count: int) -> list[int]:
    return [(day - k) % RECORD_DAYS for k in range(1, count + 1)]
