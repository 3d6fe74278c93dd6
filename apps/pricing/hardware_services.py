"""The only writer of own hardware (closed hours: hardware_closing.py).

What is wrong with a part is told by core/, whose structures it is made into before it is written.
A change that is refused has changed nothing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, get_args
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import DecimalField

from apps.pricing.core.allocation import Throughput
from apps.pricing.core.depreciation import Asset, Loan, Method
from apps.pricing.core.electricity import ElectricityPrice, Node, Tariff
from apps.pricing.core.local_time import DateRange, day_start
from apps.pricing.core.money import plain_decimal
from apps.pricing.core.tco import CostKind, RunningCost
from apps.pricing.errors import HardwareError
from apps.pricing.hardware_models import (
    HardwareAsset,
    HardwareClosedHour,
    HardwareDeployment,
    HardwareNode,
    HardwarePool,
    HardwareRunningCost,
    HardwareTariff,
    PoolPart,
)
from apps.pricing.hardware_pool import ChargingBasis
from apps.pricing.hardware_selectors import parse_windows
from apps.pricing.models import Backend
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import get_tenant
from apps.tenants.services import record_audit

MAX_NAME_LENGTH: Final = 100
PARTS: Final[dict[str, type[PoolPart]]] = {
    "asset": HardwareAsset,
    "node": HardwareNode,
    "tariff": HardwareTariff,
    "running_cost": HardwareRunningCost,
    "deployment": HardwareDeployment,
}
ONE: Final = Decimal(1)


@transaction.atomic
def add_pool(*, name: str, time_zone: str, actor: str, now: datetime) -> int:
    """Make a pool for machines that stand in one place; returns its id."""
    name = _checked_name(name)
    if time_zone not in available_timezones():
        raise HardwareError(
            f"{time_zone!r} is not an IANA time zone such as Europe/Berlin", field="time_zone"
        )
    with _stated("name", taken=f"there is a pool called {name!r} already"):
        pool = HardwarePool.objects.create(name=name, time_zone=time_zone, created_at=now)
    after = {"name": name, "time_zone": time_zone}
    _audit("hardware.pool_added", f"hardware_pool:{pool.pk}", after, actor=actor, now=now)
    return pool.pk


@transaction.atomic
def add_asset(
    *,
    pool_id: int,
    name: str,
    purchase_price_usd: Decimal,
    salvage_value_usd: Decimal,
    in_service: date,
    life_months: int,
    actor: str,
    now: datetime,
    method: str = "straight_line",
    factor: Decimal = Decimal(2),
    lifetime_tokens: int | None = None,
    loan: Loan | None = None,
) -> int:
    """Put something bought into a pool; returns its id."""
    with _stated():
        asset = Asset(
            name=_checked_name(name),
            purchase_price_usd=purchase_price_usd,
            salvage_value_usd=salvage_value_usd,
            in_service=in_service,
            life_months=life_months,
            method=Method(method),
            factor=factor,
            lifetime_tokens=lifetime_tokens,
            loan=loan,
        )
    pool = _locked_pool(pool_id)
    if asset.method == Method.UNITS_OF_PRODUCTION:
        standing = HardwareDeployment.objects.filter(pool_id=pool_id, ends_before=None)
        if standing.exclude(pool_share=ONE).exists():
            raise HardwareError(
                "depreciation by tokens needs a pool that one backend has for itself: what"
                " several serve cannot be told apart by asset",
                field="method",
            )
    with _stated("name", taken=f"{pool.name} has an asset called {asset.name!r} already"):
        return _add(
            HardwareAsset(
                name=asset.name,
                purchase_price_usd=purchase_price_usd,
                salvage_value_usd=salvage_value_usd,
                life_months=life_months,
                method=asset.method.value,
                factor=factor,
                lifetime_tokens=lifetime_tokens,
                loan_principal_usd=loan.principal_usd if loan else None,
                loan_annual_rate=loan.annual_rate if loan else None,
                loan_term_months=loan.term_months if loan else None,
            ),
            pool,
            in_service,
            actor=actor,
            now=now,
        )


@transaction.atomic
def add_node(
    *,
    pool_id: int,
    name: str,
    count: int,
    gpus: int,
    idle_watts: Decimal,
    load_watts: Decimal,
    starts_on: date,
    actor: str,
    now: datetime,
) -> int:
    """Put equal machines into a pool, powered from a day on; returns their id."""
    with _stated():
        node = Node(_checked_name(name), idle_watts, load_watts, DateRange(starts_on), count)
        _require(gpus >= 0, f"{gpus} GPUs", field="gpus")
    row = HardwareNode(
        name=node.name, count=count, gpus=gpus, idle_watts=idle_watts, load_watts=load_watts
    )
    return _add(row, _locked_pool(pool_id), starts_on, actor=actor, now=now)


@transaction.atomic
def set_tariff(
    *,
    pool_id: int,
    usd_per_kwh: Decimal,
    starts_on: date,
    actor: str,
    now: datetime,
    windows: Sequence[dict[str, str]] = (),
    pue: Decimal = ONE,
) -> int:
    """Let power have this price (and the place this PUE) from a day on; what stood ends there."""
    pool = _locked_pool(pool_id)
    with _stated():
        price = ElectricityPrice(usd_per_kwh, DateRange(starts_on), parse_windows(windows))
        Tariff(ZoneInfo(pool.time_zone), (price,))
        _require(pue >= 1, f"PUE {pue} is below 1", field="pue")
    standing = HardwareTariff.objects.filter(pool_id=pool_id, ends_before=None).first()
    _replace(standing, starts_on, pool, actor=actor, now=now)
    with _stated("starts_on", taken=f"{pool.name} has a price for {starts_on} already"):
        row = HardwareTariff(usd_per_kwh=usd_per_kwh, windows=list(windows), pue=pue)
        return _add(row, pool, starts_on, actor=actor, now=now)


@transaction.atomic
def add_running_cost(
    *,
    pool_id: int,
    kind: str,
    name: str,
    usd_per_month: Decimal,
    starts_on: date,
    actor: str,
    now: datetime,
    share: Decimal = ONE,
) -> int:
    """Let a pool bear `share` of a monthly cost from a day on; returns its id."""
    with _stated():
        _require(share > 0, f"share {share} is not over 0", field="share")
        RunningCost(CostKind(kind), _checked_name(name), usd_per_month, DateRange(starts_on), share)
    row = HardwareRunningCost(
        kind=kind, name=name.strip(), usd_per_month=usd_per_month, share=share
    )
    return _add(row, _locked_pool(pool_id), starts_on, actor=actor, now=now)


@transaction.atomic
def deploy_backend(
    *,
    pool_id: int,
    backend: str,
    starts_on: date,
    throughput: Throughput,
    actor: str,
    now: datetime,
    pool_share: Decimal = ONE,
    basis: ChargingBasis = "rates",
) -> int:
    """Let a local backend (by key) run on a pool from a day on; how it ran before ends there."""
    found = Backend.objects.filter(key=backend).first()
    if found is None or found.kind != "local":
        what = "is a cloud backend" if found else "is not a backend of yours"
        raise HardwareError(f"{backend!r} {what}", field="backend")
    if basis not in get_args(ChargingBasis):
        raise HardwareError("the basis is rates, allocated or usage", field="basis")
    pool = _locked_pool(pool_id)
    with _stated():
        _require(0 < pool_share <= 1, f"share {pool_share} is not over 0, to 1", field="pool_share")
    by_tokens = HardwareAsset.objects.filter(
        pool_id=pool_id, method=Method.UNITS_OF_PRODUCTION.value
    )
    if pool_share != ONE and by_tokens.exists():
        raise HardwareError(
            f"{pool.name} depreciates by tokens: one backend has all of it", field="pool_share"
        )
    standing = HardwareDeployment.objects.filter(backend=found, ends_before=None).first()
    if standing:
        _refuse_before_closed(standing.pool_id, starts_on)
    _replace(standing, starts_on, pool, actor=actor, now=now)
    with _stated("starts_on", taken=f"{backend} ran elsewhere on {starts_on} already"):
        row = HardwareDeployment(
            backend=found,
            input_tokens_per_second=throughput.input_tokens_per_second,
            output_tokens_per_second=throughput.output_tokens_per_second,
            cached_input_weight=throughput.cached_input_weight,
            pool_share=pool_share,
            basis=basis,
        )
        return _add(row, pool, starts_on, actor=actor, now=now)


@transaction.atomic
def end_part(*, kind: str, part_id: int, ends_before: date, actor: str, now: datetime) -> None:
    """Let a part of a pool (a kind of PARTS) end: its last day is the one before. Once."""
    row = PARTS[kind].objects.filter(pk=part_id).first() if kind in PARTS else None
    if row is None:
        raise HardwareError(f"there is no {kind.replace('_', ' ')} {part_id}", field="part_id")
    pool = _locked_pool(row.pool_id)
    _end(row, ends_before, pool, actor=actor, now=now)


def _add(row: PoolPart, pool: HardwarePool, starts_on: date, *, actor: str, now: datetime) -> int:
    _refuse_before_closed(pool.pk, starts_on)
    row.tenant_id = current_tenant_id()
    row.pool, row.starts_on, row.created_at = pool, starts_on, now
    _check_digits(row)
    with transaction.atomic():
        row.save(force_insert=True)
    _audit(f"hardware.{_kind(row)}_added", _subject(row), _describe(row), actor=actor, now=now)
    return int(row.pk)


def _check_digits(row: PoolPart) -> None:
    """The database would round what has more decimals than it keeps."""
    for field in row._meta.concrete_fields:
        value = getattr(row, field.attname)
        if isinstance(field, DecimalField) and value is not None:
            try:
                field.clean(value, row)
            except ValidationError as error:
                raise HardwareError(" ".join(error.messages), field=field.name) from error


def _replace(
    standing: PoolPart | None, starts_on: date, pool: HardwarePool, *, actor: str, now: datetime
) -> None:
    """End what stood where its successor begins."""
    if standing is None:
        return
    if starts_on <= standing.starts_on:
        raise HardwareError(
            f"what stands began on {standing.starts_on}; date the change after that day",
            field="starts_on",
        )
    _end(standing, starts_on, pool, actor=actor, now=now)


def _end(
    row: PoolPart, ends_before: date, pool: HardwarePool, *, actor: str, now: datetime
) -> None:
    if row.ends_before is not None:
        raise HardwareError(f"it has ended before {row.ends_before} already", field="ends_before")
    if ends_before <= row.starts_on:
        raise HardwareError(
            f"it would end before {ends_before}, and begins on {row.starts_on}",
            field="ends_before",
        )
    _refuse_before_closed(pool.pk, ends_before)
    type(row).objects.filter(pk=row.pk, ends_before=None).update(ends_before=ends_before)
    before = _describe(row)
    row.ends_before = ends_before
    record_audit(
        actor=actor,
        action=f"hardware.{_kind(row)}_ended",
        subject=_subject(row),
        before=before,
        after=_describe(row),
        now=now,
    )


def _refuse_before_closed(pool_id: int, day: date) -> None:
    """Hours that are closed have charged somebody: what they cost does not change any more."""
    zone = get_tenant().zone
    backends = HardwareDeployment.objects.filter(pool_id=pool_id).values("backend_id")
    last = HardwareClosedHour.objects.filter(backend_id__in=backends).order_by("-starts_at").first()
    if last is not None and day_start(day, zone) < last.ends_at:
        first_open = last.ends_at.astimezone(zone).date()
        raise HardwareError(
            f"hours of this pool are closed up to {last.ends_at.astimezone(zone):%Y-%m-%d %H:%M}"
            f" and have been charged; {day} would change them. Date it after {first_open}",
            field="starts_on",
        )


def _locked_pool(pool_id: int) -> HardwarePool:
    """The tenant's pool; changes of it wait for one another."""
    pool = HardwarePool.objects.select_for_update().filter(pk=pool_id).first()
    if pool is None:
        raise HardwareError(f"there is no hardware pool {pool_id}", field="pool")
    return pool


@contextmanager
def _stated(field: str | None = None, *, taken: str = "") -> Iterator[None]:
    """What core/ and the database refuse, as this app's error."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        if "overfull" in str(error):
            raise HardwareError(
                "the backends of this pool would have more than all of it", field="pool_share"
            ) from error
        if not taken:
            raise
        raise HardwareError(taken, field=field) from error
    except ValueError as error:
        raise HardwareError(str(error), field=field) from error


def _require(holds: bool, otherwise: str, *, field: str) -> None:
    if not holds:
        raise HardwareError(otherwise, field=field)


def _checked_name(name: str) -> str:
    name = name.strip()
    _require(
        0 < len(name) <= MAX_NAME_LENGTH and "\0" not in name,
        f"a name has 1 to {MAX_NAME_LENGTH} characters",
        field="name",
    )
    return name


def _kind(row: PoolPart) -> str:
    return next(kind for kind, model in PARTS.items() if isinstance(row, model))


def _subject(row: PoolPart) -> str:
    return f"hardware_{_kind(row)}:{row.pk}"


def _describe(row: PoolPart) -> dict[str, Any]:
    """A part for the audit trail."""
    skipped = {"id", "tenant", "created_at"}
    fields = [field for field in row._meta.concrete_fields if field.name not in skipped]
    values = {field.attname: getattr(row, field.attname) for field in fields}
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain_decimal(value)
    return value.isoformat() if isinstance(value, date) else value


def _audit(action: str, subject: str, after: dict[str, Any], *, actor: str, now: datetime) -> None:
    record_audit(actor=actor, action=action, subject=subject, after=after, now=now)
