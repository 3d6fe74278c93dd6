"""The only reader of own hardware and of closed hours."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

from apps.pricing.core.allocation import ClosedHour, Throughput, TokenCounts
from apps.pricing.core.depreciation import Asset, Loan, Method
from apps.pricing.core.electricity import Days, ElectricityPrice, Node, PriceWindow
from apps.pricing.core.local_time import DateRange, Interval
from apps.pricing.core.tco import CostKind, RunningCost, schedule_asset
from apps.pricing.errors import HardwareError
from apps.pricing.hardware_models import (
    HardwareAsset,
    HardwareClosedHour,
    HardwareDeployment,
    HardwareNode,
    HardwarePool,
    HardwareRunningCost,
    HardwareTariff,
)
from apps.pricing.hardware_pool import (
    AssetInfo,
    ChargingBasis,
    DeploymentInfo,
    NodeInfo,
    PoolInfo,
    RunningCostInfo,
    TariffInfo,
)
from apps.tenants.selectors import get_tenant

MAX_CLOSED_HOURS: Final = 10_000
BASIS_OF: Final[dict[str, ChargingBasis]] = {
    "rates": "rates",
    "allocated": "allocated",
    "usage": "usage",
}
PartT = TypeVar("PartT")


@dataclass(frozen=True, slots=True)
class ClosedHourInfo:
    """What an hour came to when it was closed last. `lines`: USD by kind of cost."""

    id: int
    backend_id: int
    hour: Interval
    basis: str
    tokens: TokenCounts
    total_usd: Decimal
    charged_usd: Decimal
    lines: dict[str, Decimal]
    closings: int
    closed_at: datetime

    @property
    def as_closed(self) -> ClosedHour:
        return ClosedHour(self.hour, self.total_usd, self.tokens)


def list_pools() -> list[PoolInfo]:
    """The tenant in scope's pools by name, with every part they ever had. Seven statements."""
    zone = get_tenant().zone
    assets = _by_pool(
        HardwareAsset.objects.order_by("starts_on", "id"), lambda row: _asset(row, zone)
    )
    nodes = _by_pool(HardwareNode.objects.order_by("starts_on", "id"), _node)
    tariffs = _by_pool(HardwareTariff.objects.order_by("starts_on", "id"), _tariff)
    running = _by_pool(HardwareRunningCost.objects.order_by("starts_on", "id"), _running_cost)
    deployments = _by_pool(
        HardwareDeployment.objects.select_related("backend").order_by("starts_on", "id"),
        _deployment,
    )
    return [
        PoolInfo(
            id=row.pk,
            name=row.name,
            zone=ZoneInfo(row.time_zone),
            tenant_zone=zone,
            assets=tuple(assets.get(row.pk, ())),
            nodes=tuple(nodes.get(row.pk, ())),
            tariffs=tuple(tariffs.get(row.pk, ())),
            running_costs=tuple(running.get(row.pk, ())),
            deployments=tuple(deployments.get(row.pk, ())),
        )
        for row in HardwarePool.objects.order_by("name")
    ]


def get_pool(pool_id: int) -> PoolInfo:
    found = next((pool for pool in list_pools() if pool.id == pool_id), None)
    if found is None:
        raise HardwareError(f"there is no hardware pool {pool_id}", field="pool")
    return found


def find_deployment(
    pools: Iterable[PoolInfo], backend: str, day: date
) -> tuple[PoolInfo, DeploymentInfo] | None:
    """Where a backend (by key) runs on a day; None where it is on no hardware of ours."""
    for pool in pools:
        for deployment in pool.deployments:
            if deployment.backend == backend and day in deployment.in_force:
                return pool, deployment
    return None


def list_closed_hours(backend_id: int, start: datetime, end: datetime) -> list[ClosedHourInfo]:
    """Closed hours that begin in [start, end), in order, at most MAX_CLOSED_HOURS."""
    rows = HardwareClosedHour.objects.filter(
        backend_id=backend_id, starts_at__gte=start, starts_at__lt=end
    ).order_by("starts_at")[:MAX_CLOSED_HOURS]
    return [_closed_hour(row) for row in rows]


def parse_windows(windows: Any) -> tuple[PriceWindow, ...]:
    """Of a tariff's JSON. ValueError when it cannot be read."""
    try:
        return tuple(
            PriceWindow(
                usd_per_kwh=Decimal(window["usd_per_kwh"]),
                starts=time.fromisoformat(window["starts"]),
                ends=time.fromisoformat(window["ends"]),
                days=Days(window.get("days", "all")),
            )
            for window in windows
        )
    except (ArithmeticError, KeyError, TypeError) as error:
        raise ValueError(f"these are no price windows: {windows!r}") from error


def _by_pool(rows: Iterable[Any], read: Callable[[Any], PartT]) -> dict[int, list[PartT]]:
    found: dict[int, list[PartT]] = {}
    for row in rows:
        found.setdefault(row.pool_id, []).append(read(row))
    return found


def _asset(row: HardwareAsset, zone: ZoneInfo) -> AssetInfo:
    loan = None
    if row.loan_principal_usd is not None:
        loan = Loan(
            row.loan_principal_usd, row.loan_annual_rate or Decimal(0), row.loan_term_months or 1
        )
    asset = Asset(
        name=row.name,
        purchase_price_usd=row.purchase_price_usd,
        salvage_value_usd=row.salvage_value_usd,
        in_service=row.starts_on,
        life_months=row.life_months,
        method=Method(row.method),
        factor=row.factor,
        lifetime_tokens=row.lifetime_tokens,
        loan=loan,
    )
    return AssetInfo(row.pk, asset, row.ends_before, schedule_asset(asset, zone))


def _node(row: HardwareNode) -> NodeInfo:
    powered = DateRange(row.starts_on, row.ends_before)
    node = Node(row.name, row.idle_watts, row.load_watts, powered, row.count)
    return NodeInfo(row.pk, node, row.gpus)


def _tariff(row: HardwareTariff) -> TariffInfo:
    in_force = DateRange(row.starts_on, row.ends_before)
    price = ElectricityPrice(row.usd_per_kwh, in_force, parse_windows(row.windows))
    return TariffInfo(row.pk, price, row.pue)


def _running_cost(row: HardwareRunningCost) -> RunningCostInfo:
    in_force = DateRange(row.starts_on, row.ends_before)
    cost = RunningCost(CostKind(row.kind), row.name, row.usd_per_month, in_force, row.share)
    return RunningCostInfo(row.pk, cost)


def _deployment(row: HardwareDeployment) -> DeploymentInfo:
    return DeploymentInfo(
        id=row.pk,
        backend_id=row.backend_id,
        backend=row.backend.key,
        model=row.backend.model,
        in_force=DateRange(row.starts_on, row.ends_before),
        throughput=Throughput(
            row.input_tokens_per_second, row.output_tokens_per_second, row.cached_input_weight
        ),
        pool_share=row.pool_share,
        basis=BASIS_OF[row.basis],
    )


def _closed_hour(row: HardwareClosedHour) -> ClosedHourInfo:
    return ClosedHourInfo(
        id=row.pk,
        backend_id=row.backend_id,
        hour=Interval(row.starts_at, row.ends_at),
        basis=row.basis,
        tokens=TokenCounts(row.input_tokens, row.cached_input_tokens, row.output_tokens),
        total_usd=row.total_usd,
        charged_usd=row.charged_usd,
        lines={kind: Decimal(amount) for kind, amount in row.lines.items()},
        closings=row.closings,
        closed_at=row.closed_at,
    )
