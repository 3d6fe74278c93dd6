"""Why spend changed between two periods: volume, mix, cache and price, adding up exactly. Pure.

Spend of a backend is  C = T x s x n x r x a,  summed over backends, where

    T  tokens of everything together                          volume
    s  the backend's share of them
    n  their standard price: list price a token, uncached      mix (with s: input against output)
    r  what caches leave of that at list prices                cache
    a  what was paid against that (rates, discounts, meters)   price

Each product is split by Bennet's indicator (Bennet 1920; Diewert 2005, "Index number theory using
differences rather than ratios"): d(xy) = dx * mean(y) + dy * mean(x), of two periods the mean. It
is symmetric (back in time the effects change their sign), leaves no residual, and adds up over
backends. One set of list prices stands for both periods, so that a changed price is never taken
for a changed mix or cache. Fractions inside: nothing is rounded but the four sums, once, to the
ledger's 24 decimals, and price takes what that leaves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Final

from apps.pricing.core.money import COST_DECIMALS, EXACT

EFFECTS: Final = ("volume", "mix", "cache", "price")
HALF: Final = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a backend did in a period; the token buckets are disjoint."""

    cost_usd: Decimal = Decimal(0)
    uncached_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        inputs = self.uncached_tokens + self.cache_read_tokens + self.cache_write_tokens
        return inputs + self.output_tokens


@dataclass(frozen=True, slots=True)
class ListPrices:
    """USD a token (of any number of tokens: only their ratios count)."""

    uncached: Decimal
    cache_read: Decimal
    cache_write: Decimal
    output: Decimal


@dataclass(frozen=True, slots=True)
class ChangeCell:
    """One backend before and now. Without list prices its cache effect stands in its price."""

    before: Usage
    now: Usage
    prices: ListPrices | None


@dataclass(frozen=True, slots=True)
class Effects:
    """USD by cause; they add up to the change to the last digit."""

    volume: Decimal = Decimal(0)
    mix: Decimal = Decimal(0)
    cache: Decimal = Decimal(0)
    price: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        return exact_sum((self.volume, self.mix, self.cache, self.price))

    def by_name(self) -> dict[str, Decimal]:
        return {name: getattr(self, name) for name in EFFECTS}

    def plus(self, others: Iterable["Effects"]) -> "Effects":
        added = [self, *others]
        return Effects(**{name: exact_sum(getattr(one, name) for one in added) for name in EFFECTS})

    def minus(self, others: Iterable["Effects"]) -> "Effects":
        """What is left when others are taken away, effect by effect."""
        taken = list(others)
        return Effects(
            **{
                name: EXACT.subtract(
                    getattr(self, name), exact_sum(getattr(o, name) for o in taken)
                )
                for name in EFFECTS
            }
        )


@dataclass(frozen=True, slots=True)
class _Factors:
    """A cell's own part of one period: standard USD a token, and the two rates on top of it."""

    tokens: int
    standard: Fraction
    cache: Fraction
    price: Fraction


def split_change(cells: Sequence[ChangeCell]) -> Effects:
    """The change of the cells' spend, split into effects."""
    all_before = sum(cell.before.tokens for cell in cells)
    all_now = sum(cell.now.tokens for cell in cells)
    volume = mix = cache = Fraction(0)
    for cell in cells:
        pair = _factors(cell)
        if pair is None:
            continue
        parts = _split_cell(*pair, all_before, all_now)
        volume, mix, cache = volume + parts[0], mix + parts[1], cache + parts[2]
    told = [_rounded(effect) for effect in (volume, mix, cache)]
    change = EXACT.subtract(
        exact_sum(cell.now.cost_usd for cell in cells),
        exact_sum(cell.before.cost_usd for cell in cells),
    )
    return Effects(told[0], told[1], told[2], price=EXACT.subtract(change, exact_sum(told)))


def _split_cell(
    before: _Factors, now: _Factors, all_before: int, all_now: int
) -> tuple[Fraction, Fraction, Fraction]:
    """(volume, mix, cache) of a cell, in USD."""
    share_before = Fraction(before.tokens, all_before) if all_before else Fraction(0)
    share_now = Fraction(now.tokens, all_now) if all_now else Fraction(0)
    # A token's place in the whole: the share of the cell times its standard price.
    place_before, place_now = share_before * before.standard, share_now * now.standard
    rate_mean = HALF * (before.cache * before.price + now.cache * now.price)
    volume = (all_now - all_before) * HALF * (place_before + place_now) * rate_mean
    mix = (place_now - place_before) * HALF * (all_before + all_now) * rate_mean
    standard_mean = HALF * (all_before * place_before + all_now * place_now)
    cache = standard_mean * (now.cache - before.cache) * HALF * (before.price + now.price)
    return volume, mix, cache


def _factors(cell: ChangeCell) -> tuple[_Factors, _Factors] | None:
    """Both periods; one without tokens takes the other's rates: it changed in volume alone.

    None where neither has tokens: what was paid then is a matter of price.
    """
    before, now = _of(cell.before, cell.prices), _of(cell.now, cell.prices)
    if before is None or now is None:
        known = before or now
        if known is None:
            return None
        gone = _Factors(0, known.standard, known.cache, known.price)
        return before or gone, now or gone
    return before, now


def _of(usage: Usage, prices: ListPrices | None) -> _Factors | None:
    if not usage.tokens:
        return None
    standard, listed = _at_list(usage, prices)
    if not standard or not listed:
        standard = listed = Fraction(usage.tokens)
    return _Factors(
        tokens=usage.tokens,
        standard=standard / usage.tokens,
        cache=listed / standard,
        price=Fraction(usage.cost_usd) / listed,
    )


def _at_list(usage: Usage, prices: ListPrices | None) -> tuple[Fraction, Fraction]:
    """What the tokens cost at list prices: had no cache been used, and as they were used."""
    if prices is None:
        return Fraction(0), Fraction(0)
    uncached, output = Fraction(prices.uncached), Fraction(prices.output) * usage.output_tokens
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    standard = uncached * (usage.uncached_tokens + read + written) + output
    listed = uncached * usage.uncached_tokens + output
    listed += Fraction(prices.cache_read) * read + Fraction(prices.cache_write) * written
    return standard, listed


def shown_together(parts: Mapping[str, Decimal], *, places: int) -> dict[str, Decimal]:
    """Parts rounded so that what is shown adds up to the rounded sum (largest remainders)."""
    step = Decimal(1).scaleb(-places)
    whole = exact_sum(parts.values()).quantize(step, context=EXACT_ROUNDING)
    floors = {
        name: part.quantize(step, ROUND_FLOOR, EXACT_ROUNDING) for name, part in parts.items()
    }
    missing = int(EXACT.subtract(whole, exact_sum(floors.values())).scaleb(places))
    by_remainder = sorted(parts, key=lambda name: floors[name] - parts[name])
    return floors | {name: floors[name] + step for name in by_remainder[:missing]}


# As many digits as money has, and rounding where it is asked for.
EXACT_ROUNDING: Final = EXACT.copy()
EXACT_ROUNDING.clear_traps()


def _rounded(value: Fraction) -> Decimal:
    return EXACT.scaleb(Decimal(round(value * 10**COST_DECIMALS)), -COST_DECIMALS)


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    result = Decimal(0)
    for value in values:
        result = EXACT.add(result, value)
    return result
