"""A request with further meters, split so that each item is priced once. Pure.

The rule is genai-prices' own (decompose.py): of the meters that have a price, each is charged for
what none of its priced parts is charged for. 1000 input tokens of which 300 are audio and 200
cached, 50 of them cached audio, are 550 input, 250 audio, 150 cached and 50 cached audio tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from apps.pricing.core.meters import (
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    DIMENSIONS,
    INPUT,
    OUTPUT,
    PARTS_OF,
    REASONING,
    REQUESTS,
    is_part_of,
    shared_part,
)
from apps.pricing.core.money import NINTHS

_CACHED_OR_NOT: Final = "token_type"
_PARTS: Final = frozenset(part for parts in PARTS_OF.values() for part in parts)
_SECONDS: Final = ("audio_seconds", "input_audio_seconds")


@dataclass(frozen=True, slots=True)
class Part:
    """A meter that is charged for itself. `inner`: the places, before it, of its own parts.

    `priced_as` is the meter whose rate applies, another's where a price had to be lent.
    `ninths` is None where no price is known: any use is then unpriced.
    """

    meter: str
    priced_as: str
    ninths: int | None
    inner: tuple[int, ...]


class Breakdown:
    """How one cell's prices divide a request's quantities. Compiled once a cell."""

    __slots__ = ("_covered", "parts", "unlisted_is_free")

    def __init__(self, prices: Mapping[str, Fraction], *, unlisted_is_free: bool) -> None:
        """`prices`: of each priced meter an item, in 1e-24 USD."""
        self.unlisted_is_free = unlisted_is_free
        known: dict[str, tuple[str, int | None]] = {
            meter: (meter, int(units * NINTHS)) for meter, units in prices.items()
        }
        for bucket in (INPUT, OUTPUT):
            known.setdefault(bucket, (bucket, 0 if unlisted_is_free else None))
        _lend_to_shared_parts(known)
        inner_first = sorted(known, key=lambda m: (-len(DIMENSIONS[m]), m))
        self.parts = tuple(
            Part(
                meter,
                *known[meter],
                tuple(n for n, part in enumerate(inner_first) if is_part_of(part, meter)),
            )
            for meter in inner_first
        )
        self._covered: dict[str, bool] = {}

    def split(self, quantities: Mapping[str, int]) -> list[int] | None:
        """What each part is charged for. None when the quantities contradict one another."""
        split: list[int] = []
        for part in self.parts:
            rest = quantities.get(part.meter, 0)
            for n in part.inner:
                rest -= split[n]
            if rest < 0:
                return None
            split.append(rest)
        return split

    def cost_ninths(self, quantities: Mapping[str, int]) -> int:
        """In ninths of 1e-24 USD; -1 when contradictory or not priced."""
        split = self.split(quantities)
        if split is None:
            return -1
        if not self.unlisted_is_free and not all(
            self._covers(meter) for meter, quantity in quantities.items() if quantity
        ):
            return -1
        total = 0
        for part, quantity in zip(self.parts, split, strict=True):
            if quantity:
                if part.ninths is None:
                    return -1
                total += quantity * part.ninths
        return total

    def _covers(self, meter: str) -> bool:
        """Whether a price is known for this meter or for one that it is part of."""
        covered = self._covered.get(meter)
        if covered is None:
            covered = self._covered[meter] = meter in DIMENSIONS and (
                meter == REQUESTS
                or any(p.meter == meter or is_part_of(meter, p.meter) for p in self.parts)
            )
        return covered


def quantities_of(  # noqa: PLR0917 - the buckets in their order, as in cost_units
    uncached: int,
    cache_read: int,
    cache_write_5m: int,
    cache_write_1h: int,
    output: int,
    reasoning: int,
    meters: Mapping[str, int],
    *,
    least_audio_seconds: int = 0,
) -> dict[str, int]:
    """Every meter's total: the buckets', whatever `meters` say of them, and the further ones'."""
    written = cache_write_5m + cache_write_1h
    quantities = {
        REQUESTS: 1,
        **meters,
        INPUT: uncached + cache_read + written,
        CACHE_READ: cache_read,
        CACHE_WRITE: written,
        CACHE_WRITE_5M: cache_write_5m,
        CACHE_WRITE_1H: cache_write_1h,
        OUTPUT: output,
        REASONING: reasoning,
    }
    if not _PARTS.isdisjoint(meters):
        for whole, parts in PARTS_OF.items():
            stated = sum(quantities.get(part, 0) for part in parts)
            if stated > quantities.get(whole, 0):
                quantities[whole] = stated
    if least_audio_seconds and (seconds := max(quantities.get(m, 0) for m in _SECONDS)):
        quantities |= dict.fromkeys(_SECONDS, max(seconds, least_audio_seconds))
    return quantities


def _lend_to_shared_parts(known: dict[str, tuple[str, int | None]]) -> None:
    """Give what is part of two priced meters at once a price, where it has none: that of the kind
    of token (cached), not of the modality (audio). The catalogue always prices it; own rates over
    the catalogue's may not."""
    for one in sorted(known):
        for other in sorted(known):
            both = shared_part(one, other)
            if both is None or both in known or both in (one, other):
                continue
            if _CACHED_OR_NOT in dict(DIMENSIONS[one]):
                known[both] = known[one]
