"""What own hardware cost, hour by hour, over the tokens it served. Reads; writes nothing.

Hours that are closed are shown as they were closed; others are computed from the rollups.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from apps.pricing.core.allocation import (
    MILLION,
    UTILISATION_DECIMALS,
    Throughput,
    TokenCounts,
    TokenPrices,
    load_share,
    price_tokens,
    used_part_usd,
)
from apps.pricing.core.depreciation import Method
from apps.pricing.core.local_time import HOUR, Interval, clock_hours, day_start
from apps.pricing.core.money import EXACT, PRICE_DECIMALS
from apps.pricing.core.sharing import exact_sum, rounded
from apps.pricing.core.tco import CostKind
from apps.pricing.hardware_pool import (
    ChargingBasis,
    DeploymentInfo,
    HourActivity,
    PoolInfo,
    cost_hour,
)
from apps.pricing.hardware_selectors import ClosedHourInfo, list_closed_hours
from apps.usage.selectors import SpendQuery, SpendRow, read_spend


@dataclass(frozen=True, slots=True)
class HourLine:
    """One hour of one backend. `problem`: why its cost is not known; amounts are then None.

    `charged_usd` is what its requests have been charged so far; `state` is "closed", "open" (to be
    closed: its charges are provisional) or "rates" (charged by rates, whatever it costs).
    """

    hour: Interval
    throughput: Throughput
    basis: ChargingBasis
    state: str
    tokens: TokenCounts
    charged_usd: Decimal
    lines: Mapping[CostKind, Decimal] | None
    used_usd: Decimal
    problem: str | None = None

    @property
    def used_seconds(self) -> Fraction:
        return self.throughput.seconds(self.tokens)


@dataclass(frozen=True, slots=True)
class CostSummary:
    """Hours together. Prices are None where nothing was served or some hour's cost is unknown.

    `allocated`: all of the cost over what was served; `usage`: each token its hardware time.
    Blended prices are USD per million tokens of the mix that was served.
    """

    hours: int
    lines: Mapping[CostKind, Decimal]
    total_usd: Decimal
    used_usd: Decimal
    charged_usd: Decimal
    tokens: TokenCounts
    utilisation: Decimal | None
    allocated: TokenPrices | None
    usage: TokenPrices | None
    allocated_usd_per_mtok: Decimal | None
    usage_usd_per_mtok: Decimal | None
    problem: str | None

    @property
    def idle_usd(self) -> Decimal:
        return EXACT.subtract(self.total_usd, self.used_usd)


def read_hour_lines(
    pools: Sequence[PoolInfo], backend: str, start: datetime, end: datetime, *, now: datetime
) -> list[HourLine]:
    """The backend's local hours in [start, end) that are over and in which it was deployed."""
    found = [(p, d) for p in pools for d in p.deployments if d.backend == backend]
    if not found or start >= min(end, now):
        return []
    zone = found[0][0].tenant_zone
    hours = list_whole_hours(start, min(end, now), zone)
    if not hours:
        return []
    rows = _rows_by_hour(backend, hours[0].starts_at, hours[-1].ends_at)
    closed = {
        one.hour.starts_at: one
        for one in list_closed_hours(found[0][1].backend_id, start, hours[-1].ends_at)
    }
    before = read_tokens_before([pool for pool, _ in found], backend, hours[0].starts_at)
    made = []
    for hour in hours:
        row = rows.get(hour.starts_at)
        at = _deployed_at(found, hour)
        if at is not None:
            known = closed.get(hour.starts_at)
            line = _closed_line(known, at[1]) if known else _open_line(*at, hour, row, before)
            made.append(replace(line, charged_usd=row.cost_usd if row else Decimal(0)))
        if row is not None:
            before = {name: tokens + row.tokens for name, tokens in before.items()}
    return made


def list_whole_hours(start: datetime, end: datetime, zone: ZoneInfo) -> list[Interval]:
    """The clock hours that lie in [start, end) from their beginning to their end."""
    if start >= end:
        return []
    hours = list(clock_hours(Interval(start, end + HOUR), zone))
    local = hours[0].starts_at.astimezone(zone)
    begun = bool(local.minute or local.second or local.microsecond)
    return [hour for hour in hours[begun:] if hour.ends_at <= end]


def summarise_hours(lines: Sequence[HourLine]) -> CostSummary:
    """Sums over hours; prices over these, at the newest throughput."""
    by_kind = {
        kind: exact_sum(line.lines[kind] for line in lines if line.lines and kind in line.lines)
        for kind in CostKind
    }
    total = exact_sum(by_kind.values())
    used_usd = exact_sum(line.used_usd for line in lines)
    tokens = sum((line.tokens for line in lines), TokenCounts())
    used = sum((line.used_seconds for line in lines), Fraction(0))
    capacity = sum((Fraction(line.hour.microseconds, 10**6) for line in lines), Fraction(0))
    problem = next((line.problem for line in lines if line.problem), None)
    is_known = bool(used) and problem is None
    throughput = lines[-1].throughput if lines else None
    return CostSummary(
        hours=len(lines),
        lines=by_kind,
        total_usd=total,
        used_usd=used_usd,
        charged_usd=exact_sum(line.charged_usd for line in lines),
        tokens=tokens,
        utilisation=rounded(used / capacity, UTILISATION_DECIMALS) if capacity else None,
        allocated=price_tokens(Fraction(total) / used, throughput)
        if is_known and throughput
        else None,
        usage=price_tokens(Fraction(used_usd) / used, throughput)
        if is_known and throughput
        else None,
        allocated_usd_per_mtok=_blended(total, tokens) if is_known else None,
        usage_usd_per_mtok=_blended(used_usd, tokens) if is_known else None,
        problem=problem,
    )


def by_local_day(lines: Iterable[HourLine], pool: PoolInfo) -> dict[date, list[HourLine]]:
    found: dict[date, list[HourLine]] = {}
    for line in lines:
        found.setdefault(line.hour.starts_at.astimezone(pool.tenant_zone).date(), []).append(line)
    return found


def token_counts(row: SpendRow) -> TokenCounts:
    """A row's tokens as hardware sees them: cache writes are input like any other."""
    return TokenCounts(
        row.input_tokens - row.cache_read_tokens, row.cache_read_tokens, row.output_tokens
    )


def read_tokens_before(pools: Iterable[PoolInfo], backend: str, moment: datetime) -> dict[str, int]:
    """Tokens served since each asset that depreciates by them came into service, by its name."""
    found = {}
    for pool in pools:
        for info in pool.assets:
            start = day_start(info.asset.in_service, pool.tenant_zone)
            if info.asset.method != Method.UNITS_OF_PRODUCTION:
                continue
            tokens = 0
            if start < moment:
                query = SpendQuery(start=start, end=moment, filters={"backend": (backend,)})
                tokens = read_spend(query).total.tokens
            found[info.asset.name] = tokens
    return found


def _rows_by_hour(backend: str, start: datetime, end: datetime) -> dict[datetime, SpendRow]:
    query = SpendQuery(start=start, end=end, interval="hour", filters={"backend": (backend,)})
    rows = read_spend(query).rows
    return {row.bucket: row for row in rows if isinstance(row.bucket, datetime)}


def _deployed_at(
    found: Sequence[tuple[PoolInfo, DeploymentInfo]], hour: Interval
) -> tuple[PoolInfo, DeploymentInfo] | None:
    for pool, deployment in found:
        if hour.starts_at.astimezone(pool.tenant_zone).date() in deployment.in_force:
            return pool, deployment
    return None


def _closed_line(closed: ClosedHourInfo, deployment: DeploymentInfo) -> HourLine:
    share = load_share(closed.tokens, deployment.throughput, closed.hour)
    return HourLine(
        hour=closed.hour,
        throughput=deployment.throughput,
        basis=deployment.basis,
        state="closed",
        tokens=closed.tokens,
        charged_usd=closed.charged_usd,
        lines={CostKind(kind): usd for kind, usd in closed.lines.items()},
        used_usd=used_part_usd(closed.total_usd, share),
    )


def _open_line(
    pool: PoolInfo,
    deployment: DeploymentInfo,
    hour: Interval,
    row: SpendRow | None,
    before: Mapping[str, int],
) -> HourLine:
    tokens = token_counts(row) if row else TokenCounts()
    lines: Mapping[CostKind, Decimal] | None = None
    used_usd, problem = Decimal(0), None
    try:
        activity = HourActivity(tokens, tokens_before=before)
        cost, used_usd = cost_hour(pool, deployment, hour, activity)
        lines = cost.by_kind()
    except LookupError as error:
        problem = str(error)
    return HourLine(
        hour=hour,
        throughput=deployment.throughput,
        basis=deployment.basis,
        state="rates" if deployment.basis == "rates" else "open",
        tokens=tokens,
        charged_usd=Decimal(0),
        lines=lines,
        used_usd=used_usd,
        problem=problem,
    )


def _blended(usd: Decimal, tokens: TokenCounts) -> Decimal | None:
    if not tokens.total:
        return None
    return rounded(Fraction(usd) * MILLION / tokens.total, PRICE_DECIMALS)
