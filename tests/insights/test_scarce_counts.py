"""Series of a few requests a day or an hour: counted, against a rate of their own."""

import numpy as np
import pytest

from apps.insights.core.detector import Detector, HourScores
from apps.insights.core.expectations import open_day
from tests.insights.hours import START_HOUR, Hours, flagged, run, spend_of

DAYS = 75
EVENT = 60 * 24 + 10
BURST, SILENT, USUAL = range(3)
SEEDS = range(6)


def requests_of(rate: float, seed: int) -> Hours:
    """By day twice as many as at night."""
    by_day = np.where(np.arange(DAYS * 24) % 24 < 12, 4 / 3, 2 / 3)
    return np.random.default_rng(seed).poisson(rate * by_day).astype(float)


@pytest.fixture(scope="module")
def requests() -> Hours:
    """Of each seed: a burst, a silence, and nothing."""
    series = []
    for seed in SEEDS:
        burst, silent = requests_of(0.2, seed), requests_of(1.5, 100 + seed)
        burst[EVENT : EVENT + 3] += 4
        silent[EVENT : EVENT + 24] = 0
        series += [burst, silent, requests_of(0.3, 200 + seed)]
    return np.stack(series, axis=1)


@pytest.fixture(scope="module")
def counted(requests: Hours) -> list[HourScores]:
    return run(Detector.of(requests.shape[1], hour=START_HOUR), spend_of(requests), requests)


def columns_of(story: int) -> list[int]:
    return [3 * n + story for n in range(len(SEEDS))]


def within(hours: list[int], length: int) -> bool:
    return any(EVENT <= hour < EVENT + length for hour in hours)


def test_a_dozen_requests_in_three_hours_where_five_a_day_are_usual(counted) -> None:
    found = [within(flagged(counted, n), 5) for n in columns_of(BURST)]
    assert all(found)


def test_a_silent_day_where_an_hour_has_one_or_two(counted) -> None:
    found = [within(flagged(counted, n), 24) for n in columns_of(SILENT)]
    assert sum(found) >= len(SEEDS) - 1


def test_chance_is_no_anomaly(counted) -> None:
    usual = [hours for n in columns_of(USUAL) for hours in flagged(counted, n)]
    months = len(SEEDS) * (DAYS - 20) / 30
    assert len(usual) <= 0.25 * months


def test_spend_alone_tells_a_burst_too(requests: Hours) -> None:
    scores = run(Detector.of(requests.shape[1], hour=START_HOUR), spend_of(requests))
    found = [within(flagged(scores, n), 5) for n in columns_of(BURST)]
    assert sum(found) >= len(SEEDS) - 1


def test_the_rate_follows_the_hour_of_the_day_and_dispersion_what_costs_scatter(
    requests: Hours,
) -> None:
    dearer = np.random.default_rng(9).choice([0.2, 1.8], requests.shape)
    detector = Detector.of(requests.shape[1], hour=START_HOUR)
    run(detector, requests * dearer)
    counts = open_day(detector.state, detector.state.hour // 24).scarce
    assert set(columns_of(USUAL)) <= set(counts.columns.tolist())
    rate = counts.rate.reshape(7, 24, -1)
    assert np.all(rate[:, 2:10].mean(axis=(0, 1)) > 1.4 * rate[:, 14:22].mean(axis=(0, 1)))
    # Poisson's 1 for their number; (0.2**2 + 1.8**2) / 2 for what each costs.
    assert np.median(counts.dispersion) == pytest.approx(1.64, rel=0.2)


def test_busy_series_are_not_counted_request_by_request() -> None:
    many = np.random.default_rng(1).poisson(40, (DAYS * 24, 2)).astype(float)
    detector = Detector.of(2, hour=START_HOUR)
    run(detector, spend_of(many), many)
    assert open_day(detector.state, detector.state.hour // 24).scarce.columns.size == 0
