"""A pool as it is known, dated part by dated part, and what a backend on it costs an hour.

Between the tables and core/: no reading, no writing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal
from zoneinfo import ZoneInfo

from apps.pricing.core.allocation import (
    Basis,
    Throughput,
    TokenCounts,
    UnitCosts,
    load_share,
    unit_costs,
    used_part_usd,
)
from apps.pricing.core.breakeven import LocalMonth, plan_month
from apps.pricing.core.depreciation import Asset, Method
from apps.pricing.core.electricity import ElectricityPrice, MeasuredEnergy, Node, Power, Tariff
from apps.pricing.core.local_time import DateRange, Interval, add_months
from apps.pricing.core.sharing import rounded
from apps.pricing.core.tco import (
    Activity,
    Hardware,
    HourCost,
    RunningCost,
    ScheduledAsset,
    hour_cost,
    split_cost,
)

ChargingBasis = Literal["rates", "allocated", "usage"]
EVER: Final = DateRange(date(1970, 1, 1))
MEASURED_DECIMALS: Final = 24


@dataclass(frozen=True, slots=True)
class AssetInfo:
    """`ends_before`: the day it left for good; None while it stands."""

    id: int
    asset: Asset
    ends_before: date | None
    scheduled: ScheduledAsset

    @property
    def in_use(self) -> DateRange:
        return DateRange(self.asset.in_service, self.ends_before)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    id: int
    node: Node
    gpus: int


@dataclass(frozen=True, slots=True)
class TariffInfo:
    id: int
    price: ElectricityPrice
    pue: Decimal


@dataclass(frozen=True, slots=True)
class RunningCostInfo:
    id: int
    cost: RunningCost


@dataclass(frozen=True, slots=True)
class DeploymentInfo:
    """A backend on a pool. `throughput` is what it sustains on its `pool_share`."""

    id: int
    backend_id: int
    backend: str
    model: str
    in_force: DateRange
    throughput: Throughput
    pool_share: Decimal
    basis: ChargingBasis


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """`zone` is where the pool stands; months are posted in `tenant_zone`."""

    id: int
    name: str
    zone: ZoneInfo
    tenant_zone: ZoneInfo
    assets: tuple[AssetInfo, ...] = ()
    nodes: tuple[NodeInfo, ...] = ()
    tariffs: tuple[TariffInfo, ...] = ()
    running_costs: tuple[RunningCostInfo, ...] = ()
    deployments: tuple[DeploymentInfo, ...] = ()

    @property
    def bears_by_tokens(self) -> bool:
        """Whether what was served before counts: an asset depreciates by tokens."""
        return any(a.asset.method == Method.UNITS_OF_PRODUCTION for a in self.assets)

    def gpus_on(self, day: date) -> int:
        return sum(n.gpus * n.node.count for n in self.nodes if day in n.node.powered)

    def deployments_on(self, day: date) -> list[DeploymentInfo]:
        return [each for each in self.deployments if day in each.in_force]

    def hardware_on(self, day: date) -> Hardware:
        """What the pool's cost is made of on a local day. Months other than its own are left out:
        hours are many, and each would look at all of them."""
        return Hardware(
            zone=self.tenant_zone,
            assets=tuple(_in_month(a.scheduled, day) for a in self.assets if day in a.in_use),
            power=self._power(tuple(t.price for t in self.tariffs), self._pue_on(day)),
            running_costs=tuple(r.cost for r in self.running_costs),
        )

    def hardware_as_on(self, day: date) -> Hardware:
        """The pool as it stands on a day, as if it had always been so: for plans."""
        tariff = next((t for t in self.tariffs if day in t.price.in_force), None)
        nodes = [n.node for n in self.nodes if day in n.node.powered]
        prices = (replace(tariff.price, in_force=EVER),) if tariff else ()
        power = self._power(prices, self._pue_on(day))
        return Hardware(
            zone=self.tenant_zone,
            assets=tuple(a.scheduled for a in self.assets if day in a.in_use),
            power=power
            and replace(power, nodes=tuple(replace(node, powered=EVER) for node in nodes)),
            running_costs=tuple(
                replace(r.cost, in_force=EVER) for r in self.running_costs if day in r.cost.in_force
            ),
        )

    def _power(self, prices: tuple[ElectricityPrice, ...], pue: Decimal) -> Power | None:
        if not self.nodes:
            return None
        return Power(tuple(n.node for n in self.nodes), Tariff(self.zone, prices), pue)

    def _pue_on(self, day: date) -> Decimal:
        return next((t.pue for t in self.tariffs if day in t.price.in_force), Decimal(1))


@dataclass(frozen=True, slots=True)
class HourActivity:
    """What a backend did in an hour. `energy_wh`, where requests were measured, is theirs alone;
    `tokens_before` (by asset name) matters to production depreciation."""

    tokens: TokenCounts = field(default_factory=TokenCounts)
    energy: MeasuredEnergy | None = None
    tokens_before: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HourDescription:
    """An hour of a backend: its cost by line, and what a token of it cost on either basis."""

    hour: Interval
    tokens: TokenCounts
    cost: HourCost
    costs: UnitCosts


def describe_hour(
    pool: PoolInfo, deployment: DeploymentInfo, hour: Interval, activity: HourActivity
) -> HourDescription:
    """The backend's part of the pool's hour. LookupError where no electricity price is known.

    The hour lies within one local day.
    """
    cost, _ = cost_hour(pool, deployment, hour, activity)
    costs = unit_costs(cost.total_usd, hour, activity.tokens, deployment.throughput)
    return HourDescription(hour, activity.tokens, cost, costs)


def cost_hour(
    pool: PoolInfo, deployment: DeploymentInfo, hour: Interval, activity: HourActivity
) -> tuple[HourCost, Decimal]:
    """An hour's cost by line, and what was used of it: as `describe_hour`, without prices.

    A pool is divided by `pool_share`, each part as busy as its own backend: power is a straight
    line from idle to load, so the parts add up to the pool, and no backend pays for another's
    load.
    """
    share = load_share(activity.tokens, deployment.throughput, hour)
    day = hour.starts_at.astimezone(pool.tenant_zone).date()
    whole = hour_cost(
        pool.hardware_on(day),
        hour,
        Activity(
            load_share=share,
            measured=_of_whole_pool(activity.energy, deployment.pool_share),
            tokens=activity.tokens.total,
            tokens_before=activity.tokens_before,
        ),
    )
    cost = _part(whole, deployment.pool_share)
    return cost, used_part_usd(cost.total_usd, share)


def plan_local_month(
    pool: PoolInfo, deployment: DeploymentInfo, today: date, mix: TokenCounts
) -> LocalMonth:
    """The first whole month of the backend's hardware as it stands today, idle and full."""
    whole = plan_month(
        pool.hardware_as_on(today), planned_month(pool, today), deployment.throughput, mix
    )
    return LocalMonth(
        fixed_usd=_times(whole.fixed_usd, deployment.pool_share),
        full_load_usd=_times(whole.full_load_usd, deployment.pool_share),
        hours=whole.hours,
        throughput=whole.throughput,
    )


def planned_month(pool: PoolInfo, today: date) -> date:
    """This month; the next where something bought came into service in the midst of this one."""
    month = today.replace(day=1)
    begun = any(month < a.asset.in_service <= today for a in pool.assets)
    return add_months(month, 1) if begun else month


def _in_month(scheduled: ScheduledAsset, day: date) -> ScheduledAsset:
    month = day.replace(day=1)
    return replace(
        scheduled,
        depreciation=tuple(m for m in scheduled.depreciation if m.month == month),
        interest=tuple(m for m in scheduled.interest if m.month == month),
    )


def core_basis(basis: ChargingBasis) -> Basis | None:
    """None: charged by rates, hours are not closed."""
    return None if basis == "rates" else Basis(basis)


def _part(whole: HourCost, share: Decimal) -> HourCost:
    part, full = share.as_integer_ratio()
    if part == full:
        return whole
    return split_cost(whole, {"part": part, "rest": full - part})["part"]


def _times(amount_usd: Decimal, share: Decimal) -> Decimal:
    return rounded(Fraction(amount_usd) * Fraction(share), MEASURED_DECIMALS)


def _of_whole_pool(energy: MeasuredEnergy | None, share: Decimal) -> MeasuredEnergy | None:
    """As if all of the pool had used as much: the backend's part of that is what it did use."""
    if energy is None or share == 1:
        return energy
    scaled = Fraction(energy.energy_wh) / Fraction(share)
    return replace(energy, energy_wh=rounded(scaled, MEASURED_DECIMALS))
