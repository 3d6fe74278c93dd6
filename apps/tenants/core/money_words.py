"""Amounts of USD in messages for people: as their organisation writes and reports them. Pure."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from apps.tenants.core.exchange import EXACT, Rates
from apps.tenants.locales import HOUSE, Conventions

CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class MoneyWords:
    """`rates` and `zone`, whose local days they are of, where it reports in another currency."""

    as_read: Conventions = HOUSE
    rates: Rates | None = None
    zone: tzinfo | None = None

    def number(self, value: Decimal) -> str:
        """To the cent, half to even, below a cent as it is. "1,234.50", "0.00031"."""
        if abs(value) >= CENT or value == 0:
            value = value.quantize(CENT, ROUND_HALF_EVEN)
        else:
            value = value.normalize()
        sign = "-" if value < 0 else ""
        return sign + self.as_read.written(f"{abs(value):f}")

    def count(self, value: Decimal) -> str:
        """A number of requests or tokens, every digit of it."""
        return self.as_read.written(f"{value:f}")

    def usd(self, value: Decimal) -> str:
        """What is set in USD, such as a budget."""
        return self.as_read.with_currency(self.number(value), "USD")

    def amount(self, usd: Decimal, at: datetime) -> str:
        """In the currency of reports by the rate of that local day, the USD behind it; USD alone
        where there is no rate."""
        rate = self.rates.on(at.astimezone(self.zone).date()) if self.rates else None
        if self.rates is None or rate is None:
            return self.usd(usd)
        own = self.number(EXACT.multiply(usd, rate))
        return f"{self.as_read.with_currency(own, self.rates.currency)} ({self.usd(usd)})"
