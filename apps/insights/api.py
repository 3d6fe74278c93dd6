"""Forecasts and announced events over HTTP."""

from datetime import date, datetime, timedelta
from typing import Any, get_args

from django.http import HttpRequest
from django.utils import timezone
from ninja import Router, Schema

from apps.insights.errors import InvalidForecastPeriodError
from apps.insights.forecasts import MoneyQuantiles, SpendForecast, read_forecast
from apps.insights.price_changes import Filters
from apps.insights.selectors import PlannedEventInfo, list_planned_events
from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.usage.http_time import read_moment
from apps.usage.selectors import Dimension

router = Router(tags=["insights"])

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
PERIOD_PARAMETERS = ("from", "to")
# What is announced is listed this far around now unless asked otherwise.
LISTED = timedelta(days=366)


class QuantilesOut(Schema):
    """Eight times of ten spend ends between p10 and p90; p50 is as likely passed as not."""

    p10_usd: str
    p50_usd: str
    p90_usd: str


class ForecastDayOut(QuantilesOut):
    """One local day's whole spend. A past day's three figures are what it cost."""

    day: date
    is_past: bool


class PlannedEventOut(Schema):
    """An announcement, in force from `starts_at` to before `ends_at`, for what `scope` narrows."""

    id: int
    name: str
    starts_at: datetime
    ends_at: datetime
    scope: dict[str, str | None]
    expected_multiplier: str | None
    expected_extra_usd: str | None
    created_by: str
    created_at: datetime


class PlannedEventsOut(Schema):
    rows: list[PlannedEventOut]


class ForecastOut(Schema):
    """`start` to before `end` are the tenant's local days; `total` is the whole period's, what is
    spent included. `events` and `price_changes_at` were known beforehand and are taken in."""

    start: date
    end: date
    time_zone: str
    currency: str
    complete_through: datetime
    spent_usd: str
    total: QuantilesOut
    days: list[ForecastDayOut]
    events: list[PlannedEventOut]
    price_changes_at: list[datetime]


@router.get("/forecasts", auth=KeyAuth("read"), response=ForecastOut)
def get_forecast(request: ApiRequest) -> ForecastOut:
    """What the running month will have cost, or the local days `from` to before `to`.

    Any dimension narrows it: `department=support&model=gpt-5`; an empty value means not attributed.
    """
    _refuse_unknown(request, (*PERIOD_PARAMETERS, *DIMENSIONS))
    with tenant_scope(request.auth.tenant_id):
        tenant = get_tenant()
        start, end = (_day(request, name) for name in PERIOD_PARAMETERS)
        try:
            forecast = read_forecast(_filters(request), now=timezone.now(), start=start, end=end)
        except InvalidForecastPeriodError as error:
            raise Problem(422, "invalid_range", str(error), field=error.field) from error
    return _forecast_out(forecast, tenant)


@router.get("/planned-events", auth=KeyAuth("read"), response=PlannedEventsOut)
def get_planned_events(request: ApiRequest) -> PlannedEventsOut:
    """Events announced for some of `from` to before `to` (default: a year around now)."""
    _refuse_unknown(request, PERIOD_PARAMETERS)
    now = timezone.now()
    with tenant_scope(request.auth.tenant_id):
        tenant = get_tenant()
        start = read_moment("from", request.GET.get("from"), tenant) or now - LISTED
        end = read_moment("to", request.GET.get("to"), tenant) or now + LISTED
        events = list_planned_events(start=start, end=end)
    return PlannedEventsOut(rows=[_event_out(event) for event in events])


def _refuse_unknown(request: HttpRequest, known: tuple[str, ...]) -> None:
    for name, values in request.GET.lists():
        if name not in known:
            raise Problem(
                422,
                "unknown_parameter",
                f"{name[:60]!r} is none of {', '.join(known)}",
                field=name[:60],
            )
        if any("\0" in value for value in values):
            raise Problem(422, "invalid_value", f"{name} holds a NUL character", field=name)


def _day(request: HttpRequest, name: str) -> date | None:
    given = request.GET.get(name)
    if not given:
        return None
    try:
        day = date.fromisoformat(given)
    except ValueError as error:
        raise Problem(
            422, "invalid_time", f"`{name}` is a date such as 2026-11-01", field=name
        ) from error
    if not 2000 <= day.year <= 2200:
        raise Problem(422, "invalid_time", f"`{name}` is from 2000 to 2200", field=name)
    return day


def _filters(request: HttpRequest) -> Filters:
    return {
        dimension: tuple(value or None for value in request.GET.getlist(dimension))
        for dimension in DIMENSIONS
        if dimension in request.GET
    }


def _forecast_out(forecast: SpendForecast, tenant: TenantInfo) -> ForecastOut:
    return ForecastOut(
        start=forecast.start,
        end=forecast.end,
        time_zone=tenant.time_zone,
        currency="USD",
        complete_through=forecast.complete_through,
        spent_usd=plain_decimal(forecast.spent_usd),
        total=QuantilesOut(**_quantiles(forecast.total)),
        days=[
            ForecastDayOut(day=day.day, is_past=day.is_past, **_quantiles(day.usd))
            for day in forecast.days
        ],
        events=[_event_out(event) for event in forecast.events],
        price_changes_at=list(forecast.price_changes_at),
    )


def _quantiles(usd: MoneyQuantiles) -> dict[str, Any]:
    return {name: plain_decimal(getattr(usd, name)) for name in MoneyQuantiles.__slots__}


def _event_out(event: PlannedEventInfo) -> PlannedEventOut:
    multiplier, extra_usd = event.expected_multiplier, event.expected_extra_usd
    return PlannedEventOut(
        id=event.id,
        name=event.name,
        starts_at=event.starts_at,
        ends_at=event.ends_at,
        scope=dict(event.scope),
        expected_multiplier=None if multiplier is None else plain_decimal(multiplier),
        expected_extra_usd=None if extra_usd is None else plain_decimal(extra_usd),
        created_by=event.created_by,
        created_at=event.created_at,
    )
