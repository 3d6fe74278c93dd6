"""A rate: one dated price of one meter. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

# "default": the tenant's rate for models that nothing else prices.
Source = Literal["tenant", "catalogue", "default"]
Kind = Literal["cloud", "local"]
# Pairs that a request's context must all hold, sorted: (("service_tier", "flex"),).
When = tuple[tuple[str, str], ...]

DAY_S: Final = 86_400


class Dated:
    """What is in force for [effective_from, effective_to); None is an open end."""

    __slots__ = ()
    effective_from: datetime | None
    effective_to: datetime | None

    @property
    def starts_at_s(self) -> float:
        return self.effective_from.timestamp() if self.effective_from else float("-inf")

    @property
    def ends_at_s(self) -> float:
        return self.effective_to.timestamp() if self.effective_to else float("inf")

    def meets(self, other: "Dated") -> bool:
        """Whether both are in force at some moment."""
        return self.starts_at_s < other.ends_at_s and other.starts_at_s < self.ends_at_s


@dataclass(frozen=True, slots=True)
class Discount(Dated):
    """What a provider takes off its listed prices: a percentage, or an amount per unit quantity.

    An empty `model` is all of the provider's, an empty `meter` all meters.
    """

    id: int
    provider: str
    model: str = ""
    meter: str = ""
    percent: Decimal | None = None
    amount_usd: Decimal | None = None
    unit_quantity: int = 1_000_000
    effective_from: datetime | None = None
    effective_to: datetime | None = None

    @property
    def reference(self) -> str:
        """How charges name this discount: "discount:7"."""
        return f"discount:{self.id}"

    def overlaps(self, other: "Discount") -> bool:
        """Whether both are on the same thing at some moment."""
        mine, theirs = ((d.provider, d.model.lower(), d.meter) for d in (self, other))
        return mine == theirs and self.meets(other)


@dataclass(frozen=True, slots=True)
class Rate(Dated):
    """In force for [effective_from, effective_to), within a daily UTC window, from a tier on.

    `tier_start_tokens`: for requests whose total input is more than this; 0 is the base.
    `variant_rank`: where variants fit a request at once, the lowest wins.
    """

    id: int
    source: Source
    meter: str
    price_usd: Decimal
    unit_quantity: int
    when: When = ()
    variant_rank: int = 0
    tier_start_tokens: int = 0
    window_start_s: int = 0
    window_end_s: int = DAY_S
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    discount: Discount | None = None

    @property
    def reference(self) -> str:
        """How charges name this rate: "catalogue:345"."""
        return f"{self.source}:{self.id}"

    @property
    def is_all_day(self) -> bool:
        return (self.window_start_s, self.window_end_s) == (0, DAY_S)

    def is_in_force(self, at_s: float) -> bool:
        """Whether it stands at that moment (seconds since 1970), by date and by time of day."""
        in_window = self.window_start_s <= at_s % DAY_S < self.window_end_s
        return self.starts_at_s <= at_s < self.ends_at_s and in_window

    def same_price_line(self, other: "Rate") -> bool:
        """Whether both price the same thing, so that they may not be in force together."""
        return (self.meter, self.when, self.tier_start_tokens) == (
            other.meter,
            other.when,
            other.tier_start_tokens,
        )

    def overlaps(self, other: "Rate") -> bool:
        """Whether both would be in force for one request at some moment."""
        return (
            self.same_price_line(other)
            and self.meets(other)
            and self.window_start_s < other.window_end_s
            and other.window_start_s < self.window_end_s
        )


def find_overlap(rate: Rate, standing: Iterable[Rate]) -> Rate | None:
    """The first standing rate that the new one would overlap."""
    return next((other for other in standing if rate.overlaps(other)), None)


def within(rate: Rate, begin: datetime | None, end: datetime | None) -> Rate | None:
    """The part of a rate in [begin, end), None being an open end; None if there is no such part."""
    starts = max((m for m in (rate.effective_from, begin) if m is not None), default=None)
    ends = min((m for m in (rate.effective_to, end) if m is not None), default=None)
    clipped = replace(rate, effective_from=starts, effective_to=ends)
    return clipped if clipped.starts_at_s < clipped.ends_at_s else None
