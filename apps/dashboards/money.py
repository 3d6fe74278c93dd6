"""In which currency the page at hand tells amounts, and how USD get there (docs/decisions/0032).

Spend is converted where it is read, each local day at its own rate: `reading.read_rows` gives rows
whose `cost` is in this currency. What has no days goes by `Shown`: what is to come at the latest
rate, what began on a day at that day's. Prices, budgets and single charges stay in USD.

A day that cost something and has no rate makes the whole page USD: no two amounts of a page are in
different currencies without saying so.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

from apps.tenants.core.exchange import EXACT, USD, Rates
from apps.tenants.exchange import read_rates
from apps.tenants.selectors import TenantInfo

# The longest period of a page, and as much before it to compare with.
DAYS_RATED: Final = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """`rates` None: amounts are in USD. `latest`: what one is worth by the newest rate."""

    currency: str = USD
    rates: Rates | None = None
    latest: Decimal = Decimal(1)

    @property
    def is_usd(self) -> bool:
        return self.rates is None

    def at_latest(self, usd: Decimal) -> Decimal:
        return EXACT.multiply(usd, self.latest)

    def on(self, day: date, usd: Decimal) -> Decimal:
        """At that day's rate, or the nearest there is."""
        rate = self.rates.nearest(day) if self.rates else None
        return self.at_latest(usd) if rate is None else EXACT.multiply(usd, rate)

    def ahead(self, usd: Decimal, *, spent: Decimal, spent_usd: Decimal) -> Decimal:
        """A whole of which `spent` is known already: what is to come is at the latest rate."""
        return EXACT.add(spent, self.at_latest(EXACT.subtract(usd, spent_usd)))


Told = TypeVar("Told")
IN_USD: Final = Shown()
_current: Final[ContextVar[Shown]] = ContextVar("shown", default=IN_USD)


class UnratedDaysError(Exception):
    """Some day of what was read cost something and has no rate."""


def shown() -> Shown:
    return _current.get()


@contextmanager
def told_in(wanted: Shown) -> Iterator[None]:
    """Inside it every amount that was not fixed in USD is told in this currency."""
    token = _current.set(wanted)
    try:
        yield
    finally:
        _current.reset(token)


def in_own_currency(tell: Callable[[], Told], tenant: TenantInfo, now: datetime) -> Told:
    """What `tell` reads and writes, in the tenant's own currency; in USD, all of it, where a day
    that it reads has no rate."""
    try:
        with told_in(_own_currency(tenant, now)):
            return tell()
    except UnratedDaysError:
        with told_in(IN_USD):
            return tell()


def _own_currency(tenant: TenantInfo, now: datetime) -> Shown:
    """That of the tenant in scope; USD where it is, or while there is no rate at all."""
    if tenant.currency == USD:
        return IN_USD
    today = tenant.local_date(now)
    rates = read_rates(tenant.currency, first=today - timedelta(days=DAYS_RATED), last=today)
    latest = rates.nearest(today)
    return IN_USD if latest is None else Shown(tenant.currency, rates, latest)
