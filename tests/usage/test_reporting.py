"""Spend in the tenant's own currency: each of its own local days at that day's rate."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args

from django.test import Client

from apps.tenants.exchange import set_rate
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.usage.reporting import read_month_average, read_reported, read_reporting
from apps.usage.selectors import Interval, SpendQuery, read_spend
from tests.conftest import Key, MakeTenant, make_key, native_event, roll_up

EVENT_USD = Decimal("0.000225")


def test_a_day_is_the_tenants_and_so_is_its_rate(make_tenant: MakeTenant) -> None:
    tenant = make_tenant(time_zone="Asia/Kathmandu")
    key = make_key(tenant.id)
    now = datetime.now(UTC)
    # 18:30 UTC is 00:15 of the next day in Kathmandu.
    evening = (now - timedelta(days=3)).replace(hour=18, minute=0, second=0, microsecond=0)
    moments = [evening, evening + timedelta(minutes=30)]
    _post(key, [native_event(timestamp=moment.isoformat()) for moment in moments])
    first, second = (tenant.local_date(moment) for moment in moments)
    assert second == first + timedelta(days=1)
    query = SpendQuery(start=evening - timedelta(hours=6), end=evening + timedelta(hours=12))
    with tenant_scope(tenant.id):
        assert read_reporting(query) is None
        change_tenant(name="Acme", currency="EUR", country="", actor="olga", now=now)
        unrated = read_reporting(query)
        assert unrated is not None
        assert (unrated.amount, unrated.unrated_days) == (None, (first, second))
        set_rate(day=first, per_usd=Decimal("0.5"), actor="olga", now=now)
        set_rate(day=second, per_usd=Decimal("0.25"), actor="olga", now=now)
        found = read_reporting(query)
        assert found is not None
        assert (found.usd, found.amount) == (2 * EVENT_USD, EVENT_USD * Decimal("0.75"))
        # A statement has no days: the average of both, each weighed by what it cost.
        statement = read_month_average(query.start, query.end, Decimal(8))
        assert statement is not None
        assert statement.amount == Decimal(3)
    answer = _spend(key, query, reporting="true")
    assert answer["total"]["cost_usd"] == "0.00045"
    assert answer["reporting"] == {
        "currency": "EUR",
        "amount": "0.00016875",
        "unrated_days": [],
    }
    assert "reporting" not in _spend(key, query)


def test_rows_are_summed_by_each_days_own_rate(make_tenant: MakeTenant) -> None:
    """Whatever they are cut into; a day without a rate makes its own sums unknown, no others."""
    tenant = make_tenant(time_zone="America/New_York")
    key = make_key(tenant.id)
    now = datetime.now(UTC)
    # Two months, so that days, weeks and months hold other days.
    moments = [now - timedelta(days=n) for n in (1, 2, 35, 36)]
    _post(
        key,
        [
            native_event(timestamp=moment.isoformat(), customer=customer)
            for moment in moments
            for customer in ("acme", "bolt")
        ],
    )
    days = [tenant.local_date(moment) for moment in moments]
    query = SpendQuery(start=now - timedelta(days=40), end=now, group_by=("customer",))
    with tenant_scope(tenant.id):
        assert {row.reported for row in read_reported(query)} == {None}
        change_tenant(name="Acme", currency="EUR", country="", actor="olga", now=now)
        for n, day in enumerate(days):
            set_rate(day=day, per_usd=Decimal(n + 1), actor="olga", now=now)
        plain = {row.labels["customer"]: row for row in read_spend(query).rows}
        whole = {row.labels["customer"]: row for row in read_reported(query)}
        assert {name: row.reported for name, row in whole.items()} == {
            "acme": EVENT_USD * 10,
            "bolt": EVENT_USD * 10,
        }
        in_usd = {n: replace(r, reported=None, reported_revenue=None) for n, r in whole.items()}
        assert in_usd == plain
        for interval in get_args(Interval):
            cut = replace(query, interval=interval)
            if interval == "minute":
                continue
            rows = read_reported(cut)
            assert sum(row.reported or 0 for row in rows) == EVENT_USD * 20
            assert {(r.bucket, r.cost_usd) for r in rows} == {
                (r.bucket, r.cost_usd) for r in read_spend(cut).rows
            }
        unrated = replace(query, start=now - timedelta(days=60), interval="day")
        _post(key, [native_event(timestamp=(now - timedelta(days=55)).isoformat())])
        known = {row.bucket: row.reported for row in read_reported(unrated)}
        assert known.pop(tenant.local_date(now - timedelta(days=55))) is None
        assert None not in known.values()


def _post(key: Key, events: list[dict[str, Any]]) -> None:
    answer = Client().post(
        "/api/v1/usage/events",
        json.dumps(events),
        content_type="application/json",
        headers=key.headers,
    )
    assert answer.status_code == 200, answer.content
    assert answer.json()["accepted"] == len(events)
    roll_up(key.identity.tenant_id)


def _spend(key: Key, query: SpendQuery, **more: str) -> dict[str, Any]:
    span = {"from": query.start.isoformat(), "to": query.end.isoformat()}
    answer = Client().get("/api/v1/spend", span | more, headers=key.headers)
    assert answer.status_code == 200, answer.content
    return dict(answer.json())
