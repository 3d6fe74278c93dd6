"""The detector over series of which nothing is known but their numbers. No database."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.calendar_guess import CalendarGuess
from apps.insights.core.detector import KINDS, AnomalyKind, Detector, HourScores
from apps.insights.holiday_calendars import UTC_OFFSETS, holiday_hours
from apps.insights.series_csv import SeriesRow


@dataclass(frozen=True, slots=True)
class ScoredRow:
    row: SeriesRow
    score: float
    is_anomaly: bool
    kind: AnomalyKind


def detect_rows(rows: Sequence[SeriesRow], *, sensitivity: float = 1.0) -> list[ScoredRow]:
    """Score every row, in the order given. An hour's score depends on no later hour of its series,

    nor on any other series.
    """
    if not rows:
        return []
    columns: dict[str, int] = {}
    for row in rows:
        columns.setdefault(row.series_id, len(columns))
    first = min(row.hour for row in rows)
    place = (
        np.array([row.hour - first for row in rows]),
        np.array([columns[row.series_id] for row in rows]),
    )
    shape = (int(place[0].max()) + 1, len(columns))
    spend, requests = np.full(shape, np.nan), np.full(shape, np.nan)
    spend[place] = [row.value for row in rows]
    requests[place] = [row.requests for row in rows]
    score = np.zeros(shape, dtype=np.float32)
    kind, is_anomaly = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=bool)
    for n, scores in enumerate(_score_hours(first, spend, requests)):
        score[n], kind[n], is_anomaly[n] = scores.best, scores.kind, scores.is_anomaly(sensitivity)
    return [
        ScoredRow(row, float(s), bool(a), KINDS[k])
        for row, s, a, k in zip(rows, score[place], is_anomaly[place], kind[place], strict=True)
    ]


def _score_hours(
    first: int, spend: NDArray[np.float64], requests: NDArray[np.float64]
) -> Iterator[HourScores]:
    hours, count = spend.shape
    detector = Detector.of(count, hour=first)
    guess = CalendarGuess(UTC_OFFSETS, count)
    # One hour before and one after: what ended, and what comes next.
    holiday = holiday_hours(first - 1, hours + 2)
    for n in range(hours):
        before, now, after = holiday[:, n], holiday[:, n + 1], holiday[:, n + 2]
        guess.observe(detector.state, before & ~now)
        yield detector.advance(
            spend[n],
            requests[n],
            is_quiet=guess.quiet(now),
            is_quiet_next=guess.quiet(after),
        )


def threshold_of(sensitivity: float) -> float:
    """The score from which an hour is an anomaly. Raises ValueError below or at zero."""
    if not (math.isfinite(sensitivity) and sensitivity > 0):
        raise ValueError(f"a sensitivity is a number above zero, not {sensitivity}")
    return 1 / sensitivity
