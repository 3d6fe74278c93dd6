"""Estimating one request before it runs. Pure.

Real token counts are priced as given. Without them the approximation of the course's chapter on
cost-aware selection stands in, and is named in the answer: tokens = characters // 4, and output =
min(max_output_tokens, 500).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from apps.pricing.core.charge_lines import source_of_lines
from apps.pricing.core.rates import Source
from apps.pricing.core.rating import ChargeLine, MeteredUsage, RateBook, ResolvedBackend

CHARACTERS_PER_TOKEN: Final = 4
ASSUMED_OUTPUT_LIMIT: Final = 500
GIVEN: Final = "given"
INPUT_METHOD: Final = f"characters // {CHARACTERS_PER_TOKEN}"
OUTPUT_METHOD: Final = f"min(max_output_tokens, {ASSUMED_OUTPUT_LIMIT})"


class EstimateError(ValueError):
    """An estimate that cannot be made; `field` names the input at fault."""

    def __init__(self, code: str, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


@dataclass(frozen=True, slots=True)
class TokenQuestion:
    """A hypothetical request, as asked. Input counts include cache, cache writes the 1 h ones."""

    input_tokens: int | None = None
    input_text: str | None = None
    cache_read_tokens: int = 0
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int = 0
    output_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    usage: MeteredUsage
    input_method: str
    output_method: str


@dataclass(frozen=True, slots=True)
class Estimate:
    asked_for: str
    backend: ResolvedBackend
    cost_usd: Decimal
    lines: Sequence[ChargeLine]

    @property
    def source(self) -> Source | None:
        """Whose prices these are."""
        return source_of_lines(self.lines) or self.backend.source


def count_tokens(question: TokenQuestion) -> TokenAnswer:
    """The tokens to price and where their numbers come from. Raises EstimateError."""
    _exactly_one("input_tokens", question.input_tokens, "input_text", question.input_text)
    _exactly_one(
        "output_tokens", question.output_tokens, "max_output_tokens", question.max_output_tokens
    )
    if question.input_tokens is not None:
        total, input_method = question.input_tokens, GIVEN
    else:
        total, input_method = len(question.input_text or "") // CHARACTERS_PER_TOKEN, INPUT_METHOD
    if question.output_tokens is not None:
        output, output_method = question.output_tokens, GIVEN
    else:
        output = min(question.max_output_tokens or 0, ASSUMED_OUTPUT_LIMIT)
        output_method = OUTPUT_METHOD
    return TokenAnswer(_split_input(question, total, output), input_method, output_method)


def estimate(
    book: RateBook,
    *,
    provider: str | None,
    model: str,
    usage: MeteredUsage,
    at: datetime,
    context: Mapping[str, str] | None = None,
) -> Estimate:
    """What the request would cost on that model at that time, in the variant that `context`
    chooses. Raises EstimateError."""
    backend = book.resolve(provider, model) if provider else book.resolve_anywhere(model)
    if backend is None or backend.card is None:
        raise EstimateError(
            "unknown_model",
            f"no rate prices {model!r}" + (f" at provider {provider!r}" if provider else "") + ";"
            " GET /api/v1/rates lists the models known (source=catalogue for the catalogue's);"
            " check the name and its provider, or add a rate of your own",
            field="model",
        )
    cost_usd = backend.card.cost(usage, at, context)
    if cost_usd is None:
        raise EstimateError(
            "not_priced_then",
            f"{backend.key} has no rate in force at {at.isoformat()} for every token asked about;"
            " GET /api/v1/rates shows from when to when its rates stand",
            field="timestamp",
        )
    return Estimate(model, backend, cost_usd, backend.card.explain(usage, at, context))


def _exactly_one(one: str, one_value: object, other: str, other_value: object) -> None:
    if (one_value is None) == (other_value is None):
        raise EstimateError("exactly_one", f"give exactly one of {one} and {other}", field=one)


def _split_input(question: TokenQuestion, total: int, output: int) -> MeteredUsage:
    write_1h = question.cache_write_1h_tokens
    write = write_1h if question.cache_write_tokens is None else question.cache_write_tokens
    if write_1h > write:
        raise EstimateError(
            "cache_write_1h_exceeds_cache_write",
            f"cache_write_1h_tokens ({write_1h}) are part of cache_write_tokens ({write})",
            field="cache_write_1h_tokens",
        )
    cached = question.cache_read_tokens + write
    if cached > total:
        raise EstimateError(
            "cache_exceeds_input",
            f"cache tokens ({cached}) exceed the input ({total} tokens), which includes them",
            field="cache_read_tokens" if question.cache_read_tokens > total else "input_tokens",
        )
    return MeteredUsage(
        uncached_input_tokens=total - cached,
        cache_read_tokens=question.cache_read_tokens,
        cache_write_5m_tokens=write - write_1h,
        cache_write_1h_tokens=write_1h,
        output_tokens=output,
    )
