"""The part of the live stream that asks first: a decision with a reservation, then the request
where it was sent, and the event that names the decision."""

from zlib import crc32

import msgspec

from costboard.demo.company import BACKENDS
from costboard.demo.requests import BACKEND_BY_MODEL, TASK_BY_NAME
from costboard.demo.traffic import LIVE_MOOD
from costboard.demo.web import Web
from costboard.demo.wire import Event, Usage

DECISIONS_PATH = "/api/v1/routing/decisions"
JSON = "application/json"
# One in so many asks.
ASKS = 4
# What a router allows an answer, over what it takes to be likely.
ROOM_FOR_ANSWERS = 4
NO_BUDGET = 402
CANDIDATES = [f"{backend.provider}/{backend.model}" for backend in BACKENDS]


class Ask(msgspec.Struct, omit_defaults=True, kw_only=True):
    """POST /api/v1/routing/decisions. Tiers are the customers' own."""

    request_id: str
    input_tokens: int
    output_tokens: int
    max_output_tokens: int
    candidates: list[str]
    reserve: bool
    department: str | None = None
    customer: str | None = None
    project: str | None = None
    task: str | None = None


class Answer(msgspec.Struct):
    """What of a decision the router needs."""

    decision_id: str
    backend: str
    policy_version: str | None = None


class Asker:
    """Asks for the requests of one web server's routers; without an answer a request goes where it
    would have gone, and with a refusal nowhere."""

    def __init__(self, web: Web) -> None:
        self.web = web

    def decided(self, events: list[Event], api_key: str) -> list[Event]:
        """The events to send: those that asked, where they were sent."""
        sent = [self._decided(one, api_key) if asks(one) else one for one in events]
        return [event for event in sent if event is not None]

    def _decided(self, event: Event, api_key: str) -> Event | None:
        status, body = self.web.post(
            DECISIONS_PATH, msgspec.json.encode(ask_of(event)), JSON, api_key
        )
        if status == NO_BUDGET:
            return None
        if status != 200:
            return event
        answer = msgspec.json.decode(body, type=Answer)
        return moved(event, answer)


def asks(event: Event) -> bool:
    """A fixed part of the answered first attempts, of backends that have a price."""
    is_first = event.status is None and event.tags is None
    return is_first and event.model in BACKEND_BY_MODEL and crc32(event.id.encode()) % ASKS == 0


def ask_of(event: Event) -> Ask:
    """What a router knows beforehand: the prompt's size, and how long such answers are."""
    likely = 600
    if event.task in TASK_BY_NAME:
        likely = TASK_BY_NAME[event.task].output_tokens
    likely = max(1, round(likely * LIVE_MOOD.tokens_factor))
    return Ask(
        request_id=event.id,
        input_tokens=event.usage.input_tokens,
        output_tokens=likely,
        max_output_tokens=ROOM_FOR_ANSWERS * likely,
        candidates=CANDIDATES,
        reserve=True,
        department=event.department,
        customer=event.customer,
        project=event.project,
        task=event.task,
    )


def moved(event: Event, answer: Answer) -> Event:
    """The same request on the backend that was decided on, as that one works."""
    provider, _, model = answer.backend.partition("/")
    moved_event = msgspec.structs.replace(
        event,
        provider=provider,
        model=model,
        usage=_usage_on(event.usage, model),
        decision_id=answer.decision_id,
        policy_version=answer.policy_version,
        energy_wh=event.energy_wh if provider == "local" else None,
    )
    if event.quality_score is not None and event.model != model:
        better = _quality(model, event.task) - _quality(event.model, event.task)
        moved_event.quality_score = round(min(1.0, max(0.0, event.quality_score + better)), 3)
    return moved_event


def _usage_on(usage: Usage, model: str) -> Usage:
    cache = BACKEND_BY_MODEL[model].cache if model in BACKEND_BY_MODEL else "none"
    if cache == "write":
        return usage
    read = usage.cache_read_tokens if cache == "read" else 0
    return msgspec.structs.replace(
        usage, cache_read_tokens=read, cache_write_tokens=0, cache_write_1h_tokens=0
    )


def _quality(model: str, task: str | None) -> float:
    if model not in BACKEND_BY_MODEL or task not in TASK_BY_NAME:
        return 0.0
    quality = BACKEND_BY_MODEL[model].quality
    return quality - TASK_BY_NAME[task].difficulty * (1 - quality) * 0.8
