"""The demo company's own hardware: one server that both local backends share."""

from datetime import date, datetime, timedelta
from decimal import Decimal

from apps.pricing.core.allocation import Throughput
from apps.pricing.core.depreciation import Loan
from apps.pricing.hardware_selectors import list_pools
from apps.pricing.hardware_services import (
    add_asset,
    add_node,
    add_pool,
    add_running_cost,
    deploy_backend,
    set_tariff,
)
from costboard.demo import company

DAYS_IN_SERVICE = 210
# Backend, part of the GPUs, tokens a second it reads and writes there.
DEPLOYED = (
    ("local/llama-3-70b", "0.75", 2_400, 260),
    ("local/qwen3-32b", "0.25", 1_800, 240),
)
RUNNING_COSTS = (
    ("maintenance", "support contract", "90", "1"),
    ("hosting", "half a rack", "180", "1"),
    ("staff", "operations engineer", "8000", "0.05"),
)
DAY_PRICE = {"usd_per_kwh": "0.31", "starts": "07:00", "ends": "20:00", "days": "weekdays"}


def ensure_hardware(actor: str, now: datetime) -> None:
    """Describe the server in the tenant in scope, unless that has been done."""
    if list_pools():
        return
    since: date = (now - timedelta(days=DAYS_IN_SERVICE)).date().replace(day=1)
    pool_id = add_pool(
        name="Frankfurt, rack 7", time_zone=company.TENANT_TIME_ZONE, actor=actor, now=now
    )
    add_asset(
        pool_id=pool_id,
        name="8 × L4 server",
        purchase_price_usd=Decimal(31_000),
        salvage_value_usd=Decimal(3_000),
        in_service=since,
        life_months=48,
        loan=Loan(Decimal(20_000), Decimal("0.055"), 36),
        actor=actor,
        now=now,
    )
    add_node(
        pool_id=pool_id,
        name="l4-host-1",
        count=1,
        gpus=8,
        idle_watts=Decimal(260),
        load_watts=Decimal(1_150),
        starts_on=since,
        actor=actor,
        now=now,
    )
    set_tariff(
        pool_id=pool_id,
        usd_per_kwh=Decimal("0.22"),
        windows=[DAY_PRICE],
        pue=Decimal("1.3"),
        starts_on=since,
        actor=actor,
        now=now,
    )
    _add_running_costs(pool_id, since, actor, now)
    _deploy(pool_id, since, actor, now)


def _add_running_costs(pool_id: int, since: date, actor: str, now: datetime) -> None:
    for kind, name, usd_per_month, share in RUNNING_COSTS:
        add_running_cost(
            pool_id=pool_id,
            kind=kind,
            name=name,
            usd_per_month=Decimal(usd_per_month),
            share=Decimal(share),
            starts_on=since,
            actor=actor,
            now=now,
        )


def _deploy(pool_id: int, since: date, actor: str, now: datetime) -> None:
    for backend, share, reads, writes in DEPLOYED:
        deploy_backend(
            pool_id=pool_id,
            backend=backend,
            starts_on=since,
            # A cached token is read from memory: a tenth of the time of one that is computed.
            throughput=Throughput(Decimal(reads), Decimal(writes), Decimal("0.1")),
            pool_share=Decimal(share),
            actor=actor,
            now=now,
        )
