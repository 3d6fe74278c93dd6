"""Usage over HTTP: the doors routers post to, and spend."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, cast, get_args

import msgspec
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from ninja import Router, Schema

from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.adapters.litellm import parse_litellm
from apps.usage.adapters.native import parse_native
from apps.usage.attribution import current_rules
from apps.usage.core.admission import MAX_ROWS
from apps.usage.core.events import Door, InvalidUsageError, Parsed
from apps.usage.dimensions import tag_of
from apps.usage.http_body import held_body
from apps.usage.http_time import read_moment
from apps.usage.reporting import read_reporting
from apps.usage.selectors import (
    Dimension,
    Interval,
    Spend,
    SpendQuery,
    read_spend,
)
from apps.usage.services import IngestOutcome, ingest_events
from apps.usage.spend_rows import measures_out, row_out, spend_csv

router = Router(tags=["usage"])
_encode = msgspec.json.Encoder().encode


class RejectionOut(Schema):
    index: int
    id: str | None
    code: str
    field: str | None
    detail: str


class IngestOut(Schema):
    """`rejected` names each row that was not taken; the others are in the ledger."""

    accepted: int
    duplicates: int
    rejected: list[RejectionOut]


def parse_body(parse: Callable[[bytes], Parsed], body: bytes) -> Parsed:
    """Read a body as a dialect. Raises Problem 400 if it is none, 413 past MAX_ROWS."""
    try:
        parsed = parse(body)
    except InvalidUsageError as error:
        raise Problem(400, error.code, error.detail, field=error.field) from error
    rows = len(parsed.events) + len(parsed.rejections)
    if rows > MAX_ROWS:
        raise Problem(
            413,
            "too_many_rows",
            f"the body has {rows} rows; at most {MAX_ROWS} are taken at once",
            limit_rows=MAX_ROWS,
        )
    return parsed


def wanted_attributes(request: ApiRequest, door: Door) -> frozenset[str]:
    """What the tenant's mapping rules ask this door's adapter for; nothing without rules."""
    return current_rules(request.auth.tenant_id).wanted(door)


def _ingest(request: ApiRequest, parse: Callable[[bytes], Parsed]) -> HttpResponse:
    with held_body(request) as body:
        outcome = ingest_events(request.auth, parse_body(parse, body), now=timezone.now())
    if outcome.rejected and not (outcome.accepted or outcome.duplicates):
        raise nothing_taken(outcome)
    return HttpResponse(_encode(outcome), content_type="application/json")


def nothing_taken(outcome: IngestOutcome) -> Problem:
    first = outcome.rejected[0]
    return Problem(
        422,
        "no_row_accepted",
        f"none of {len(outcome.rejected)} rows was taken; row {first.index}: {first.detail}",
        field=first.field,
        accepted=0,
        duplicates=0,
        rejected=msgspec.to_builtins(outcome.rejected),
    )


def _body_of(*content: dict[str, Any]) -> dict[str, Any]:
    schema = {"oneOf": list(content)}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": schema},
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        }
    }


EVENT_SCHEMA = {
    "type": "object",
    "required": ["id", "timestamp", "provider", "model"],
    "description": "See docs/integrations/native.md; `usage` or `raw_usage` is required.",
}


@router.post(
    "/usage/events",
    auth=KeyAuth("ingest"),
    response=IngestOut,
    openapi_extra=_body_of(EVENT_SCHEMA, {"type": "array", "items": EVENT_SCHEMA}),
)
def post_events(request: ApiRequest) -> HttpResponse:
    """Take usage events: one object, an array, or NDJSON. 422 when no row is good."""
    return _ingest(request, parse_native)


@router.post(
    "/usage/litellm",
    auth=KeyAuth("ingest"),
    response=IngestOut,
    openapi_extra=_body_of({"type": "object"}, {"type": "array", "items": {"type": "object"}}),
)
def post_litellm(request: ApiRequest) -> HttpResponse:
    """Take what LiteLLM's `generic_api` callback sends: array, NDJSON or single."""
    wanted = wanted_attributes(request, Door.LITELLM)
    return _ingest(request, partial(parse_litellm, wanted=wanted))


class SpendRowOut(Schema):
    cost_usd: str
    requests: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    unpriced_requests: int
    revenue_usd: str
    conversions: int
    reasoning_tokens: int
    latency_ms_sum: int
    latency_count: int


class ReportingOut(Schema):
    """The total in the tenant's currency; `amount` null while `unrated_days` have no rate."""

    currency: str
    amount: str | None
    unrated_days: list[str]


class SpendOut(Schema):
    """`rows` also carry the dimensions grouped by, and `bucket` when there is an interval.

    `reasoning_tokens` are a part of `output_tokens`; mean latency is `latency_ms_sum` over
    `latency_count`; `revenue_usd` is what events carried.
    """

    start: str
    end: str
    currency: str
    total: SpendRowOut
    rows: list[dict[str, Any]]
    reporting: ReportingOut | None = None


@router.get("/spend", auth=KeyAuth("read"), response=SpendOut)
def get_spend(
    request: ApiRequest,
    group_by: str = "",
    interval: str | None = None,
    format: str = "json",  # noqa: A002
    reporting: bool = False,
) -> HttpResponse:
    """Sum spend and volume from `from` to before `to` (dates in the tenant's time zone, or
    RFC 3339 instants, widened to whole quarter hours; default: the month so far).

    `group_by`: comma-separated dimensions; `department_tree` counts departments with all below
    them. `interval`: minute, hour, day, week or month. Any dimension is a filter:
    `model=gpt-5&model=o3`; an empty value means not attributed. A tag is a dimension too,
    `tag.KEY` (`group_by=tag.team`, `tag.team=search`), over at most 31 days and a million requests,
    for they are looked up one by one. `format`: json, csv.
    `reporting=true` (json alone) adds the total in the tenant's own currency, each local day at its
    own rate; null while that is USD, its `amount` null while a day of it has no rate.
    """
    if format not in ("json", "csv"):
        raise Problem(422, "invalid_format", "format is json or csv", field="format")
    now = timezone.now()
    with tenant_scope(request.auth.tenant_id):
        tenant = get_tenant()
        query = read_spend_query(request, group_by, interval, tenant, now)
        spend = read_spend(query)
        converted = read_reporting(query) if reporting else None
    if format == "csv":
        return _as_csv(query, spend)
    answer: dict[str, Any] = {
        "start": query.start.astimezone(tenant.zone).isoformat(),
        "end": query.end.astimezone(tenant.zone).isoformat(),
        "currency": "USD",
        "total": measures_out(spend.total),
        "rows": [row_out(query, row) for row in spend.rows],
    }
    if reporting:
        answer["reporting"] = converted and {
            "currency": converted.currency,
            "amount": None if converted.amount is None else plain_decimal(converted.amount),
            "unrated_days": [day.isoformat() for day in converted.unrated_days],
        }
    return HttpResponse(_encode(answer), content_type="application/json")


DIMENSIONS: tuple[str, ...] = get_args(Dimension)
INTERVALS: tuple[str, ...] = get_args(Interval)
MAX_GROUPS = 4
MAX_SPAN = timedelta(days=3660)
OTHER_PARAMETERS = {"from", "to", "group_by", "interval", "format", "reporting"}


def read_spend_query(
    request: HttpRequest, group_by: str, interval: str | None, tenant: TenantInfo, now: datetime
) -> SpendQuery:
    for name in request.GET:
        if name not in OTHER_PARAMETERS and not is_dimension(name):
            raise Problem(
                422,
                "unknown_parameter",
                f"{name[:60]!r} is neither a parameter nor a dimension ({', '.join(DIMENSIONS)},"
                " tag.KEY)",
                field=name[:60],
            )
    groups = tuple(part.strip() for part in group_by.split(",") if part.strip())
    unknown = [group for group in groups if not is_dimension(group)]
    if unknown or len(set(groups)) != len(groups) or len(groups) > MAX_GROUPS:
        raise Problem(
            422,
            "invalid_group_by",
            f"group_by takes up to {MAX_GROUPS} different dimensions of {', '.join(DIMENSIONS)},"
            " tag.KEY",
            field="group_by",
        )
    if interval is not None and interval not in INTERVALS:
        raise Problem(
            422, "invalid_interval", f"interval is one of {', '.join(INTERVALS)}", field="interval"
        )
    today = tenant.local_date(now)
    start = read_moment("from", request.GET.get("from"), tenant) or _midnight(
        today.replace(day=1), tenant
    )
    end = read_moment("to", request.GET.get("to"), tenant) or _midnight(
        today + timedelta(days=1), tenant
    )
    if not start < end or end - start > MAX_SPAN:
        raise Problem(
            422,
            "invalid_range",
            f"`to` ({end.isoformat()}) must be after `from` ({start.isoformat()}),"
            " by at most ten years; `to` itself is not included",
            field="to",
        )
    filters = read_filters(request.GET, [name for name in request.GET if is_dimension(name)])
    return SpendQuery(
        start=start,
        end=end,
        group_by=groups,  # type: ignore[arg-type]
        interval=interval,  # type: ignore[arg-type]
        filters=filters,
    )


def is_dimension(name: str) -> bool:
    return name in DIMENSIONS or tag_of(name) is not None


def read_filters(given: QueryDict, names: Sequence[str]) -> dict[Dimension, tuple[str | None, ...]]:
    """Values of one dimension are alternatives; an empty one is "not attributed"."""
    for name in names:
        if any("\0" in value for value in given.getlist(name)):
            raise Problem(422, "invalid_value", f"{name} holds a NUL character", field=name)
    return {cast("Dimension", n): tuple(v or None for v in given.getlist(n)) for n in names}


def _midnight(day: date, tenant: TenantInfo) -> datetime:
    return datetime.combine(day, time.min, tenant.zone).astimezone(UTC)


def _as_csv(query: SpendQuery, spend: Spend) -> HttpResponse:
    response = HttpResponse(spend_csv(query, spend), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="spend.csv"'
    return response
