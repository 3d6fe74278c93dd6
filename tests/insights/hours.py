"""Hourly series of known shape for tests, and runs of the detector over them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.detector import Detector, HourScores

Hours = NDArray[np.float64]

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday
START_HOUR = int(START.timestamp()) // 3600
BERLIN = ZoneInfo("Europe/Berlin")
UNIT_COST_USD = 0.02


def local(hours: int, zone: ZoneInfo = BERLIN) -> list[datetime]:
    return [(START + timedelta(hours=n)).astimezone(zone) for n in range(hours)]


def noise(hours: int, seed: int, size: float = 0.08) -> Hours:
    return np.exp(np.random.default_rng(seed).normal(0, size, hours))


def steady(hours: int, seed: int = 1) -> Hours:
    at = np.arange(hours)
    return np.round(1000 * (1 + 0.2 * np.cos(2 * np.pi * at / 24)) * noise(hours, seed))


def office(hours: int, seed: int = 2) -> Hours:
    """Berlin office hours; nights and weekends are nearly quiet."""
    works = [9 <= at.hour < 18 and at.weekday() < 5 for at in local(hours)]
    return np.round(np.where(works, 1000, 20) * noise(hours, seed))


def nightly(hours: int, seed: int = 3) -> Hours:
    """A batch job at 2 and 3 local time, nothing else to speak of."""
    return np.round(
        np.where([at.hour in (2, 3) for at in local(hours)], 5000, 10) * noise(hours, seed)
    )


def sparse(hours: int, seed: int = 4) -> Hours:
    return np.random.default_rng(seed).poisson(0.15, hours).astype(float)


def spend_of(requests: Hours) -> Hours:
    return requests * UNIT_COST_USD


def run(
    detector: Detector,
    spend: Hours,
    requests: Hours | None = None,
    **given: Callable[[int], NDArray[np.bool_]],
) -> list[HourScores]:
    """Advance through the rows of (hours, n) arrays; `given` are arguments by row."""
    requests = np.full_like(spend, np.nan) if requests is None else requests
    return [
        detector.advance(
            spend[n],
            requests[n],
            **{name: ask(n) for name, ask in given.items()},  # type: ignore[arg-type]
        )
        for n in range(len(spend))
    ]


def flagged(scores: list[HourScores], column: int = 0, sensitivity: float = 1.0) -> list[int]:
    """The rows at which a series is an anomaly."""
    return [n for n, s in enumerate(scores) if s.is_anomaly(sensitivity)[column]]


def columns(*series: Any) -> Hours:
    return np.stack(series, axis=1)
