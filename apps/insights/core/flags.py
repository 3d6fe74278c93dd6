"""From scores of series to things that happened: what belongs together, since when. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.detector import KINDS, AnomalyKind, HourScores
from apps.insights.core.series_state import DAY, VALUE_HOURS, WINDOW_HOURS, SeriesState
from apps.insights.core.unit_costs import unit_cost_jumps

SeriesKey = tuple[str, str]
# One model's requests of one task: its volume is tokens.
PAIR: Final = "model_task"
# Two series tell of one thing when they share this part of the smaller one's excess.
SHARED: Final = 0.5
# The series that a finding is named after explains this part of the largest excess.
NAMED_SHARE: Final = 0.75
# Expectations of sparse series are little and rough.
AS_UNUSUAL: Final = 1.5
_NAMED_FIRST: Final = (
    "customer", "project", PAIR, "model", "backend", "department", "all",
)  # fmt: skip
# Flagged hours at most this far apart are one event.
APART_HOURS: Final = 6
# Of what was expected.
MONEY_SHARE: Final = 0.2
LEAST_USD: Final = 0.01
MOST_OF_IT: Final = 0.95
# Of the worst hour's deviation: less is no bad hour at the end of a window.
NOTABLE_HOUR: Final = 0.15

EXPECTED_STEP: Final = 1.25
USEFUL_STEP: Final = 0.95
LEAST_FACTOR, MOST_FACTOR = 0.7, 4.0


@dataclass(frozen=True, slots=True)
class Flag:
    """A series that stood out at the end of `hour`: from `first_hour` to `last_hour`, which is
    earlier where a long sum still holds what is over."""

    series: SeriesKey
    kind: AnomalyKind
    score: float
    hour: int
    first_hour: int
    last_hour: int
    actual_usd: float
    expected_usd: float

    @property
    def excess_usd(self) -> float:
        return self.actual_usd - self.expected_usd

    @property
    def at_stake_usd(self) -> float:
        """What a day of this would come to, or what it came to, if that is more."""
        hours = self.last_hour - self.first_hour + 1
        return max(abs(self.excess_usd), abs(self.excess_usd) / hours * 24)


def find_flags(
    series: Sequence[SeriesKey],
    state: SeriesState,
    scores: HourScores,
    thresholds: NDArray[np.floating[Any]],
    *,
    only_above: bool = False,
) -> list[Flag]:
    """What reached its threshold in the hour of `scores`; `state` has learnt that hour."""
    drifts = (scores.drift >= thresholds) & (scores.drift_before < thresholds)
    flags = []
    for column in map(int, np.flatnonzero((scores.score >= thresholds) | drifts)):
        is_drift = bool(drifts[column]) and scores.score[column] < thresholds[column]
        found = _flag(
            series[column],
            "drift" if is_drift else KINDS[int(scores.kind[column])],
            float(scores.drift[column] if is_drift else scores.score[column]),
            state,
            (column, scores.hour, DAY if is_drift else int(scores.window_hours[column])),
        )
        flags.append(found)
    flags += _jumps(series, state, scores.hour, thresholds, {flag.series for flag in flags if flag})
    return [flag for flag in flags if flag and (flag.excess_usd > 0 or not only_above)]


def _jumps(
    series: Sequence[SeriesKey],
    state: SeriesState,
    hour: int,
    thresholds: NDArray[np.floating[Any]],
    flagged: set[SeriesKey],
) -> list[Flag | None]:
    """Models' tasks of which a token suddenly costs more."""
    columns = np.array(
        [n for n, key in enumerate(series) if key[0] == PAIR and key not in flagged], dtype=np.intp
    )
    if not len(columns):
        return []
    scores, windows = unit_cost_jumps(state, hour, columns)
    found = [
        _flag(series[column], "storm", float(score), state, (int(column), hour, int(window)))
        for column, score, window in zip(columns, scores, windows, strict=True)
        if score >= thresholds[column]
    ]
    return [flag for flag in found if flag and flag.excess_usd > 0]


def _flag(
    series: SeriesKey,
    kind: AnomalyKind,
    score: float,
    state: SeriesState,
    window: tuple[int, int, int],
) -> Flag | None:
    """`window`: column, last hour, hours. None for an echo of what was over long ago, and where
    requests moved and money hardly did: findings are about money."""
    column, hour, hours = window
    first, last, actual, expected = _since(state, column, hour, hours)
    if hour - last > APART_HOURS or (
        abs(actual - expected) < max(MONEY_SHARE * expected, LEAST_USD)
    ):
        return None
    # Dearer requests, and so many fewer that less was spent: nothing to be told of money.
    if kind == "storm" and actual <= expected:
        return None
    return Flag(series, kind, score, hour, first, last, actual, expected)


def _since(
    state: SeriesState, column: int, hour: int, window: int
) -> tuple[int, int, float, float]:
    """(first hour, last hour, actual, expected): the part of the window that nearly all of the
    deviation comes from."""
    hours = np.arange(hour, hour - window, -1)
    actual, expected = usd_of_hours(state, column, hours)
    over = actual - expected
    over = over if over.sum() >= 0 else -over
    newest = int(np.argmax(over >= NOTABLE_HOUR * over.max()))
    sums = np.cumsum(over[newest:])
    # The latest hour that leaves out next to nothing: noise before it is not the start.
    oldest = newest + int(np.argmax(sums >= MOST_OF_IT * sums.max()))
    within = slice(newest, oldest + 1)
    return (
        int(hours[oldest]),
        int(hours[newest]),
        float(actual[within].sum()),
        float(expected[within].sum()),
    )


def usd_of_hours(
    state: SeriesState, column: int, hours: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """(actual, expected) of hours that the state remembers; nothing where it knows neither."""
    actual = state.value[0, hours % VALUE_HOURS, column].astype(float)
    expected = state.expected[0, hours % WINDOW_HOURS, column].astype(float)
    unknown = np.isnan(actual) | np.isnan(expected)
    return np.where(unknown, 0, actual), np.where(unknown, 0, expected)


def group_flags(
    flags: Sequence[Flag], shared_usd: Callable[[SeriesKey, SeriesKey], float]
) -> list[list[Flag]]:
    """Parents, children and other views of one thing together, the dearest first.

    `shared_usd(a, b)` is the excess of what two series have in common, (a, a) of one.
    """
    groups: list[list[Flag]] = []
    for flag in sorted(flags, key=lambda f: -abs(f.excess_usd)):
        home = next((g for g in groups if _belongs(flag, name_giver(g), shared_usd)), None)
        if home is None:
            groups.append([flag])
        else:
            home.append(flag)
    return groups


def _belongs(flag: Flag, lead: Flag, shared_usd: Callable[[SeriesKey, SeriesKey], float]) -> bool:
    if (flag.excess_usd >= 0) != (lead.excess_usd >= 0):
        return False
    return is_shared(flag.series, lead.series, shared_usd)


def is_shared(
    one: SeriesKey, other: SeriesKey, shared_usd: Callable[[SeriesKey, SeriesKey], float]
) -> bool:
    """Whether two series tell of one thing."""
    smaller = min(abs(shared_usd(one, one)), abs(shared_usd(other, other)))
    return smaller > 0 and abs(shared_usd(one, other)) >= SHARED * smaller


def name_giver(group: Sequence[Flag]) -> Flag:
    """Of the series that explain most of it, the one for which it is the most unusual; of those for
    which it is about as unusual, the one that people can do most about."""
    most = max(abs(flag.excess_usd) for flag in group)
    close = [flag for flag in group if abs(flag.excess_usd) >= NAMED_SHARE * most]
    unusual = {
        flag.series: abs(flag.excess_usd) / (flag.expected_usd + 0.01 * most) for flag in close
    }
    least = max(unusual.values()) / AS_UNUSUAL
    named = [flag for flag in close if unusual[flag.series] >= least]
    return min(named, key=lambda f: (rank_of(f.series), -unusual[f.series], f.series))


def rank_of(series: SeriesKey) -> int:
    """The less, the better it says whom to talk to."""
    return _NAMED_FIRST.index(series[0])


def kind_of(group: Sequence[Flag]) -> AnomalyKind:
    """What most of a group says, by score."""
    votes: dict[AnomalyKind, float] = {}
    for flag in group:
        votes[flag.kind] = votes.get(flag.kind, 0.0) + flag.score
    return max(votes, key=lambda kind: votes[kind])


def moved_factor(factor: float, *, useful: bool) -> float:
    """A series' threshold after an answer: higher when its finding was expected, a little lower
    when it was useful, and never beyond LEAST_FACTOR to MOST_FACTOR."""
    moved = factor * (USEFUL_STEP if useful else EXPECTED_STEP)
    return min(max(moved, LEAST_FACTOR), MOST_FACTOR)


def matches(
    series: SeriesKey, labels: Mapping[str, str | None], parents: Mapping[str, str]
) -> bool:
    """Whether what carries these labels is part of the series."""
    dimension, key = series
    if dimension == "all":
        return True
    if dimension == PAIR:
        return f"{labels['model']}\x1f{labels['task']}" == key
    value = labels[dimension]
    if dimension != "department":
        return value == key
    while value is not None and value != key:
        value = parents.get(value)
    return value == key
