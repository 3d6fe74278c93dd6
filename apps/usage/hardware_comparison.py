"""Own hardware beside every cloud model: what a token costs here and there, and from when on own
hardware is the cheaper one. Reads; writes nothing.

A local backend is compared at its own mix of tokens, its own mean request, and the utilisation of
the last days; every cloud model is priced for exactly that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final

from apps.pricing.core.allocation import MILLION, UTILISATION_DECIMALS, TokenCounts
from apps.pricing.core.breakeven import (
    RATIO_DECIMALS,
    BreakEven,
    CurvePoint,
    LocalMonth,
    Payback,
    break_even,
    effective_usd_per_mtok,
    payback,
    utilisation_curve,
)
from apps.pricing.core.depreciation import Asset
from apps.pricing.core.local_time import add_months, day_start, month_interval
from apps.pricing.core.money import EXACT, PRICE_DECIMALS
from apps.pricing.core.rating import MeteredUsage
from apps.pricing.core.sharing import rounded
from apps.pricing.core.tco import Activity, CostKind, hour_cost
from apps.pricing.hardware_pool import DeploymentInfo, PoolInfo, plan_local_month, planned_month
from apps.pricing.hardware_selectors import list_pools
from apps.pricing.selectors import BackendInfo, list_backends
from apps.usage.hardware_report import token_counts
from apps.usage.selectors import SpendQuery, SpendRow, read_spend

LOOKBACK: Final = timedelta(days=7)
# What a mean request is taken to be where there was none: three tokens read for one written.
ASSUMED_REQUEST: Final = MeteredUsage(3_000, 0, 0, 0, 1_000, 0)
MAX_BACKENDS: Final = 20


@dataclass(frozen=True, slots=True)
class CloudComparison:
    """One cloud model against one local backend. `usd_per_mtok` None: it has no price here."""

    backend: str
    model: str
    usd_per_mtok: Decimal | None
    break_even: BreakEven | None = None
    payback: Payback | None = None


@dataclass(frozen=True, slots=True)
class LocalComparison:
    """A local backend at today's utilisation beside the clouds, cheapest of these first.

    `mix_is_assumed`: nothing was served lately. `problem`: why its cost is not known.
    """

    backend: str
    model: str
    pool: str
    since: datetime
    utilisation: Decimal
    mix: TokenCounts
    mix_is_assumed: bool
    usd_per_mtok: Decimal | None
    mtok_per_month: Decimal
    full_use_usd_per_mtok: Decimal | None = None
    outlay_usd: Decimal = Decimal(0)
    running_usd_per_month: Decimal = Decimal(0)
    clouds: tuple[CloudComparison, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    problem: str | None = None


def compare_with_clouds(
    *, now: datetime, backend: str | None = None, pools: Sequence[PoolInfo] | None = None
) -> list[LocalComparison]:
    """Every local backend that is deployed today (or the one named), by key."""
    known = list_pools() if pools is None else pools
    clouds = [one for one in list_backends() if one.kind == "cloud"]
    places = [
        _Place(pool, deployment, now)
        for pool in known
        for deployment in pool.deployments_on(now.astimezone(pool.tenant_zone).date())
        if backend in (None, deployment.backend)
    ]
    places.sort(key=lambda place: place.deployment.backend)
    return [_compare(place, clouds) for place in places[:MAX_BACKENDS]]


@dataclass(frozen=True, slots=True)
class _Place:
    """A backend where it runs today."""

    pool: PoolInfo
    deployment: DeploymentInfo
    now: datetime

    @property
    def today(self) -> date:
        return self.now.astimezone(self.pool.tenant_zone).date()

    @property
    def since(self) -> datetime:
        began = day_start(self.deployment.in_force.starts_on, self.pool.tenant_zone)
        return max(self.now - LOOKBACK, began)

    @property
    def assets(self) -> list[Asset]:
        return [a.asset for a in self.pool.assets if self.today in a.in_use]

    @property
    def outlay_usd(self) -> Decimal:
        prices = sum((asset.purchase_price_usd for asset in self.assets), Decimal(0))
        return EXACT.multiply(prices, self.deployment.pool_share)

    @property
    def in_service(self) -> date:
        return min((asset.in_service for asset in self.assets), default=self.today)

    @property
    def life_months(self) -> int:
        """From the first asset's start to the last one's end, at least one."""
        ends = (add_months(a.in_service, a.life_months) for a in self.assets)
        last, first = max(ends, default=self.today), self.in_service
        return max(1, (last.year - first.year) * 12 + last.month - first.month)


@dataclass(frozen=True, slots=True)
class _Bill:
    """What a month of a place comes to at today's volume."""

    request: MeteredUsage
    month: LocalMonth
    mtok_per_month: Decimal
    running_usd: Decimal


def _compare(place: _Place, clouds: Sequence[BackendInfo]) -> LocalComparison:
    deployment = place.deployment
    query = SpendQuery(start=place.since, end=place.now, filters={"backend": (deployment.backend,)})
    served = read_spend(query).total
    request = _mean_request(served)
    mix = _mix(request)
    used = deployment.throughput.seconds(token_counts(served))
    there_was = Fraction((place.now - place.since) // timedelta(microseconds=1), 10**6)
    utilisation = min(used / there_was, Fraction(1)) if there_was else Fraction(0)
    found = LocalComparison(
        backend=deployment.backend,
        model=deployment.model,
        pool=place.pool.name,
        since=place.since,
        utilisation=rounded(utilisation, UTILISATION_DECIMALS),
        mix=mix,
        mix_is_assumed=not served.tokens,
        usd_per_mtok=None,
        mtok_per_month=Decimal(0),
    )
    try:
        month = plan_local_month(place.pool, deployment, place.today, mix)
        running_usd = _running_usd(place, month, utilisation, mix)
    except LookupError as error:
        return replace(found, problem=str(error))
    mtok = rounded(month.capacity_mtok(mix) * utilisation, RATIO_DECIMALS)
    bill = _Bill(request, month, mtok, running_usd)
    compared = [_beside(place, bill, cloud) for cloud in clouds]
    compared.sort(key=lambda c: (c.usd_per_mtok is None, c.usd_per_mtok or 0, c.backend))
    return replace(
        found,
        usd_per_mtok=effective_usd_per_mtok(month, mix, utilisation),
        full_use_usd_per_mtok=effective_usd_per_mtok(month, mix, Fraction(1)),
        mtok_per_month=mtok,
        outlay_usd=place.outlay_usd,
        running_usd_per_month=running_usd,
        curve=utilisation_curve(month, mix),
        clouds=tuple(compared),
    )


def _beside(place: _Place, bill: _Bill, cloud: BackendInfo) -> CloudComparison:
    usd_per_mtok = _cloud_usd_per_mtok(cloud, bill.request, place.now)
    if usd_per_mtok is None:
        return CloudComparison(cloud.key, cloud.model, None)
    return CloudComparison(
        cloud.key,
        cloud.model,
        usd_per_mtok,
        break_even(bill.month, _mix(bill.request), usd_per_mtok),
        payback(
            outlay_usd=place.outlay_usd,
            cloud_usd_per_month=EXACT.multiply(usd_per_mtok, bill.mtok_per_month),
            running_usd_per_month=bill.running_usd,
            in_service=place.in_service,
            life_months=place.life_months,
        ),
    )


def _cloud_usd_per_mtok(cloud: BackendInfo, request: MeteredUsage, now: datetime) -> Decimal | None:
    """What a million tokens would cost there, a mean request at a time: tiers and fees included."""
    cost_usd = cloud.card.cost(request, now) if cloud.card else None
    if cost_usd is None:
        return None
    return rounded(Fraction(cost_usd) * MILLION / _mix(request).total, PRICE_DECIMALS)


def _mean_request(served: SpendRow) -> MeteredUsage:
    if not served.tokens or not served.requests:
        return ASSUMED_REQUEST
    tokens = token_counts(served)
    per_request = [
        round(Fraction(count, served.requests))
        for count in (tokens.input_tokens, tokens.cached_input_tokens, tokens.output_tokens)
    ]
    uncached, cached, output = per_request
    return MeteredUsage(uncached, cached, 0, 0, output, 0) if any(per_request) else ASSUMED_REQUEST


def _mix(request: MeteredUsage) -> TokenCounts:
    return TokenCounts(
        request.uncached_input_tokens, request.cache_read_tokens, request.output_tokens
    )


def _running_usd(
    place: _Place, month: LocalMonth, utilisation: Fraction, mix: TokenCounts
) -> Decimal:
    """What is paid in the planned month to run the backend's part: all but depreciation."""
    pool, today = place.pool, place.today
    over = month_interval(planned_month(pool, today), pool.tenant_zone)
    tokens = int(month.capacity_mtok(mix) * utilisation * MILLION)
    cost = hour_cost(pool.hardware_as_on(today), over, Activity(utilisation, tokens=tokens))
    paid = EXACT.subtract(cost.total_usd, cost.by_kind()[CostKind.DEPRECIATION])
    return EXACT.multiply(paid, place.deployment.pool_share)
