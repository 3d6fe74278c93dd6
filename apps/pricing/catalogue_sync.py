"""Takes the catalogue package into our tables. A part of services: it writes."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from apps.pricing import rate_books
from apps.pricing.catalogue_source import (
    Listing,
    content_hash,
    package_version,
    read_listing,
)
from apps.pricing.core.catalogue_diff import CatalogueDiff, ListedPrice, compare_prices
from apps.pricing.models import CatalogueModel, CatalogueProvider, CatalogueRate, CatalogueSync
from apps.pricing.revisions import lock_revisions, take_revision

BATCH_ROWS = 1000
# By our revision and the package's hash: what taking it would change.
_previewed: dict[tuple[int, str], CatalogueDiff] = {}
_PRICE_COLUMNS = tuple(ListedPrice.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class SyncResult:
    """`revision` is the catalogue's, new or as it stood."""

    changed: bool
    revision: int
    package_version: str
    rates_added: int = 0
    rates_closed: int = 0


def sync_catalogue(*, now: datetime) -> SyncResult:
    """Make our catalogue equal to the installed package. Does nothing when it already is.

    Prices that the package no longer has are closed, those it has anew recorded, both at one
    revision; charges made before keep their cost. Global: needs no tenant in scope.
    """
    wanted = content_hash()
    if (standing := _standing(wanted)) is not None:
        return standing
    with transaction.atomic():
        lock_revisions()
        # Whoever held the lock before us may have done our work.
        if (standing := _standing(wanted)) is not None:
            return standing
        listing = read_listing()
        revision = take_revision()
        _replace_names(listing)
        added, closed = _revise_rates(listing.prices, revision)
        CatalogueSync.objects.create(
            revision=revision,
            package_version=package_version(),
            content_hash=wanted,
            synced_at=now,
            rates_added=added,
            rates_closed=closed,
        )
        rate_books.forget_when_committed(None)
    return SyncResult(True, revision, package_version(), added, closed)


def preview_catalogue_sync() -> CatalogueDiff:
    """What `sync_catalogue` would change now. Writes nothing.

    The whole package and our whole price list are read once in a process, and again when either
    is another: each taking of the catalogue has a revision of its own.
    """
    newest = CatalogueSync.objects.order_by("-revision").values_list("revision", flat=True).first()
    compared = (newest or 0, content_hash())
    diff = _previewed.get(compared)
    if diff is None:
        diff = _compare()
        # The last one alone. Threads that compare at once find the same.
        _previewed.clear()
        _previewed[compared] = diff
    return diff


def _compare() -> CatalogueDiff:
    listing = read_listing()
    models = CatalogueModel.objects.values_list("provider_id", "model")
    return compare_prices(
        _open_prices(),
        listing.prices,
        standing_models={f"{provider}/{model}" for provider, model in models},
        wanted_models={f"{m.provider}/{m.model}" for m in listing.models},
    )


def _standing(wanted: str) -> SyncResult | None:
    newest = CatalogueSync.objects.order_by("-revision").first()
    if newest is None or newest.content_hash != wanted:
        return None
    return SyncResult(False, newest.revision, newest.package_version)


def _replace_names(listing: Listing) -> None:
    """Providers, models and their rules: how names resolve is not dated, only prices are."""
    CatalogueProvider.objects.all().delete()
    CatalogueProvider.objects.bulk_create(
        [CatalogueProvider(position=n, **asdict(p)) for n, p in enumerate(listing.providers)]
    )
    CatalogueModel.objects.bulk_create(
        [
            CatalogueModel(
                provider_id=m.provider,
                position=n,
                model=m.model,
                name=m.name,
                rule=m.rule,
                context_window_tokens=m.context_window_tokens,
                deprecated=m.deprecated,
            )
            for n, m in enumerate(listing.models)
        ],
        batch_size=BATCH_ROWS,
    )


def _revise_rates(prices: list[ListedPrice], revision: int) -> tuple[int, int]:
    """Close what is gone, record what is new; (added, closed)."""
    standing = _open_prices()
    wanted = set(prices)
    gone = [rate_id for price, rate_id in standing.items() if price not in wanted]
    if gone:
        CatalogueRate.objects.filter(pk__in=gone).update(closed_revision=revision)
    new = [price for price in prices if price not in standing]
    CatalogueRate.objects.bulk_create(
        [
            CatalogueRate(recorded_revision=revision, **(_columns(p) | {"when": dict(p.when)}))
            for p in new
        ],
        batch_size=BATCH_ROWS,
    )
    return len(new), len(gone)


def _open_prices() -> dict[ListedPrice, int]:
    """What the catalogue lists as we believe it now, with the rates' ids."""
    rows = CatalogueRate.objects.filter(closed_revision__isnull=True).values("id", *_PRICE_COLUMNS)
    return {
        ListedPrice(**(row | {"when": tuple(sorted(row["when"].items()))})): rate_id
        for row in rows
        for rate_id in [row.pop("id")]
    }


def _columns(price: ListedPrice) -> dict[str, Any]:
    return {name: getattr(price, name) for name in _PRICE_COLUMNS}
