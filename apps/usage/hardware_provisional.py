"""Provisional prices: what running hours of own hardware are charged until they close.

They are own rates of the backend, set anew once a local day from what its last hours came to. A
backend that is charged by rates keeps the rates that people set.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from apps.pricing.core.allocation import Plan, TokenPrices, provisional_prices, unit_costs
from apps.pricing.core.local_time import HOUR, Interval, day_start
from apps.pricing.core.meters import CACHE_READ, INPUT, OUTPUT
from apps.pricing.hardware_pool import (
    DeploymentInfo,
    HourActivity,
    PoolInfo,
    core_basis,
    describe_hour,
)
from apps.pricing.hardware_selectors import list_closed_hours, list_pools
from apps.pricing.selectors import RateInfo, list_backends, list_rates
from apps.pricing.services import add_rate, change_rate
from apps.tenants.scoping import tenant_scope

ACTOR: Final = "own hardware"
TRAILING: Final = timedelta(hours=24)
# What a backend is taken to be in use before any of its hours has closed.
PLANNED_UTILISATION: Final = Decimal("0.25")


def refresh_provisional_rates(tenant_id: int, *, now: datetime) -> int:
    """Set the day's provisional rates of every backend whose hours are closed; returns how many
    rates changed. Those set today already stay."""
    changed = 0
    with tenant_scope(tenant_id):
        for pool in list_pools():
            today = now.astimezone(pool.tenant_zone).date()
            for deployment in pool.deployments_on(today):
                if core_basis(deployment.basis) is not None:
                    changed += _refresh(pool, deployment, now)
    return changed


def _refresh(pool: PoolInfo, deployment: DeploymentInfo, now: datetime) -> int:
    backend = next(one for one in list_backends() if one.id == deployment.backend_id)
    known = list_rates(source="tenant", provider=backend.provider, model=backend.model)
    midnight = day_start(now.astimezone(pool.tenant_zone).date(), pool.tenant_zone)
    standing = {
        rate.meter: rate
        for rate in known
        if not rate.when and not rate.tier_start_tokens and rate.effective_to is None
    }
    if any(_is_of_today(rate, midnight) for rate in standing.values()):
        return 0
    try:
        prices = _prices(pool, deployment, now)
    except LookupError:
        return 0
    changed = 0
    for meter, price in (
        (INPUT, prices.input_usd_per_mtok),
        (CACHE_READ, prices.cached_input_usd_per_mtok),
        (OUTPUT, prices.output_usd_per_mtok),
    ):
        rate = standing.get(meter)
        if rate is None:
            add_rate(
                provider=backend.provider,
                model=backend.model,
                kind="local",
                meter=meter,
                price_usd_per_mtok=price,
                effective_from=now,
                actor=ACTOR,
                now=now,
            )
        else:
            change_rate(
                rate_id=rate.number,
                price_usd_per_mtok=price,
                effective_from=now,
                actor=ACTOR,
                now=now,
            )
        changed += 1
    return changed


def _is_of_today(rate: RateInfo, midnight: datetime) -> bool:
    return rate.effective_from is not None and rate.effective_from >= midnight


def _prices(pool: PoolInfo, deployment: DeploymentInfo, now: datetime) -> TokenPrices:
    """What hardware time cost in the trailing day's closed hours; before there are any, a plan."""
    basis = core_basis(deployment.basis)
    if basis is None:
        raise LookupError(f"{deployment.backend} is charged by rates")
    closed = list_closed_hours(deployment.backend_id, now - TRAILING, now)
    idle = describe_hour(pool, deployment, Interval(now - HOUR, now), HourActivity())
    costs = unit_costs(idle.cost.total_usd, idle.hour, idle.tokens, deployment.throughput)
    plan = Plan(costs.total_usd, PLANNED_UTILISATION)
    trailing = [one.as_closed for one in closed]
    return provisional_prices(trailing, plan, deployment.throughput, basis).prices
