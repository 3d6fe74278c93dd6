"""What a part of usage cost, and what it earned. Pure.

Revenue is what events said they earned, and a customer's contract. A contract pays for all that its
customer asks: any part of its usage (a model, a task) earns the contract's share by requests.
"""

from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.core.money import EXACT


@dataclass(frozen=True, slots=True)
class Earnings:
    """`event_revenue` from events, `contract` accrued by contracts. Amounts are in the currency
    that they were read in; where that is another than USD, `original` has the same in USD."""

    cost: Decimal = Decimal(0)
    event_revenue: Decimal = Decimal(0)
    contract: Decimal = Decimal(0)
    requests: int = 0
    conversions: int = 0
    unpriced_requests: int = 0
    original: "Earnings | None" = None

    def plus(self, other: "Earnings") -> "Earnings":
        original = None
        if self.original is not None or other.original is not None:
            original = self.usd.plus(other.usd)
        return Earnings(
            EXACT.add(self.cost, other.cost),
            EXACT.add(self.event_revenue, other.event_revenue),
            self.contract + other.contract,
            self.requests + other.requests,
            self.conversions + other.conversions,
            self.unpriced_requests + other.unpriced_requests,
            original,
        )

    @property
    def usd(self) -> "Earnings":
        """The same in USD."""
        return self if self.original is None else self.original

    @property
    def revenue(self) -> Decimal:
        return self.event_revenue + self.contract

    @property
    def margin(self) -> Decimal:
        return self.revenue - self.cost

    @property
    def margin_share(self) -> Decimal | None:
        """Of revenue; None where there is none."""
        return self.margin / self.revenue if self.revenue else None

    @property
    def loses(self) -> bool:
        return self.margin < 0

    @property
    def cost_per_request(self) -> Decimal | None:
        """Over requests that have a price; None when none has."""
        priced = self.requests - self.unpriced_requests
        return self.cost / priced if priced > 0 else None

    @property
    def revenue_per_request(self) -> Decimal | None:
        return self.revenue / self.requests if self.requests else None

    @property
    def cost_per_conversion(self) -> Decimal | None:
        """What it took, failures and idle talk included, to convert once."""
        return self.cost / self.conversions if self.conversions else None


def contract_part(contract: Decimal, requests: int, of_requests: int) -> Decimal:
    """What a part of a customer's requests earns of its contract."""
    return contract * requests / of_requests if of_requests else Decimal(0)
