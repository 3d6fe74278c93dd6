"""Estimates, backends and rates over HTTP."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal

from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import ConfigDict, Field

from apps.pricing.core.estimates import (
    Estimate,
    EstimateError,
    TokenAnswer,
    TokenQuestion,
    count_tokens,
    estimate,
)
from apps.pricing.core.meters import UNITS_PER_PRICE
from apps.pricing.core.money import plain_decimal
from apps.pricing.core.rating import ChargeLine, RateBook
from apps.pricing.core.variants import MAX_CONTEXT_LENGTH, ContextError, read_context
from apps.pricing.selectors import (
    MAX_BACKENDS,
    MAX_RATES,
    RateInfo,
    current_rate_book,
    list_backends,
    list_rates,
    read_catalogue_info,
)
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

router = Router(tags=["pricing"])

MAX_TOKENS = 1_000_000_000
MAX_TEXT_CHARACTERS = 8_000_000
MAX_MODELS = 100
Tokens = Annotated[int, Field(strict=True, ge=0, le=MAX_TOKENS)]
# PostgreSQL's text holds no NUL.
NO_NUL = r"^[^\x00]*$"
ContextValue = Annotated[str, Field(max_length=MAX_CONTEXT_LENGTH)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]


class EstimateIn(Schema):
    """One `model`, or several `models`; `provider` where the name alone is not enough.

    `input_tokens` include cache reads and writes, `cache_write_tokens` include the 1 h ones.
    `price_context` chooses a variant of the price, as an event's does: {"processing": "batch"}.
    """

    model_config = ConfigDict(extra="forbid")

    provider: Name | None = None
    model: Name | None = None
    models: Annotated[list[Name], Field(min_length=1, max_length=MAX_MODELS)] | None = None
    input_tokens: Tokens | None = None
    input_text: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)] | None = None
    cache_read_tokens: Tokens = 0
    cache_write_tokens: Tokens | None = None
    cache_write_1h_tokens: Tokens = 0
    output_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    price_context: Annotated[dict[str, ContextValue], Field(max_length=8)] | None = None
    timestamp: datetime | None = None


class LineOut(Schema):
    """`unit_price_usd_per_mtok` is per 1,000,000 of the meter's items.

    A line of kind "discount" takes off part of the line before it: its numbers are negative.
    """

    meter: str
    quantity: int
    unit_price_usd_per_mtok: str
    cost_usd: str
    priced_as: str
    rate_id: str | None
    kind: Literal["rate", "discount"] = "rate"


class EstimateOut(Schema):
    """`model` is the one that was priced, `asked_for` as it was named.

    The methods say where token counts come from: "given", or the approximation that was used.
    """

    asked_for: str
    backend: str
    provider: str
    model: str
    kind: Literal["cloud", "local"]
    source: Literal["tenant", "catalogue", "default"] | None
    timestamp: datetime
    revision: int
    input_tokens: int
    input_tokens_method: str
    cache_read_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    output_tokens_method: str
    cost_usd: str
    lines: list[LineOut]


class EstimatesOut(Schema):
    """Cheapest first."""

    estimates: list[EstimateOut]


class BackendOut(Schema):
    """`prices_usd_per_mtok`: the standard price of each meter now, of the smallest input tier.

    `source` is whose rates price it; null while it is unpriced.
    """

    key: str
    provider: str
    model: str
    kind: Literal["cloud", "local"]
    name: str
    discovered: bool
    source: Literal["tenant", "catalogue", "default"] | None
    prices_usd_per_mtok: dict[str, str]
    created_at: datetime


class BackendsOut(Schema):
    """`next_after_key` continues the list; null at its end."""

    rows: list[BackendOut]
    next_after_key: str | None


class BackendsQuery(Schema):
    after_key: Annotated[str, Field(max_length=401, pattern=NO_NUL)] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_BACKENDS)] = MAX_BACKENDS


class RateOut(Schema):
    """One dated price of one meter: `price_usd` for `unit_quantity` of it.

    `when`: the request context it is for (empty: standard). `tier_start_tokens`: for requests with
    more input than this. Windows are seconds of the UTC day. A null date is an open end.
    """

    id: str
    source: Literal["tenant", "catalogue", "default"]
    provider: str
    model: str
    meter: str
    price_usd: str
    unit_quantity: int
    price_usd_per_mtok: str | None
    when: dict[str, str]
    tier_start_tokens: int
    window_start_s: int
    window_end_s: int
    effective_from: datetime | None
    effective_to: datetime | None
    recorded_revision: int
    closed_revision: int | None


class RatesOut(Schema):
    """`next_after_id` continues the list; null at its end."""

    rows: list[RateOut]
    next_after_id: int | None
    catalogue_version: str | None
    catalogue_revision: int | None


class RatesQuery(Schema):
    source: Literal["tenant", "catalogue"] = "tenant"
    provider: Name | None = None
    model: Name | None = None
    as_of_revision: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    after_id: Annotated[int, Field(ge=0, lt=2**63)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_RATES)] = 100


@router.post("/estimates", auth=KeyAuth("read", "route"), response=EstimateOut | EstimatesOut)
def make_estimate(request: ApiRequest, body: EstimateIn) -> EstimateOut | EstimatesOut:
    """What a hypothetical request would cost, line by line, on one model or on several.

    Without a provider a name is looked for in this order: the tenant's own rates, "provider/model"
    as backends are keyed, the catalogue's provider that claims such names ("gpt-" is openai's),
    the first provider of the catalogue that lists it.
    """
    if (body.model is None) == (body.models is None):
        raise Problem(422, "exactly_one", "give exactly one of model and models", field="model")
    at = _moment(body.timestamp)
    with tenant_scope(request.auth.tenant_id):
        book = current_rate_book()
    try:
        tokens = count_tokens(_question(body))
    except EstimateError as error:
        raise Problem(422, error.code, error.detail, field=error.field) from error
    if body.model is not None:
        made = _estimate(book, body, tokens, at, model=body.model, field="model")
        return _estimate_out(made, tokens, at, book)
    estimates = [
        _estimate(book, body, tokens, at, model=model, field=f"models.{index}")
        for index, model in enumerate(body.models or ())
    ]
    estimates.sort(key=lambda e: (e.cost_usd, e.backend.key))
    return EstimatesOut(estimates=[_estimate_out(e, tokens, at, book) for e in estimates])


@router.get("/backends", auth=KeyAuth("read", "route"), response=BackendsOut)
def read_backends(request: ApiRequest, query: Query[BackendsQuery]) -> BackendsOut:
    """The deployments that traffic used or rates name, by key, with what they cost now."""
    now = timezone.now()
    with tenant_scope(request.auth.tenant_id):
        backends = list_backends(after_key=query.after_key, limit=query.limit)
    full = len(backends) == query.limit
    return BackendsOut(
        rows=[
            BackendOut(
                **{name: getattr(b, name) for name in _BACKEND_FIELDS},
                prices_usd_per_mtok=_plain(b.card.unit_prices(now)) if b.card else {},
            )
            for b in backends
        ],
        next_after_key=backends[-1].key if full else None,
    )


@router.get("/rates", auth=KeyAuth("read", "route"), response=RatesOut)
def read_rates(request: ApiRequest, query: Query[RatesQuery]) -> RatesOut:
    """The tenant's own rates, or the catalogue's, as believed now or at a revision."""
    with tenant_scope(request.auth.tenant_id):
        provider = query.provider and current_rate_book().canonical_provider(query.provider)
        rates = list_rates(
            source=query.source,
            provider=provider,
            model=query.model,
            as_of_revision=query.as_of_revision,
            after_id=query.after_id,
            limit=query.limit,
        )
        catalogue = read_catalogue_info()
    full = len(rates) == query.limit
    return RatesOut(
        rows=[rate_out(rate) for rate in rates],
        next_after_id=rates[-1].number if full else None,
        catalogue_version=catalogue.package_version if catalogue else None,
        catalogue_revision=catalogue.revision if catalogue else None,
    )


_BACKEND_FIELDS = sorted(BackendOut.model_fields.keys() - {"prices_usd_per_mtok"})


def _moment(timestamp: datetime | None) -> datetime:
    if timestamp is None:
        return timezone.now()
    if timestamp.tzinfo is None:
        raise Problem(
            422, "time_zone_missing", "timestamp needs an offset, such as Z", field="timestamp"
        )
    try:
        return timestamp.astimezone(UTC)
    except OverflowError as error:
        raise Problem(
            422, "time_out_of_range", f"{timestamp} is no moment of UTC", field="timestamp"
        ) from error


def _question(body: EstimateIn) -> TokenQuestion:
    return TokenQuestion(**{name: getattr(body, name) for name in TokenQuestion.__slots__})


def _estimate(
    book: RateBook, body: EstimateIn, tokens: TokenAnswer, at: datetime, *, model: str, field: str
) -> Estimate:
    try:
        context = read_context(body.price_context or {})
        return estimate(
            book, provider=body.provider, model=model, usage=tokens.usage, at=at, context=context
        )
    except ContextError as error:
        raise Problem(422, error.code, error.detail, field=error.field) from error
    except EstimateError as error:
        at_fault = field if error.field == "model" else error.field
        raise Problem(422, error.code, error.detail, field=at_fault) from error


def _estimate_out(made: Estimate, tokens: TokenAnswer, at: datetime, book: RateBook) -> EstimateOut:
    usage = tokens.usage
    return EstimateOut(
        asked_for=made.asked_for,
        backend=made.backend.key,
        provider=made.backend.provider,
        model=made.backend.model,
        kind=made.backend.kind,
        source=made.source,
        timestamp=at,
        revision=book.revision,
        input_tokens=usage.input_tokens,
        input_tokens_method=tokens.input_method,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        output_tokens_method=tokens.output_method,
        cost_usd=plain_decimal(made.cost_usd),
        lines=[line_out(line) for line in made.lines],
    )


def line_out(line: ChargeLine) -> LineOut:
    return LineOut(
        meter=line.meter,
        quantity=line.quantity,
        unit_price_usd_per_mtok=plain_decimal(line.unit_price_usd_per_mtok),
        cost_usd=plain_decimal(line.cost_usd),
        priced_as=line.priced_as,
        rate_id=line.rate_id,
        kind=line.kind,
    )


def rate_out(rate: RateInfo) -> RateOut:
    price = plain_decimal(rate.price_usd)
    as_they_are = RateOut.model_fields.keys() - {"price_usd", "price_usd_per_mtok"}
    return RateOut(
        **{name: getattr(rate, name) for name in as_they_are},
        price_usd=price,
        price_usd_per_mtok=price if rate.unit_quantity == UNITS_PER_PRICE else None,
    )


def _plain(prices: dict[str, Decimal]) -> dict[str, str]:
    return {meter: plain_decimal(price) for meter, price in prices.items()}
