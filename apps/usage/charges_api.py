"""Charges over HTTP: listed, explained, and the names that nothing prices yet."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from django.db import OperationalError
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from apps.pricing.api import NO_NUL, LineOut, RateOut, line_out, rate_out
from apps.pricing.core.money import plain_decimal
from apps.pricing.core.rates import Discount
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.api import read_filters
from apps.usage.charges import (
    MAX_CHARGES,
    Charge,
    ChargeQuery,
    ChargeSource,
    Explanation,
    explain_charge,
    find_charge_id,
    list_charges,
    read_charge,
)
from apps.usage.dimensions import tag_of
from apps.usage.http_time import read_moment
from apps.usage.unresolved import MAX_UNRESOLVED, list_unresolved

router = Router(tags=["charges"])

DEFAULT_SPAN = timedelta(days=31)
MAX_SPAN = timedelta(days=400)
Name = Annotated[str, Field(min_length=1, max_length=401, pattern=NO_NUL)]
LedgerId = Annotated[str, Field(pattern=r"^[0-9]{1,19}$")]


class UsageOut(Schema):
    """The disjoint buckets; output includes reasoning."""

    uncached_input_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int


class ChargeOut(Schema):
    """`cost_usd` includes adjustments; null while no price is known. `difference_usd` is what the
    router reported, less ours."""

    id: str
    timestamp: datetime
    recorded_at: datetime
    source: str
    event_id: str
    provider: str
    model: str
    requested_model: str | None
    backend: str
    customer: str | None
    department: str | None
    router: str | None
    project: str | None
    environment: str | None
    task: str | None
    user: str | None
    tags: dict[str, str] | None
    decision_id: str | None
    status: str
    latency_ms: int | None
    usage: UsageOut
    meters: dict[str, int] | None
    price_context: dict[str, str] | None
    cost_usd: str | None
    reported_cost_usd: str | None
    difference_usd: str | None
    rate_revision: int


class ChargesOut(Schema):
    """Last recorded first. `next_before_id` continues the list; null at its end."""

    rows: list[ChargeOut]
    next_before_id: str | None


class DiscountOut(Schema):
    """A percentage, or an amount per `unit_quantity`; an empty model or meter means all."""

    id: str
    provider: str
    model: str
    meter: str
    percent: str | None
    amount_usd: str | None
    unit_quantity: int
    effective_from: datetime | None
    effective_to: datetime | None


class AdjustmentOut(Schema):
    """What a repricing run added; `unpriced_change` -1 gave the charge its first price."""

    id: str
    recorded_at: datetime
    cost_usd: str
    unpriced_change: int
    repricing_id: int
    rate_revision: int


class MoveOut(Schema):
    """A re-attribution: by what changed, the name before and after; null is not attributed."""

    id: str
    recorded_at: datetime
    reattribution_id: int
    undo_of: int | None
    reason: str
    actor: str
    changes: dict[str, list[str | None]]


class ExplainedChargeOut(ChargeOut):
    """A charge with its reasons, by the rates believed when it was made (`rate_revision`).

    `lines` add up to `first_cost_usd`, which with `adjustments` is `cost_usd`. `reproduced`: the
    cost computed again from the event and those rates has the same digits.
    """

    priced_as: str | None
    price_source: ChargeSource
    reason: str | None
    first_cost_usd: str | None
    lines: list[LineOut]
    rates: list[RateOut]
    discounts: list[DiscountOut]
    recomputed_cost_usd: str | None
    reproduced: bool
    adjustments: list[AdjustmentOut]
    moves: list[MoveOut]


class UnresolvedOut(Schema):
    """`tokens` of the days that have such requests. `priced_as`: what would price them now, once
    repriced; `suggestion`: the catalogue's model of that name."""

    provider: str
    model: str
    unpriced_requests: int
    tokens: int
    priced_as: str | None
    suggestion: str | None


class UnresolvedListOut(Schema):
    """Most requests first."""

    rows: list[UnresolvedOut]


class SpanQuery(Schema):
    """A span of time: dates in the tenant's zone, or RFC 3339; `to` is not included."""

    start: Annotated[str | None, Field(alias="from", max_length=40)] = None
    end: Annotated[str | None, Field(alias="to", max_length=40)] = None


class ChargesQuery(SpanQuery):
    """Any of these narrows the list. `source` with `event_id` finds one event, whenever it was."""

    customer: Name | None = None
    department: Name | None = None
    model: Name | None = None
    backend: Name | None = None
    status: Name | None = None
    unpriced: bool | None = None
    source: Name | None = None
    event_id: Name | None = None
    before_id: LedgerId | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_CHARGES)] = 50


class UnresolvedQuery(SpanQuery):
    limit: Annotated[int, Field(ge=1, le=MAX_UNRESOLVED)] = 100


@router.get("/charges", auth=KeyAuth("read"), response=ChargesOut)
def get_charges(request: ApiRequest, query: Query[ChargesQuery]) -> ChargesOut:
    """Charges of [from, to) (default: the last 31 days), last recorded first.

    `tag.KEY=VALUE` narrows it to what carries that tag, an empty value to what carries none.
    """
    tags = [name for name in request.GET if tag_of(name) is not None]
    _refuse_unknown(request, ChargesQuery, tags)
    with tenant_scope(request.auth.tenant_id):
        if query.source is not None or query.event_id is not None:
            return ChargesOut(rows=_of_event(query), next_before_id=None)
        start, end = _span(query, get_tenant())
        wanted = query.model_dump(include=_PLAIN_FILTERS)
        before_id = _ledger_id(query.before_id) if query.before_id else None
        try:
            found = list_charges(
                ChargeQuery(
                    start=start,
                    end=end,
                    before_id=before_id,
                    filters=read_filters(request.GET, tags),
                    **wanted,
                )
            )
        except OperationalError as error:
            if "statement timeout" not in str(error):
                raise
            raise Problem(
                422,
                "search_too_wide",
                "that search reads too much of the ledger; narrow `from` and `to`",
                field="from",
            ) from error
    full = len(found) == query.limit
    return ChargesOut(
        rows=[ChargeOut(**_charge_out(charge)) for charge in found],
        next_before_id=str(found[-1].id) if full else None,
    )


@router.get("/charges/{charge_id}", auth=KeyAuth("read"), response=ExplainedChargeOut)
def get_charge(request: ApiRequest, charge_id: str) -> ExplainedChargeOut:
    """One charge, line by line, computed again by the rates that it was made with."""
    with tenant_scope(request.auth.tenant_id):
        explained = explain_charge(_ledger_id(charge_id))
    if explained is None:
        raise Problem(404, "unknown_charge", f"there is no charge {charge_id[:40]}", field="id")
    return _explained_out(explained)


@router.get("/rates/unresolved", auth=KeyAuth("read"), response=UnresolvedListOut)
def get_unresolved(request: ApiRequest, query: Query[UnresolvedQuery]) -> UnresolvedListOut:
    """Reported providers and models whose usage has no price, most requests first."""
    _refuse_unknown(request, UnresolvedQuery)
    with tenant_scope(request.auth.tenant_id):
        tenant = get_tenant()
        start, end = _span(query, tenant)
        rows = list_unresolved(
            first_day=tenant.local_date(start),
            last_day=tenant.local_date(end - timedelta(microseconds=1)),
            limit=query.limit,
        )
    return UnresolvedListOut(rows=[UnresolvedOut.from_orm(row) for row in rows])


_PLAIN_FILTERS = {
    "customer",
    "department",
    "model",
    "backend",
    "status",
    "unpriced",
    "limit",
}


def _of_event(query: ChargesQuery) -> list[ChargeOut]:
    if query.event_id is None:
        raise Problem(
            422, "event_id_missing", "`source` needs an `event_id` beside it", field="event_id"
        )
    charge_id = find_charge_id(source=query.source or "default", event_id=query.event_id)
    charge = read_charge(charge_id) if charge_id is not None else None
    return [ChargeOut(**_charge_out(charge))] if charge else []


def _refuse_unknown(request: ApiRequest, schema: type[Schema], further: Sequence[str] = ()) -> None:
    """A misspelt filter must not quietly widen the answer."""
    known = [field.alias or name for name, field in schema.model_fields.items()]
    for name in request.GET:
        if name not in known and name not in further:
            raise Problem(
                422,
                "unknown_parameter",
                f"{name[:60]!r} is none of {', '.join(known)}",
                field=name[:60],
            )


def _ledger_id(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < 2**63):
        raise Problem(
            422, "invalid_id", f"{text[:40]!r} is no charge's id: a number as text", field="id"
        )
    return int(text)


def _span(query: SpanQuery, tenant: TenantInfo) -> tuple[datetime, datetime]:
    end = read_moment("to", query.end, tenant) or timezone.now() + timedelta(hours=1)
    start = read_moment("from", query.start, tenant) or end - DEFAULT_SPAN
    if not start < end or end - start > MAX_SPAN:
        raise Problem(
            422,
            "invalid_range",
            f"`to` ({end.isoformat()}) must be after `from` ({start.isoformat()}), by at most"
            f" {MAX_SPAN.days} days",
            field="to",
        )
    return start, end


def _charge_out(charge: Charge) -> dict[str, Any]:
    same = {name: getattr(charge, name) for name in _SAME}
    return same | {
        "id": str(charge.id),
        "timestamp": charge.occurred_at,
        "recorded_at": charge.received_at,
        "user": charge.end_user,
        "usage": UsageOut.from_orm(charge.usage),
        "cost_usd": _plain(charge.cost_usd),
        "reported_cost_usd": _plain(charge.reported_cost_usd),
        "difference_usd": _plain(charge.difference_usd),
    }


_SAME = ChargeOut.model_fields.keys() & set(Charge.__slots__) - {
    "id",
    "usage",
    "cost_usd",
    "reported_cost_usd",
}


def _explained_out(explained: Explanation) -> ExplainedChargeOut:
    return ExplainedChargeOut(
        **_charge_out(explained.charge),
        priced_as=explained.priced_as,
        price_source=explained.price_source,
        reason=explained.reason,
        first_cost_usd=_plain(explained.charge.first_cost_usd),
        lines=[line_out(line) for line in explained.lines],
        rates=[rate_out(rate) for rate in explained.rates],
        discounts=[_discount_out(discount) for discount in explained.discounts],
        recomputed_cost_usd=_plain(explained.again_usd),
        reproduced=explained.reproduced,
        adjustments=[
            AdjustmentOut(
                id=str(a.id),
                recorded_at=a.received_at,
                cost_usd=plain_decimal(a.cost_usd),
                unpriced_change=a.unpriced_change,
                repricing_id=a.repricing_id,
                rate_revision=a.rate_revision,
            )
            for a in explained.adjustments
        ],
        moves=[
            MoveOut(
                id=str(move.id),
                recorded_at=move.received_at,
                reattribution_id=move.run_id,
                undo_of=move.undo_of,
                reason=move.reason,
                actor=move.actor,
                changes={target: list(names) for target, names in move.changes.items()},
            )
            for move in explained.moves
        ],
    )


def _discount_out(discount: Discount) -> DiscountOut:
    return DiscountOut(
        id=discount.reference,
        provider=discount.provider,
        model=discount.model,
        meter=discount.meter,
        percent=_plain(discount.percent),
        amount_usd=_plain(discount.amount_usd),
        unit_quantity=discount.unit_quantity,
        effective_from=discount.effective_from,
        effective_to=discount.effective_to,
    )


def _plain(amount: Any) -> str | None:
    return None if amount is None else plain_decimal(amount)
