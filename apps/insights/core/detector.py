"""Hour by hour: what stands out in the spend of many series at once. Pure; see docs/detection.md.

A `Detector` scores one hour of all its series and learns it (`advance`), goes back for late values
(`rescore`) and takes known price changes (`reprice`). A score is how far an hour is beyond what its
series does of itself; 1.0 is the default threshold.
"""

import copy
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.calm_hours import calm_deviations, calm_scores
from apps.insights.core.deviations import Deviations, deviations
from apps.insights.core.expectations import DayOpening, hour_profile, open_day, ordinary_range
from apps.insights.core.scarce_counts import ScarceCounts, scarce_deviations, scarce_scores
from apps.insights.core.series_state import (
    ANNOUNCED,
    CALM_WINDOWS,
    COUNTED,
    DAY,
    DAYS,
    LATE_HOURS,
    NEVER,
    PROFILE_HOURS,
    QUIET,
    QUIET_NEXT,
    RECORD_DAYS,
    SEEN,
    VALUE_HOURS,
    WINDOW_HOURS,
    WINDOWS,
    SeriesState,
)
from apps.insights.core.thresholds import (
    CARRIED_SHARE,
    DRIFT_LIMIT,
    limits,
    weight,
)

Numbers = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
AnomalyKind = Literal["none", "spike", "outage", "shift", "drift", "storm"]
KINDS: Final[tuple[AnomalyKind, ...]] = ("none", "spike", "outage", "shift", "drift", "storm")
SPIKE, OUTAGE, SHIFT, DRIFT, STORM = range(1, 6)

SUSTAINED_SHARE: Final = 0.5  # a day's deviation that is this share of its hours': a new level
OUTAGE_SHARE: Final = 0.6  # of what was expected is missing


@dataclass(frozen=True, slots=True)
class HourScores:
    """One hour of all series; arrays of n.

    `score`: 0 where nothing stands out or nothing is known. `drift`: the day's, at its first hour
    with a row, otherwise 0. `excess_usd`: spend above (or below) what was expected in the
    `window_hours` that end here. `low_usd` to `high_usd` is the hour's ordinary range.
    """

    hour: int
    score: Numbers
    drift: Numbers
    drift_before: Numbers  # the highest of the two weeks before
    kind: NDArray[np.int8]  # index into KINDS
    excess_usd: Numbers
    window_hours: NDArray[np.int64]
    expected_usd: Numbers
    low_usd: Numbers
    high_usd: Numbers

    @property
    def best(self) -> Numbers:
        """The one number to show: of a drift only where it is higher than in the last weeks."""
        return np.maximum(self.score, np.where(self.drift > self.drift_before, self.drift, 0))

    def is_anomaly(self, sensitivity: float = 1.0) -> Flags:
        """Score at least 1/sensitivity; a drift once, when it gets there."""
        threshold = 1 / sensitivity
        drifts = (self.drift >= threshold) & (self.drift_before < threshold)
        return (self.score >= threshold) | drifts


@dataclass(frozen=True, slots=True)
class LateValue:
    """What an hour of a series holds now; NaN for nothing."""

    column: int
    hour: int
    spend: float
    requests: float


class Detector:
    """Many series, hour by hour. `state` is all there is to keep."""

    def __init__(self, state: SeriesState) -> None:
        self.state = state
        self._opening: DayOpening | None = None
        self._limits: Numbers = np.empty(0)

    @classmethod
    def of(cls, count: int, *, hour: int) -> Self:
        """New series, whose first possible hour is `hour` (hours since 1970 UTC)."""
        return cls(SeriesState.empty(hour, count))

    def copy(self) -> Self:
        """One that goes its own way from here."""
        other = type(self)(copy.deepcopy(self.state))
        other._opening, other._limits = self._opening, self._limits
        return other

    def advance(
        self,
        spend: Numbers,
        requests: Numbers,
        *,
        is_quiet: Flags | None = None,
        is_quiet_next: Flags | None = None,
        is_announced: Flags | None = None,
    ) -> HourScores:
        """Score hour `state.hour` of every series and learn it.

        `spend` in USD and `requests`; NaN for no row (in requests: or not counted). `is_quiet`: the
        hour may be a holiday of the series; `is_quiet_next`: so may the hour after it.
        `is_announced`: what happens is planned, is not scored and not learnt. Raises ValueError
        for a number below zero or infinite.
        """
        state, hour = self.state, self.state.hour
        for name, given in (("spend", spend), ("requests", requests)):
            if ((given < 0) | np.isinf(given)).any():
                raise ValueError(f"{name} of hour {hour} holds a negative or infinite number")
        no = np.zeros(state.count, dtype=bool)
        quiet = no if is_quiet is None else is_quiet
        quiet_next = no if is_quiet_next is None else is_quiet_next
        announced = no if is_announced is None else is_announced
        if hour % DAY == 0:
            _clear_day(state, hour // DAY)
        with np.errstate(divide="ignore", invalid="ignore"):
            opening = self._open(hour // DAY)
            if hour % DAY == 0:
                state.profile[:, hour % PROFILE_HOURS] = hour_profile(state, opening, hour)
            state.profile[:, (hour + 1) % PROFILE_HOURS] = hour_profile(state, opening, hour + 1)
            _expect(state, opening, hour, quiet, quiet_next)
            has_row = ~np.isnan(spend)
            _learn(state, opening, hour, np.stack([spend, requests]), announced)
            state.marks[hour % WINDOW_HOURS] = (
                has_row * SEEN
                | ~np.isnan(requests) * COUNTED
                | announced * ANNOUNCED
                | quiet * QUIET
                | quiet_next * QUIET_NEXT
            )
            state.price[hour % WINDOW_HOURS] = 1
            scores = _score(state, opening, self._limits, has_row & ~announced)
            _close_hour(state, hour, has_row, quiet)
        state.hour += 1
        return scores

    def rescore(self, changes: list[LateValue]) -> tuple[NDArray[np.intp], list[HourScores]]:
        """Take values that came late; score what they change, as if they had come in time.

        Returns the columns concerned (in order) and the scores of these alone, from the first hour
        of the earliest changed day to the last scored one. Changes older than LATE_HOURS are
        learnt and not scored; hours beyond the state's memory are left.
        """
        state = self.state
        for change in changes:
            if not 0 <= change.column < state.count or change.hour >= state.hour:
                raise ValueError(f"{change} is of no series or no hour that was scored")
        recent = [c for c in changes if c.hour >= state.hour - LATE_HOURS]
        for change in changes:
            if state.hour - VALUE_HOURS + DAY <= change.hour < state.hour - LATE_HOURS:
                _relearn(state, change)
        columns = np.array(sorted({change.column for change in recent}), dtype=np.intp)
        if not len(columns):
            return columns, []
        start = min(change.hour for change in recent) // DAY * DAY
        part = Detector(state.take(columns))
        raw = _raw_hours(part.state, start)
        place = {int(column): n for n, column in enumerate(columns)}
        for change in recent:
            n, at = place[change.column], change.hour % WINDOW_HOURS
            raw[change.hour - start][0, n] = change.spend * part.state.price[at, n]
            raw[change.hour - start][1, n] = change.requests
        prices = part.state.price.copy()
        part.state.hour = start
        part.state.first_hour[part.state.first_hour >= start] = NEVER
        scores = []
        for n, values in enumerate(raw):
            marks = part.state.marks[(start + n) % WINDOW_HOURS].copy()
            scores.append(
                part.advance(
                    values[0],
                    values[1],
                    is_quiet=(marks & QUIET) > 0,
                    is_quiet_next=(marks & QUIET_NEXT) > 0,
                    is_announced=(marks & ANNOUNCED) > 0,
                )
            )
        part.state.price[:] = prices
        state.put(columns, part.state)
        self._opening = None
        return columns, scores

    def reprice(self, columns: NDArray[np.intp], factor: float) -> None:
        """From the next hour on these series cost `factor` times as much: that is expected.

        All that was learnt of their spend is restated in the new prices.
        """
        state = self.state
        if not 0 < factor < np.inf:
            raise ValueError(f"a price factor is above zero and finite, not {factor}")
        for ring in (state.value, state.day_total):
            ring[0][..., columns] *= factor
        for ring in (state.expected, state.low, state.high, state.level):
            ring[0][..., columns] *= factor
            ring[2][..., columns] *= factor
        state.day_error[:, columns] *= factor
        state.price[:, columns] *= factor
        self._opening = None

    def _open(self, day: int) -> DayOpening:
        if self._opening is None or self._opening.day != day:
            self._opening = open_day(self.state, day)
            self._limits = limits(self._opening)
        return self._opening


def _clear_day(state: SeriesState, day: int) -> None:
    for ring in (state.day_error, state.day_quiet, state.day_seen):
        ring[day % DAYS] = 0
    state.day_total[:, day % DAYS] = np.nan
    state.day_profile[:, day % DAYS] = np.nan
    state.record[..., day % RECORD_DAYS, :] = np.nan
    state.calm[..., day % RECORD_DAYS, :] = np.nan
    state.scarce[:, day % RECORD_DAYS] = np.nan


def _expect(
    state: SeriesState, opening: DayOpening, hour: int, quiet: Flags, quiet_next: Flags
) -> None:
    """The hour's expectation and its ordinary range, and the next hour's range."""
    now, after = hour % WINDOW_HOURS, (hour + 1) % WINDOW_HOURS
    state.expected[:2, now] = state.profile[:, hour % PROFILE_HOURS] * opening.level[:2]
    state.low[:2, now], state.high[:2, now] = ordinary_range(state, opening, hour, quiet)
    state.low[:2, after], state.high[:2, after] = ordinary_range(
        state, opening, hour + 1, quiet_next
    )


def _learn(
    state: SeriesState, opening: DayOpening, hour: int, values: Numbers, announced: Flags
) -> None:
    """Take the hour's values; what was expected stands in for what is missing or announced."""
    known = ~np.isnan(values) & ~announced
    starts = (state.first_hour == NEVER) & ~np.isnan(values[0])
    state.first_hour[starts] = hour
    now = hour % WINDOW_HOURS
    has_begun = state.first_hour <= hour
    stand_in = np.where(has_begun, state.expected[:2, now], np.nan)
    learnt = np.where(known, values, stand_in)
    state.value[:, hour % VALUE_HOURS] = learnt
    costs = np.stack([opening.level[2], opening.earlier_level[2]])
    state.expected[2, now] = learnt[1] * opening.level[2]
    state.low[2, now] = learnt[1] * np.fmin(*costs)
    state.high[2, now] = learnt[1] * np.fmax(*costs)
    # Not known yet: the next hour's requests. Only spend and requests are compared with it.
    state.low[2, (hour + 1) % WINDOW_HOURS] = state.high[2, (hour + 1) % WINDOW_HOURS] = 0


def _score(state: SeriesState, opening: DayOpening, limit: Numbers, is_scored: Flags) -> HourScores:
    hour = state.hour
    found = deviations(state, opening, hour)
    records = state.record[..., hour // DAY % RECORD_DAYS, :]
    records[:] = np.where(is_scored, np.fmax(records, found.beyond_expected), records)
    counted = weight(found) * _is_carried(found)
    relative = found.beyond_ordinary / limit * counted
    relative = np.nan_to_num(np.maximum(relative, 0), nan=0) * is_scored
    calm = calm_deviations(found, opening)
    of_day = state.calm[:, :, hour // DAY % RECORD_DAYS]
    of_day[:] = np.where(is_scored, np.fmax(of_day, calm), of_day)
    # In its own terms, and as large and as lasting as everything that counts.
    above = (slice(2), slice(len(CALM_WINDOWS)), 0)
    stands_out = calm_scores(calm, opening) * counted[above] * is_scored
    relative[above] = np.maximum(relative[above], stands_out)
    scarce = (opening.scarce.channel, slice(None), slice(None), opening.scarce.columns)
    by_counting = _count_scarce(state, opening.scarce, found, is_scored) * counted[scarce]
    relative[scarce] = np.maximum(relative[scarce], by_counting)
    flat = relative.reshape(-1, state.count)
    best = flat.argmax(axis=0)
    columns = np.arange(state.count)
    score = flat[best, columns]
    channel, window, below = np.unravel_index(best, relative.shape[:3])
    is_first = is_scored & (state.day_seen[hour // DAY % DAYS] == 0)
    drift = np.where(is_first, state.drift[hour // DAY % DAYS] / DRIFT_LIMIT, 0)
    kind = _kind(found, channel, below)
    now = hour % WINDOW_HOURS
    return HourScores(
        hour=hour,
        score=score,
        drift=drift,
        drift_before=opening.drift_before / DRIFT_LIMIT,
        kind=np.where(
            score > 0, np.where(drift > score, DRIFT, kind), np.where(drift > 0, DRIFT, 0)
        ).astype(np.int8),
        excess_usd=found.excess_usd[window, columns],
        window_hours=np.array(WINDOWS)[window],
        expected_usd=state.expected[0, now].copy(),
        low_usd=state.low[0, now].copy(),
        high_usd=state.high[0, now].copy(),
    )


def _count_scarce(
    state: SeriesState, scarce: ScarceCounts, found: Deviations, is_scored: Flags
) -> Numbers:
    """(k, windows, 2): what counting says of series of few requests."""
    columns = scarce.columns
    roots = scarce_deviations(scarce, found.total, state.hour) * is_scored[columns]
    of_day = state.scarce[:, state.hour // DAY % RECORD_DAYS]
    of_day[:, columns] = np.fmax(of_day[:, columns], roots.max(axis=0))
    return np.moveaxis(scarce_scores(scarce, roots), -1, 0)


def _is_carried(found: Deviations) -> Flags:
    """Whether the hours just past still deviate as the whole window does: no echo of what ended."""
    shares = found.share_of_expected
    carried = np.ones(shares.shape, dtype=bool)
    lowest = shares[:, 0]
    for window in range(1, len(WINDOWS)):
        carried[:, window] = lowest > CARRIED_SHARE * shares[:, window]
        lowest = np.minimum(lowest, shares[:, window])
    return carried


def _kind(
    found: Deviations, channel: NDArray[np.intp], below: NDArray[np.intp]
) -> NDArray[np.int_]:
    columns = np.arange(len(channel))
    shares = found.share_of_expected[channel, :, below, columns]
    hours, day = shares[:, :3].max(axis=1), shares[:, WINDOWS.index(DAY)]
    is_level = day > SUSTAINED_SHARE * hours
    is_outage = (below == 1) & ((hours > OUTAGE_SHARE) | ~is_level)
    kind = np.where(is_outage, OUTAGE, np.where(is_level, SHIFT, SPIKE))
    return np.where(channel == 2, STORM, kind)


def _close_hour(state: SeriesState, hour: int, has_row: Flags, quiet: Flags) -> None:
    slot = hour // DAY % DAYS
    error = np.abs(state.value[0, hour % VALUE_HOURS] - state.expected[0, hour % WINDOW_HOURS])
    state.day_error[slot] += np.nan_to_num(error, nan=0)
    state.day_seen[slot] += has_row
    state.day_quiet[slot] += quiet
    if hour % DAY == DAY - 1:
        hours = np.arange(hour - DAY + 1, hour + 1)
        state.day_total[:, slot] = state.value[:, hours % VALUE_HOURS].sum(axis=1)
        state.day_profile[:, slot] = state.profile[:, hours % PROFILE_HOURS].sum(axis=1)


def _raw_hours(state: SeriesState, start: int) -> list[Numbers]:
    """(2, n) for each hour from `start` on, as they were given: NaN where there was no row."""
    raw: list[Numbers] = []
    for hour in range(start, state.hour):
        values = state.value[:, hour % VALUE_HOURS].copy()
        marks = state.marks[hour % WINDOW_HOURS]
        values[0, (marks & SEEN) == 0] = np.nan
        values[1, (marks & COUNTED) == 0] = np.nan
        raw.append(values)
    return raw


def _relearn(state: SeriesState, change: LateValue) -> None:
    """A value too old to be scored: learnt in its hour and its day."""
    given = np.array([change.spend, change.requests])
    ring = state.value[:, change.hour % VALUE_HOURS, change.column]
    ring[:] = np.where(np.isnan(given), ring, given)
    day = change.hour // DAY
    hours = np.arange(day * DAY, day * DAY + DAY) % VALUE_HOURS
    state.day_total[:, day % DAYS, change.column] = state.value[:, hours, change.column].sum(axis=1)
