"""The only reader of rates, backends and the catalogue."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Q

from apps.pricing.core.rates import Discount, Kind, Source
from apps.pricing.core.rating import Alias, RateCard, ResolvedBackend
from apps.pricing.models import (
    Backend,
    CatalogueRate,
    CatalogueSync,
    TenantAlias,
    TenantDiscount,
    TenantRate,
)
from apps.pricing.rate_books import (
    alias_from_row,
    believed_at,
    current_rate_book,
    discount_from_row,
    is_default,
    rate_book_as_of,
    rate_book_of,
    remember_catalogue,
    remembered_rate_book,
)
from apps.tenants.scoping import once

__all__ = [
    "BackendInfo",
    "CatalogueInfo",
    "RateInfo",
    "current_rate_book",
    "list_aliases",
    "list_backends",
    "list_discounts",
    "list_rates",
    "rate_book_as_of",
    "rate_book_of",
    "read_backend_keys",
    "read_backend_kinds",
    "read_catalogue_info",
    "read_discounts",
    "read_rates",
    "remember_catalogue",
    "remembered_rate_book",
]

MAX_RATES: Final = 1000
MAX_BACKENDS: Final = 1000


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """`source`: whose rates are on its card; both None while it is unpriced."""

    id: int
    key: str
    provider: str
    model: str
    kind: Kind
    name: str
    discovered: bool
    created_at: datetime
    source: Source | None
    card: RateCard | None


@dataclass(frozen=True, slots=True)
class RateInfo:
    """One recorded rate. `price_usd` is per `unit_quantity` of the meter's items.

    `id` as charges name it ("tenant:12"); `number` is its own part, for paging and services.
    """

    id: str
    number: int
    source: Source
    provider: str
    model: str
    meter: str
    price_usd: Decimal
    unit_quantity: int
    when: dict[str, str]
    tier_start_tokens: int
    window_start_s: int
    window_end_s: int
    effective_from: datetime | None
    effective_to: datetime | None
    recorded_revision: int
    closed_revision: int | None


@dataclass(frozen=True, slots=True)
class CatalogueInfo:
    revision: int
    package_version: str
    synced_at: datetime


def list_backends(*, after_key: str = "", limit: int | None = None) -> list[BackendInfo]:
    """The tenant in scope's backends, by key. Continue with the last key as `after_key`."""
    if not after_key and limit is None:
        return list(_every_backend())
    return _infos(Backend.objects.filter(key__gt=after_key).order_by("key")[:limit])


@once
def _every_backend() -> list[BackendInfo]:
    return _infos(Backend.objects.order_by("key"))


def _infos(rows: Iterable[Backend]) -> list[BackendInfo]:
    book = current_rate_book()
    return [_backend_info(row, book.resolve(row.provider, row.model)) for row in rows]


@once
def read_backend_keys() -> dict[int, str]:
    """By id: what the tenant in scope's backends are called, without what they cost."""
    return dict(Backend.objects.values_list("id", "key"))


@once
def read_backend_kinds() -> dict[int, str]:
    """By id: "local" or "cloud", without what they cost."""
    rows = Backend.objects.values_list("id", "kind")
    return {number: "local" if kind == "local" else "cloud" for number, kind in rows}


def list_rates(
    *,
    source: Source,
    provider: str | None = None,
    model: str | None = None,
    as_of_revision: int | None = None,
    after_id: int = 0,
    limit: int = MAX_RATES,
) -> list[RateInfo]:
    """The tenant's own rates or the catalogue's, by id, at most `limit` (and MAX_RATES).

    Those believed now, or at a revision. Continue with the last id as `after_id`.
    """
    where = {"provider": provider, "model__iexact": model}
    filters = {name: value for name, value in where.items() if value is not None}
    rows: Any = (TenantRate if source == "tenant" else CatalogueRate).objects.filter(
        _believed(as_of_revision)
    )
    page = rows.filter(id__gt=after_id, **filters).order_by("id")[: min(limit, MAX_RATES)]
    return [_rate_info(source, row) for row in page]


def read_rates(references: Iterable[str]) -> list[RateInfo]:
    """Rates as charges name them ("catalogue:345", "tenant:12"), closed ones too."""
    numbers: dict[str, list[int]] = {"tenant": [], "catalogue": []}
    for reference in references:
        source, _, number = reference.partition(":")
        if source in ("tenant", "default", "catalogue"):
            numbers["catalogue" if source == "catalogue" else "tenant"].append(int(number))
    own = TenantRate.objects.filter(pk__in=numbers["tenant"]).order_by("id")
    listed = CatalogueRate.objects.filter(pk__in=numbers["catalogue"]).order_by("id")
    return [
        *(_rate_info("tenant", row) for row in own),
        *(_rate_info("catalogue", row) for row in listed),
    ]


def list_discounts(*, as_of_revision: int | None = None) -> list[Discount]:
    """The tenant in scope's discounts, those believed now or at a revision."""
    rows = TenantDiscount.objects.filter(_believed(as_of_revision)).order_by("id")[:MAX_RATES]
    return [discount_from_row(row) for row in rows]


def read_discounts(references: Iterable[str]) -> list[Discount]:
    """Discounts as charges name them ("discount:7"), closed ones too."""
    numbers = [int(r.partition(":")[2]) for r in references if r.startswith("discount:")]
    return [discount_from_row(r) for r in TenantDiscount.objects.filter(pk__in=numbers)]


def list_aliases(*, as_of_revision: int | None = None) -> list[Alias]:
    """The tenant in scope's names for priced models, those believed now or at a revision."""
    rows = TenantAlias.objects.filter(_believed(as_of_revision)).order_by("id")[:MAX_RATES]
    return [alias_from_row(row) for row in rows]


def read_catalogue_info() -> CatalogueInfo | None:
    """Which catalogue stands; None before the first sync."""
    newest = CatalogueSync.objects.order_by("-revision").first()
    if newest is None:
        return None
    return CatalogueInfo(newest.revision, newest.package_version, newest.synced_at)


def _believed(revision: int | None) -> Q:
    return Q(closed_revision__isnull=True) if revision is None else believed_at(revision)


def _backend_info(row: Backend, resolved: ResolvedBackend) -> BackendInfo:
    return BackendInfo(
        id=row.pk,
        key=row.key,
        provider=row.provider,
        model=row.model,
        kind="local" if row.kind == "local" else "cloud",
        name=row.name,
        discovered=row.discovered,
        created_at=row.created_at,
        source=resolved.source,
        card=resolved.card,
    )


def _rate_info(source: Source, row: Any) -> RateInfo:
    columns = {name: getattr(row, name) for name in RateInfo.__slots__ if name not in _NOT_COLUMNS}
    if source == "tenant" and is_default(row.provider, row.model):
        source = "default"
    return RateInfo(id=f"{source}:{row.pk}", number=row.pk, source=source, **columns)


_NOT_COLUMNS: Final = ("id", "number", "source")
