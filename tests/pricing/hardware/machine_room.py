"""A tenant's machine room for the tests: the hardware of docs/hardware.md, by services."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from apps.pricing.core.allocation import Throughput
from apps.pricing.core.depreciation import Loan
from apps.pricing.hardware_pool import ChargingBasis
from apps.pricing.hardware_services import (
    add_asset,
    add_node,
    add_pool,
    add_running_cost,
    deploy_backend,
    set_tariff,
)
from apps.pricing.services import add_rate
from apps.tenants.scoping import tenant_scope

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WHO: dict[str, Any] = {"actor": "test", "now": NOW}
JANUARY = date(2026, 1, 1)
BACKEND = "local/llama-3-70b"
RUNNING_COSTS = (
    ("maintenance", "support contract", 120, "1"),
    ("hosting", "rack", 250, "1"),
    ("staff", "engineer", 8000, "0.05"),
)
THROUGHPUT = Throughput(Decimal(10_000), Decimal(1_000))


def add_local_rates(model: str = "llama-3-70b", price: str = "0.10") -> None:
    """Own rates: they make the backend known, and price it until an hour is closed."""
    for meter in ("input_tokens", "output_tokens"):
        add_rate(
            provider="local",
            model=model,
            kind="local",
            meter=meter,
            price_usd_per_mtok=Decimal(price),
            effective_from=None,
            **WHO,
        )


def add_machine_room(
    tenant_id: int,
    *,
    basis: ChargingBasis = "rates",
    zone: str = "Europe/Berlin",
    starts_on: date = JANUARY,
) -> int:
    """The server of docs/hardware.md, serving one local backend; returns the pool's id."""
    with tenant_scope(tenant_id):
        add_local_rates()
        pool_id = add_pool(name="rack", time_zone=zone, **WHO)
        add_asset(
            pool_id=pool_id,
            name="server",
            purchase_price_usd=Decimal(24000),
            salvage_value_usd=Decimal(4000),
            in_service=starts_on,
            life_months=48,
            loan=Loan(Decimal(24000), Decimal("0.06"), 36),
            **WHO,
        )
        add_node(
            pool_id=pool_id,
            name="gpu",
            count=1,
            gpus=8,
            idle_watts=Decimal(300),
            load_watts=Decimal(2200),
            starts_on=starts_on,
            **WHO,
        )
        set_tariff(
            pool_id=pool_id,
            usd_per_kwh=Decimal("0.24"),
            pue=Decimal("1.3"),
            starts_on=starts_on,
            **WHO,
        )
        for kind, name, usd, share in RUNNING_COSTS:
            add_running_cost(
                pool_id=pool_id,
                kind=kind,
                name=name,
                usd_per_month=Decimal(usd),
                share=Decimal(share),
                starts_on=starts_on,
                **WHO,
            )
        deploy_backend(
            pool_id=pool_id,
            backend=BACKEND,
            starts_on=starts_on,
            throughput=THROUGHPUT,
            basis=basis,
            **WHO,
        )
    return pool_id
