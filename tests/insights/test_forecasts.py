"""The one forecast, from events that went through ingest and rollup, by service and by API."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from apps.insights.backtests import read_backtest
from apps.insights.errors import InvalidForecastPeriodError
from apps.insights.forecasts import next_month, read_forecast
from apps.insights.services import add_planned_event
from apps.pricing.services import add_discount, add_rate
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import Key, MakeTenant, make_key, native_event, roll_up

Post = Callable[..., dict[str, Any]]
# 10,000 tokens in at 15 USD and 2,000 out at 75 USD a million.
DAILY_USD = Decimal("0.3")
OPUS = {
    "provider": "anthropic",
    "model": "claude-3-opus-20240229",
    "usage": {"input_tokens": 10_000, "output_tokens": 2_000},
}


def noon(day: date, zone: str = "UTC") -> datetime:
    return datetime.combine(day, time(12), ZoneInfo(zone))


def daily(days: int, *, until: date, zone: str = "UTC", **fields: Any) -> list[dict[str, Any]]:
    return [
        native_event(timestamp=noon(until - timedelta(days=n), zone).isoformat(), **OPUS, **fields)
        for n in range(1, days + 1)
    ]


@pytest.fixture
def today() -> date:
    return datetime.now(UTC).date()


def test_a_steady_tenant_ends_the_month_where_its_days_add_up(
    tenant: TenantInfo, post_events: Post, today: date
) -> None:
    post_events(daily(70, until=today))
    now = datetime.combine(today, time(6), UTC)
    with tenant_scope(tenant.id):
        told = read_forecast({}, now=now, complete_through=now)
    days = (told.end - told.start).days
    assert told.start == today.replace(day=1)
    assert told.spent_usd == DAILY_USD * (today.day - 1)
    assert float(told.total.p50_usd) == pytest.approx(float(DAILY_USD * days), rel=0.03)
    assert told.spent_usd <= told.total.p10_usd <= told.total.p50_usd <= told.total.p90_usd
    assert [day.is_past for day in told.days].count(True) == today.day - 1
    assert all(day.usd.p50_usd == DAILY_USD for day in told.days if day.is_past)


def test_a_scope_forecasts_its_own_spend_alone(
    tenant: TenantInfo, post_events: Post, today: date
) -> None:
    post_events(daily(40, until=today, customer="acme") + daily(40, until=today))
    now = datetime.combine(today, time(6), UTC)
    with tenant_scope(tenant.id):
        both = read_forecast({}, now=now, complete_through=now)
        one = read_forecast({"customer": ("acme",)}, now=now, complete_through=now)
        neither = read_forecast({"customer": ("nobody",)}, now=now, complete_through=now)
    assert both.total.p50_usd == pytest.approx(2 * one.total.p50_usd, rel=Decimal("0.001"))
    assert neither.total.p90_usd == 0


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_a_month_is_the_tenants_own(make_tenant: MakeTenant, client: Client, zone: str) -> None:
    """An event on the edge of the local month falls to its side of it, in the forecast too."""
    tenant = make_tenant(time_zone=zone)
    key = make_key(tenant.id)
    here = ZoneInfo(zone)
    first = datetime.now(UTC).astimezone(here).date().replace(day=1)
    midnight = datetime.combine(first, time.min, here)
    moments = [midnight - timedelta(minutes=10), midnight + timedelta(minutes=10)]
    events = [native_event(timestamp=moment.isoformat(), **OPUS) for moment in moments]
    client.post(
        "/api/v1/usage/events", events, content_type="application/json", headers=key.headers
    )
    roll_up(tenant.id)
    now = midnight + timedelta(hours=20)
    with tenant_scope(tenant.id):
        told = read_forecast({}, now=now, complete_through=now)
    assert (told.start, told.end) == (first, next_month(first))
    assert told.spent_usd == DAILY_USD
    assert len(told.days) == (told.end - told.start).days


def test_hours_that_have_not_come_in_are_not_taken_for_silence(
    tenant: TenantInfo, post_events: Post, today: date
) -> None:
    """The newest event is of yesterday at 22:00: what came after it is still expected."""
    evening = datetime.combine(today, time(22), UTC)
    moments = [evening - timedelta(days=n) for n in range(1, 61)]
    post_events([native_event(timestamp=at.isoformat(), **OPUS) for at in moments])
    with tenant_scope(tenant.id):
        soon = read_forecast({}, now=moments[0] + timedelta(hours=4))
        later = read_forecast({}, now=moments[0] + timedelta(hours=8))
    assert soon.complete_through == moments[0] + timedelta(minutes=30)
    assert later.complete_through == moments[0] + timedelta(hours=8)
    for told in (soon, later):
        ahead = [day.usd.p50_usd for day in told.days if not day.is_past]
        assert all(float(usd) == pytest.approx(float(DAILY_USD), rel=0.1) for usd in ahead)


def test_an_announced_event_is_in_the_forecast_of_what_it_is_about(
    tenant: TenantInfo, post_events: Post, today: date
) -> None:
    post_events(daily(60, until=today, customer="acme") + daily(60, until=today, customer="other"))
    now = datetime.combine(today, time(6), UTC)
    start, end = today + timedelta(days=1), today + timedelta(days=3)

    def told(**filters: str) -> Decimal:
        scope: Any = {name: (value,) for name, value in filters.items()}
        period = {"start": start, "end": end, "complete_through": now}
        return read_forecast(scope, now=now, **period).total.p50_usd

    with tenant_scope(tenant.id):
        plain = {name: told(**f) for name, f in SCOPES.items()}
        add_planned_event(
            name="Launch",
            starts_at=datetime.combine(start, time.min, UTC),
            ends_at=datetime.combine(end, time.min, UTC),
            scope={"customer": "acme"},
            expected_multiplier=Decimal(3),
            actor="ada",
            now=now,
        )
        announced = {name: told(**f) for name, f in SCOPES.items()}
        forecast = read_forecast({}, now=now, start=start, end=end, complete_through=now)
    ratio = {name: float(announced[name] / plain[name]) for name in plain}
    assert ratio["acme"] == pytest.approx(3, rel=0.01)
    assert ratio["other"] == pytest.approx(1, rel=0.01)
    assert ratio["all"] == pytest.approx(2, rel=0.02)
    assert [event.name for event in forecast.events] == ["Launch"]


SCOPES: dict[str, dict[str, str]] = {
    "all": {},
    "acme": {"customer": "acme"},
    "other": {"customer": "other"},
}


def test_a_rate_that_changes_next_week_is_in_the_forecast(
    tenant: TenantInfo, post_events: Post, today: date
) -> None:
    now = datetime.combine(today, time(6), UTC)
    change = datetime.combine(today + timedelta(days=4), time.min, UTC)
    with tenant_scope(tenant.id):
        for meter, price in (("input_tokens", 10), ("output_tokens", 10)):
            for price_usd, begins, ends in ((price, None, change), (price * 3, change, None)):
                add_rate(
                    provider="local",
                    model="house-model",
                    kind="cloud",
                    meter=meter,
                    price_usd_per_mtok=Decimal(price_usd),
                    effective_from=begins,
                    effective_to=ends,
                    actor="ada",
                    now=now,
                )
    events = [
        event | {"provider": "local", "model": "house-model"} for event in daily(60, until=today)
    ]
    post_events(events)
    with tenant_scope(tenant.id):
        period = {"start": today + timedelta(days=3), "end": today + timedelta(days=5)}
        told = read_forecast({}, now=now, complete_through=now, **period)
    before, after = told.days
    assert float(after.usd.p50_usd / before.usd.p50_usd) == pytest.approx(3, rel=0.02)
    assert change in told.price_changes_at


def test_a_discount_that_begins_is_known_beforehand(
    tenant: TenantInfo, post_events: Post, today: date
) -> None:
    now = datetime.combine(today, time(6), UTC)
    begins = datetime.combine(today + timedelta(days=4), time.min, UTC)
    post_events(daily(60, until=today))
    with tenant_scope(tenant.id):
        add_discount(
            provider="anthropic",
            percent=Decimal(20),
            effective_from=begins,
            actor="ada",
            now=now,
        )
        period = {"start": today + timedelta(days=3), "end": today + timedelta(days=5)}
        told = read_forecast({}, now=now, complete_through=now, **period)
    before, after = told.days
    assert float(after.usd.p50_usd / before.usd.p50_usd) == pytest.approx(0.8, rel=0.02)
    assert begins in told.price_changes_at


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [(0, 0, "to"), (0, 500, "to"), (300, 420, "to"), (-1200, -1190, "from")],
)
def test_a_period_nobody_can_be_told_about_names_what_is_wrong(
    tenant: TenantInfo, today: date, start: int, end: int, field: str
) -> None:
    with tenant_scope(tenant.id), pytest.raises(InvalidForecastPeriodError) as refused:
        read_forecast(
            {},
            now=datetime.now(UTC),
            start=today + timedelta(days=start),
            end=today + timedelta(days=end),
        )
    assert refused.value.field == field


def test_the_api_tells_it_as_decimal_strings(
    key: Key, client: Client, post_events: Post, today: date
) -> None:
    post_events(daily(30, until=today, customer="acme"))
    response = client.get("/api/v1/forecasts?customer=acme", headers=key.headers)
    assert response.status_code == 200
    told = response.json()
    assert told["spent_usd"] == "0" or Decimal(told["spent_usd"]) % DAILY_USD == 0
    low, middle, high = (Decimal(told["total"][f"p{n}_usd"]) for n in (10, 50, 90))
    assert Decimal(told["spent_usd"]) <= low <= middle <= high
    assert len(told["days"]) == (date.fromisoformat(told["end"]) - today.replace(day=1)).days
    assert {"day", "is_past", "p10_usd", "p50_usd", "p90_usd"} == told["days"][0].keys()


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("from=tomorrow", "invalid_time", "from"),
        ("from=2026-11-03&to=2026-11-01", "invalid_range", "to"),
        ("to=9999-12-31", "invalid_time", "to"),
        ("planet=mars", "unknown_parameter", "planet"),
        ("model=%00", "invalid_value", "model"),
    ],
)
def test_the_api_refuses_in_words(
    key: Key, client: Client, query: str, code: str, field: str
) -> None:
    response = client.get(f"/api/v1/forecasts?{query}", headers=key.headers)
    assert response.status_code == 422
    assert (response.json()["code"], response.json()["field"]) == (code, field)


def test_the_api_lists_what_is_announced(tenant: TenantInfo, key: Key, client: Client) -> None:
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        add_planned_event(
            name="Batch",
            starts_at=now,
            ends_at=now + timedelta(hours=2),
            scope={"project": None},
            expected_extra_usd=Decimal("12.50"),
            actor="ada",
            now=now,
        )
    (row,) = client.get("/api/v1/planned-events", headers=key.headers).json()["rows"]
    assert (row["name"], row["scope"]) == ("Batch", {"project": None})
    assert (row["expected_extra_usd"], row["expected_multiplier"]) == ("12.5", None)


def test_the_past_is_replayed_month_by_month(
    tenant: TenantInfo, post_events: Post, today: date
) -> None:
    post_events(daily(110, until=today))
    with tenant_scope(tenant.id):
        record = read_backtest({}, now=datetime.now(UTC))
    assert record.months >= 2
    assert {past.day for past in record.forecasts} == {5, 10, 20}
    for past in record.forecasts:
        assert past.actual_usd == DAILY_USD * (next_month(past.month) - past.month).days
        assert past.error is not None
        assert abs(past.error) < Decimal("0.05")
    assert all(past.is_inside for past in record.forecasts), record.forecasts


def test_a_tenant_without_a_past_has_no_record(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        record = read_backtest({}, now=datetime.now(UTC))
    assert record.months == 0
    assert [cut.error for cut in record.cuts] == [None] * 3
