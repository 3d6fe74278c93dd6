"""Rollups hold exactly what the ledger holds: under concurrency, crashes, zones and repair."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, connections

from apps.tenants.scoping import tenant_scope
from apps.usage.adapters.native import parse_native
from apps.usage.reconciliation import ROLLUPS
from apps.usage.selectors import SpendQuery, read_spend
from apps.usage.services import fold_pending, forget_old_minutes, ingest_events, reconcile_usage
from tests.conftest import Key, MakeTenant, make_key, native_event, roll_up

NOW = datetime.now(UTC)


def ingest(key: Key, events: list[dict[str, Any]]) -> None:
    outcome = ingest_events(key.identity, parse_native(json.dumps(events).encode()), now=NOW)
    assert outcome.accepted == len(events)


def event_at(moment: datetime, **fields: Any) -> dict[str, Any]:
    return native_event(timestamp=moment.isoformat(), **fields)


def test_folding_twice_adds_once(key: Key) -> None:
    ingest(key, [native_event() for _ in range(10)])
    assert fold_pending(key.identity.tenant_id, now=NOW) == 10
    assert fold_pending(key.identity.tenant_id, now=NOW) == 0
    assert reconcile_usage(key.identity.tenant_id, now=NOW).is_clean


def test_fold_that_dies_before_its_commit_leaves_everything_pending(key: Key) -> None:
    ingest(key, [native_event() for _ in range(3)])

    class Crash(Exception):
        pass

    def fold_and_crash() -> None:
        with tenant_scope(key.identity.tenant_id):
            assert fold_pending(key.identity.tenant_id, now=NOW) == 3
            raise Crash

    with pytest.raises(Crash):
        fold_and_crash()
    assert fold_pending(key.identity.tenant_id, now=NOW) == 3
    assert reconcile_usage(key.identity.tenant_id, now=NOW).is_clean


def test_many_folders_and_ingesters_at_once_lose_and_double_nothing(
    key: Key, django_db_blocker: Any
) -> None:
    def work(number: int) -> None:
        with django_db_blocker.unblock():
            try:
                if number % 2:
                    ingest(key, [native_event(customer=f"c{n % 3}") for n in range(20)])
                else:
                    fold_pending(key.identity.tenant_id, now=NOW)
            finally:
                connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    roll_up(key.identity.tenant_id)
    result = reconcile_usage(key.identity.tenant_id, now=NOW)
    assert (result.ledger_rows, result.pending_rows, result.drifts) == (400, 0, [])


def test_days_are_the_tenants_own(make_tenant: MakeTenant) -> None:
    zone = ZoneInfo("Asia/Kathmandu")  # UTC+5:45
    key = make_key(make_tenant(time_zone="Asia/Kathmandu").id)
    day = (NOW - timedelta(days=3)).astimezone(zone).replace(hour=0, minute=0, second=0)
    ingest(key, [event_at(day - timedelta(seconds=1)), event_at(day + timedelta(seconds=1))])
    roll_up(key.identity.tenant_id)
    midnight = day.replace(microsecond=0)
    with tenant_scope(key.identity.tenant_id):
        window = (midnight - timedelta(days=1), midnight + timedelta(days=1))
        daily = read_spend(SpendQuery(*window, interval="day")).rows
        hourly = read_spend(SpendQuery(*window, interval="hour")).rows
    assert [(row.bucket, row.requests) for row in daily] == [
        (midnight.date() - timedelta(days=1), 1),
        (midnight.date(), 1),
    ]
    assert [row.requests for row in hourly] == [1, 1]


def test_late_event_lands_in_its_own_day(key: Key) -> None:
    ingest(key, [event_at(NOW)])
    roll_up(key.identity.tenant_id)
    late = NOW - timedelta(days=40)
    ingest(key, [event_at(late)])
    roll_up(key.identity.tenant_id)
    with tenant_scope(key.identity.tenant_id):
        rows = read_spend(
            SpendQuery(NOW - timedelta(days=60), NOW + timedelta(days=1), interval="day")
        ).rows
    assert [row.bucket for row in rows] == [late.date(), NOW.date()]
    assert reconcile_usage(key.identity.tenant_id, now=NOW).is_clean


DAMAGE = [
    "UPDATE {} SET requests = requests + 1 WHERE tenant_id = %s",
    "UPDATE {} SET cost_usd = cost_usd + 0.01 WHERE tenant_id = %s",
    "DELETE FROM {} WHERE tenant_id = %s",
]


@pytest.mark.parametrize(
    "table",
    [
        "usage_rollup_minute",
        "usage_rollup_quarter_hour",
        "usage_rollup_day",
        "usage_rollup_month",
        "usage_rollup_quarter_hour_customer",
        "usage_rollup_day_work",
        "usage_rollup_month_customer_backend",
    ],
)
@pytest.mark.parametrize("damage", DAMAGE)
def test_reconcile_sees_and_repairs_damage(key: Key, table: str, damage: str) -> None:
    ingest(key, [native_event() for _ in range(4)])
    roll_up(key.identity.tenant_id)
    with connections["owner"].cursor() as cursor:
        cursor.execute(damage.format(table), [key.identity.tenant_id])
    found = reconcile_usage(key.identity.tenant_id, now=NOW, repair=True)
    assert {drift.table for drift in found.drifts} == {table}
    again = reconcile_usage(key.identity.tenant_id, now=NOW)
    assert again.is_clean
    assert again.ledger_cost_usd == Decimal("0.0009")


def test_what_pages_read_is_kept_with_the_rest_when_usage_comes_late(key: Key) -> None:
    """Every rollup holds every event; those of the same grain sum to the same."""
    for days in (0, 3, 45, 1):
        about = {"customer": f"c{days}", "department": f"d{days % 2}", "task": "rag"}
        ingest(key, [event_at(NOW - timedelta(days=days), **about) for _ in range(days + 1)])
        roll_up(key.identity.tenant_id)
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        for table in ROLLUPS:
            if table != "usage_rollup_minute":
                cursor.execute(f"SELECT sum(requests) FROM {table}")
                assert cursor.fetchone() == (1 + 4 + 46 + 2,), table
    assert reconcile_usage(key.identity.tenant_id, now=NOW).is_clean


def test_invented_rollup_is_removed_by_repair(key: Key) -> None:
    ingest(key, [native_event()])
    roll_up(key.identity.tenant_id)
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "UPDATE usage_rollup_day SET bucket = bucket - 5 WHERE tenant_id = %s",
            [key.identity.tenant_id],
        )
    found = reconcile_usage(key.identity.tenant_id, now=NOW, repair=True).drifts
    assert [one.table for one in found] == ["usage_rollup_day"] * 2
    assert reconcile_usage(key.identity.tenant_id, now=NOW).is_clean


def test_old_minutes_are_forgotten_and_nothing_else(
    key: Key, post_events: Callable[..., dict[str, Any]]
) -> None:
    post_events([native_event()])
    tenant_id = key.identity.tenant_id
    assert forget_old_minutes(tenant_id, now=NOW + timedelta(hours=50)) == 1
    assert reconcile_usage(tenant_id, now=NOW + timedelta(hours=50)).is_clean


def test_event_beyond_the_partitions_makes_its_own(key: Key) -> None:
    far = NOW + timedelta(days=200)
    event = native_event(timestamp=far.isoformat())
    parsed = parse_native(json.dumps([event]).encode())
    assert ingest_events(key.identity, parsed, now=far).accepted == 1
    roll_up(key.identity.tenant_id)
    assert reconcile_usage(key.identity.tenant_id, now=far).is_clean
