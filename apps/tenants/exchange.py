"""Exchange rates of the tenant in scope. Services and selectors.

A rate of a closed month stays once it is there: what was reported by it would change.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from apps.tenants.core.exchange import MAX_AGE, MAX_RATE, USD, DayRate, Rates, rounded
from apps.tenants.core.money_words import MoneyWords
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.locales import HOUSE, conventions_of
from apps.tenants.models import ExchangeRate
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import TenantInfo, get_tenant
from apps.tenants.services import record_audit

MAX_LISTED: Final = 400
# An alert is sent within days, or not at all.
RECENT: Final = timedelta(days=30)


def read_rates(currency: str, *, first: date, last: date) -> Rates:
    """What is needed to convert costs of these days."""
    rows = ExchangeRate.objects.filter(
        currency=currency, day__gte=first - MAX_AGE, day__lte=last
    ).values_list("day", "per_usd")
    return Rates(currency, [DayRate(*row) for row in rows])


def read_money_words(*, now: datetime) -> MoneyWords:
    """How messages to people of the tenant in scope tell amounts of its last RECENT days."""
    tenant = get_tenant()
    as_read = conventions_of(tenant.locale) or HOUSE
    if tenant.currency == USD:
        return MoneyWords(as_read)
    today = tenant.local_date(now)
    rates = read_rates(tenant.currency, first=today - RECENT, last=today)
    return MoneyWords(as_read, rates, tenant.zone)


def list_rates(currency: str, *, limit: int) -> list[DayRate]:
    """The newest first."""
    rows = ExchangeRate.objects.filter(currency=currency).order_by("-day")
    found = rows.values_list("day", "per_usd")[: min(limit, MAX_LISTED)]
    return [DayRate(*row) for row in found]


def set_rate(*, day: date, per_usd: Decimal, actor: str, now: datetime) -> None:
    """Say what one USD was worth in the currency of reports on a day."""
    tenant = get_tenant()
    _check_currency(tenant)
    try:
        rate = DayRate(day, rounded(per_usd))
    except ValueError as error:
        raise InvalidTenantInputError("this is not a number", field="per_usd") from error
    if not 0 < rate.per_usd < MAX_RATE:
        raise InvalidTenantInputError(f"a rate is above 0 and below {MAX_RATE:f}", field="per_usd")
    known = ExchangeRate.objects.filter(currency=tenant.currency, day=day).first()
    if known is not None and known.per_usd == rate.per_usd:
        return
    if known is not None and _is_closed(day, tenant):
        raise InvalidTenantInputError(
            f"{day} is in a month whose books are closed, and was reported at {known.per_usd:f}",
            field="day",
        )
    before = {"per_usd": f"{known.per_usd.normalize():f}"} if known else None
    _write([rate], tenant)
    record_audit(
        actor=actor,
        action="exchange_rate.set",
        subject=f"exchange_rate:{tenant.currency} {day}",
        before=before,
        after={"per_usd": f"{rate.per_usd.normalize():f}"},
        now=now,
    )


def import_rates(
    rates: Sequence[DayRate], *, file_name: str, actor: str, now: datetime
) -> tuple[int, int]:
    """Take over a file's rates; return how many, and how many of closed months stayed."""
    tenant = get_tenant()
    _check_currency(tenant)
    by_day = {rate.day: rate for rate in rates}
    known = dict(
        ExchangeRate.objects.filter(currency=tenant.currency).values_list("day", "per_usd")
    )
    wanted = [rate for rate in by_day.values() if known.get(rate.day) != rate.per_usd]
    taken = [rate for rate in wanted if rate.day not in known or not _is_closed(rate.day, tenant)]
    if taken:
        _write(taken, tenant)
        record_audit(
            actor=actor,
            action="exchange_rate.imported",
            subject=f"exchange_rate:{tenant.currency}",
            after={
                "rates": len(taken),
                "first": min(rate.day for rate in taken).isoformat(),
                "last": max(rate.day for rate in taken).isoformat(),
                "file": file_name[:200],
            },
            now=now,
        )
    return len(taken), len(wanted) - len(taken)


def _write(rates: Sequence[DayRate], tenant: TenantInfo) -> None:
    ExchangeRate.objects.bulk_create(
        [
            ExchangeRate(
                tenant_id=current_tenant_id(),
                currency=tenant.currency,
                day=rate.day,
                per_usd=rate.per_usd,
            )
            for rate in sorted(rates, key=lambda rate: rate.day)
        ],
        batch_size=2000,
        update_conflicts=True,
        unique_fields=["tenant", "currency", "day"],
        update_fields=["per_usd"],
    )


def _check_currency(tenant: TenantInfo) -> None:
    if tenant.currency == USD:
        raise InvalidTenantInputError(
            "reports are in USD and need no rates; choose another currency first", field="currency"
        )


def _is_closed(day: date, tenant: TenantInfo) -> bool:
    return tenant.books_closed_through is not None and day <= tenant.books_closed_through
