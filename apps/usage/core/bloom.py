"""Bloom filters over identities: where an identity certainly is not need not be looked.

An identity is 16 bytes of a hash already, so its two halves are the two hashes of Kirsch and
Mitzenmacher ("Less hashing, same performance", 2006): position i is h1 + i * h2. With BITS_PER_KEY
and PROBES a filter lets one identity in 3,000 pass that it does not hold.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

IDENTITY_BYTES: Final = 16
BITS_PER_KEY: Final = 20
PROBES: Final = 6
_LEAST_BITS_EXPONENT: Final = 10
# Larger ones than this, 2 MiB each, lie alone.
_SIDE_BY_SIDE_EXPONENT: Final = 24
# Up to so many at once a loop over integers is faster than arrays.
_FEW: Final = 16
_WORD: Final = (1 << 64) - 1


def build(identities: bytes | memoryview) -> bytes:
    """A filter of these identities, which stand one after another, 16 bytes each.

    A power of two of bits, at least BITS_PER_KEY of each; a byte's lowest bit is its first.
    """
    halves = _halves(identities)
    least_bits = len(halves) * BITS_PER_KEY
    exponent = max(_LEAST_BITS_EXPONENT, (least_bits - 1).bit_length())
    bits = np.zeros(1 << exponent, dtype=np.bool_)
    for probe in range(PROBES):
        bits[_positions(halves, probe, exponent)] = True
    return np.packbits(bits, bitorder="little").tobytes()


class Filters:
    """Many filters, asked at once: which of them may hold what?

    Filters of one size lie side by side, eight to a byte, so that one look answers for eight; large
    ones lie alone. Adding is for one thread at a time; asking goes on meanwhile, and hears of it or
    not.
    """

    def __init__(self) -> None:
        self._shelves: list[_Shelf] = []

    @property
    def held_bytes(self) -> int:
        return sum(shelf.table.nbytes for shelf in self._shelves)

    def add(self, name: int, filter_bits: bytes) -> None:
        exponent = (len(filter_bits) * 8).bit_length() - 1
        for shelf in self._shelves:
            if shelf.exponent == exponent and shelf.has_room:
                break
        else:
            shelf = _Alone(exponent) if exponent > _SIDE_BY_SIDE_EXPONENT else _Shelf(exponent)
            self._shelves.append(shelf)
        shelf.add(name, filter_bits)

    def may_hold(self, identities: bytes) -> list[tuple[int, int]]:
        """(row, name) of each identity, by its number from 0, and each filter that may hold it."""
        found: list[tuple[int, int]] = []
        if len(identities) <= _FEW * IDENTITY_BYTES:
            starts = range(0, len(identities), 8)
            words = [int.from_bytes(identities[start : start + 8]) for start in starts]
            pairs = list(zip(words[::2], words[1::2], strict=True))
            for shelf in self._shelves:
                found += shelf.ask_few(pairs)
        elif self._shelves:
            halves = _halves(identities)
            for shelf in self._shelves:
                found += shelf.ask(halves)
        return found


class _Shelf:
    """Up to eight filters of one size: bit s of a position's byte is of the filter in slot s."""

    slots = 8

    def __init__(self, exponent: int) -> None:
        self.exponent = exponent
        self.names: list[int] = []
        self.table: NDArray[np.uint8] = np.zeros(1 << exponent, dtype=np.uint8)

    @property
    def has_room(self) -> bool:
        return len(self.names) < self.slots

    def add(self, name: int, filter_bits: bytes) -> None:
        bits = np.unpackbits(np.frombuffer(filter_bits, dtype=np.uint8), bitorder="little")
        self.table |= bits << np.uint8(len(self.names))
        # Last: a slot counts once it has a name, and then it is whole.
        self.names.append(name)

    def look(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The slots in which a position is set, as bits."""
        return self.table[positions]

    def ask(self, halves: NDArray[np.uint64]) -> list[tuple[int, int]]:
        rows = np.arange(len(halves))
        slots = np.full(len(halves), (1 << len(self.names)) - 1, dtype=np.uint8)
        for probe in range(PROBES):
            slots &= self.look(_positions(halves, probe, self.exponent))
            kept = slots.nonzero()[0]
            if not kept.size:
                return []
            rows, slots, halves = rows[kept], slots[kept], halves[kept]
        return [
            (row, name)
            for row, in_slots in zip(rows.tolist(), slots.tolist(), strict=True)
            for name in self._names_of(in_slots)
        ]

    def look_one(self, position: int) -> int:
        return int(self.table[position])

    def ask_few(self, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        found = []
        shift, all_slots = 64 - self.exponent, (1 << len(self.names)) - 1
        for row, (first, second) in enumerate(pairs):
            slots = all_slots
            for probe in range(PROBES):
                slots &= self.look_one(((first + probe * (second | 1)) & _WORD) >> shift)
                if not slots:
                    break
            else:
                found += [(row, name) for name in self._names_of(slots)]
        return found

    def _names_of(self, slots: int) -> list[int]:
        return [name for slot, name in enumerate(self.names) if slots >> slot & 1]


class _Alone(_Shelf):
    """One filter, eight positions to a byte: side by side it would take eight times its size."""

    slots = 1

    def __init__(self, exponent: int) -> None:
        super().__init__(exponent - 3)
        self.exponent = exponent

    def add(self, name: int, filter_bits: bytes) -> None:
        self.table = np.frombuffer(filter_bits, dtype=np.uint8)
        self.names.append(name)

    def look(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        bits: NDArray[np.uint8] = self.table[positions >> 3] >> (positions & 7).astype(np.uint8)
        return bits & np.uint8(1)

    def look_one(self, position: int) -> int:
        return int(self.table[position >> 3]) >> (position & 7) & 1


def _halves(identities: bytes | memoryview) -> NDArray[np.uint64]:
    return np.frombuffer(identities, dtype=">u8").astype(np.uint64).reshape(-1, 2)


def _positions(halves: NDArray[np.uint64], probe: int, exponent: int) -> NDArray[np.int64]:
    hashes = halves[:, 0] + np.uint64(probe) * (halves[:, 1] | np.uint64(1))
    return (hashes >> np.uint64(64 - exponent)).astype(np.int64)
