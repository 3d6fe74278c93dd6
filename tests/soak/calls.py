"""The calls that the soak reports: each follows from its number, and so does what it must cost.

Nothing of the application is imported: bodies are as clients write them, and the price is worked
out here, from the makers' published prices.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from tests.usage.adapters.bodies import json_body, protobuf_body, span

# 1e-12 USD a token: uncached, cache read, cache write for 5 min and for 1 h, output. A price list's
# "0.15 USD per million tokens" is 150,000 of these.
PRICES: dict[tuple[str, str], tuple[int, int, int, int, int] | None] = {
    ("openai", "gpt-4o-mini"): (150_000, 75_000, 0, 0, 600_000),
    ("openai", "gpt-4.1-mini"): (400_000, 100_000, 0, 0, 1_600_000),
    ("openai", "gpt-4o"): (2_500_000, 1_250_000, 0, 0, 10_000_000),
    ("anthropic", "claude-haiku-4-5"): (1_000_000, 100_000, 1_250_000, 2_000_000, 5_000_000),
    # Nobody's: its cost is unknown, which is not zero.
    ("nowhere", "none-such"): None,
}
MODELS = tuple(PRICES)
# Gateways report calls of OpenAI's models here, whose cache writes cost nothing of their own.
GATEWAY_MODELS = MODELS[:3]
NATIVE, LITELLM, OTLP = "soak", "litellm", "otlp"
LITELLM_CALL_ID = "litellm.call_id"

encode = msgspec.json.Encoder().encode


class Row(NamedTuple):
    """A call as the ledger must hold it; `cost` in 1e-12 USD, None when no price is known."""

    occurred_at: datetime
    uncached: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int
    cost: int | None


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls by number, from 0; `per_second` spaces their times from `start` on."""

    seed: int
    start: datetime
    per_second: int

    def row(self, number: int, source: str) -> Row:
        model, tokens, occurred_at, _ = self._facts(number, source)
        prices = PRICES[model]
        cost = None
        if prices is not None:
            cost = sum(count * price for count, price in zip(tokens, prices, strict=True))
        return Row(occurred_at, *tokens, cost)

    def number_of(self, source: str, event_id: str) -> int:
        """The number of the call with this identity. Raises ValueError when we sent none such."""
        is_span = source == OTLP
        number = int(event_id[16:32], 16) if is_span else int(event_id.rpartition("-")[2])
        if event_id != (self._span_ids(number) if is_span else self._id(number)):
            raise ValueError(event_id)
        return number

    def native(self, numbers: Sequence[int], *, as_lines: bool) -> bytes:
        """An array, one a line, or one object alone."""
        rows = [encode(self._native(number)) for number in numbers]
        return b"\n".join(rows) if as_lines or len(rows) == 1 else b"[" + b",".join(rows) + b"]"

    def litellm(self, numbers: Sequence[int]) -> bytes:
        return encode([self._litellm(number) for number in numbers])

    def otlp(self, numbers: Sequence[int], *, as_json: bool, source: str = OTLP) -> bytes:
        """Spans; with source LITELLM, of calls that LiteLLM's callback reports as well."""
        write = json_body if as_json else protobuf_body
        return write(*(self._span(number, source) for number in numbers))

    def _facts(
        self, number: int, source: str
    ) -> tuple[tuple[str, str], tuple[int, int, int, int, int], datetime, int]:
        """Model, tokens by bucket, time, and bits for what remains to be chosen."""
        digest = hashlib.blake2b(
            number.to_bytes(8), key=self.seed.to_bytes(8), digest_size=24
        ).digest()
        bits = int.from_bytes(digest)
        models = MODELS if source == NATIVE else GATEWAY_MODELS
        bits, n = divmod(bits, len(models))
        model = models[n]
        bits, uncached = divmod(bits, 4000)
        bits, cached = divmod(bits, 3)
        bits, cache_read = divmod(bits, 6000)
        bits, writes = divmod(bits, 900)
        bits, writes_1h = divmod(bits, 300)
        bits, output = divmod(bits, 1200)
        is_anthropic = model[0] == "anthropic"
        tokens = (
            uncached,
            cache_read if cached else 0,
            writes if is_anthropic else 0,
            writes_1h if is_anthropic else 0,
            output,
        )
        bits, lateness = divmod(bits, 1000)
        bits, late_s = divmod(bits, 60 * 86_400)
        occurred_at = self.start + timedelta(milliseconds=number * 1000 // self.per_second)
        if lateness < 2:  # weeks late: another partition, another month's books
            occurred_at -= timedelta(seconds=late_s)
        elif lateness < 20:
            occurred_at -= timedelta(seconds=late_s % (2 * 86_400))
        elif lateness < 100:
            occurred_at -= timedelta(seconds=late_s % 600)
        return model, tokens, occurred_at, bits

    def _id(self, number: int) -> str:
        return f"{self.seed:x}-{number}"

    def _span_ids(self, number: int) -> str:
        return f"{self.seed:016x}{number:016x}{number + 1:016x}"

    def _native(self, number: int) -> dict[str, Any]:
        (provider, model), tokens, occurred_at, bits = self._facts(number, NATIVE)
        uncached, cache_read, writes_5m, writes_1h, output = tokens
        bits, customer = divmod(bits, 20)
        return {
            "id": self._id(number),
            "source": NATIVE,
            "timestamp": occurred_at,
            "provider": provider,
            "model": model,
            "usage": {
                "input_tokens": uncached + cache_read + writes_5m + writes_1h,
                "cache_read_tokens": cache_read,
                "cache_write_tokens": writes_5m + writes_1h,
                "cache_write_1h_tokens": writes_1h,
                "output_tokens": output,
            },
            "customer": f"customer-{customer}",
            "department": f"department-{bits % 6}",
            "tags": {"release": "r7", "region": "eu"},
            "latency_ms": output * 11,
        }

    def _litellm(self, number: int) -> dict[str, Any]:
        (provider, model), tokens, occurred_at, bits = self._facts(number, LITELLM)
        uncached, cache_read, _, _, output = tokens
        total = uncached + cache_read
        return {
            "id": f"chatcmpl-{number}",
            "litellm_call_id": self._id(number),
            "status": "success",
            "custom_llm_provider": provider,
            "model": model,
            "startTime": occurred_at.isoformat(),
            "prompt_tokens": total,
            "completion_tokens": output,
            "total_tokens": total + output,
            "end_user": f"customer-{bits % 20}",
            "messages": [{"role": "user", "content": "x" * 400}],
            "response": {"model": model, "choices": [{"message": {"content": "y" * 400}}]},
            "metadata": {
                "user_api_key_team_alias": f"department-{bits % 6}",
                "usage_object": {
                    "prompt_tokens": total,
                    "completion_tokens": output,
                    "total_tokens": total + output,
                    "prompt_tokens_details": {"cached_tokens": cache_read},
                },
            },
        }

    def _span(self, number: int, source: str) -> dict[str, Any]:
        (provider, model), tokens, occurred_at, bits = self._facts(number, source)
        uncached, cache_read, _, _, output = tokens
        start_ns = (
            (occurred_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
        )
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.response.model": model,
            "gen_ai.response.id": f"chatcmpl-{number}",
            "gen_ai.usage.input_tokens": uncached + cache_read,
            "gen_ai.usage.cache_read.input_tokens": cache_read,
            "gen_ai.usage.output_tokens": output,
            "user.id": f"customer-{bits % 20}",
        }
        if source == LITELLM:
            attributes[LITELLM_CALL_ID] = self._id(number)
        ids = self._span_ids(number)
        return span(
            traceId=ids[:32],
            spanId=ids[32:],
            startTimeUnixNano=str(start_ns),
            endTimeUnixNano=str(start_ns + 2_000_000_000),
            attributes=attributes,
        )
