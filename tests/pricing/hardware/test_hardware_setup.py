"""Own hardware as people state it: what is kept, what is refused, and by whom."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import DatabaseError, connection, transaction

from apps.pricing.core.allocation import Throughput, TokenCounts
from apps.pricing.core.local_time import Interval
from apps.pricing.core.sharing import exact_sum
from apps.pricing.core.tco import Activity, hour_cost
from apps.pricing.errors import HardwareError
from apps.pricing.hardware_closing import record_closed_hour
from apps.pricing.hardware_pool import HourActivity, PoolInfo, describe_hour, plan_local_month
from apps.pricing.hardware_selectors import find_deployment, list_pools
from apps.pricing.hardware_services import (
    add_asset,
    add_node,
    add_pool,
    add_running_cost,
    deploy_backend,
    end_part,
    set_tariff,
)
from apps.tenants.models import AuditEntry
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant
from tests.pricing.hardware.machine_room import (
    BACKEND,
    JANUARY,
    THROUGHPUT,
    WHO,
    add_local_rates,
    add_machine_room,
)
from tests.pricing.tco.hardware import HARDWARE

BERLIN = ZoneInfo("Europe/Berlin")
MAY = date(2026, 5, 4)
TEN = datetime(2026, 5, 4, 10, tzinfo=BERLIN)
HOUR = Interval(TEN, TEN + timedelta(hours=1))
QUARTER_LOAD = TokenCounts(3_600_000, 0, 540_000)


@pytest.fixture
def berlin(make_tenant: MakeTenant) -> Iterator[TenantInfo]:
    """A tenant in scope."""
    tenant = make_tenant(time_zone="Europe/Berlin")
    with tenant_scope(tenant.id):
        yield tenant


@pytest.fixture
def pool_id(berlin: TenantInfo) -> int:
    return add_machine_room(berlin.id)


def only_pool() -> PoolInfo:
    (pool,) = list_pools()
    return pool


def an_asset(**changes: Any) -> dict[str, Any]:
    return {
        "name": "second server",
        "purchase_price_usd": Decimal(1000),
        "salvage_value_usd": Decimal(0),
        "in_service": MAY,
        "life_months": 36,
        **WHO,
    } | changes


def test_what_is_stated_costs_what_the_page_says(pool_id: int) -> None:
    found = find_deployment(list_pools(), BACKEND, MAY)
    assert found is not None
    described = describe_hour(*found, HOUR, HourActivity(QUARTER_LOAD))
    assert str(described.cost.total_usd) == "1.981544623655913978494623"
    assert described.cost == hour_cost(HARDWARE, HOUR, Activity(described_load()))
    assert str(described.costs.utilisation.normalize()) == "0.25"
    assert described.costs.allocated is not None
    times = (
        described.costs.allocated.output_usd_per_mtok / described.costs.usage.output_usd_per_mtok
    )
    assert round(times, 12) == 4


def described_load() -> Any:
    return THROUGHPUT.seconds(QUARTER_LOAD) / 3600


def test_backends_that_share_a_pool_bear_all_of_it_and_each_its_own_load(
    berlin: TenantInfo, pool_id: int
) -> None:
    add_local_rates("qwen3-32b")
    split = date(2026, 5, 1)
    for backend, share in ((BACKEND, "0.75"), ("local/qwen3-32b", "0.25")):
        deploy_backend(
            pool_id=pool_id,
            backend=backend,
            starts_on=split,
            throughput=THROUGHPUT,
            pool_share=Decimal(share),
            **WHO,
        )
    pool = only_pool()
    busy, idle = pool.deployments_on(MAY)
    parts = [
        describe_hour(pool, busy, HOUR, HourActivity(QUARTER_LOAD)),
        describe_hour(pool, idle, HOUR, HourActivity()),
    ]
    whole = hour_cost(HARDWARE, HOUR, Activity(described_load() * 3 / 4))
    together = exact_sum(part.cost.total_usd for part in parts)
    assert abs(together - whole.total_usd) <= Decimal("1e-23")
    assert parts[1].costs.allocated is None


def test_a_pool_is_not_given_out_twice(berlin: TenantInfo, pool_id: int) -> None:
    add_local_rates("qwen3-32b")
    with pytest.raises(HardwareError, match="more than all of it") as refused:
        deploy_backend(
            pool_id=pool_id,
            backend="local/qwen3-32b",
            starts_on=date(2027, 1, 1),
            throughput=THROUGHPUT,
            pool_share=Decimal("0.1"),
            **WHO,
        )
    assert refused.value.field == "pool_share"
    assert len(only_pool().deployments) == 1


def test_a_change_is_a_new_row_and_what_was_stays_readable(pool_id: int) -> None:
    set_tariff(pool_id=pool_id, usd_per_kwh=Decimal("0.48"), starts_on=MAY, **WHO)
    pool = only_pool()
    first, second = pool.tariffs
    assert first.price.in_force.ends_before == second.price.in_force.starts_on == MAY
    before = pool.hardware_on(date(2026, 5, 3)).power
    after = pool.hardware_on(MAY).power
    assert before is not None
    assert after is not None
    assert (before.pue, after.pue) == (Decimal("1.3"), 1)


def test_a_backend_moves_from_a_day_on(pool_id: int) -> None:
    faster = Throughput(Decimal(20_000), Decimal(2_000))
    deploy_backend(
        pool_id=pool_id, backend=BACKEND, starts_on=MAY, throughput=faster, basis="usage", **WHO
    )
    pools = list_pools()
    was, now = (
        find_deployment(pools, BACKEND, date(2026, 5, 3)),
        find_deployment(pools, BACKEND, MAY),
    )
    assert was is not None
    assert now is not None
    assert (was[1].basis, now[1].basis) == ("rates", "usage")
    assert now[1].throughput == faster


def test_an_ended_part_bears_nothing_from_that_day_on(pool_id: int) -> None:
    pool = only_pool()
    end_part(kind="asset", part_id=pool.assets[0].id, ends_before=MAY, **WHO)
    end_part(kind="node", part_id=pool.nodes[0].id, ends_before=MAY, **WHO)
    pool = only_pool()
    cost = describe_hour(pool, pool.deployments[0], HOUR, HourActivity()).cost
    assert [line.kind.value for line in cost.lines] == ["maintenance", "hosting", "staff"]
    with pytest.raises(HardwareError, match="has ended before 2026-05-04 already"):
        end_part(kind="asset", part_id=pool.assets[0].id, ends_before=date(2027, 1, 1), **WHO)


def test_power_without_a_price_is_an_error_and_not_free(berlin: TenantInfo) -> None:
    add_local_rates()
    pool_id = add_pool(name="dark", time_zone="Europe/Berlin", **WHO)
    add_node(
        pool_id=pool_id,
        name="gpu",
        count=2,
        gpus=8,
        idle_watts=Decimal(100),
        load_watts=Decimal(700),
        starts_on=JANUARY,
        **WHO,
    )
    deploy_backend(
        pool_id=pool_id, backend=BACKEND, starts_on=JANUARY, throughput=THROUGHPUT, **WHO
    )
    pool = only_pool()
    assert pool.gpus_on(MAY) == 16
    with pytest.raises(LookupError, match="no electricity price"):
        describe_hour(pool, pool.deployments[0], HOUR, HourActivity())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"salvage_value_usd": Decimal(2000)}, "salvage 2000 USD is not from 0 to the price"),
        ({"purchase_price_usd": Decimal("0.001")}, "more than 2 decimals"),
        ({"life_months": 0}, "life 0 months"),
        ({"method": "by_feeling"}, "by_feeling"),
        ({"method": "units_of_production"}, "lifetime tokens None"),
        ({"name": " "}, "1 to 100 characters"),
        ({"name": "server"}, "an asset called 'server' already"),
        ({"pool_id": 0}, "there is no hardware pool 0"),
    ],
)
def test_an_asset_that_cannot_be_is_refused_in_a_sentence(
    pool_id: int, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(HardwareError, match=told):
        add_asset(**({"pool_id": pool_id} | an_asset(**changes)))
    assert len(only_pool().assets) == 1


@pytest.mark.parametrize(
    "state",
    [
        lambda pool: add_node(
            pool_id=pool,
            name="n",
            count=1,
            gpus=0,
            idle_watts=Decimal(9),
            load_watts=Decimal(5),
            starts_on=MAY,
            **WHO,
        ),
        lambda pool: set_tariff(
            pool_id=pool, usd_per_kwh=Decimal(1), pue=Decimal("0.9"), starts_on=MAY, **WHO
        ),
        lambda pool: set_tariff(pool_id=pool, usd_per_kwh=Decimal(-1), starts_on=MAY, **WHO),
        lambda pool: set_tariff(pool_id=pool, usd_per_kwh=Decimal(1), starts_on=JANUARY, **WHO),
        lambda pool: set_tariff(
            pool_id=pool,
            usd_per_kwh=Decimal(1),
            windows=[{"usd_per_kwh": "x", "starts": "07:00", "ends": "20:00"}],
            starts_on=MAY,
            **WHO,
        ),
        lambda pool: add_running_cost(
            pool_id=pool, kind="bribes", name="x", usd_per_month=Decimal(1), starts_on=MAY, **WHO
        ),
        lambda pool: deploy_backend(
            pool_id=pool, backend="openai/gpt-5", starts_on=MAY, throughput=THROUGHPUT, **WHO
        ),
        lambda pool: add_pool(name="rack", time_zone="Europe/Berlin", **WHO),
        lambda pool: add_pool(name="rack 2", time_zone="Mars/Olympus", **WHO),
    ],
)
def test_what_cannot_be_is_refused(pool_id: int, state: Callable[[int], Any]) -> None:
    before = only_pool()
    with pytest.raises(HardwareError):
        state(pool_id)
    assert only_pool() == before


def test_nothing_changes_an_hour_that_has_been_charged(pool_id: int) -> None:
    pool = only_pool()
    record_closed_hour(
        backend_id=pool.deployments[0].backend_id,
        hour=HOUR,
        basis="allocated",
        tokens=QUARTER_LOAD,
        total_usd=Decimal(2),
        charged_usd=Decimal(2),
        lines={},
        now=WHO["now"],
    )
    for change in (
        lambda day: add_asset(pool_id=pool_id, **an_asset(in_service=day)),
        lambda day: set_tariff(pool_id=pool_id, usd_per_kwh=Decimal(1), starts_on=day, **WHO),
        lambda day: end_part(kind="node", part_id=pool.nodes[0].id, ends_before=day, **WHO),
    ):
        with pytest.raises(HardwareError, match="closed up to 2026-05-04 11:00"):
            change(MAY)
        change(date(2026, 5, 5))


def test_every_change_is_in_the_audit_trail(pool_id: int) -> None:
    end_part(kind="running_cost", part_id=only_pool().running_costs[0].id, ends_before=MAY, **WHO)
    actions = list(
        AuditEntry.objects.filter(action__startswith="hardware.").values_list("action", flat=True)
    )
    assert sorted(set(actions)) == [
        "hardware.asset_added",
        "hardware.deployment_added",
        "hardware.node_added",
        "hardware.pool_added",
        "hardware.running_cost_added",
        "hardware.running_cost_ended",
        "hardware.tariff_added",
    ]
    assert len(actions) == 9


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE pricing_hardwareasset SET purchase_price_usd = 1",
        "DELETE FROM pricing_hardwarenode",
        "INSERT INTO pricing_hardwaretariff (tenant_id, pool_id, starts_on, created_at,"
        " usd_per_kwh, windows, pue) SELECT tenant_id, pool_id, starts_on, now(), 1, '[]', 1"
        " FROM pricing_hardwaretariff",
        "UPDATE pricing_hardwarerunningcost SET ends_before = starts_on",
    ],
)
def test_the_database_refuses_it_too(pool_id: int, statement: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_no_wall_has_a_hole(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    pool_id = add_machine_room(mine.id)
    with tenant_scope(theirs.id):
        assert list_pools() == []
        with pytest.raises(HardwareError, match="there is no hardware pool"):
            add_asset(pool_id=pool_id, **an_asset())
        with connection.cursor() as cursor:
            for part in ("pool", "asset", "node", "tariff", "runningcost", "deployment"):
                cursor.execute(f"SELECT count(*) FROM pricing_hardware{part}")
                assert cursor.fetchone() == (0,)


def test_a_plan_is_of_a_whole_month_as_things_stand(pool_id: int) -> None:
    pool = only_pool()
    month = plan_local_month(pool, pool.deployments[0], MAY, TokenCounts(3, 0, 1))
    assert month.hours == 744
    set_tariff(
        pool_id=pool_id, usd_per_kwh=Decimal("0.24"), pue=Decimal("1.3"), starts_on=MAY, **WHO
    )
    assert plan_local_month(only_pool(), pool.deployments[0], MAY, TokenCounts(3, 0, 1)) == month
