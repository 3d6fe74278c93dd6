"""What own hardware costs, over HTTP: by the hour or day, and beside the clouds."""

from dataclasses import asdict
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

from django.utils import timezone
from ninja import Router, Schema

from apps.pricing.core.allocation import TokenCounts, TokenPrices
from apps.pricing.core.money import plain_decimal
from apps.pricing.hardware_pool import PoolInfo
from apps.pricing.hardware_selectors import list_pools
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.hardware_comparison import CloudComparison, LocalComparison, compare_with_clouds
from apps.usage.hardware_report import HourLine, by_local_day, read_hour_lines, summarise_hours
from apps.usage.http_time import read_moment

router = Router(tags=["hardware"])
MAX_SPANS: Final = {"hour": timedelta(days=7), "day": timedelta(days=62)}
PARAMETERS: Final = {"backend", "from", "to", "interval"}


class TokenPricesOut(Schema):
    """USD per million tokens; `blended` is of the mix that was served."""

    input: str
    cached_input: str
    output: str
    blended: str | None


class HardwareCostOut(Schema):
    """One backend's hours together: one hour, or those of a local day that are over.

    Cost lines add up to `total_usd`. `allocated` spreads all of it over what was served, `usage`
    bills each token the hardware time it took and leaves `idle_usd`; both null where nothing was
    served. `charged_usd` is what its requests have been charged so far. `problem`: why a cost is
    not known. `state`: closed, open (charges are provisional) or rates (charged by own rates).
    """

    backend: str
    bucket: str
    basis: Literal["rates", "allocated", "usage"]
    state: str
    hours: int
    depreciation_usd: str
    interest_usd: str
    electricity_usd: str
    maintenance_usd: str
    hosting_usd: str
    staff_usd: str
    total_usd: str
    used_usd: str
    idle_usd: str
    charged_usd: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    utilisation: str | None
    allocated_usd_per_mtok: TokenPricesOut | None
    usage_usd_per_mtok: TokenPricesOut | None
    problem: str | None


class HardwareCostsOut(Schema):
    start: datetime
    end: datetime
    interval: str
    currency: Literal["USD"]
    rows: list[HardwareCostOut]


class CloudComparisonOut(Schema):
    """`break_even_*`: from there on own hardware costs less; null with `break_even_never` saying
    why not. `payback_month` likewise, at today's volume: "2026-12", or null and the reason."""

    backend: str
    model: str
    usd_per_mtok: str | None
    break_even_utilisation: str | None
    break_even_mtok_per_month: str | None
    break_even_never: str | None
    payback_months: int | None
    payback_month: str | None
    payback_never: str | None


class CurvePointOut(Schema):
    utilisation: str
    usd_per_mtok: str


class LocalComparisonOut(Schema):
    """A local backend at its utilisation since `since`; `mix` is its mean request.

    `mix_is_assumed`: it served nothing. `curve`: USD per million tokens of that mix, by
    utilisation. `problem`: why its cost is not known.
    """

    backend: str
    model: str
    pool: str
    since: datetime
    utilisation: str
    mix: dict[str, int]
    mix_is_assumed: bool
    usd_per_mtok: str | None
    full_use_usd_per_mtok: str | None
    mtok_per_month: str
    outlay_usd: str
    running_usd_per_month: str
    clouds: list[CloudComparisonOut]
    curve: list[CurvePointOut]
    problem: str | None


class ComparisonOut(Schema):
    currency: Literal["USD"]
    rows: list[LocalComparisonOut]


@router.get("/hardware/costs", auth=KeyAuth("read"), response=HardwareCostsOut)
def get_hardware_costs(
    request: ApiRequest, backend: str | None = None, interval: str = "hour"
) -> dict[str, Any]:
    """What local backends cost, hour by hour or (`interval=day`) by local day, from `from` to
    before `to` (dates in the tenant's time zone, or RFC 3339 times; default: the last 24 hours).

    At most 7 days of hours or 62 of days. The running hour is not in it.
    """
    if interval not in MAX_SPANS:
        raise Problem(422, "invalid_interval", "interval is hour or day", field="interval")
    unknown = sorted(request.GET.keys() - PARAMETERS)
    if unknown:
        raise Problem(
            422,
            "unknown_parameter",
            f"{unknown[0][:60]!r} is not one of {', '.join(sorted(PARAMETERS))}",
            field=unknown[0][:60],
        )
    now = timezone.now()
    with tenant_scope(request.auth.tenant_id):
        tenant = get_tenant()
        start = read_moment("from", request.GET.get("from"), tenant) or now - timedelta(hours=24)
        end = read_moment("to", request.GET.get("to"), tenant) or now
        if not start < end or end - start > MAX_SPANS[interval]:
            raise Problem(
                422,
                "invalid_range",
                f"`to` ({end.isoformat()}) must be after `from` ({start.isoformat()}),"
                f" by at most {MAX_SPANS[interval].days} days of {interval}s",
                field="to",
            )
        pools = list_pools()
        rows = [
            row
            for key in _backends(pools, backend)
            for row in _cost_rows(pools, key, interval, start, end, now)
        ]
    return {
        "start": start.astimezone(tenant.zone),
        "end": end.astimezone(tenant.zone),
        "interval": interval,
        "currency": "USD",
        "rows": rows,
    }


@router.get("/hardware/comparison", auth=KeyAuth("read"), response=ComparisonOut)
def get_hardware_comparison(request: ApiRequest, backend: str | None = None) -> dict[str, Any]:
    """Every local backend (or one) at the utilisation of the last seven days, beside every cloud
    model among the tenant's backends: unit costs, break-even, payback, and the curve."""
    with tenant_scope(request.auth.tenant_id):
        pools = list_pools()
        if backend is not None:
            _backends(pools, backend)
        found = compare_with_clouds(now=timezone.now(), backend=backend, pools=pools)
    return {"currency": "USD", "rows": [_comparison_out(one) for one in found]}


def _backends(pools: list[PoolInfo], wanted: str | None) -> list[str]:
    known = sorted({d.backend for pool in pools for d in pool.deployments})
    if wanted is None:
        return known
    if wanted not in known:
        raise Problem(
            404, "not_found", f"{wanted[:200]!r} runs on no hardware of yours", field="backend"
        )
    return [wanted]


def _cost_rows(  # noqa: PLR0917 - one call, in the order of the question
    pools: list[PoolInfo],
    backend: str,
    interval: str,
    start: datetime,
    end: datetime,
    now: datetime,
) -> list[dict[str, Any]]:
    lines = read_hour_lines(pools, backend, start, end, now=now)
    if interval == "hour":
        zone = pools[0].tenant_zone
        return [
            _cost_row(backend, line.hour.starts_at.astimezone(zone).isoformat(), [line])
            for line in lines
        ]
    days = by_local_day(lines, pools[0])
    return [_cost_row(backend, day.isoformat(), of_day) for day, of_day in days.items()]


def _cost_row(backend: str, bucket: str, lines: list[HourLine]) -> dict[str, Any]:
    summary = summarise_hours(lines)
    states = {line.state for line in lines}
    costs = {f"{kind.value}_usd": plain_decimal(usd) for kind, usd in summary.lines.items()}
    return costs | {
        "backend": backend,
        "bucket": bucket,
        "basis": lines[-1].basis,
        "state": states.pop() if len(states) == 1 else "mixed",
        "hours": summary.hours,
        "total_usd": plain_decimal(summary.total_usd),
        "used_usd": plain_decimal(summary.used_usd),
        "idle_usd": plain_decimal(summary.idle_usd),
        "charged_usd": plain_decimal(summary.charged_usd),
        **_tokens(summary.tokens),
        "utilisation": _plain(summary.utilisation),
        "allocated_usd_per_mtok": _prices(summary.allocated, summary.allocated_usd_per_mtok),
        "usage_usd_per_mtok": _prices(summary.usage, summary.usage_usd_per_mtok),
        "problem": summary.problem,
    }


def _prices(prices: TokenPrices | None, blended: Decimal | None) -> dict[str, Any] | None:
    if prices is None:
        return None
    return {
        "input": plain_decimal(prices.input_usd_per_mtok),
        "cached_input": plain_decimal(prices.cached_input_usd_per_mtok),
        "output": plain_decimal(prices.output_usd_per_mtok),
        "blended": _plain(blended),
    }


def _comparison_out(one: LocalComparison) -> dict[str, Any]:
    return asdict(one) | {
        "utilisation": plain_decimal(one.utilisation),
        "mix": _tokens(one.mix),
        "usd_per_mtok": _plain(one.usd_per_mtok),
        "full_use_usd_per_mtok": _plain(one.full_use_usd_per_mtok),
        "mtok_per_month": plain_decimal(one.mtok_per_month),
        "outlay_usd": plain_decimal(one.outlay_usd),
        "running_usd_per_month": plain_decimal(one.running_usd_per_month),
        "clouds": [_cloud_out(cloud) for cloud in one.clouds],
        "curve": [
            {
                "utilisation": plain_decimal(point.utilisation),
                "usd_per_mtok": plain_decimal(point.usd_per_mtok),
            }
            for point in one.curve
        ],
    }


def _cloud_out(cloud: CloudComparison) -> dict[str, Any]:
    even, paid = cloud.break_even, cloud.payback
    return {
        "backend": cloud.backend,
        "model": cloud.model,
        "usd_per_mtok": _plain(cloud.usd_per_mtok),
        "break_even_utilisation": _plain(even.utilisation) if even else None,
        "break_even_mtok_per_month": _plain(even.mtok_per_month) if even else None,
        "break_even_never": even.never.value if even and even.never else None,
        "payback_months": paid.months if paid else None,
        "payback_month": f"{paid.month:%Y-%m}" if paid and paid.month else None,
        "payback_never": paid.never.value if paid and paid.never else None,
    }


def _tokens(tokens: TokenCounts) -> dict[str, int]:
    return {
        "input_tokens": tokens.input_tokens,
        "cached_input_tokens": tokens.cached_input_tokens,
        "output_tokens": tokens.output_tokens,
    }


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else plain_decimal(amount)
