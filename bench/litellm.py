"""LiteLLM's 12 KB events: bytes of body a second through everything, and through the parser alone.

The parser is msgspec's, reading the same bytes into the same structure: what ingest would take if
all that follows cost nothing.
"""

import random
from collections.abc import Iterator
from statistics import median
from typing import Any, Final

import msgspec

from bench import installation
from bench.events import as_json
from bench.load import Plan, request, send
from bench.results import Result, best_per_second

GOAL_MB_PER_SECOND: Final = 60
MB: Final = 1_000_000
EVENTS: Final = 100
BODIES: Final = 60
CONNECTIONS: Final = 4
TURNS: Final = 3
PROMPT: Final = "Summarise the ticket, name the customer's wish and propose an answer. " * 30


def run() -> Iterator[Result]:
    from apps.usage.adapters.litellm import LiteLLMCall

    with installation.running() as here:
        _post(here, 0)
        rates, shares = [], []
        for turn in range(1, TURNS + 1):
            bodies = _bodies(turn)
            report = _post(here, turn)
            rates.append(sum(map(len, bodies)) / report.seconds / MB)
            shares.append(report.cpu_share)
    decode = msgspec.json.Decoder(list[LiteLLMCall]).decode
    size = len(bodies[0])

    def parse() -> int:
        for body in bodies:
            decode(body)
        return sum(map(len, bodies))

    yield Result("LiteLLM's events", max(rates), "MB/s of body", GOAL_MB_PER_SECOND)
    yield Result("  as events", max(rates) * MB / (size / EVENTS), "events/s")
    yield Result("  the JSON parser alone", best_per_second(parse) / MB, "MB/s of body")
    yield Result("  size of an event", size / EVENTS, "bytes")
    yield Result("  load generator", median(shares) * 100, "% of a core", digits=1)


def _post(here: installation.Installation, seed: int) -> Any:
    requests = [
        request("/api/v1/usage/litellm", body, secret=here.secret) for body in _bodies(seed)
    ]
    return send(Plan(here.port, requests, CONNECTIONS)).require(200)


def _bodies(seed: int) -> list[bytes]:
    chance = random.Random(seed)  # noqa: S311 - the same mix each time
    return [as_json([_payload(chance) for _ in range(EVENTS)]) for _ in range(BODIES)]


def _payload(chance: random.Random) -> dict[str, Any]:
    """A StandardLoggingPayload: what is read of it, and as much around it as LiteLLM sends."""
    call_id = f"{chance.getrandbits(128):032x}"
    prompt_tokens, completion_tokens = chance.randrange(1, 9000), chance.randrange(1, 900)
    started_at = installation.STARTED_AT + chance.random()
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": prompt_tokens // 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": completion_tokens // 4},
    }
    return {
        "id": f"chatcmpl-{call_id}",
        "litellm_call_id": call_id,
        "call_type": "acompletion",
        "cache_hit": False,
        "stream": True,
        "status": "success",
        "custom_llm_provider": "openai",
        "startTime": started_at,
        "endTime": started_at + 2.1,
        "completionStartTime": started_at + 0.7,
        "response_time": 2.1,
        "model": "gpt-4o-mini",
        "metadata": {f"user_api_key_{name}": None for name in _UNSET}
        | {
            "user_api_key_team_alias": chance.choice(("Payments", "Search", "Support")),
            "user_api_key_user_id": f"u-{chance.randrange(50)}",
            "user_api_key_end_user_id": f"cust-{chance.randrange(20)}",
            "spend_logs_metadata": {"cost_center": "CC-100"},
            "usage_object": usage,
        },
        "response_cost": 0.000225,
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "request_tags": ["prod", "checkout"],
        "end_user": f"cust-{chance.randrange(20)}",
        "model_group": "fast",
        "model_parameters": {"temperature": 0.2, "stream": True, "max_tokens": 900},
        "messages": [{"role": "system", "content": PROMPT}, {"role": "user", "content": PROMPT}],
        "response": {
            "id": f"chatcmpl-{call_id}",
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": PROMPT}}],
            "usage": usage,
        },
        "hidden_params": {"api_base": "https://api.openai.com", "additional_headers": {}},
        "model_map_information": {
            "model_map_key": "gpt-4o-mini",
            "model_map_value": {f"{name}_cost_per_token": None for name in _UNSET}
            | {f"supports_{name}": True for name in _UNSET},
        },
    }


_UNSET: Final = (
    "hash", "alias", "spend", "max_budget", "budget_reset_at", "team_id", "org_id", "org_alias",
    "project_id", "project_alias", "user_email", "request_route", "auth_metadata", "user_spend",
    "team_spend", "tpm_limit", "rpm_limit", "region", "input_audio", "output_audio", "input_image",
    "cache_read", "cache_creation", "batches", "priority", "flex", "above_128k", "above_200k",
)  # fmt: skip
