"""Closing hours of own hardware: what an hour cost becomes what its requests are charged.

While an hour runs, its requests are charged provisionally, by the backend's own rates. When it is
over, each charge becomes its part of the hour (core/allocation.true_up), and the difference is
posted as adjustments of the ledger. One transaction closes one hour of one backend, under the lock
of repricings: what a charge has come to is read and corrected by one process at a time. Closing
again finds nothing to post, or what came late: so a crash, a second worker or a repricing in
between leave no trace. Adjustments of a closing carry its id, negative, as their repricing.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from apps.pricing.core.allocation import Basis, HourCharge, TokenCounts, TrueUp, true_up
from apps.pricing.core.electricity import Covers, MeasuredEnergy
from apps.pricing.core.local_time import Interval, day_start
from apps.pricing.core.money import EXACT
from apps.pricing.core.tco import HourCost
from apps.pricing.hardware_closing import record_closed_hour
from apps.pricing.hardware_pool import (
    DeploymentInfo,
    HourActivity,
    HourDescription,
    PoolInfo,
    core_basis,
    describe_hour,
)
from apps.pricing.hardware_selectors import ClosedHourInfo, list_closed_hours, list_pools
from apps.pricing.selectors import current_rate_book
from apps.tenants.scoping import current_tenant_id, tenant_scope
from apps.usage.core.repricing import units_from_usd
from apps.usage.hardware_report import list_whole_hours, read_tokens_before, token_counts
from apps.usage.ledger import LEFT_JOIN_MOVED, MAX_ROWS_PER_COMMIT
from apps.usage.repricing_charges import ChargeSlice, PricedCharge
from apps.usage.repricing_ledger import Adjustment, write_adjustments
from apps.usage.repricing_rows import lock_repricings, read_closed_through
from apps.usage.selectors import SpendQuery, SpendRow, read_spend

logger = logging.getLogger(__name__)
# Usage may come 400 days late; beyond this it keeps its provisional price.
LOOKBACK: Final = timedelta(days=35)
# Routers post in batches: an hour is closed when most of them have.
GRACE: Final = timedelta(minutes=2)

CHARGES = f"""
SELECT l.id, l.occurred_at, coalesce(moved.slice_id, l.slice_id),
    l.uncached_input_tokens + l.cache_write_5m_tokens + l.cache_write_1h_tokens,
    l.cache_read_tokens, l.output_tokens,
    coalesce(l.cost_usd, 0) + coalesce(a.cost_usd, 0),
    (l.cost_usd IS NULL)::integer + coalesce(a.unpriced_change, 0), l.energy_wh
FROM usage_ledger AS l
JOIN usage_slice AS s ON s.tenant_id = l.tenant_id AND s.id = l.slice_id
LEFT JOIN LATERAL (
    SELECT sum(cost_usd) AS cost_usd, sum(unpriced_change) AS unpriced_change
    FROM usage_ledger
    WHERE tenant_id = l.tenant_id AND kind = 1 AND corrects_id = l.id
        AND occurred_at = l.occurred_at
) AS a ON true
{LEFT_JOIN_MOVED}
WHERE l.tenant_id = %(tenant_id)s AND l.kind = 0 AND s.backend_id = %(backend_id)s
    AND l.occurred_at >= %(starts_at)s AND l.occurred_at < %(ends_at)s
ORDER BY l.id
"""
PENDING = """
SELECT EXISTS (
    SELECT 1 FROM usage_commit WHERE tenant_id = %s AND first_occurred_at < %s
        AND last_occurred_at >= %s
)
"""


@dataclass(frozen=True, slots=True)
class Closing:
    """What closing an hour posted: `adjusted` charges, by `change_usd` together."""

    backend: str
    hour: Interval
    total_usd: Decimal
    charged_usd: Decimal
    adjusted: int
    change_usd: Decimal


@dataclass(frozen=True, slots=True)
class _Charge:
    """A charge of the hour with its effective cost; `unpriced` is 1 while it has none."""

    id: int
    occurred_at: datetime
    slice_id: int
    tokens: TokenCounts
    charged_usd: Decimal
    unpriced: int
    energy_wh: Decimal | None


def close_due_hours(tenant_id: int, *, now: datetime, limit: int = 200) -> list[Closing]:
    """Close the tenant's hours that are over and not settled, oldest first, at most `limit`.

    An hour that cannot be closed (no electricity price) is left open, and the others are closed.
    """
    made: list[Closing] = []
    with tenant_scope(tenant_id):
        due = _list_due(list_pools(), now)
    open_hours: dict[str, LookupError] = {}
    for backend, hour in due:
        try:
            closing = close_hour(tenant_id, backend, hour, now=now)
        except LookupError as error:
            open_hours[backend] = error
            continue
        if closing is not None:
            made.append(closing)
        if len(made) == limit:
            break
    for backend, reason in open_hours.items():
        logger.warning("tenant %s: hours of %s stay open: %s", tenant_id, backend, reason)
    return made


def close_hour(tenant_id: int, backend: str, hour: Interval, *, now: datetime) -> Closing | None:
    """Settle one hour of one backend; all of it is durable, or none.

    None where its backend is charged by rates, or its month's books are closed. Raises LookupError
    where the hour's cost is not known.
    """
    if hour.ends_at > now:
        raise ValueError(f"the hour from {hour.starts_at} is not over")
    with tenant_scope(tenant_id):
        lock_repricings()
        found = _find_place(list_pools(), backend, hour)
        if found is None or _is_in_closed_books(found[0], hour):
            return None
        pool, deployment, basis = found
        charges = _read_charges(deployment.backend_id, hour)
        described = _describe(pool, deployment, hour, charges)
        settled = true_up(
            described.cost.total_usd,
            hour,
            [HourCharge(_order(c), c.tokens, c.charged_usd) for c in charges],
            deployment.throughput,
            basis,
        )
        return _post(deployment, hour, charges, described.cost, settled, now=now)


def _post(
    deployment: DeploymentInfo,
    hour: Interval,
    charges: Sequence[_Charge],
    cost: HourCost,
    settled: TrueUp,
    *,
    now: datetime,
) -> Closing:
    charged_usd = settled.costs.charged_usd(Basis(deployment.basis))
    closing_id = record_closed_hour(
        backend_id=deployment.backend_id,
        hour=hour,
        basis=deployment.basis,
        tokens=sum((charge.tokens for charge in charges), TokenCounts()),
        total_usd=cost.total_usd,
        charged_usd=charged_usd,
        lines={kind.value: usd for kind, usd in cost.by_kind().items()},
        now=now,
    )
    adjustments = list(_adjustments(charges, settled))
    revision = current_rate_book().revision
    for first in range(0, len(adjustments), MAX_ROWS_PER_COMMIT):
        write_adjustments(
            adjustments[first : first + MAX_ROWS_PER_COMMIT],
            repricing_id=-closing_id,
            rate_revision=revision,
            now=now,
        )
    before_usd = _sum(charge.charged_usd for charge in charges)
    return Closing(
        backend=deployment.backend,
        hour=hour,
        total_usd=cost.total_usd,
        charged_usd=charged_usd,
        adjusted=len(adjustments),
        change_usd=EXACT.subtract(_sum(a.final_usd for a in settled.adjustments), before_usd),
    )


def _adjustments(charges: Sequence[_Charge], settled: TrueUp) -> Iterator[Adjustment]:
    by_order = {_order(charge): charge for charge in charges}
    for final in settled.adjustments:
        charge = by_order[final.charge_id]
        if final.difference_usd or charge.unpriced:
            yield Adjustment(
                _priced(charge), units_from_usd(final.difference_usd), -charge.unpriced
            )


def _describe(
    pool: PoolInfo, deployment: DeploymentInfo, hour: Interval, charges: Sequence[_Charge]
) -> HourDescription:
    tokens = sum((charge.tokens for charge in charges), TokenCounts())
    before: Mapping[str, int] = {}
    if pool.bears_by_tokens:
        before = read_tokens_before([pool], deployment.backend, hour.starts_at)
    return describe_hour(
        pool, deployment, hour, HourActivity(tokens, _measured(charges), tokens_before=before)
    )


def _measured(charges: Sequence[_Charge]) -> MeasuredEnergy | None:
    """What the requests drew, where every one that took hardware time was measured."""
    served = [charge for charge in charges if charge.tokens.total]
    measured = [charge.energy_wh for charge in served if charge.energy_wh is not None]
    if not served or len(measured) < len(served):
        return None
    return MeasuredEnergy(_sum(measured), Covers.REQUESTS)


def _list_due(pools: Sequence[PoolInfo], now: datetime) -> list[tuple[str, Interval]]:
    """Hours that are over and of which the rollups do not say what their closing said."""
    due = [
        (deployment.backend, hour)
        for pool in pools
        for deployment in pool.deployments
        if core_basis(deployment.basis) is not None
        for hour in _due_of(pool, deployment, now)
        if not _is_in_closed_books(pool, hour)
    ]
    return sorted(due, key=lambda pair: (pair[1].starts_at, pair[0]))


def _due_of(pool: PoolInfo, deployment: DeploymentInfo, now: datetime) -> Iterator[Interval]:
    zone, in_force = pool.tenant_zone, deployment.in_force
    recent = Interval(now - LOOKBACK, now - GRACE)
    span = in_force.clip(recent, zone)
    first_day = recent.starts_at.astimezone(zone).date() + timedelta(days=1)
    if span is None:
        return
    start = max(span.starts_at, day_start(max(first_day, in_force.starts_on), zone))
    if start >= span.ends_at:
        return
    query = SpendQuery(
        start=start,
        end=span.ends_at,
        interval="hour",
        filters={"backend": (deployment.backend,)},
    )
    rows = {row.bucket: row for row in read_spend(query).rows}
    closed = {
        one.hour.starts_at: one
        for one in list_closed_hours(deployment.backend_id, start, span.ends_at)
    }
    for hour in list_whole_hours(start, span.ends_at, zone):
        settled = _is_settled(rows.get(hour.starts_at), closed.get(hour.starts_at))
        # Rows on their way to the rollups make a settled hour look otherwise.
        if not settled and not _is_pending(hour):
            yield hour


def _is_settled(row: SpendRow | None, closed: ClosedHourInfo | None) -> bool:
    if closed is None:
        return False
    tokens = token_counts(row) if row else TokenCounts()
    charged_usd = row.cost_usd if row else Decimal(0)
    unpriced = row.unpriced_requests if row else 0
    return closed.tokens == tokens and closed.charged_usd == charged_usd and not unpriced


def _is_pending(hour: Interval) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(PENDING, [current_tenant_id(), hour.ends_at, hour.starts_at])
        return bool(cursor.fetchone()[0])


def _find_place(
    pools: Sequence[PoolInfo], backend: str, hour: Interval
) -> tuple[PoolInfo, DeploymentInfo, Basis] | None:
    for pool in pools:
        day = hour.starts_at.astimezone(pool.tenant_zone).date()
        for deployment in pool.deployments:
            if deployment.backend == backend and day in deployment.in_force:
                basis = core_basis(deployment.basis)
                return None if basis is None else (pool, deployment, basis)
    return None


def _is_in_closed_books(pool: PoolInfo, hour: Interval) -> bool:
    closed_through: date | None = read_closed_through()
    day = hour.starts_at.astimezone(pool.tenant_zone).date()
    return closed_through is not None and day <= closed_through


def _read_charges(backend_id: int, hour: Interval) -> list[_Charge]:
    with connection.cursor() as cursor:
        cursor.execute(
            CHARGES,
            {
                "tenant_id": current_tenant_id(),
                "backend_id": backend_id,
                "starts_at": hour.starts_at,
                "ends_at": hour.ends_at,
            },
        )
        return [_charge(row) for row in cursor.fetchall()]


def _charge(row: tuple[Any, ...]) -> _Charge:
    charge_id, occurred_at, slice_id, *counts, charged_usd, unpriced, energy_wh = row
    return _Charge(
        charge_id,
        occurred_at,
        slice_id,
        TokenCounts(*counts),
        charged_usd,
        int(unpriced),
        energy_wh,
    )


def _order(charge: _Charge) -> str:
    """Charges are settled in the order of their ids; as text, of one length."""
    return f"{charge.id:020d}"


def _priced(charge: _Charge) -> PricedCharge:
    """As the ledger's writer knows charges; it reads no more than what names one."""
    return PricedCharge(
        id=charge.id,
        occurred_at=charge.occurred_at,
        slice_id=charge.slice_id,
        place=ChargeSlice("", "", 0, 0, None, None, None, None, None, ""),
        before_units=units_from_usd(charge.charged_usd),
        unpriced=charge.unpriced,
        new_units=0,
    )


def _sum(amounts: Iterator[Decimal] | Sequence[Decimal]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
