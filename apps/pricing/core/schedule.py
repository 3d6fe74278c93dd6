"""Rates compiled for speed: which prices apply when, as integers found by bisection. Pure.

Time is cut where any rate begins or ends, each stretch into daily windows, each window into
input-size tiers. What remains is a cell: one price for every bucket, inheritance resolved.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from apps.pricing.core.breakdown import Breakdown
from apps.pricing.core.discounts import net_units
from apps.pricing.core.meters import (
    BUCKETS,
    DIMENSIONS,
    OUTPUT,
    PARENT,
    REASONING,
    REQUESTS,
    STANDALONE,
)
from apps.pricing.core.money import units_per_item
from apps.pricing.core.rates import DAY_S, Rate

# A price that makes any use of it negative, far beyond what priced buckets could outweigh: the
# hot path then needs one comparison, not one per bucket, to tell what is not priced.
UNPRICED: Final = -(1 << 400)

Prices = tuple[int, int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Applied:
    """The rate behind one meter's price. `meter` is the rate's own: the bucket's or a parent's.

    `units`: 1e-24 USD an item, after the discount if there is one; `list_units`: before it.
    """

    meter: str
    rate: Rate
    units: Fraction
    list_units: Fraction


@dataclass(frozen=True, slots=True)
class Cell:
    """One price for everything.

    `prices` in 1e-24 USD an item: uncached input, cache read, cache write 5 m, 1 h, output, what
    a reasoning token costs beyond an output token, and the fee of a request. `alone`: likewise, of
    meters that touch no other. `applied`: what is behind each of the prices; `listed`: every meter
    that has a price of its own.
    """

    prices: Prices
    alone: Mapping[str, int]
    applied: Mapping[str, Applied]
    listed: Mapping[str, Applied]
    breakdown: Breakdown


@dataclass(frozen=True, slots=True)
class Window:
    """The tiers of one daily window: cells[n] is for more than starts[n - 1] input tokens."""

    starts: list[int]
    cells: list[Cell]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The daily windows of a stretch of time, from each of starts (seconds of the UTC day)."""

    starts: list[int]
    windows: list[Window]


# A span of time [begin, end) in which only the size of the input matters; its one set of prices,
# or None and the prices by size.
Span = tuple[float, float, Prices | None, list[int], list[Prices]]
NO_SPAN: Final[Span] = (0.0, 0.0, None, [], [])


class Schedule:
    """All prices of one model in one context, by time, time of day and input size."""

    __slots__ = ("_starts", "_stretches", "only_prices")

    def __init__(self, starts: list[float], stretches: list[Stretch]) -> None:
        self._starts = starts
        self._stretches = stretches
        cells = [c for s in stretches for w in s.windows for c in w.cells]
        # Set when nothing is dated, timed or tiered: most models, and then no search is needed.
        self.only_prices: Prices | None = cells[0].prices if len(cells) == 1 else None

    def find(self, occurred_at_s: float, input_tokens: int) -> Cell:
        """The cell for a request of so much input (cache included) at that moment."""
        window = self._window(occurred_at_s)[2]
        return window.cells[bisect_left(window.starts, input_tokens)]

    def span_around(self, occurred_at_s: float) -> Span:
        begin_s, end_s, window = self._window(occurred_at_s)
        by_size = [cell.prices for cell in window.cells]
        return begin_s, end_s, None if window.starts else by_size[0], window.starts, by_size

    def _window(self, at_s: float) -> tuple[float, float, Window]:
        """The window around this moment, with when it begins and ends."""
        n = bisect_right(self._starts, at_s)
        stretch = self._stretches[n - 1]
        begin_s = self._starts[n - 1]
        end_s = self._starts[n] if n < len(self._starts) else float("inf")
        if len(stretch.windows) == 1:
            return begin_s, end_s, stretch.windows[0]
        second = at_s % DAY_S
        day_s = at_s - second
        m = bisect_right(stretch.starts, second)
        opens_s = day_s + stretch.starts[m - 1]
        closes_s = day_s + (stretch.starts[m] if m < len(stretch.starts) else DAY_S)
        return max(begin_s, opens_s), min(end_s, closes_s), stretch.windows[m - 1]


def compile_schedule(rates: Sequence[Rate], context: Mapping[str, str]) -> Schedule:
    """Compile the rates that a request with this context may meet."""
    fitting = [r for r in rates if all(context.get(key) == value for key, value in r.when)]
    edges = {r.starts_at_s for r in fitting} | {r.ends_at_s for r in fitting}
    starts = [float("-inf"), *sorted(edges - {float("-inf"), float("inf")})]
    stretches = [
        _compile_stretch([r for r in fitting if r.starts_at_s <= start < r.ends_at_s])
        for start in starts
    ]
    return Schedule(starts, stretches)


def _compile_stretch(rates: list[Rate]) -> Stretch:
    edges = {r.window_start_s for r in rates} | {r.window_end_s for r in rates}
    starts = sorted((edges | {0}) - {DAY_S})
    windows = [
        _compile_window([r for r in rates if r.window_start_s <= start < r.window_end_s])
        for start in starts
    ]
    return Stretch(starts, windows)


def _compile_window(rates: list[Rate]) -> Window:
    starts = sorted({r.tier_start_tokens for r in rates} - {0})
    return Window(starts, [_compile_cell(rates, more_than) for more_than in (0, *starts)])


def _compile_cell(rates: list[Rate], more_than_tokens: int) -> Cell:
    listed = {}
    for meter in {r.meter for r in rates} & DIMENSIONS.keys():
        rate = _rate_in_force([r for r in rates if r.meter == meter], more_than_tokens)
        if rate is not None:
            listed[meter] = _apply(rate)
    applied = {m: a for m in (*BUCKETS, REQUESTS) if (a := _inherit(m, listed)) is not None}
    # The catalogue lists every price a model has, so what it leaves out is free. A tenant's own
    # list may be unfinished: what it leaves out is unknown, and unknown is never zero.
    free = any(r.source == "catalogue" for r in rates)
    missing = 0 if free else UNPRICED
    prices = [int(applied[m].units) if m in applied else missing for m in BUCKETS]
    prices[BUCKETS.index(REASONING)] -= prices[BUCKETS.index(OUTPUT)]
    fee = int(applied[REQUESTS].units) if REQUESTS in applied else (0 if rates else UNPRICED)
    breakdown = Breakdown({m: a.units for m, a in listed.items()}, unlisted_is_free=free)
    alone = _standalone_prices(listed, unlisted_is_free=free)
    return Cell((*prices, fee), alone, applied, listed, breakdown)  # type: ignore[arg-type]


def _standalone_prices(
    listed: Mapping[str, Applied], *, unlisted_is_free: bool
) -> Mapping[str, int]:
    """Of the meters that touch no other, those with a known price that needs no rounding."""
    known = {meter: listed[meter].units for meter in listed.keys() & STANDALONE}
    free = STANDALONE - known.keys() if unlisted_is_free else ()
    whole = {meter: int(units) for meter, units in known.items() if units.denominator == 1}
    return dict.fromkeys(free, 0) | whole


def _apply(rate: Rate) -> Applied:
    list_units = units_per_item(rate.price_usd, rate.unit_quantity)
    units = net_units(list_units, rate.discount) if rate.discount else list_units
    return Applied(rate.meter, rate, units, list_units)


def _inherit(meter: str, own: Mapping[str, Applied]) -> Applied | None:
    while meter not in own:
        if meter not in PARENT:
            return None
        meter = PARENT[meter]
    return own[meter]


def _rate_in_force(rates: list[Rate], more_than_tokens: int) -> Rate | None:
    """Of one meter's rates, all fitting: the best variant's, and of its tiers the highest reached.

    A variant's price replaces the standard price with all its tiers, and a tenant's own the
    catalogue's of the same variant: from the smallest tier on that it names, so that a rate for
    long requests alone leaves the short ones their price.
    """
    reached = [r for r in rates if r.tier_start_tokens <= more_than_tokens]
    best = min(map(_precedence, reached), default=None)
    in_force = [r for r in reached if _precedence(r) == best]
    return max(in_force, key=lambda r: r.tier_start_tokens, default=None)


def _precedence(rate: Rate) -> tuple[bool, bool, int, int, object]:
    """Variants before standard, own before the catalogue's, then closest fit, then rank."""
    own = rate.source == "tenant"
    return (not rate.when, not own, -len(rate.when) if own else 0, rate.variant_rank, rate.when)
