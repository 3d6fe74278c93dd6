"""How forecasts of a series would have done so far, and what follows for the next one. Pure.

Every past day of the series is taken as an origin: the same fit is made from what was known then,
and its sum over the next days is laid beside what was spent. An error is the logarithm of spent
over forecast, so that it is as large for a half as for the double.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.robust import sample_quantiles
from apps.insights.core.weekly_level import (
    OPINIONS,
    Fit,
    Floats,
    expected_days,
    fit_windows,
    windows_before,
)

# Origins looked back on: older ones say little about how the series behaves now.
MAX_ORIGINS: Final = 150
# The first days of a series forecast nothing worth judging.
MIN_KNOWN_DAYS: Final = 7
# Opinions are weighed by how they did over this many days.
WEIGHING_LEADS: Final = (7, 14)
WEIGHING_POWER: Final = 3.0
LEADS: Final = (1, 2, 3, 5, 7, 10, 14, 21, 28)
# Share of the usual day added to both sides of an error: nothing over nothing is no error.
LEAST_SHARE: Final = 0.02
# 80% of errors are within this much where a series cannot tell yet: pooled over made-up series
# of every kind (bench/forecast.py). It counts as much as PRIOR_ORIGINS separate past errors.
PRIOR_HALF_WIDTH: Final = 0.45
PRIOR_ORIGINS: Final = 1.5
# From one lead to the next: noise averages out over a week, and then wandering takes over.
SHORT_LEAD_POWER: Final = -0.16
LONG_LEAD_POWER: Final = 0.10
WEEK: Final = 7
# Half of what past forecasts missed on the whole is made good, and that as far as it is sure.
BIAS_FOLLOWED: Final = 0.5
BIAS_ORIGINS: Final = 6.0
# Past quantiles are of forecasts that the same past chose, and the longer the lead the more of its
# days past errors share; spend runs over more than under.
LOW_MARGIN: Final = 0.95
HIGH_MARGIN: Final = 1.12
SHARED_DAYS_MARGIN: Final = 0.25
# A stretch below a day, as a part of one, is not told apart from this.
LEAST_LEAD: Final = 0.05
# However regular a series has been, the next days may be off by this.
LEAST_HALF_WIDTH: Final = 0.005
# Half-widths stay below: beyond e**2 of either side nothing is said.
MAX_HALF_WIDTH: Final = 2.0


@dataclass(frozen=True, slots=True)
class Replay:
    """What the past of a series says about its next forecast.

    weights (OPINIONS,) sum to 1. The others are by LEADS, in log units.
    """

    fit: Fit
    weights: Floats
    sums: "Spread"
    single_days: "Spread"


@dataclass(frozen=True, slots=True)
class Spread:
    """Where p10, p50 and p90 lie around a forecast, by LEADS, in log units: -low, middle, +high."""

    low: Floats
    middle: Floats
    high: Floats

    def at(self, lead: float) -> tuple[float, float, float]:
        """The offsets of p10, p50 and p90 for a stretch of `lead` days (less than one: more
        noise)."""
        low, middle, high = (_at_lead(part, lead) for part in (self.low, self.middle, self.high))
        grown = max(lead, LEAST_LEAD) ** -0.5 if lead < 1 else (lead / LEADS[-1]) ** LONG_LEAD_POWER
        stretch = grown if lead < 1 or lead > LEADS[-1] else 1.0
        return (
            middle - min(low * stretch, MAX_HALF_WIDTH),
            middle,
            middle + min(high * stretch, MAX_HALF_WIDTH),
        )


def replay(days: Floats) -> Replay:
    """`days` are USD of consecutive whole days, oldest first, NaN where unknown.

    Whole days that are over hardly change, and pages ask again all day: the answer is remembered.
    """
    return _replay(days.astype(np.float64).tobytes())


@lru_cache(maxsize=1024)
def _replay(usd: bytes) -> Replay:
    days = np.frombuffer(usd)
    length = len(days)
    known = np.flatnonzero(np.isfinite(days))
    first = int(known[0]) + MIN_KNOWN_DAYS if len(known) else length
    origins = np.arange(max(first, length - MAX_ORIGINS), length + 1)
    if not len(origins):
        origins = np.array([length])
    fit = fit_windows(windows_before(days, origins))
    expected = expected_days(fit, LEADS[-1])
    past = _Past(days, origins, np.where(np.isfinite(expected), expected, 0.0))
    weights = _weights(past)
    return Replay(
        fit=fit.at(len(origins) - 1),
        weights=weights,
        sums=_spread(past, weights, of_sums=True),
        single_days=_spread(past, weights, of_sums=False),
    )


class _Past:
    """Forecasts of each origin and what was spent after it; unknown days count in neither."""

    def __init__(self, days: Floats, origins: NDArray[np.int64], expected: Floats) -> None:
        self.expected = expected
        self.days = days
        self.origins = origins
        known = days[np.isfinite(days)]
        self.usual = float(known[-90:].mean()) if len(known) else 0.0

    def errors(self, lead: int, weights: Floats | None, *, of_sums: bool) -> Floats:
        """Log errors of the origins whose outcome is known: (origins,), by opinion without
        weights."""
        judged = self.origins[self.origins + lead <= len(self.days)]
        first = 0 if of_sums else lead - 1
        spent = self.days[judged[:, None] + np.arange(first, lead)]
        known = np.isfinite(spent)
        expected = self.expected[: len(judged), :, first:lead]
        if weights is not None:
            expected = np.einsum("nkd,k->nd", expected, weights)[:, None, :]
        forecast = np.where(known[:, None, :], expected, 0.0).sum(axis=2)
        least = LEAST_SHARE * self.usual * (lead if of_sums else 1)
        if least <= 0:
            return np.empty((0, expected.shape[1]))
        actual = np.where(known, spent, 0.0).sum(axis=1)
        judgeable = known.sum(axis=1) * 2 >= known.shape[1]
        found: Floats = np.log((actual[:, None] + least) / (forecast + least))[judgeable]
        return found


def _weights(past: _Past) -> Floats:
    """Opinions by the inverse of their past errors; equal as long as there are none."""
    squared = np.zeros(OPINIONS)
    for lead in WEIGHING_LEADS:
        errors = np.abs(past.errors(lead, None, of_sums=True))
        if not len(errors):
            continue
        separate = 1 + (len(errors) - 1) / lead * 3
        mean = errors.mean(axis=0) ** 2
        squared += (separate * mean + 2 * mean.mean()) / (separate + 2)
    least = squared.max() * 1e-3
    weights = np.ones(OPINIONS) if least <= 0 else ((squared + least) / least) ** -WEIGHING_POWER
    found: Floats = weights / weights.sum()
    return found


def _spread(past: _Past, weights: Floats, *, of_sums: bool) -> Spread:
    """Quantiles of past errors, each lead leaning on the one before it, the first on the prior.

    Origins a day apart share most of their days: what counts is how many leads fit beside each
    other. Each side is the mean of its own quantile and of both sides' together: alone it would
    follow what the series happened to do.
    """
    rows = []
    both = low = high = PRIOR_HALF_WIDTH
    previous = LEADS[0]
    for lead in LEADS:
        errors = past.errors(lead, weights, of_sums=of_sums)[:, 0]
        ratio = _usual_ratio(previous, lead, of_sums=of_sums)
        separate = 1 + (len(errors) - 1) / lead if len(errors) else 0.0
        seen = errors if len(errors) else np.zeros(1)
        quantile_10, middle, quantile_90 = sample_quantiles(seen, (0.1, 0.5, 0.9))
        of_prior = PRIOR_ORIGINS / (separate + PRIOR_ORIGINS)
        both = (1 - of_prior) * sample_quantiles(np.abs(seen), (0.8,))[0] + of_prior * both * ratio
        low = max((1 - of_prior) * -quantile_10 + of_prior * low * ratio, LEAST_HALF_WIDTH)
        high = max((1 - of_prior) * quantile_90 + of_prior * high * ratio, LEAST_HALF_WIDTH)
        trusted = BIAS_FOLLOWED * separate / (separate + BIAS_ORIGINS)
        shared = SHARED_DAYS_MARGIN * lead / LEADS[-1]
        rows.append(
            (
                (low + both) / 2 * (LOW_MARGIN + shared),
                middle * trusted,
                (high + both) / 2 * (HIGH_MARGIN + shared),
            )
        )
        previous = lead
    lows, middles, highs = np.array(rows).T
    if of_sums:
        return Spread(lows, middles, highs)
    return Spread(np.maximum.accumulate(lows), middles, np.maximum.accumulate(highs))


def _usual_ratio(lead: float, next_lead: float, *, of_sums: bool) -> float:
    if not of_sums:
        return float((next_lead / lead) ** LONG_LEAD_POWER)
    short = min(next_lead, WEEK) / min(lead, WEEK)
    long = max(next_lead, WEEK) / max(lead, WEEK)
    return float(short**SHORT_LEAD_POWER * long**LONG_LEAD_POWER)


def _at_lead(by_lead: Floats, lead: float) -> float:
    """Between leads in proportion to their logarithms; the nearest beyond them."""
    return float(np.interp(np.log(max(lead, 1.0)), np.log(LEADS), by_lead))
