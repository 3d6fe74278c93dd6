"""The only writer of rates, backends and the catalogue.

Every change of rates takes a revision (revisions.py); what was believed before it stays readable.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction

from apps.pricing import rate_books
from apps.pricing.agreements import (
    add_alias,
    add_discount,
    end_alias,
    end_discount,
    withdraw_alias,
    withdraw_discount,
)
from apps.pricing.books import check_books_open
from apps.pricing.catalogue_sync import SyncResult, preview_catalogue_sync, sync_catalogue
from apps.pricing.core.meters import UNITS_PER_PRICE
from apps.pricing.core.money import plain_decimal
from apps.pricing.core.rates import DAY_S, Kind, Rate, find_overlap
from apps.pricing.core.rating import ResolvedBackend
from apps.pricing.errors import InvalidRateError, RateNotFoundError, RateOverlapError
from apps.pricing.models import Backend, RateRevision, TenantRate
from apps.pricing.rate_checks import check_names, check_rate, overlap
from apps.pricing.revisions import lock_revisions, take_revision
from apps.tenants.scoping import current_tenant_id
from apps.tenants.services import record_audit

WantedBackend = tuple[str, str, str, Kind]  # key, provider, model, kind


__all__ = [
    "SyncResult",
    "add_alias",
    "add_default_rate",
    "add_discount",
    "add_rate",
    "change_rate",
    "end_alias",
    "end_discount",
    "end_rate",
    "ensure_backends",
    "preview_catalogue_sync",
    "sync_catalogue",
    "withdraw_alias",
    "withdraw_discount",
    "withdraw_rate",
]


def add_rate(
    *,
    provider: str,
    model: str,
    meter: str,
    price_usd_per_mtok: Decimal,
    effective_from: datetime | None,
    actor: str,
    now: datetime,
    kind: Kind = "cloud",
    effective_to: datetime | None = None,
    when: dict[str, str] | None = None,
    tier_start_tokens: int = 0,
    window_start_s: int = 0,
    window_end_s: int = DAY_S,
) -> int:
    """Give the tenant in scope a rate of its own and return its id.

    The price is per 1,000,000 of the meter's items (tokens, or requests for their fee), for every
    request, or only for those whose context holds `when`, that have more than `tier_start_tokens`
    of input, that fall within [window_start_s, window_end_s) of the UTC day. Raises
    InvalidRateError, or RateOverlapError when another rate prices the same at some moment: end or
    change that one instead.
    """
    book = rate_books.current_rate_book()
    provider = book.canonical_provider(provider)
    model = model.strip()
    check_names(provider, model)
    rate = Rate(
        id=0,
        source="tenant",
        meter=meter,
        price_usd=price_usd_per_mtok,
        unit_quantity=UNITS_PER_PRICE,
        when=tuple(sorted((when or {}).items())),
        tier_start_tokens=tier_start_tokens,
        window_start_s=window_start_s,
        window_end_s=window_end_s,
        effective_from=effective_from,
        effective_to=effective_to,
    )
    return _add(provider, model, kind, rate, actor=actor, now=now)


def add_default_rate(
    *,
    meter: str,
    price_usd_per_mtok: Decimal,
    effective_from: datetime | None,
    actor: str,
    now: datetime,
    effective_to: datetime | None = None,
) -> int:
    """Give the tenant in scope a price for models that nothing else prices; return the rate's id.

    Off unless set. Changed, ended and withdrawn as any rate; its charges say source "default".
    A default without a meter's price leaves requests that use the meter unpriced.
    """
    rate = Rate(
        id=0,
        source="default",
        meter=meter,
        price_usd=price_usd_per_mtok,
        unit_quantity=UNITS_PER_PRICE,
        effective_from=effective_from,
        effective_to=effective_to,
    )
    return _add(*rate_books.DEFAULT_NAMES, "cloud", rate, actor=actor, now=now)


def _add(provider: str, model: str, kind: Kind, rate: Rate, *, actor: str, now: datetime) -> int:
    """Record a new rate unless it cannot be or would overlap another."""
    check_rate(rate)
    check_books_open(rate.effective_from, field="effective_from")
    revision = take_revision()
    standing = _standing_rates(provider, model)
    # Case does not tell models apart; the first spelling stays.
    model = standing[0].model if standing else model
    _check_kind(provider, model, kind, standing)
    if other := find_overlap(rate, (_as_rate(row) for row in standing)):
        raise overlap(provider, model, rate, other)
    (rate_id,) = _record(revision, provider, model, kind, [rate], now=now)
    if rate.source != "default":
        _own_backend(provider, model, kind, now=now)
    record_audit(
        actor=actor,
        action="rate.added",
        subject=f"rate:{rate_id}",
        after=_describe(provider, model, rate),
        now=now,
    )
    return rate_id


def change_rate(
    *,
    rate_id: int,
    price_usd_per_mtok: Decimal,
    effective_from: datetime,
    actor: str,
    now: datetime,
) -> int:
    """Let a rate have another price from a moment on and return the new rate's id.

    The old row is closed; before that moment its price goes on as a new row.
    """
    row = _open_rate(rate_id)
    old = _as_rate(row)
    new = replace(old, price_usd=price_usd_per_mtok, effective_from=effective_from)
    check_rate(new)
    if effective_from.timestamp() < old.starts_at_s:
        raise InvalidRateError(
            f"the change at {effective_from} is before the rate begins ({old.effective_from});"
            " add a rate for the time before",
            field="effective_from",
        )
    check_books_open(effective_from, field="effective_from")
    successors = [new]
    if old.starts_at_s < effective_from.timestamp():
        successors.insert(0, replace(old, effective_to=effective_from))
    return _replace(row, successors, action="rate.changed", actor=actor, now=now)[-1]


def end_rate(*, rate_id: int, effective_to: datetime, actor: str, now: datetime) -> int:
    """Let a rate end at a moment and return the id of the row that now stands for it."""
    row = _open_rate(rate_id)
    ended = replace(_as_rate(row), effective_to=effective_to)
    check_rate(ended)
    check_books_open(effective_to, field="effective_to")
    return _replace(row, [ended], action="rate.ended", actor=actor, now=now)[0]


def withdraw_rate(*, rate_id: int, actor: str, now: datetime) -> None:
    """Take back a rate that should never have been. Charges made by it keep their cost."""
    row = _open_rate(rate_id)
    check_books_open(row.effective_from, field="rate_id")
    _replace(row, [], action="rate.withdrawn", actor=actor, now=now)


def ensure_backends(
    wanted: Iterable[ResolvedBackend | WantedBackend], *, now: datetime
) -> dict[str, int]:
    """Ids of the backends that usage names, by key; unseen ones are added as discovered."""
    by_key = {key: rest for key, *rest in map(_backend_columns, wanted)}
    known = dict(Backend.objects.filter(key__in=by_key).values_list("key", "id"))
    unseen = sorted(by_key.keys() - known.keys())
    if not unseen:
        return known
    # Sorted, so that two transactions that add the same keys cannot deadlock.
    Backend.objects.bulk_create(
        [
            Backend(
                tenant_id=current_tenant_id(),
                key=key,
                provider=by_key[key][0],
                model=by_key[key][1],
                kind=by_key[key][2],
                name=key,
                discovered=True,
                created_at=now,
            )
            for key in unseen
        ],
        ignore_conflicts=True,
    )
    added = Backend.objects.filter(key__in=unseen).values_list("key", "id")
    return known | dict(added)


def _backend_columns(wanted: ResolvedBackend | WantedBackend) -> WantedBackend:
    if isinstance(wanted, ResolvedBackend):
        return wanted.key, wanted.provider, wanted.model, wanted.kind
    return wanted


def _own_backend(provider: str, model: str, kind: Kind, *, now: datetime) -> None:
    """The backend of an own rate: named by a person, and of the kind that person said."""
    key = f"{provider}/{model}"
    Backend.objects.get_or_create(
        key=key,
        defaults={
            "tenant_id": current_tenant_id(),
            "provider": provider,
            "model": model,
            "kind": kind,
            "name": key,
            "created_at": now,
        },
    )
    Backend.objects.filter(key=key).update(kind=kind, discovered=False)


def _check_kind(provider: str, model: str, kind: Kind, standing: list[TenantRate]) -> None:
    """One backend is either cloud or local: its rates may not disagree."""
    other = next((row.kind for row in standing if row.kind != kind), None)
    if kind not in ("cloud", "local") or other is not None:
        raise InvalidRateError(
            f"kind is cloud or local, and the same for all rates of {provider}/{model}"
            f" ({other or 'none'} so far)",
            field="kind",
        )


def _standing_rates(provider: str, model: str) -> list[TenantRate]:
    rows = TenantRate.objects.filter(
        provider=provider, model__iexact=model, closed_revision__isnull=True
    )
    return list(rows.order_by("id"))


def _open_rate(rate_id: int) -> TenantRate:
    """The tenant's rate, read under the revision lock so that nobody closes it meanwhile."""
    lock_revisions()
    row = TenantRate.objects.filter(pk=rate_id, closed_revision__isnull=True).first()
    if row is None:
        raise RateNotFoundError(
            f"there is no open rate {rate_id}; it may have been changed meanwhile", field="rate_id"
        )
    return row


def _as_rate(row: TenantRate) -> Rate:
    return rate_books.rate_from_row("tenant", row)


def _replace(
    row: TenantRate, successors: list[Rate], *, action: str, actor: str, now: datetime
) -> list[int]:
    """Close a row and let its successors stand in its place, as one revision."""
    kind: Kind = "local" if row.kind == "local" else "cloud"
    revision = take_revision()
    TenantRate.objects.filter(pk=row.pk).update(closed_revision=revision)
    ids = _record(revision, row.provider, row.model, kind, successors, now=now)
    record_audit(
        actor=actor,
        action=action,
        subject=f"rate:{row.pk}",
        before=_describe(row.provider, row.model, _as_rate(row)),
        after={"rates": [_describe(row.provider, row.model, rate) for rate in successors]},
        now=now,
    )
    return ids


def _record(
    revision: int, provider: str, model: str, kind: Kind, rates: list[Rate], *, now: datetime
) -> list[int]:
    tenant_id = current_tenant_id()
    RateRevision.objects.create(revision=revision, recorded_at=now)
    rows = [
        TenantRate(
            tenant_id=tenant_id,
            provider=provider,
            model=model,
            kind=kind,
            meter=rate.meter,
            price_usd=rate.price_usd,
            unit_quantity=rate.unit_quantity,
            when=dict(rate.when),
            variant_rank=rate.variant_rank,
            tier_start_tokens=rate.tier_start_tokens,
            window_start_s=rate.window_start_s,
            window_end_s=rate.window_end_s,
            effective_from=rate.effective_from,
            effective_to=rate.effective_to,
            recorded_revision=revision,
            created_at=now,
        )
        for rate in rates
    ]
    try:
        with transaction.atomic():
            TenantRate.objects.bulk_create(rows)
    except IntegrityError as error:
        if "no_overlap" in str(error):
            raise RateOverlapError(
                f"{provider}/{model} would have two prices for one request at one moment",
                field="effective_from",
            ) from error
        raise
    rate_books.forget_when_committed(tenant_id)
    return [row.pk for row in rows]


def _describe(provider: str, model: str, rate: Rate) -> dict[str, Any]:
    """A rate for the audit trail."""
    return {
        "backend": f"{provider}/{model}",
        "meter": rate.meter,
        "price_usd_per_mtok": plain_decimal(rate.price_usd),
        "when": dict(rate.when),
        "tier_start_tokens": rate.tier_start_tokens,
        "window_start_s": rate.window_start_s,
        "window_end_s": rate.window_end_s,
        "effective_from": rate.effective_from.isoformat() if rate.effective_from else None,
        "effective_to": rate.effective_to.isoformat() if rate.effective_to else None,
    }
