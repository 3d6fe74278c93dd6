"""Closing hours of own hardware, and what own hardware is said to have cost over HTTP."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.pricing.core.local_time import Interval
from apps.pricing.core.rating import MeteredUsage
from apps.pricing.core.sharing import exact_sum
from apps.pricing.hardware_pool import ChargingBasis
from apps.pricing.hardware_selectors import find_deployment, list_closed_hours, list_pools
from apps.pricing.hardware_services import end_part
from apps.pricing.selectors import current_rate_book
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage.hardware_costs import close_due_hours, close_hour
from apps.usage.hardware_provisional import refresh_provisional_rates
from apps.usage.selectors import SpendQuery, read_spend
from apps.usage.services import reconcile_usage
from tests.conftest import Key, native_event, roll_up
from tests.pricing.hardware.machine_room import BACKEND, WHO, add_machine_room

Post = Callable[..., dict[str, Any]]


def this_hour() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


HOURS_AGO = 3
START = this_hour() - timedelta(hours=HOURS_AGO)
HOUR = Interval(START, START + timedelta(hours=1))
NOW = this_hour() + timedelta(minutes=30)
DAY_START = START.replace(hour=0)


def local_event(input_tokens: int, output_tokens: int, minute: int = 5, **more: Any) -> Any:
    return native_event(
        provider="local",
        model="llama-3-70b",
        usage={"input_tokens": input_tokens, "output_tokens": output_tokens},
        timestamp=(START + timedelta(minutes=minute)).isoformat(),
        **more,
    )


def open_room(tenant: TenantInfo, basis: ChargingBasis) -> None:
    """From three hours ago on there is little before to close: the room opens on that day."""
    add_machine_room(tenant.id, basis=basis, zone="UTC", starts_on=START.date())


def spent(tenant: TenantInfo) -> Decimal:
    roll_up(tenant.id)
    with tenant_scope(tenant.id):
        query = SpendQuery(start=HOUR.starts_at, end=HOUR.ends_at, filters={"backend": (BACKEND,)})
        total = read_spend(query).total
    assert total.unpriced_requests == 0
    return total.cost_usd


def adjustments(tenant: TenantInfo) -> int:
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_ledger WHERE kind = 1")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("basis", ["allocated", "usage"])
def test_charges_of_a_closed_hour_add_up_to_what_it_cost(
    tenant: TenantInfo, post_events: Post, basis: ChargingBasis
) -> None:
    open_room(tenant, basis)
    post_events([local_event(1_800_000, 540_000), local_event(1_800_000, 0, minute=55)])
    before = spent(tenant)
    closing = close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    assert closing is not None
    assert closing.adjusted == 2
    share = Decimal(1) if basis == "allocated" else Decimal("0.25")
    assert abs(closing.charged_usd - closing.total_usd * share) <= Decimal("1e-24")
    assert spent(tenant) == closing.charged_usd == before + closing.change_usd
    assert not reconcile_usage(tenant.id, now=NOW).drifts


def test_closing_again_posts_nothing_and_late_usage_what_it_changes(
    tenant: TenantInfo, post_events: Post
) -> None:
    open_room(tenant, "allocated")
    post_events([local_event(3_600_000, 0)])
    first = close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    again = close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    assert first is not None
    assert again is not None
    assert (again.adjusted, again.change_usd) == (0, 0)
    post_events([local_event(3_600_000, 0, minute=20)])
    late = close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    assert late is not None
    assert late.adjusted == 2
    # More load draws more power: the hour costs more, and both halves of it the same.
    assert late.total_usd > first.total_usd
    assert spent(tenant) == late.total_usd
    with tenant_scope(tenant.id):
        found = find_deployment(list_pools(), BACKEND, START.date())
        assert found is not None
        (closed,) = list_closed_hours(found[1].backend_id, HOUR.starts_at, HOUR.ends_at)
    assert closed.closings == 3
    assert exact_sum(closed.lines.values()) == closed.total_usd == late.total_usd


def test_due_hours_are_closed_once_each_and_found_again_when_something_changes(
    tenant: TenantInfo, post_events: Post
) -> None:
    open_room(tenant, "usage")
    post_events([local_event(3_600_000, 0), local_event(100, 100, minute=70)])
    hours = (NOW - DAY_START) // timedelta(hours=1)
    made = close_due_hours(tenant.id, now=NOW)
    assert len(made) == hours
    assert sum(closing.adjusted for closing in made) == 2
    assert close_due_hours(tenant.id, now=NOW) == []
    roll_up(tenant.id)
    assert close_due_hours(tenant.id, now=NOW) == []
    post_events([local_event(200, 200, minute=30)])
    assert [closing.hour for closing in close_due_hours(tenant.id, now=NOW)] == [HOUR]
    roll_up(tenant.id)
    assert close_due_hours(tenant.id, now=NOW) == []


def test_hours_on_their_way_to_the_rollups_wait(tenant: TenantInfo, post_events: Post) -> None:
    open_room(tenant, "allocated")
    post_events([local_event(3_600_000, 0)])
    close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    # The adjustment is not folded yet: the rollup still says the provisional cost.
    assert HOUR not in [closing.hour for closing in close_due_hours(tenant.id, now=NOW)]


def test_two_workers_close_an_hour_once(tenant: TenantInfo, post_events: Post) -> None:
    open_room(tenant, "allocated")
    post_events([local_event(1000, 100, minute=n % 60) for n in range(40)])

    def close(_: int) -> int:
        try:
            closing = close_hour(tenant.id, BACKEND, HOUR, now=NOW)
            return closing.adjusted if closing else -1
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        adjusted = sorted(pool.map(close, range(4)))
    assert adjusted == [0, 0, 0, 40]
    assert adjustments(tenant) == 40


def test_a_crash_before_the_commit_leaves_no_trace(
    tenant: TenantInfo, post_events: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_room(tenant, "allocated")
    post_events([local_event(1000, 100)])
    before = spent(tenant)
    with monkeypatch.context() as patch:
        patch.setattr("apps.usage.hardware_costs._sum", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    assert (adjustments(tenant), spent(tenant)) == (0, before)
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pricing_hardwareclosedhour")
        assert cursor.fetchone() == (0,)
    assert close_hour(tenant.id, BACKEND, HOUR, now=NOW) is not None


def test_measured_energy_stands_over_nameplate(tenant: TenantInfo, post_events: Post) -> None:
    open_room(tenant, "usage")
    post_events([local_event(3_600_000, 0, energy_wh="500")])
    closing = close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    assert closing is not None
    with tenant_scope(tenant.id):
        found = find_deployment(list_pools(), BACKEND, START.date())
        assert found is not None
        (closed,) = list_closed_hours(found[1].backend_id, HOUR.starts_at, HOUR.ends_at)
    # 500 Wh of requests, and 300 W idle for the nine tenths between them; PUE 1.3, 0.24 a kWh.
    expected = Decimal("1.3") * Decimal("0.24") * (Decimal("0.5") + Decimal("0.3") * Decimal("0.9"))
    assert closed.lines["electricity"] == expected


def test_what_is_charged_by_rates_is_left_alone(tenant: TenantInfo, post_events: Post) -> None:
    open_room(tenant, "rates")
    post_events([local_event(1_000_000, 0)])
    assert close_due_hours(tenant.id, now=NOW) == []
    assert close_hour(tenant.id, BACKEND, HOUR, now=NOW) is None
    assert spent(tenant) == Decimal("0.1")


def test_an_hour_whose_cost_is_not_known_stays_open(tenant: TenantInfo, post_events: Post) -> None:
    open_room(tenant, "allocated")
    with tenant_scope(tenant.id):
        (pool,) = list_pools()
        tomorrow = START.date() + timedelta(days=1)
        end_part(kind="tariff", part_id=pool.tariffs[0].id, ends_before=tomorrow, **WHO)
    later = Interval(HOUR.starts_at + timedelta(days=1), HOUR.ends_at + timedelta(days=1))
    with pytest.raises(LookupError, match="no electricity price"):
        close_hour(tenant.id, BACKEND, later, now=NOW + timedelta(days=1))


def test_a_running_hour_is_not_closed(tenant: TenantInfo) -> None:
    open_room(tenant, "allocated")
    with pytest.raises(ValueError, match="is not over"):
        close_hour(tenant.id, BACKEND, HOUR, now=HOUR.starts_at)


def test_the_api_shows_hours_line_by_line(
    tenant: TenantInfo, key: Key, client: Client, post_events: Post
) -> None:
    open_room(tenant, "allocated")
    post_events([local_event(3_600_000, 540_000)])
    close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    answer = client.get(
        "/api/v1/hardware/costs",
        {"backend": BACKEND, "from": START.isoformat(), "to": HOUR.ends_at.isoformat()},
        headers=key.headers,
    ).json()
    (row,) = answer["rows"]
    kinds = ("depreciation", "interest", "electricity", "maintenance", "hosting", "staff")
    assert exact_sum(Decimal(row[f"{kind}_usd"]) for kind in kinds) == Decimal(row["total_usd"])
    assert (row["state"], row["basis"], row["utilisation"]) == ("closed", "allocated", "0.25")
    allocated, usage = (row[f"{basis}_usd_per_mtok"] for basis in ("allocated", "usage"))
    assert Decimal(allocated["output"]) / Decimal(allocated["input"]) == pytest.approx(10)
    assert Decimal(allocated["output"]) / Decimal(usage["output"]) == pytest.approx(4)
    assert Decimal(row["used_usd"]) + Decimal(row["idle_usd"]) == Decimal(row["total_usd"])


def test_a_day_is_the_sum_of_its_hours(
    tenant: TenantInfo, key: Key, client: Client, post_events: Post
) -> None:
    open_room(tenant, "rates")
    post_events([local_event(3_600_000, 540_000)])
    span = {"from": DAY_START.date().isoformat()}
    hours, days = (
        client.get(
            "/api/v1/hardware/costs", span | {"interval": interval}, headers=key.headers
        ).json()["rows"]
        for interval in ("hour", "day")
    )
    by_day = {row["bucket"]: row for row in days}
    day = by_day[START.date().isoformat()]
    mine = [row for row in hours if row["bucket"].startswith(day["bucket"])]
    assert day["hours"] == len(mine)
    assert exact_sum(Decimal(row["total_usd"]) for row in mine) == Decimal(day["total_usd"])
    assert sum(row["output_tokens"] for row in mine) == day["output_tokens"] == 540_000


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({"backend": "local/nobody"}, 404, "backend"),
        ({"interval": "week"}, 422, "interval"),
        ({"from": "yesterday"}, 422, "from"),
        ({"from": "2026-01-01", "to": "2026-06-01"}, 422, "to"),
        ({"from": "2026-02-01", "to": "2026-01-01"}, 422, "to"),
        ({"bakend": "x"}, 422, "bakend"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    key: Key, client: Client, query: dict[str, str], status: int, field: str
) -> None:
    answer = client.get("/api/v1/hardware/costs", query, headers=key.headers)
    assert (answer.status_code, answer.json()["field"]) == (status, field)


def test_the_api_compares_with_every_cloud_model(
    tenant: TenantInfo, key: Key, client: Client, post_events: Post
) -> None:
    add_machine_room(tenant.id, zone="UTC", starts_on=date(2026, 1, 1))
    post_events(
        [
            local_event(3_000_000, 1_000_000),
            native_event(),
            native_event(provider="anthropic", model="claude-3-opus-20240229"),
            native_event(provider="nobody", model="unheard-of-1"),
        ]
    )
    (row,) = client.get("/api/v1/hardware/comparison", headers=key.headers).json()["rows"]
    assert row["backend"] == BACKEND
    assert row["outlay_usd"] == "24000"
    mini, opus, unpriced = row["clouds"]
    # Three read for one written: 0.15 and 0.60, 15 and 75 USD a million.
    assert (mini["usd_per_mtok"], opus["usd_per_mtok"]) == ("0.2625", "30")
    assert unpriced["usd_per_mtok"] is None
    for cloud in (mini, opus):
        found = cloud["break_even_utilisation"]
        if found is None:
            assert cloud["break_even_never"]
            continue
        # At the break-even the curve crosses the cloud's price.
        points = [(Decimal(p["utilisation"]), Decimal(p["usd_per_mtok"])) for p in row["curve"]]
        for utilisation, usd in points:
            assert (usd < Decimal(cloud["usd_per_mtok"])) == (utilisation > Decimal(found))
    assert (opus["payback_month"] is None) == (opus["payback_never"] is not None)


def test_running_hours_are_charged_provisionally_by_what_hours_came_to(
    tenant: TenantInfo, post_events: Post
) -> None:
    open_room(tenant, "allocated")
    post_events([local_event(1_800_000, 540_000)])
    closing = close_hour(tenant.id, BACKEND, HOUR, now=NOW)
    assert closing is not None
    assert refresh_provisional_rates(tenant.id, now=NOW) == 3
    assert refresh_provisional_rates(tenant.id, now=NOW) == 0
    with tenant_scope(tenant.id):
        found = current_rate_book().resolve("local", "llama-3-70b")
        assert found.card is not None
        cost_usd = found.card.cost(MeteredUsage(1_800_000, 0, 0, 0, 540_000, 0), NOW)
        before_usd = found.card.cost(MeteredUsage(1_000_000), HOUR.starts_at)
    # The same hour again would be charged what this one came to; what was charged, stays.
    assert cost_usd is not None
    assert abs(cost_usd - closing.charged_usd) < Decimal("1e-9")
    assert before_usd == Decimal("0.1")


def test_people_s_own_rates_are_left_alone_where_they_charge(tenant: TenantInfo) -> None:
    open_room(tenant, "rates")
    assert refresh_provisional_rates(tenant.id, now=NOW) == 0
