"""Spend split along one dimension, each part with its share, change and unit costs. Pure."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from apps.pricing.core.money import EXACT
from apps.usage.selectors import SpendRow

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Sums:
    """What rows add up to. `input_tokens` includes those read from and written to a cache."""

    cost_usd: Decimal = Decimal(0)
    requests: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    unpriced_requests: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    revenue_usd: Decimal = Decimal(0)
    latency_ms_sum: int = 0
    latency_count: int = 0
    # In the tenant's own currency; None where it was read in USD, or some day has no rate.
    reported: Decimal | None = Decimal(0)

    def plus(self, other: "SpendRow | Sums") -> "Sums":
        # Python's usual 28 digits would round a sum of exact charges.
        return Sums(
            EXACT.add(self.cost_usd, other.cost_usd),
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.output_tokens + other.output_tokens,
            self.unpriced_requests + other.unpriced_requests,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            EXACT.add(self.revenue_usd, other.revenue_usd),
            self.latency_ms_sum + other.latency_ms_sum,
            self.latency_count + other.latency_count,
            None
            if self.reported is None or other.reported is None
            else EXACT.add(self.reported, other.reported),
        )

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def priced_requests(self) -> int:
        return self.requests - self.unpriced_requests

    @property
    def known_usd(self) -> Decimal | None:
        """The cost, or None where no request has a price: unknown is not zero."""
        return None if self.requests and self.priced_requests <= 0 else self.cost_usd

    @property
    def cost(self) -> Decimal:
        """In the currency that it was read in."""
        return self.cost_usd if self.reported is None else self.reported

    @property
    def known(self) -> Decimal | None:
        """The cost in that currency, or None where no request has a price."""
        return None if self.known_usd is None else self.cost

    @property
    def cost_per_request(self) -> Decimal | None:
        """In that currency; otherwise as in USD."""
        return self.cost / self.priced_requests if self.priced_requests > 0 else None

    @property
    def usd_per_request(self) -> Decimal | None:
        """Effective, over the requests that have a price; None when none has."""
        return self.cost_usd / self.priced_requests if self.priced_requests > 0 else None

    @property
    def usd_per_mtok(self) -> Decimal | None:
        """Effective, over all tokens; None where nothing is priced or no token was counted.

        Tokens of unpriced requests cannot be told apart in a sum: while there are some, this
        is a lower bound, and the page says how many requests have no price.
        """
        if self.priced_requests <= 0 or not self.tokens:
            return None
        return self.cost_usd * 1_000_000 / self.tokens

    @property
    def usd_per_ktok(self) -> Decimal | None:
        return None if self.usd_per_mtok is None else self.usd_per_mtok / 1000

    @property
    def cache_read_share(self) -> Decimal | None:
        """The part of all input that came from a cache."""
        if not self.input_tokens:
            return None
        return Decimal(self.cache_read_tokens) / self.input_tokens


@dataclass(frozen=True, slots=True)
class Line:
    """One part beside the whole, and beside itself in the period before (None: not compared)."""

    key: str | None
    name: str
    now: Sums
    whole: Sums
    before: Sums | None = None

    @property
    def spend_share(self) -> Decimal | None:
        if self.now.known is None or not self.whole.cost:
            return None
        return self.now.cost / self.whole.cost

    @property
    def request_share(self) -> Decimal | None:
        return Decimal(self.now.requests) / self.whole.requests if self.whole.requests else None

    @property
    def change(self) -> Decimal | None:
        """Relative change of spend; None when there was none before."""
        return relative_change(self.now.cost, self.before.cost if self.before else None)

    @property
    def difference(self) -> Decimal:
        return EXACT.subtract(self.now.cost, self.before.cost if self.before else Decimal(0))


def relative_change(now: Decimal, before: Decimal | None) -> Decimal | None:
    """Of two amounts in one currency."""
    return (now - before) / before if before else None


def total(rows: Iterable[SpendRow | Sums]) -> Sums:
    result = Sums()
    for row in rows:
        result = result.plus(row)
    return result


def sum_by(rows: Iterable[SpendRow], key: Callable[[SpendRow], KeyT]) -> dict[KeyT, Sums]:
    """Rows added up per key, in the order keys first appear."""
    sums: dict[KeyT, Sums] = {}
    for row in rows:
        group = key(row)
        sums[group] = sums.get(group, Sums()).plus(row)
    return sums


def lines(
    now: Mapping[str | None, Sums],
    before: Mapping[str | None, Sums] | None,
    name: Callable[[str | None], str],
) -> list[Line]:
    """A line per key, by spend, then requests, then name; what cost before and no more, too.

    Where nothing at all was spent before there is nothing to compare with, and nothing is new.
    """
    whole = total(now.values())
    if before is not None and not total(before.values()).cost:
        before = None
    gone = [key for key, sums in (before or {}).items() if key not in now and sums.cost]
    made = [
        Line(
            key=key,
            name=name(key),
            now=now.get(key, Sums()),
            whole=whole,
            before=None if before is None else before.get(key, Sums()),
        )
        for key in [*now, *gone]
    ]
    return sorted(made, key=lambda line: (-line.now.cost, -line.now.requests, line.name))
