"""What a part of usage cost, and what it earned. Pure.

Revenue is what events said they earned, and a customer's contract. A contract pays for all that its
customer asks: any part of its usage (a model, a task) earns the contract's share by requests.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Earnings:
    """`event_revenue_usd` from events, `contract_usd` accrued by contracts."""

    cost_usd: Decimal = Decimal(0)
    event_revenue_usd: Decimal = Decimal(0)
    contract_usd: Decimal = Decimal(0)
    requests: int = 0
    conversions: int = 0
    unpriced_requests: int = 0

    def plus(self, other: "Earnings") -> "Earnings":
        return Earnings(
            self.cost_usd + other.cost_usd,
            self.event_revenue_usd + other.event_revenue_usd,
            self.contract_usd + other.contract_usd,
            self.requests + other.requests,
            self.conversions + other.conversions,
            self.unpriced_requests + other.unpriced_requests,
        )

    @property
    def revenue_usd(self) -> Decimal:
        return self.event_revenue_usd + self.contract_usd

    @property
    def margin_usd(self) -> Decimal:
        return self.revenue_usd - self.cost_usd

    @property
    def margin_share(self) -> Decimal | None:
        """Of revenue; None where there is none."""
        return self.margin_usd / self.revenue_usd if self.revenue_usd else None

    @property
    def loses(self) -> bool:
        return self.margin_usd < 0

    @property
    def cost_per_request_usd(self) -> Decimal | None:
        """Over requests that have a price; None when none has."""
        priced = self.requests - self.unpriced_requests
        return self.cost_usd / priced if priced > 0 else None

    @property
    def revenue_per_request_usd(self) -> Decimal | None:
        return self.revenue_usd / self.requests if self.requests else None

    @property
    def cost_per_conversion_usd(self) -> Decimal | None:
        """What it took, failures and idle talk included, to convert once."""
        return self.cost_usd / self.conversions if self.conversions else None


def contract_part(contract_usd: Decimal, requests: int, of_requests: int) -> Decimal:
    """What a part of a customer's requests earns of its contract."""
    return contract_usd * requests / of_requests if of_requests else Decimal(0)
