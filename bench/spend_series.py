"""Labelled hourly spend: what detectors and forecasts are measured on. Seeded; numpy alone.

`spend_series(seed, world)` yields series of seven kinds in five zones, with local weeks and days,
changes of clocks, public holidays, growth, launches, absent hours and labelled events. The worlds
differ in where noise comes from, so that nothing is tuned to one of them:

- smooth: lognormal noise that lasts for hours (AR(1)), and a level that wanders.
- bursty: Student-t noise, harmless bursts, days that are high or low as a whole.
- counted: negative binomial requests, each with a heavy-tailed cost of its own.
- reference: made so that what was tried before fares as it did then: a day at 3 to 4 deviations
  finds .28 to .19 of the events at .47 to .57 precision (there .24 at .46). Fewer small effects,
  less noise by the hour, stronger weekends and whole days that are high or low.

Effects are log-uniform: many events are small, and some drown in the noise of their series.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

import holidays
import numpy as np
from numpy.typing import NDArray

Hours = NDArray[np.float64]
World = Literal["smooth", "bursty", "counted", "reference"]
SeriesKind = Literal["steady", "office", "consumer", "batch", "sparse", "quiet", "new"]
EventKind = Literal["spike", "outage", "shift", "drift", "storm"]

WORLDS: Final[tuple[World, ...]] = ("smooth", "bursty", "counted")
REFERENCE: Final[World] = "reference"
KINDS: Final[tuple[SeriesKind, ...]] = (
    "steady",
    "office",
    "consumer",
    "batch",
    "sparse",
    "quiet",
    "new",
)
KIND_SHARES: Final = (0.18, 0.22, 0.16, 0.12, 0.10, 0.10, 0.12)
PLACES: Final = (
    ("America/New_York", "US"),
    ("Europe/Berlin", "DE"),
    ("Asia/Kolkata", "IN"),
    ("Asia/Tokyo", "JP"),
    ("Australia/Sydney", "AU"),
)
STARTS: Final = (
    datetime(2025, 1, 1, tzinfo=UTC),
    datetime(2025, 7, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2025, 9, 1, tzinfo=UTC),
)
EVENT_SHARES: Final[dict[EventKind, float]] = {
    "spike": 0.30,
    "outage": 0.19,
    "shift": 0.18,
    "drift": 0.13,
    "storm": 0.20,
}


@dataclass(frozen=True, slots=True)
class _Difficulty:
    """Where worlds differ besides their noise."""

    cost_tail: float  # lognormal, of one request's cost
    wander: float = 1.0
    shift_sizes: tuple[float, float] = (1.35, 3.5)
    outage_hours: tuple[int, int] = (3, 25)
    weekends: Mapping[SeriesKind, tuple[float, float]] = field(default_factory=dict)


DIFFICULTY: Final[dict[World, _Difficulty]] = {
    "smooth": _Difficulty(0.4),
    "bursty": _Difficulty(0.7),
    "counted": _Difficulty(1.0),
    "reference": _Difficulty(
        0.5,
        wander=0.7,
        shift_sizes=(1.2, 4.0),
        outage_hours=(6, 31),
        weekends={"steady": (0.4, 0.8), "consumer": (1.2, 2.0), "quiet": (0.5, 1.0)},
    ),
}
EVENTS_PER_SERIES: Final = 1.18  # some find no room: about 231 remain in 200 series
WARM_UP_DAYS: Final = 21
CALM_DAYS: Final = 9  # from one event's end to the next one's start
MAX_EVENTS: Final = 4


@dataclass(frozen=True, slots=True)
class SpendEvent:
    """What happened in hours `start` to `end` (exclusive), counted from the series' start."""

    kind: EventKind
    start: int
    end: int
    factor: float


@dataclass(frozen=True, slots=True)
class SpendSeries:
    """Hourly `spend` in USD and `requests`; NaN in both where the hour has no row.

    Hour n starts at `start` + n hours. A new tenant's hours before its first are NaN.
    """

    id: str
    kind: SeriesKind
    zone: str
    country: str
    start: datetime
    spend: Hours
    requests: Hours
    events: tuple[SpendEvent, ...]


def spend_series(
    seed: int, world: World, *, count: int = 200, days: int = 181
) -> Iterator[SpendSeries]:
    """Yield `count` series of one start; the same seed and world give the same numbers."""
    chance = np.random.default_rng([seed, (*WORLDS, REFERENCE).index(world)])
    start = STARTS[seed % len(STARTS)]
    for n in range(count):
        yield _one_series(chance, world, f"{world}-{seed}-{n:03d}", start, days * 24)


def _one_series(
    chance: np.random.Generator, world: World, name: str, start: datetime, hours: int
) -> SpendSeries:
    kind = KINDS[chance.choice(len(KINDS), p=KIND_SHARES)]
    zone, country = PLACES[chance.integers(len(PLACES))]
    shape = KINDS[chance.choice(4)] if kind == "new" else kind
    clock = _local_clock(zone, country, start, hours)
    first = int(chance.integers(20 * 24, 120 * 24)) if kind == "new" else 0
    profile = _profile(chance, shape, clock)
    if shape in DIFFICULTY[world].weekends:
        profile *= _weekends(chance, DIFFICULTY[world].weekends[shape], clock)
        profile /= profile.mean()
    level = _level(chance, hours, first, DIFFICULTY[world].wander)
    if kind == "new":
        level = level * (1 - 0.7 * np.exp(-np.maximum(np.arange(hours) - first, 0) / (24 * 6)))
    rate = _requests_per_hour(chance, shape) * profile * level
    events = _place_events(chance, world, rate, first)
    factor, unit_factor, extra = _effects(chance, events, rate)
    noise = _noise(chance, world, hours, shape)
    requests = _requests(chance, world, shape, (rate * noise + 0.0) * factor + extra)
    unit_cost = 10 ** chance.uniform(-3, -0.5) * unit_factor * _unit_wander(chance, hours)
    spend = _spend(chance, world, requests, unit_cost)
    gone = _absent(chance, hours, first)
    spend[gone] = requests[gone] = np.nan
    return SpendSeries(
        name, kind, zone, country, start, np.round(spend, 6), requests, tuple(events)
    )


@dataclass(frozen=True, slots=True)
class _Clock:
    """Local time of each hour: hour of day with minutes as a fraction, weekday, holiday."""

    hour: Hours
    weekday: NDArray[np.int64]
    is_holiday: NDArray[np.bool_]


@lru_cache(maxsize=64)
def _local_clock(zone: str, country: str, start: datetime, hours: int) -> _Clock:
    place = ZoneInfo(zone)
    calendar: dict[date, str] = holidays.country_holidays(
        country, years=range(start.year, start.year + 2)
    )
    local = [(start + timedelta(hours=n)).astimezone(place) for n in range(hours)]
    return _Clock(
        np.array([at.hour + at.minute / 60 for at in local]),
        np.array([at.weekday() for at in local]),
        np.array([at.date() in calendar for at in local]),
    )


def _profile(chance: np.random.Generator, shape: SeriesKind, clock: _Clock) -> Hours:
    """The expected week, about 1 on average; holidays look like Sundays where people work."""
    weekday = np.where(clock.is_holiday, 6, clock.weekday)
    weekend = weekday >= 5
    hour, profile = clock.hour, np.ones_like(clock.hour)
    if shape == "steady":
        peak, depth = chance.uniform(0, 24), chance.uniform(0.02, 0.3)
        profile += depth * np.cos(2 * np.pi * (hour - peak) / 24)
        profile *= np.where(weekend, chance.uniform(0.85, 1.05), 1.0)
    elif shape in ("office", "quiet"):
        opens, closes = chance.uniform(7, 9.5), chance.uniform(16.5, 19.5)
        day: Hours = 1 / (1 + np.exp(-(hour - opens) / 0.5)) / (1 + np.exp((hour - closes) / 0.7))
        night = chance.uniform(0.01, 0.12) if shape == "office" else chance.uniform(0.1, 0.5)
        profile = night + day * np.where(weekend, chance.uniform(0.03, 0.3), 1.0)
    elif shape == "consumer":
        peak = chance.uniform(18.5, 21.5)
        profile = np.exp(chance.uniform(0.8, 1.6) * np.cos(2 * np.pi * (hour - peak) / 24))
        profile *= np.where(weekend, chance.uniform(1.0, 1.4), 1.0)
    elif shape == "batch":
        profile = _batch_profile(chance, clock)
    else:
        profile += -0.5 + ((hour >= 8) & (hour < 20) & ~weekend)
    return np.asarray(profile / profile.mean())


def _weekends(chance: np.random.Generator, size: tuple[float, float], clock: _Clock) -> Hours:
    """The reference's stronger weekends: they hide events from whoever looks at whole days."""
    is_weekend = (clock.weekday >= 5) | clock.is_holiday
    return np.where(is_weekend, chance.uniform(*size), 1.0)


def _batch_profile(chance: np.random.Generator, clock: _Clock) -> Hours:
    """Jobs at fixed local hours; now and then one runs an hour late. Between them almost none."""
    jobs: Hours = np.zeros_like(clock.hour)
    for _ in range(int(chance.integers(1, 3))):
        begins, length = float(chance.integers(0, 24)), float(chance.integers(1, 6))
        late = np.repeat(chance.random(len(jobs) // 24 + 1) < 0.04, 24)[: len(jobs)]
        runs = ((clock.hour - begins - late) % 24) < length
        if chance.random() < 0.3:
            runs &= clock.weekday == chance.integers(0, 7)
        elif chance.random() < 0.3:
            runs &= clock.weekday < 5
        jobs += runs * float(chance.uniform(0.5, 1.5))
    return jobs + chance.uniform(0.002, 0.05)


def _requests_per_hour(chance: np.random.Generator, shape: SeriesKind) -> float:
    if shape == "sparse":
        return float(10 ** chance.uniform(-1.3, -0.1))
    if shape == "quiet":
        return float(10 ** chance.uniform(0.3, 1.2))
    return float(10 ** chance.uniform(1.7, 4))


def _level(chance: np.random.Generator, hours: int, first: int, wander: float) -> Hours:
    """Growth, a slow wander, and launches: legitimate ramps that nobody labels."""
    at = np.arange(hours)
    log_level = np.log1p(chance.uniform(-0.05, 0.15)) * at / 730
    steps = np.repeat(chance.normal(0, chance.uniform(0.002, 0.015), hours // 24 + 1), 24)[:hours]
    log_level = log_level + np.cumsum(steps) * wander / 24
    if chance.random() < 0.12:
        middle = chance.uniform(first + 5 * 24, hours)
        length = chance.uniform(3, 14) * 24
        log_level += np.log(chance.uniform(1.2, 1.7)) / (1 + np.exp(-(at - middle) / (length / 6)))
    return np.asarray(np.exp(log_level))


def _unit_wander(chance: np.random.Generator, hours: int) -> Hours:
    """Cost per request: longer and shorter prompts by hour, and a slow change of habits."""
    days = np.cumsum(chance.normal(0, chance.uniform(0.001, 0.01), hours // 24 + 1))
    fast = chance.normal(0, chance.uniform(0.01, 0.06), hours)
    return np.asarray(np.exp(np.repeat(days, 24)[:hours] + fast))


def _place_events(
    chance: np.random.Generator, world: World, rate: Hours, first: int
) -> list[SpendEvent]:
    hours = len(rate)
    events: list[SpendEvent] = []
    for _ in range(min(int(chance.poisson(EVENTS_PER_SERIES)), MAX_EVENTS)):
        for _ in range(20):
            event = _draw_event(chance, world, rate, first + WARM_UP_DAYS * 24)
            calm = CALM_DAYS * 24
            if event.end <= hours and all(
                event.start >= e.end + calm or e.start >= event.end + calm for e in events
            ):
                events.append(event)
                break
    return sorted(events, key=lambda event: event.start)


def _draw_event(
    chance: np.random.Generator, world: World, rate: Hours, earliest: int
) -> SpendEvent:
    hours = len(rate)
    kinds = list(EVENT_SHARES)
    kind = kinds[chance.choice(len(kinds), p=list(EVENT_SHARES.values()))]
    start = int(chance.integers(min(earliest, hours - 2), hours - 1))
    if kind == "spike":
        return SpendEvent(kind, start, start + int(chance.integers(1, 7)), _log(chance, 2, 12))
    if kind == "outage":
        start = _busy_hour(chance, rate, earliest)
        return SpendEvent(
            kind,
            start,
            start + int(chance.integers(*DIFFICULTY[world].outage_hours)),
            float(chance.choice([0, 0, 0.1, 0.3])),
        )
    if kind == "shift":
        size = _log(chance, *DIFFICULTY[world].shift_sizes)
        # Some last; the others go back to where they came from.
        end = hours if chance.random() < 0.35 else start + int(chance.integers(4 * 24, 25 * 24))
        return SpendEvent(
            kind, start, min(end, hours), size if chance.random() < 0.65 else 1 / size
        )
    if kind == "drift":
        length = int(chance.integers(10 * 24, 28 * 24))
        return SpendEvent(kind, start, start + length, _log(chance, 1.6, 3.5))
    start = _busy_hour(chance, rate, earliest)
    return SpendEvent(kind, start, start + int(chance.integers(4, 73)), _log(chance, 1.4, 5))


def _busy_hour(chance: np.random.Generator, rate: Hours, earliest: int) -> int:
    """An hour in which something runs: what stops at night stops unseen."""
    earliest = min(earliest, len(rate) - 2)
    weights = rate[earliest:-1] + 0.1 * rate.mean()
    return earliest + int(chance.choice(len(weights), p=weights / weights.sum()))


def _log(chance: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(chance.uniform(np.log(low), np.log(high))))


def _effects(
    chance: np.random.Generator, events: list[SpendEvent], rate: Hours
) -> tuple[Hours, Hours, Hours]:
    """Factors on requests and on cost per request, and requests on top."""
    hours = len(rate)
    factor, unit_factor, extra = np.ones(hours), np.ones(hours), np.zeros(hours)
    for event in events:
        span = slice(event.start, event.end)
        if event.kind == "spike":
            # Half are in proportion to what runs, half are a loop of their own pace.
            usual = max(rate[max(event.start - 672, 0) : event.start].mean(), 0.5)
            ours = rate[span] if chance.random() < 0.5 else np.full(event.end - event.start, usual)
            extra[span] += (event.factor - 1) * np.maximum(ours, 0.7 * usual)
        elif event.kind == "storm":
            unit_factor[span] *= event.factor
        elif event.kind == "drift":
            ramp = np.linspace(0, 1, event.end - event.start)
            factor[span] *= event.factor**ramp
            if chance.random() < 0.6:
                factor[event.end :] *= event.factor
        else:
            factor[span] *= event.factor
    return factor, unit_factor, extra


def _noise(chance: np.random.Generator, world: World, hours: int, shape: SeriesKind) -> Hours:
    """A factor around 1 on the requests of each hour."""
    size = chance.uniform(0.04, 0.2) * (2.0 if shape in ("sparse", "quiet") else 1.0)
    if world == "smooth":
        kept = chance.uniform(0.3, 0.9)
        return np.exp(size * _ar1(chance.normal(size=hours), kept))
    if world == "bursty":
        log_noise = 0.6 * size * chance.standard_t(3.5, hours)
        days = chance.normal(0, chance.uniform(0.02, 0.1), hours // 24 + 1)
        log_noise += np.repeat(days, 24)[:hours]
        bursts = chance.random(hours) < 0.002
        log_noise[bursts] += chance.uniform(0.2, 0.6, bursts.sum())
        return np.asarray(np.exp(np.clip(log_noise, -2.5, 1.2)))
    if world == REFERENCE:
        log_noise = 0.7 * size * _ar1(chance.normal(size=hours), chance.uniform(0.1, 0.6))
        days = np.repeat(chance.normal(0, chance.uniform(0.02, 0.06), hours // 24 + 1), 24)
        return np.asarray(np.exp(log_noise + days[:hours]))
    shape_of_gamma = 1 / size**2
    return chance.gamma(shape_of_gamma, 1 / shape_of_gamma, hours) * np.exp(
        chance.uniform(0.02, 0.08) * _ar1(chance.normal(size=hours), 0.95)
    )


def _ar1(shocks: Hours, kept: float) -> Hours:
    """An AR(1) series of standard deviation 1 from standard normal shocks."""
    values = np.empty_like(shocks)
    value, scale = 0.0, (1 - kept**2) ** 0.5
    for n, shock in enumerate(shocks):
        value = kept * value + scale * shock
        values[n] = value
    return values


def _requests(chance: np.random.Generator, world: World, shape: SeriesKind, rate: Hours) -> Hours:
    if world == "smooth" and shape != "sparse":
        return np.round(rate + chance.normal(size=len(rate)) * np.sqrt(rate)).clip(0)
    return chance.poisson(np.minimum(rate, 1e9)).astype(float)


def _spend(chance: np.random.Generator, world: World, requests: Hours, unit_cost: Hours) -> Hours:
    """Requests times the mean of that many heavy-tailed costs (the mean narrows with the count)."""
    tail = DIFFICULTY[world].cost_tail
    spread = np.sqrt(np.log1p((np.exp(tail**2) - 1) / np.maximum(requests, 1)))
    mean_of_costs = np.exp(spread * chance.normal(size=len(requests)) - spread**2 / 2)
    return np.asarray(requests * unit_cost * mean_of_costs)


def _absent(chance: np.random.Generator, hours: int, first: int) -> NDArray[np.bool_]:
    """Hours without a row: before the first, now and then one, and a few failures of reporting."""
    gone = chance.random(hours) < chance.uniform(0, 0.01)
    for _ in range(int(chance.poisson(0.5))):
        begins = int(chance.integers(hours))
        gone[begins : begins + int(chance.integers(2, 31))] = True
    gone[:first] = True
    return gone
