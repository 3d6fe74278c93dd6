"""Rate books in this process's memory: read once a revision, shared by threads. A part of
selectors: it reads.

The catalogue is one object for all tenants. Whether a newer revision stands is asked once a
second at most, so every process prices by a change within a second of its commit.
"""

import threading
from collections import defaultdict
from dataclasses import fields
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Q

from apps.pricing.core.catalogue import Catalogue, CatalogueModel, CatalogueProvider
from apps.pricing.core.matching import compile_rule
from apps.pricing.core.rates import Discount, Rate, Source
from apps.pricing.core.rating import Alias, OwnModel, RateBook
from apps.pricing.models import CatalogueModel as ModelRow
from apps.pricing.models import CatalogueProvider as ProviderRow
from apps.pricing.models import CatalogueRate, TenantAlias, TenantDiscount, TenantRate
from apps.tenants.remembered import Remembered
from apps.tenants.scoping import current_tenant_id, tenant_scope

MAX_CATALOGUES: Final = 3
MAX_PAST_BOOKS: Final = 50
# The provider and the model of the tenant's default rate; no client can report them.
DEFAULT_NAMES: Final = ("*", "*")
_COLUMNS: Final = (
    "id",
    "meter",
    "price_usd",
    "unit_quantity",
    "when",
    "variant_rank",
    "tier_start_tokens",
    "window_start_s",
    "window_end_s",
    "effective_from",
    "effective_to",
)

_lock = threading.Lock()
_books: Remembered[int, RateBook] = Remembered()
# By tenant and revision, oldest first: books of the past, which stay as they are.
_past_books: dict[tuple[int, int], RateBook] = {}
# By revision, the newest few. A revision's number is never used twice, rolled back or not.
_catalogues: dict[int, Catalogue] = {}


def current_rate_book() -> RateBook:
    """The rates believed now by the tenant in scope."""
    tenant_id = current_tenant_id()
    if _changed_in_this_transaction():
        # What may still be rolled back is for this transaction's eyes only.
        return _read_book(*_revisions())
    return _books.get(tenant_id, _read_if_changed)


def remember_catalogue() -> None:
    """Read the catalogue, so that no tenant's first request waits for it. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(revision) FROM pricing_cataloguesync")
        _catalogue(cursor.fetchone()[0] or 0)


def rate_book_of(tenant_id: int) -> RateBook:
    """A tenant's book, at most a second old; the last one while the database is away. Opens a scope
    of its own when it must read."""

    def read(known: RateBook | None) -> RateBook:
        with tenant_scope(tenant_id):
            return _read_if_changed(known)

    return _books.get(tenant_id, read, stands=True)


def remembered_rate_book(tenant_id: int) -> RateBook | None:
    """A tenant's book if it was found current within the last second: no scope, no query.

    For the hot path; None sends the caller to current_rate_book().
    """
    return _books.glance(tenant_id)


def _read_if_changed(known: RateBook | None) -> RateBook:
    revisions = _revisions()
    if known is None or (known.catalogue.revision, known.own_revision) != revisions:
        return _read_book(*revisions)
    return known


def rate_book_as_of(revision: int) -> RateBook:
    """The rates as they were believed at that revision; names mean what they mean today.

    Without a reading where the revision is the current one, or was asked for lately.
    """
    book = current_rate_book()
    if revision == book.revision:
        return book
    key = (current_tenant_id(), revision)
    past = _past_books.get(key)
    if past is None:
        past = _read_book(_catalogue_revision_at(revision), revision)
        # Up to a revision that is committed nothing changes any more. One that is newer than our
        # own may be another process's, a moment ago, or still to come: read again each time.
        if revision < book.revision and not _changed_in_this_transaction():
            with _lock:
                if len(_past_books) >= MAX_PAST_BOOKS:
                    _past_books.pop(next(iter(_past_books)))
                _past_books[key] = past
    return past


def _catalogue_revision_at(revision: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(max(revision), 0) FROM pricing_cataloguesync WHERE revision <= %s",
            [revision],
        )
        return int(cursor.fetchone()[0])


class _Forget:
    """Drops what is remembered of a tenant (None: of all) when a change of rates commits.

    Its presence among the commit hooks tells that the running transaction changed rates.
    """

    def __init__(self, tenant_id: int | None) -> None:
        self.tenant_id = tenant_id

    def __call__(self) -> None:
        if self.tenant_id is not None:
            _books.forget(self.tenant_id)
            return
        _books.forget_all()
        with _lock:
            # Their prices stand, what names mean does not.
            _past_books.clear()


def forget_when_committed(tenant_id: int | None) -> None:
    """Let this process see a change of rates at once when it commits, and not before."""
    transaction.on_commit(_Forget(tenant_id))


def rate_from_row(source: Source, row: CatalogueRate | TenantRate) -> Rate:
    """The rate in a row of either table."""
    return _rate(source, *(getattr(row, column) for column in _COLUMNS))


def _changed_in_this_transaction() -> bool:
    return any(isinstance(hook[1], _Forget) for hook in connection.run_on_commit)


def _revisions() -> tuple[int, int]:
    """(the catalogue's, the tenant's) newest revision; 0 before the first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT max(revision) FROM pricing_cataloguesync),"
            " (SELECT max(revision) FROM pricing_raterevision WHERE tenant_id = %s)",
            [current_tenant_id()],
        )
        catalogue, own = cursor.fetchone()
    return catalogue or 0, own or 0


def _read_book(catalogue_revision: int, own_revision: int) -> RateBook:
    own = _read_own(own_revision)
    return RateBook(
        catalogue=_catalogue(catalogue_revision),
        own=[model for model in own if not is_default(model.provider, model.model)],
        own_revision=own_revision,
        discounts=_read_discounts(own_revision),
        aliases=_read_aliases(own_revision),
        default=[
            r for model in own if is_default(model.provider, model.model) for r in model.rates
        ],
    )


def _catalogue(revision: int) -> Catalogue:
    # Held while reading, so that a new catalogue is read once and not by every thread.
    with _lock:
        catalogue = _catalogues.get(revision)
        if catalogue is None:
            catalogue = _read_catalogue(revision)
            if len(_catalogues) >= MAX_CATALOGUES:
                _catalogues.pop(min(_catalogues))
            _catalogues[revision] = catalogue
        return catalogue


def believed_at(revision: int) -> Q:
    """The rows that stood at a revision."""
    return Q(recorded_revision__lte=revision) & (
        Q(closed_revision__isnull=True) | Q(closed_revision__gt=revision)
    )


def _read_catalogue(revision: int) -> Catalogue:
    rows: dict[tuple[str, str], list[tuple[Any, ...]]] = defaultdict(list)
    query = CatalogueRate.objects.filter(believed_at(revision)).order_by("id")
    for provider, model, *columns in query.values_list("provider", "model", *_COLUMNS):
        rows[provider, model].append(tuple(columns))
    # Few of the models are ever asked for: a model's rates become objects when it is.
    return Catalogue(
        revision=revision,
        providers=_read_providers(),
        models=_read_models(),
        read_rates=lambda *model: [_rate("catalogue", *row) for row in rows.get(model, ())],
    )


def _read_providers() -> list[CatalogueProvider]:
    rows = ProviderRow.objects.order_by("position")
    return [
        CatalogueProvider(
            id=row.id,
            names=compile_rule(row.name_rule) if row.name_rule else None,
            model_names=compile_rule(row.model_name_rule) if row.model_name_rule else None,
            fallbacks=tuple(row.fallbacks),
        )
        for row in rows
    ]


def _read_models() -> list[CatalogueModel]:
    rows = ModelRow.objects.order_by("position").values_list("provider_id", "model", "rule")
    return [CatalogueModel(provider, model, compile_rule(rule)) for provider, model, rule in rows]


def _read_own(revision: int) -> list[OwnModel]:
    rates: dict[tuple[str, str, str], list[Rate]] = defaultdict(list)
    query = TenantRate.objects.filter(believed_at(revision)).order_by("provider", "model", "id")
    for provider, model, kind, *columns in query.values_list(
        "provider", "model", "kind", *_COLUMNS
    ):
        source: Source = "default" if is_default(provider, model) else "tenant"
        rates[provider, model, kind].append(_rate(source, *columns))
    return [
        OwnModel(provider, model, "local" if kind == "local" else "cloud", tuple(own))
        for (provider, model, kind), own in rates.items()
    ]


def is_default(provider: str, model: str) -> bool:
    """Whether a rate by these names is the tenant's default, for models that nothing prices."""
    return (provider, model) == DEFAULT_NAMES


def discount_from_row(row: TenantDiscount) -> Discount:
    columns = {f.name: getattr(row, f.name) for f in fields(Discount)}
    return Discount(**columns)


def alias_from_row(row: TenantAlias) -> Alias:
    return Alias(**{f.name: getattr(row, f.name) for f in fields(Alias)})


def _read_discounts(revision: int) -> list[Discount]:
    rows = TenantDiscount.objects.filter(believed_at(revision)).order_by("id")
    return [discount_from_row(row) for row in rows]


def _read_aliases(revision: int) -> list[Alias]:
    rows = TenantAlias.objects.filter(believed_at(revision)).order_by("id")
    return [alias_from_row(row) for row in rows]


def _rate(source: Source, *columns: Any) -> Rate:
    """A Rate from the values of _COLUMNS."""
    row = dict(zip(_COLUMNS, columns, strict=True))
    return Rate(source=source, **(row | {"when": tuple(sorted(row["when"].items()))}))
