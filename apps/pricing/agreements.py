"""What a tenant agreed and decided beside its rates: discounts, and aliases. A part of services.

As with rates, nothing is edited: a row is recorded at a revision, and closed once at another.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import IntegrityError, models, transaction

from apps.pricing import rate_books
from apps.pricing.books import check_books_open
from apps.pricing.core.discounts import find_discount_overlap
from apps.pricing.core.meters import RATEABLE
from apps.pricing.core.money import PRICE_DECIMALS, plain_decimal
from apps.pricing.core.rates import Dated, Discount
from apps.pricing.core.rating import Alias, RateBook
from apps.pricing.errors import InvalidRateError, RateNotFoundError, RateOverlapError
from apps.pricing.models import RateRevision, TenantAlias, TenantDiscount
from apps.pricing.revisions import lock_revisions, take_revision
from apps.tenants.scoping import current_tenant_id
from apps.tenants.services import record_audit

PERCENT_DECIMALS: Final = 6
DISCOUNT_COLUMNS: Final = (
    "provider", "model", "meter", "percent", "amount_usd", "unit_quantity",
    "effective_from", "effective_to",
)  # fmt: skip
ALIAS_COLUMNS: Final = (
    "provider", "model", "priced_provider", "priced_model", "effective_from", "effective_to",
)  # fmt: skip


def add_discount(
    *,
    provider: str,
    model: str = "",
    meter: str = "",
    percent: Decimal | None = None,
    amount_usd_per_mtok: Decimal | None = None,
    effective_from: datetime | None,
    effective_to: datetime | None = None,
    actor: str,
    now: datetime,
) -> int:
    """Take `percent` or an amount per 1,000,000 items off the catalogue's prices; return its id.

    Without a model it is for all of the provider's, without a meter for all meters (a percentage
    only). Own and default rates are net, and untouched. Raises InvalidRateError, or
    RateOverlapError when another discount is on the same at some moment.
    """
    book = rate_books.current_rate_book()
    provider = book.canonical_provider(provider)
    discount = Discount(
        id=0,
        provider=provider,
        model=_listed_model(book, provider, model),
        meter=meter,
        percent=percent,
        amount_usd=amount_usd_per_mtok,
        effective_from=effective_from,
        effective_to=effective_to,
    )
    _check_discount(discount)
    check_books_open(discount.effective_from, field="effective_from")
    check_dates(discount)
    revision = take_revision()
    standing = TenantDiscount.objects.filter(provider=provider, closed_revision__isnull=True)
    others = [rate_books.discount_from_row(row) for row in standing]
    if other := find_discount_overlap(discount, others):
        raise _discount_overlap(discount, other)
    columns = {name: getattr(discount, name) for name in DISCOUNT_COLUMNS}
    discount_id = _record(TenantDiscount, columns, revision, now=now)
    record_audit(
        actor=actor,
        action="discount.added",
        subject=f"discount:{discount_id}",
        after=_described(columns),
        now=now,
    )
    return discount_id


def end_discount(*, discount_id: int, effective_to: datetime, actor: str, now: datetime) -> int:
    """Let a discount end at a moment and return the id of the row that now stands for it."""
    return _end(TenantDiscount, DISCOUNT_COLUMNS, discount_id, effective_to, actor=actor, now=now)


def withdraw_discount(*, discount_id: int, actor: str, now: datetime) -> None:
    """Take back a discount that should never have been. Charges made by it keep their cost."""
    _withdraw(TenantDiscount, DISCOUNT_COLUMNS, discount_id, actor=actor, now=now)


def add_alias(
    *,
    provider: str,
    model: str,
    priced_provider: str,
    priced_model: str,
    effective_from: datetime | None = None,
    effective_to: datetime | None = None,
    actor: str,
    now: datetime,
) -> int:
    """Let a name that routers report be priced as another model; return the alias's id.

    It is asked after the tenant's own rates by that name and before the catalogue. Raises
    InvalidRateError when nothing prices the model it would mean, or the name has rates of its own;
    RateOverlapError when the name has an alias at some of these moments.
    """
    book = rate_books.current_rate_book()
    provider, model = book.name_parts(provider, model)
    priced_provider = book.canonical_provider(priced_provider)
    alias = Alias(0, provider, model, priced_provider, priced_model.strip())
    alias = replace(alias, effective_from=effective_from, effective_to=effective_to)
    _check_alias(book, alias)
    check_books_open(alias.effective_from, field="effective_from")
    check_dates(alias)
    revision = take_revision()
    standing = TenantAlias.objects.filter(
        provider=provider, model__iexact=model, closed_revision__isnull=True
    )
    for other in map(rate_books.alias_from_row, standing):
        if alias.meets(other):
            raise RateOverlapError(
                f"{provider}/{model} already means {other.priced_provider}/{other.priced_model}"
                f" {_dates(other)} (alias {other.id}); end or withdraw that alias first",
                field="effective_from",
            )
    columns = {name: getattr(alias, name) for name in ALIAS_COLUMNS}
    alias_id = _record(TenantAlias, columns, revision, now=now)
    record_audit(
        actor=actor,
        action="alias.added",
        subject=f"alias:{alias_id}",
        after=_described(columns),
        now=now,
    )
    return alias_id


def end_alias(*, alias_id: int, effective_to: datetime, actor: str, now: datetime) -> int:
    """Let an alias end at a moment and return the id of the row that now stands for it."""
    return _end(TenantAlias, ALIAS_COLUMNS, alias_id, effective_to, actor=actor, now=now)


def withdraw_alias(*, alias_id: int, actor: str, now: datetime) -> None:
    """Take back an alias that should never have been. Charges made by it keep their cost."""
    _withdraw(TenantAlias, ALIAS_COLUMNS, alias_id, actor=actor, now=now)


def check_dates(dated: Dated) -> None:
    """Raise InvalidRateError unless both ends have a zone and the start is before the end."""
    for field in ("effective_from", "effective_to"):
        moment = getattr(dated, field)
        if moment is not None and moment.tzinfo is None:
            raise InvalidRateError(f"{field} needs a time zone", field=field)
    if dated.starts_at_s >= dated.ends_at_s:
        raise InvalidRateError(
            f"it would end ({dated.effective_to}) before it starts ({dated.effective_from})",
            field="effective_to",
        )


def _listed_model(book: RateBook, provider: str, model: str) -> str:
    """The catalogue's id for the model; a discount needs a listed price to stand over."""
    if not model.strip():
        if book.catalogue.find_provider(provider) is None:
            raise InvalidRateError(
                f"the catalogue lists no provider {provider!r}; a discount stands over listed"
                " prices, for others give a rate of your own",
                field="provider",
            )
        return ""
    found = book.catalogue.find(provider, model.strip())
    if found is None:
        raise InvalidRateError(
            f"the catalogue lists no {model!r} at {provider!r}; a discount stands over listed"
            " prices, for others give a rate of your own",
            field="model",
        )
    return found.model


def _check_discount(discount: Discount) -> None:
    percent, amount = discount.percent, discount.amount_usd
    if (percent is None) == (amount is None):
        raise InvalidRateError("give exactly one of percent and amount", field="percent")
    if discount.meter and discount.meter not in RATEABLE:
        raise InvalidRateError(f"there is no meter {discount.meter!r}", field="meter")
    if percent is not None:
        if not percent.is_finite() or not 0 < percent <= 100:
            raise InvalidRateError(
                f"percent is more than 0 and at most 100, not {percent}", field="percent"
            )
        _check_decimals(percent, PERCENT_DECIMALS, "percent")
    if amount is not None:
        field = "amount_usd_per_mtok"
        if not amount.is_finite() or amount <= 0 or amount.adjusted() >= 20:
            raise InvalidRateError(f"the amount is more than 0, not {amount}", field=field)
        _check_decimals(amount, PRICE_DECIMALS, field)
        if not discount.meter:
            raise InvalidRateError(
                "an amount is off one meter's price: say which meter", field="meter"
            )


def _check_decimals(value: Decimal, most: int, field: str) -> None:
    if int(value.as_tuple().exponent) < -most:
        raise InvalidRateError(f"{field} has at most {most} decimals, got {value}", field=field)


def _check_alias(book: RateBook, alias: Alias) -> None:
    for field in ("provider", "model", "priced_provider", "priced_model"):
        value = getattr(alias, field)
        if not 0 < len(value) <= 200 or "\0" in value or value == "*":
            raise InvalidRateError(f"{field} has 1 to 200 characters and is not *", field=field)
    meant = book.resolve_listed(alias.priced_provider, alias.priced_model)
    if meant.card is None:
        meant = book.resolve_named(alias.priced_provider, alias.priced_model)
    named = f"{alias.priced_provider}/{alias.priced_model}"
    if meant.card is None:
        raise InvalidRateError(f"nothing prices {named}", field="priced_model")
    if book.has_own(alias.provider, alias.model):
        raise InvalidRateError(
            f"{alias.provider}/{alias.model} has rates of your own, which stand before any alias;"
            " withdraw them first",
            field="model",
        )
    if (alias.provider, alias.model.lower()) == (
        alias.priced_provider,
        alias.priced_model.lower(),
    ):
        raise InvalidRateError(f"{named} already means itself", field="priced_model")


def _discount_overlap(discount: Discount, other: Discount) -> RateOverlapError:
    of = "/".join(part for part in (other.provider, other.model) if part)
    off = (
        f"{plain_decimal(other.percent)} percent"
        if other.percent is not None
        else f"{plain_decimal(other.amount_usd or Decimal(0))} USD per million"
    )
    return RateOverlapError(
        f"{of} {discount.meter or '(all meters)'} already has {off} off {_dates(other)}"
        f" (discount {other.id}); end or withdraw that one first",
        field="effective_from",
    )


def _dates(dated: Dated) -> str:
    return f"from {dated.effective_from or 'ever'} to {dated.effective_to or 'further notice'}"


def _record(
    table: type[TenantDiscount | TenantAlias],
    columns: dict[str, Any],
    revision: int,
    *,
    now: datetime,
) -> int:
    tenant_id = current_tenant_id()
    RateRevision.objects.create(revision=revision, recorded_at=now)
    try:
        with transaction.atomic():
            row = table.objects.create(recorded_revision=revision, created_at=now, **columns)
    except IntegrityError as error:
        if "no_overlap" in str(error):
            raise RateOverlapError(
                "another stands for the same thing at one moment", field="effective_from"
            ) from error
        raise
    rate_books.forget_when_committed(tenant_id)
    return int(row.pk)


def _open_row(table: type[TenantDiscount | TenantAlias], row_id: int) -> models.Model:
    """The tenant's row, read under the revision lock so that nobody closes it meanwhile."""
    lock_revisions()
    row = table.objects.filter(pk=row_id, closed_revision__isnull=True).first()
    if row is None:
        raise RateNotFoundError(
            f"there is no open {_name(table)} {row_id}; it may have been changed meanwhile",
            field=f"{_name(table)}_id",
        )
    return row


def _close(table: type[TenantDiscount | TenantAlias], row_id: int) -> int:
    """Close an open row; returns the revision at which."""
    revision = take_revision()
    table.objects.filter(pk=row_id).update(closed_revision=revision)
    return revision


def _end(
    table: type[TenantDiscount | TenantAlias],
    names: Sequence[str],
    row_id: int,
    effective_to: datetime,
    *,
    actor: str,
    now: datetime,
) -> int:
    row = _open_row(table, row_id)
    before = {name: getattr(row, name) for name in names}
    after = before | {"effective_to": effective_to}
    check_dates(Alias(0, "", "", "", "", after["effective_from"], effective_to))
    check_books_open(effective_to, field="effective_to")
    new_id = _record(table, after, _close(table, row_id), now=now)
    record_audit(
        actor=actor,
        action=f"{_name(table)}.ended",
        subject=f"{_name(table)}:{row_id}",
        before=_described(before),
        after=_described(after),
        now=now,
    )
    return new_id


def _withdraw(
    table: type[TenantDiscount | TenantAlias],
    names: Sequence[str],
    row_id: int,
    *,
    actor: str,
    now: datetime,
) -> None:
    row = _open_row(table, row_id)
    check_books_open(getattr(row, "effective_from"), field=f"{_name(table)}_id")  # noqa: B009
    revision = _close(table, row_id)
    RateRevision.objects.create(revision=revision, recorded_at=now)
    rate_books.forget_when_committed(current_tenant_id())
    record_audit(
        actor=actor,
        action=f"{_name(table)}.withdrawn",
        subject=f"{_name(table)}:{row_id}",
        before=_described({name: getattr(row, name) for name in names}),
        now=now,
    )


def _name(table: type[TenantDiscount | TenantAlias]) -> str:
    return "discount" if table is TenantDiscount else "alias"


def _described(columns: dict[str, Any]) -> dict[str, Any]:
    """For the audit trail: JSON, without what is not set."""
    described: dict[str, Any] = {}
    for name, value in columns.items():
        if value in (None, ""):
            continue
        if isinstance(value, Decimal):
            described[name] = plain_decimal(value)
        else:
            described[name] = value.isoformat() if isinstance(value, datetime) else value
    return described
