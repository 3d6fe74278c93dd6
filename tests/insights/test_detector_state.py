"""The state: bounded, resumed from bytes, joined and taken, and gone back in for late values."""

import io

import numpy as np
import pytest

from apps.insights.core.detector import Detector, HourScores, LateValue
from apps.insights.core.series_state import LATE_HOURS, SeriesState, StateError
from tests.insights.hours import START_HOUR, columns, nightly, office, run, spend_of, steady

HOURS = 30 * 24 + 13
CUT = 26 * 24 + 5


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    requests = columns(office(HOURS), steady(HOURS), nightly(HOURS))
    requests[CUT + 3 : CUT + 9, 1] = np.nan
    requests[CUT + 4 : CUT + 8, 0] *= 6
    return spend_of(requests), requests


@pytest.fixture(scope="module")
def whole(rows: tuple[np.ndarray, np.ndarray]) -> tuple[Detector, list[HourScores]]:
    detector = Detector.of(3, hour=START_HOUR)
    return detector, run(detector, *rows)


def same(one: HourScores, other: HourScores, columns: list[int] | None = None) -> None:
    for name in ("score", "drift", "kind", "excess_usd", "expected_usd", "low_usd", "high_usd"):
        left, right = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(
            left, right if columns is None else right[columns], rtol=1e-5, atol=1e-5, err_msg=name
        )


def same_state(one: SeriesState, other: SeriesState) -> None:
    assert one.hour == other.hour
    for name, array in one._arrays().items():
        np.testing.assert_allclose(array, other._arrays()[name], rtol=1e-5, atol=1e-4, err_msg=name)


def test_a_restart_goes_on_as_if_it_had_not_been(rows, whole) -> None:
    detector = Detector.of(3, hour=START_HOUR)
    run(detector, rows[0][:CUT], rows[1][:CUT])
    again = Detector(SeriesState.from_bytes(detector.state.to_bytes()))
    rest = run(again, rows[0][CUT:], rows[1][CUT:])
    for one, other in zip(rest, whole[1][CUT:], strict=True):
        same(one, other)
    same_state(again.state, whole[0].state)


def test_a_series_scores_the_same_alone_as_among_others(rows, whole) -> None:
    alone = run(Detector.of(1, hour=START_HOUR), rows[0][:, [2]], rows[1][:, [2]])
    for one, other in zip(alone, whole[1], strict=True):
        same(one, other, [2])


def test_what_comes_later_changes_no_score(rows, whole) -> None:
    part = run(Detector.of(3, hour=START_HOUR), rows[0][:CUT], rows[1][:CUT])
    for one, other in zip(part, whole[1], strict=False):
        same(one, other)


@pytest.mark.parametrize("late_by", [1, 13, 40, LATE_HOURS])
def test_a_late_value_is_scored_as_if_it_had_come_in_time(rows, whole, late_by: int) -> None:
    at = HOURS - late_by
    detector = Detector.of(3, hour=START_HOUR)
    spend, requests = rows[0].copy(), rows[1].copy()
    spend[at, 0] *= 0.5
    requests[at, 0] *= 0.5
    spend[at, 1] = requests[at, 1] = np.nan
    run(detector, spend, requests)
    late = [
        LateValue(c, START_HOUR + at, float(rows[0][at, c]), float(rows[1][at, c])) for c in (1, 0)
    ]
    concerned, scores = detector.rescore(late)
    assert concerned.tolist() == [0, 1]
    assert scores[0].hour == (START_HOUR + at) // 24 * 24
    assert scores[-1].hour == START_HOUR + HOURS - 1
    for one in scores:
        same(one, whole[1][one.hour - START_HOUR], [0, 1])
    same_state(detector.state, whole[0].state)


def test_a_late_spike_is_found(rows) -> None:
    detector = Detector.of(3, hour=START_HOUR)
    run(detector, *rows)
    at = START_HOUR + HOURS - 20
    _, scores = detector.rescore([LateValue(1, at, 400.0, 20_000.0)])
    assert next(s.hour for s in scores if s.is_anomaly()[0]) == at


def test_a_late_value_of_before_a_price_change_is_taken_at_its_price(rows) -> None:
    at = HOURS - 30
    detectors = []
    for is_late in (False, True):
        detector = Detector.of(3, hour=START_HOUR)
        spend, requests = rows[0].copy(), rows[1].copy()
        if is_late:
            spend[at, 1] = requests[at, 1] = np.nan
        run(detector, spend[: at + 5], requests[: at + 5])
        detector.reprice(np.array([1]), 2.0)
        spend[at + 5 :, 1] *= 2
        run(detector, spend[at + 5 :], requests[at + 5 :])
        if is_late:
            detector.rescore([LateValue(1, START_HOUR + at, rows[0][at, 1], rows[1][at, 1])])
        detectors.append(detector)
    same_state(detectors[1].state, detectors[0].state)


def test_a_value_too_late_to_score_is_still_learnt(rows) -> None:
    detector = Detector.of(3, hour=START_HOUR)
    run(detector, *rows)
    before = detector.state.day_total.copy()
    old = START_HOUR + HOURS - LATE_HOURS - 1
    concerned, scores = detector.rescore([LateValue(1, old, 999.0, 50_000.0)])
    assert (len(concerned), scores) == (0, [])
    changed = np.argwhere(~np.isclose(detector.state.day_total, before, equal_nan=True))
    assert {tuple(place)[2] for place in changed} == {1}


@pytest.mark.parametrize(("column", "hour"), [(3, START_HOUR), (-1, START_HOUR), (0, 10**9)])
def test_a_late_value_of_nothing_known_is_refused(column: int, hour: int) -> None:
    with pytest.raises(ValueError, match="no series or no hour"):
        Detector.of(3, hour=START_HOUR).rescore([LateValue(column, hour, 1.0, 1.0)])


def test_series_come_and_go(rows, whole) -> None:
    split = [Detector.of(2, hour=START_HOUR), Detector.of(1, hour=START_HOUR)]
    run(split[0], rows[0][:CUT, :2], rows[1][:CUT, :2])
    run(split[1], rows[0][:CUT, 2:], rows[1][:CUT, 2:])
    both = Detector(split[0].state.joined(split[1].state))
    run(both, rows[0][CUT:], rows[1][CUT:])
    same_state(both.state, whole[0].state)
    with pytest.raises(ValueError, match="cannot be joined"):
        both.state.joined(split[1].state)


def test_the_state_does_not_grow(rows, whole) -> None:
    fresh = SeriesState.empty(START_HOUR, 3)
    assert whole[0].state.bytes_per_series() == fresh.bytes_per_series() < 32_000


def test_bytes_of_something_else_are_refused() -> None:
    other = io.BytesIO()
    np.savez(other, hour=np.int64(1))
    cut = SeriesState.empty(START_HOUR, 2).to_bytes()[:-200]
    for data in (b"", b"no state", other.getvalue(), cut):
        with pytest.raises(StateError):
            SeriesState.from_bytes(data)
