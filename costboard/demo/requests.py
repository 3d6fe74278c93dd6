"""What one request of a flow looks like: tokens, cache, latency, outcome, value. Pure."""

from dataclasses import dataclass
from functools import lru_cache
from math import exp
from random import Random
from statistics import NormalDist

from costboard.demo.company import (
    BACKENDS,
    CUSTOMERS,
    LLAMA,
    REQUEST_PRICE_USD,
    TASKS,
    Backend,
    Flow,
    Task,
)
from costboard.demo.wire import Event, Usage

SOURCE = "demo"
TABLE_SIZE = 1024
# Providers cache nothing shorter.
MIN_CACHED_TOKENS = 1024
LONG_CACHE_SHARE = 0.12
USERS_PER_DEPARTMENT = 40
REVIEWED_SHARE = 0.10
FALLBACK_SHARE = 0.30
LAST_MILLISECOND = 3_599_999
# Of eight H100-hours at a typical batch: what one token takes at the wall, in watt-hours.
WH_PER_INPUT_TOKEN, WH_PER_OUTPUT_TOKEN = 0.00008, 0.0011
FAILURES = ("429", "429", "429", "500", "timeout")
BACKEND_BY_MODEL = {backend.model: backend for backend in BACKENDS}
TASK_BY_NAME = {task.name: task for task in TASKS}
PRICE_BY_CUSTOMER = {c.external_id: REQUEST_PRICE_USD[c.tier] for c in CUSTOMERS}
MINUTES_AND_SECONDS = [f"{second // 60:02d}:{second % 60:02d}" for second in range(3600)]


@dataclass(frozen=True, slots=True)
class Mood:
    """How requests of the moment differ from typical ones."""

    tokens_factor: float = 1.0
    output_factor: float = 1.0
    cache_works: bool = True


USUAL = Mood()


@dataclass(frozen=True, slots=True)
class Moment:
    """When an attempt happens: milliseconds into an hour written like "2026-11-23T11:"."""

    hour_prefix: str
    offset_ms: int

    @property
    def timestamp(self) -> str:
        seconds, milliseconds = divmod(self.offset_ms, 1000)
        return f"{self.hour_prefix}{MINUTES_AND_SECONDS[seconds]}.{milliseconds:03d}Z"

    def later(self, delay_ms: int) -> "Moment":
        return Moment(self.hour_prefix, min(self.offset_ms + delay_ms, LAST_MILLISECOND))


@lru_cache
def log_normal_table(sigma: float) -> tuple[float, ...]:
    """Quantiles of a log-normal of median 1: one look-up draws from it."""
    normal = NormalDist(0.0, sigma)
    return tuple(exp(normal.inv_cdf((i + 0.5) / TABLE_SIZE)) for i in range(TABLE_SIZE))


class Recipe:
    """Makes the requests of one flow to one backend."""

    def __init__(self, flow: Flow, backend: Backend) -> None:
        self.flow = flow
        self.backend = backend
        self.task: Task = TASK_BY_NAME[flow.task]
        self.sizes = log_normal_table(self.task.spread)
        self.outputs = log_normal_table(0.6)
        self.output_tokens = self.task.output_tokens * (1 + backend.reasoning_share)
        self.quality = backend.quality - self.task.difficulty * (1 - backend.quality) * 0.8
        self.is_local = backend.provider == "local"
        self.environment = "staging" if flow.project == "eval-lab" else "production"
        self.users = [
            f"{flow.department}-{number:02d}@lindwerk.example"
            for number in range(1, USERS_PER_DEPARTMENT + 1)
        ]

    def attempt(
        self, rng: Random, event_id: str, moment: Moment, customer: str | None, mood: Mood
    ) -> Event:
        """One answered request."""
        random = rng.random
        size = self.sizes[int(random() * TABLE_SIZE)] * mood.tokens_factor
        outputs = self.outputs[int(random() * TABLE_SIZE)] * mood.tokens_factor
        backend = self.backend
        usage = Usage(
            min(backend.max_input_tokens, int(self.task.input_tokens * size) + 12),
            min(
                backend.max_output_tokens,
                int(self.output_tokens * outputs * mood.output_factor) + 4,
            ),
        )
        if backend.cache != "none":
            self._fill_cache(rng, usage, mood)
        if backend.reasoning_share:
            usage.reasoning_tokens = int(
                usage.output_tokens * backend.reasoning_share * (0.6 + 0.7 * random())
            )
        first_token_ms = int(backend.first_token_ms * (0.75 + 0.7 * random()))
        event = self._event(event_id, moment, customer, usage)
        event.latency_ms = first_token_ms + int(
            usage.output_tokens * backend.ms_per_output_token * (0.8 + 0.4 * random())
        )
        if self.task.streams:
            event.time_to_first_token_ms = first_token_ms
        if self.is_local:
            event.energy_wh = self._energy_wh(usage)
        if not self.flow.for_customers:
            event.user = self.users[int(random() * random() * USERS_PER_DEPARTMENT)]
        if random() < REVIEWED_SHARE:
            event.quality_score = round(min(1.0, self.quality + 0.12 * (random() - 0.5)), 3)
        if customer is not None:
            self._fill_value(rng, event, customer)
        return event

    def failure(self, rng: Random, event_id: str, moment: Moment, customer: str | None) -> Event:
        """One attempt that used nothing: refused for its rate, broken, or timed out."""
        event = self._event(event_id, moment, customer, Usage(0, 0))
        event.status = FAILURES[int(rng.random() * len(FAILURES))]
        event.latency_ms = 30_000 if event.status == "timeout" else 40 + int(rng.random() * 300)
        return event

    def _event(self, event_id: str, moment: Moment, customer: str | None, usage: Usage) -> Event:
        flow = self.flow
        return Event(
            id=event_id,
            timestamp=moment.timestamp,
            source=SOURCE,
            provider=self.backend.provider,
            model=self.backend.model,
            usage=usage,
            customer=customer,
            department=flow.department,
            project=flow.project,
            environment=self.environment,
            task=flow.task,
        )

    def _fill_cache(self, rng: Random, usage: Usage, mood: Mood) -> None:
        prefix = int(usage.input_tokens * self.task.prefix_share * (0.8 + 0.4 * rng.random()))
        if prefix < MIN_CACHED_TOKENS * mood.tokens_factor:
            return
        if mood.cache_works and rng.random() < self.task.warm_share:
            usage.cache_read_tokens = prefix
        elif self.backend.cache == "write":
            usage.cache_write_tokens = prefix
            if rng.random() < LONG_CACHE_SHARE:
                usage.cache_write_1h_tokens = prefix

    def _fill_value(self, rng: Random, event: Event, customer: str) -> None:
        """What the answer earned: a price per request, and a sale now and then."""
        price_usd = PRICE_BY_CUSTOMER[customer]
        if price_usd and self.flow.task != "extract":
            event.revenue = f"{price_usd:.2f}"
        if self.flow.task == "chat" and rng.random() < 0.3:
            event.converted = rng.random() < 0.02 + 0.08 * self.quality
            if event.converted:
                event.revenue = f"{price_usd + 1.5 + 9 * rng.random():.2f}"

    @staticmethod
    def _energy_wh(usage: Usage) -> str:
        watt_hours = (
            usage.input_tokens * WH_PER_INPUT_TOKEN + usage.output_tokens * WH_PER_OUTPUT_TOKEN
        )
        return f"{watt_hours:.3f}"


@lru_cache(maxsize=1024)
def recipe_for(flow: Flow, model: str) -> Recipe:
    return Recipe(flow, BACKEND_BY_MODEL[model])


def retry_of(
    rng: Random, recipe: Recipe, *, failed: Event, event_id: str, moment: Moment, mood: Mood
) -> Event:
    """The attempt after a failure: the same backend, or local hardware as the way out."""
    falls_back = rng.random() < FALLBACK_SHARE and not recipe.is_local
    chosen = recipe_for(recipe.flow, LLAMA) if falls_back else recipe
    wait_ms = (failed.latency_ms or 0) + 400 + int(rng.random() * 2600)
    event = chosen.attempt(rng, event_id, moment.later(wait_ms), failed.customer, mood)
    event.tags = {"retry_of": failed.id}
    if falls_back:
        event.requested_model = failed.model
    return event
