"""The demo's traffic: a function from time to usage events, the same for the same seed. Pure.

Every hour of the calendar is generated on its own, from the seed and its number. History, the
gap while the demo was off, and the live stream are therefore windows on one traffic, and a load
that was killed resumes anywhere.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from math import exp, sqrt
from random import Random
from zoneinfo import ZoneInfo

from costboard.demo import company
from costboard.demo.company import CUSTOMERS, DEPARTMENTS, FLOWS, GPT, LAUNCH_CUSTOMERS, SONNET
from costboard.demo.requests import USUAL, Moment, Mood, Recipe, recipe_for, retry_of
from costboard.demo.season import HOUR_OF_WEEK, growth_factor, holiday_factor
from costboard.demo.wire import Event

ZONE = ZoneInfo(company.TENANT_TIME_ZONE)
HOUR = timedelta(hours=1)
SECONDS_PER_HOUR = 3600
DEFAULT_DAYS, DEFAULT_EVENTS, DEFAULT_SEED = 90, 510_000, 5
UNATTRIBUTED_SHARE = 0.03
LIVE_EVENTS_PER_SECOND = 2.5
# Live requests are many and small, so that a demo left open does not spend a month in a day.
LIVE_MOOD = Mood(tokens_factor=0.04)
LAUNCH_LIFT_DAYS = 1.5
RUNAWAY_SHARE_OF_TRAFFIC = 0.55
RUNAWAY_MOOD = Mood(output_factor=9.0)
STORM_MOOD = Mood(cache_works=False)
UNPRICED_PER_HOUR = 0.12
# Local hardware is full in office hours and has room at night: then it takes more.
LOCAL_FACTOR_BUSY, LOCAL_FACTOR_QUIET = 0.85, 1.45
_SEASON_OF = {department.code: department.season for department in DEPARTMENTS}
_TOTAL_SHARE = sum(flow.share for flow in FLOWS)
ByRouter = dict[str, list[Event]]


@dataclass(frozen=True, slots=True)
class TrafficSpec:
    """What fixes the traffic for good: the history ends at `reference`, `days` long."""

    reference: datetime
    days: int = DEFAULT_DAYS
    events: int = DEFAULT_EVENTS
    seed: int = DEFAULT_SEED

    @property
    def end_hour(self) -> int:
        return hour_of(self.reference)

    @property
    def start_hour(self) -> int:
        return self.end_hour - self.days * 24

    @property
    def start(self) -> datetime:
        return start_of(self.start_hour)


@dataclass(frozen=True, slots=True)
class Episodes:
    """The planted events, in hours since 1970. Short histories have them closer together."""

    launch: int
    runaway: range
    storm: range
    unpriced_since: int


def hour_of(moment: datetime) -> int:
    return int(moment.timestamp()) // SECONDS_PER_HOUR


def start_of(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * SECONDS_PER_HOUR, UTC)


def as_timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as events carry it."""
    return (
        moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    )


def plan_episodes(spec: TrafficSpec) -> Episodes:
    """Launch 30 days, runaway loop 12 days, cache-miss storm 5 days before the reference."""
    window = spec.days * 24
    runaway = spec.end_hour - min(12 * 24 + 7, window * 2 // 5)
    storm = spec.end_hour - min(5 * 24, window // 4)
    return Episodes(
        launch=spec.end_hour - min(30 * 24, window // 3),
        runaway=range(runaway, runaway + min(6, max(2, window // 20))),
        storm=range(storm, storm + min(30, max(3, window // 10))),
        unpriced_since=spec.end_hour - min(10 * 24, window // 2),
    )


class Mix:
    """How a flow's requests spread over models and customers, ready to draw from."""

    def __init__(self, flow: company.Flow) -> None:
        self.recipes = [recipe_for(flow, model) for model, _ in flow.backends]
        self.busy = self._cumulative(flow, LOCAL_FACTOR_BUSY)
        self.quiet = self._cumulative(flow, LOCAL_FACTOR_QUIET)
        chosen = [c for c in CUSTOMERS if not flow.launched or c.external_id in LAUNCH_CUSTOMERS]
        self.customers: list[str | None] = [None]
        self.customer_weights = [1.0]
        if flow.for_customers:
            total = sum(c.weight for c in chosen)
            shares = [c.weight / total * (1 - UNATTRIBUTED_SHARE) for c in chosen]
            self.customers += [c.external_id for c in chosen]
            self.customer_weights = list(itertools.accumulate([UNATTRIBUTED_SHARE, *shares]))

    def _cumulative(self, flow: company.Flow, local_factor: float) -> list[float]:
        weights = [
            share * (local_factor if recipe.is_local else 1.0)
            for recipe, (_, share) in zip(self.recipes, flow.backends, strict=True)
        ]
        return list(itertools.accumulate(weights))


_MIXES = [Mix(flow) for flow in FLOWS]
_RUNAWAY_FLOW = next(f for f in FLOWS if f.department == "support" and f.task == "agent")
_UNPRICED_FLOW = next(f for f in FLOWS if f.department == "research" and f.task == "agent")


class Traffic:
    """Usage events of the invented company, hour by hour."""

    def __init__(self, spec: TrafficSpec) -> None:
        self.spec = spec
        self.episodes = plan_episodes(spec)

    @cached_property
    def events_per_weight(self) -> float:
        """Scales weights so that the history holds `spec.events`."""
        spec = self.spec
        full = sum(sum(self.weights(hour)) for hour in range(spec.start_hour, spec.end_hour))
        last = (spec.reference - start_of(spec.end_hour)) / HOUR * sum(self.weights(spec.end_hour))
        return spec.events / (full + last)

    def weights(self, hour: int) -> list[float]:
        """The relative volume of each flow in this hour: season, holidays, growth, launch."""
        local = start_of(hour).astimezone(ZONE)
        hour_of_week = local.weekday() * 24 + local.hour
        growth = growth_factor((hour - self.spec.start_hour) / 24)
        mood_of_day = self._random(str(local.date()))
        by_department = {
            d.code: HOUR_OF_WEEK[d.season][hour_of_week]
            * holiday_factor(d.season, local.date())
            * growth
            * exp(mood_of_day.gauss(0, 0.07))
            for d in DEPARTMENTS
        }
        since_launch_days = (hour - self.episodes.launch) / 24
        lift = 1 - exp(-max(0.0, since_launch_days) / LAUNCH_LIFT_DAYS)
        return [
            flow.share
            / _TOTAL_SHARE
            * by_department[flow.department]
            * (lift if flow.launched else 1.0)
            for flow in FLOWS
        ]

    def hour(self, hour: int) -> ByRouter:
        """Everything that happened in this hour, by router, in order of time."""
        rng = self._random(str(hour))
        writer = _HourWriter(rng, "demo", hour)
        means = [weight * self.events_per_weight for weight in self.weights(hour)]
        self._write_flows(writer, hour, means, USUAL)
        if hour in self.episodes.runaway:
            mean = self.spec.events / (self.spec.days * 24) * RUNAWAY_SHARE_OF_TRAFFIC
            recipe = recipe_for(_RUNAWAY_FLOW, GPT)
            for _ in range(draw_count(rng, mean)):
                writer.request(recipe, company.RUNAWAY_CUSTOMER, RUNAWAY_MOOD)
        if hour >= self.episodes.unpriced_since and rng.random() < UNPRICED_PER_HOUR:
            writer.unpriced_request()
        return writer.finished()

    def live_hour(self, hour: int) -> ByRouter:
        """The same traffic as a few small requests a second, for the live stream."""
        writer = _HourWriter(self._random(f"{hour}:live"), "live", hour)
        weights = self.weights(hour)
        scale = LIVE_EVENTS_PER_SECOND * SECONDS_PER_HOUR / sum(weights)
        self._write_flows(writer, hour, [weight * scale for weight in weights], LIVE_MOOD)
        return writer.finished()

    def between(self, start: datetime, end: datetime) -> Iterator[tuple[int, ByRouter]]:
        """History in [start, end): (hour, events by router)."""
        first, last = as_timestamp(start), as_timestamp(end)
        for hour in range(hour_of(start), hour_of(end) + 1):
            events = self.hour(hour)
            if hour in (hour_of(start), hour_of(end)):
                events = {
                    router: [e for e in rows if first <= e.timestamp < last]
                    for router, rows in events.items()
                }
            yield hour, events

    def _random(self, what: str) -> Random:
        return Random(f"{self.spec.seed}:{what}")  # noqa: S311 - invented data, no secrets

    def _write_flows(
        self, writer: "_HourWriter", hour: int, means: list[float], usual: Mood
    ) -> None:
        local = start_of(hour).astimezone(ZONE)
        is_busy = local.weekday() < 5 and 9 <= local.hour < 18
        in_storm = hour in self.episodes.storm
        rng = writer.rng
        for mix, mean in zip(_MIXES, means, strict=True):
            count = draw_count(rng, mean * exp(rng.gauss(0, 0.08)))
            if not count:
                continue
            backend_weights = mix.busy if is_busy else mix.quiet
            recipes = rng.choices(mix.recipes, cum_weights=backend_weights, k=count)
            customers = rng.choices(mix.customers, cum_weights=mix.customer_weights, k=count)
            for recipe, customer in zip(recipes, customers, strict=True):
                storms = in_storm and recipe.backend.model == SONNET and recipe.flow.task == "rag"
                writer.request(recipe, customer, STORM_MOOD if storms else usual)


class _HourWriter:
    """Collects one hour's events and gives them their ids and times."""

    def __init__(self, rng: Random, prefix: str, hour: int) -> None:
        self.rng = rng
        self.hour_prefix = start_of(hour).strftime("%Y-%m-%dT%H:")
        self.id_prefix = f"{prefix}-{hour}-"
        self.numbers = itertools.count()
        self.by_router: ByRouter = {router: [] for router in company.ROUTERS}

    def request(self, recipe: Recipe, customer: str | None, mood: Mood) -> None:
        """One request: an answer, or a failure and then an answer."""
        rng = self.rng
        rows = self.by_router[recipe.flow.router]
        moment = Moment(self.hour_prefix, int(rng.random() * 3_600_000))
        if rng.random() < recipe.backend.failure_share:
            failed = recipe.failure(rng, self._next_id(), moment, customer)
            rows.append(failed)
            rows.append(self._retry(recipe, failed, moment, mood))
        else:
            rows.append(recipe.attempt(rng, self._next_id(), moment, customer, mood))

    def _retry(self, recipe: Recipe, failed: Event, moment: Moment, mood: Mood) -> Event:
        return retry_of(
            self.rng, recipe, failed=failed, event_id=self._next_id(), moment=moment, mood=mood
        )

    def unpriced_request(self) -> None:
        """A model of a team's own, which no price list knows."""
        recipe = recipe_for(_UNPRICED_FLOW, company.QWEN)
        moment = Moment(self.hour_prefix, int(self.rng.random() * 3_600_000))
        event = recipe.attempt(self.rng, self._next_id(), moment, None, USUAL)
        event.model = company.UNPRICED_MODEL
        self.by_router[recipe.flow.router].append(event)

    def finished(self) -> ByRouter:
        for rows in self.by_router.values():
            rows.sort(key=_timestamp_of)
        return self.by_router

    def _next_id(self) -> str:
        return f"{self.id_prefix}{next(self.numbers)}"


def draw_count(rng: Random, mean: float) -> int:
    """A Poisson number; by its normal approximation where that is indistinguishable."""
    if mean > 25:
        return max(0, round(rng.gauss(mean, sqrt(mean))))
    limit, product, count = exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def _timestamp_of(event: Event) -> str:
    return event.timestamp
