"""Malformed bodies by the million, each with good rows planted that must not suffer for the bad.

A body follows from its number and a seed alone, so that any of them can be made again.
"""

import gzip
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.malformed.drafts import ROW_DOORS, Body, Draft, Lot
from tests.malformed.row_bodies import (
    binary_cloudevent,
    compressed,
    cut_array,
    damaged_bytes,
    garbage,
    spoilt_rows,
    wrong_headers,
)
from tests.malformed.span_bodies import spans_as_json, spans_as_protobuf
from tests.usage.adapters.bodies import JSON

BOMB_BYTES: Final = 80 * 1024 * 1024
# What is done, and how often beside the others.
DAMAGES: Final[dict[Callable[[Draft], Body], int]] = {
    spoilt_rows: 40,
    damaged_bytes: 15,
    cut_array: 6,
    wrong_headers: 4,
    compressed: 6,
    garbage: 5,
    binary_cloudevent: 4,
    spans_as_json: 12,
    spans_as_protobuf: 8,
}


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes bodies: `body(number)`."""

    lot: Lot
    # Bombs cost tens of megabytes each: one body in so many.
    bomb_every: int = 20_000

    def body(self, number: int) -> Body:
        chance = random.Random(f"{self.lot.seed}/{number}")
        if number % self.bomb_every == self.bomb_every // 2:
            return self._bomb(chance)
        damage = chance.choices(tuple(DAMAGES), tuple(DAMAGES.values()))[0]
        return damage(Draft(self.lot, number, chance))

    def _bomb(self, chance: random.Random) -> Body:
        path = chance.choice([path for path, _ in ROW_DOORS.values()] + ["/v1/traces"])
        bomb = gzip.compress(b" " * BOMB_BYTES, 9)
        headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
        return Body("bomb", path, headers, bomb, damage="bomb")
