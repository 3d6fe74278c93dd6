"""What some hours changed in a state, as bytes: a hundredth of the state itself. Pure.

An hour writes only its own slots of the rings, its day's, and the next hour's ordinary range. A
patch holds these slots of one run of hours, of all series or of some; laid over the state as it was
before, it gives the state as it was after, to the last bit, and computes nothing.
"""

import math
import struct
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from apps.insights.core.series_state import (
    DAY,
    DAYS,
    PROFILE_HOURS,
    RECORD_DAYS,
    VALUE_HOURS,
    WINDOW_HOURS,
    SeriesState,
    StateError,
)

# Rings and their lengths in the last axis but one. Those of hours, then those of days.
_HOURLY: Final = {
    "value": VALUE_HOURS,
    "profile": PROFILE_HOURS,
    "expected": WINDOW_HOURS,
    "low": WINDOW_HOURS,
    "high": WINDOW_HOURS,
    "price": WINDOW_HOURS,
    "marks": WINDOW_HOURS,
}
_DAILY: Final = {
    "record": RECORD_DAYS,
    "calm": RECORD_DAYS,
    "scarce": RECORD_DAYS,
    **dict.fromkeys(
        (
            "day_total",
            "day_profile",
            "level",
            "day_error",
            "day_quiet",
            "day_seen",
            "drift",
        ),
        DAYS,
    ),
}
_HEAD: Final = struct.Struct("<qqii")  # first hour, end, series of the state, series held


def patch_of(state: SeriesState, first: int, columns: NDArray[np.intp] | None = None) -> bytes:
    """What the hours from `first` to the state's own left, of `columns` or of all series.

    Raises ValueError for more hours than the rings of windows hold.
    """
    end, held = state.hour, np.arange(state.count) if columns is None else columns
    if not 0 <= end - first < WINDOW_HOURS:
        raise ValueError(f"a patch of {end - first} hours; rings hold {WINDOW_HOURS - 1}")
    rings = [state.first_hour[held]]
    for name, slots in _slots(first, end):
        ring = getattr(state, name)[..., slots, :]
        rings.append(ring if columns is None else ring[..., columns])
    head = _HEAD.pack(first, end, state.count, len(held))
    return b"".join(
        [head, held.astype(np.int32).tobytes(), *(np.ascontiguousarray(a).tobytes() for a in rings)]
    )


def apply_patches(state: SeriesState, data: bytes) -> None:
    """Lay patches, one behind the other, over the state that they were taken after.

    Raises StateError for any other, and for what is no patch.
    """
    reader = _Reader(data)
    while reader.left:
        _apply(state, reader)


def _apply(state: SeriesState, reader: "_Reader") -> None:
    first, end, count, width = reader.head()
    if count != state.count or not first <= state.hour <= end or end - first >= WINDOW_HOURS:
        raise StateError(
            f"a patch of {count} series and hours {first} to {end} does not fit a state of"
            f" {state.count} series at hour {state.hour}"
        )
    held = reader.take(np.dtype(np.int32), (width,))
    state.first_hour[held] = reader.take(state.first_hour.dtype, (width,))
    for name, slots in _slots(first, end):
        ring = getattr(state, name)
        given = reader.take(ring.dtype, (*ring.shape[:-2], len(slots), width))
        if width == count:
            ring[..., slots, :] = given
        else:
            ring[..., slots[:, None], held] = given
    state.hour = end


def _slots(first: int, end: int) -> list[tuple[str, NDArray[np.intp]]]:
    """Each ring's slots that hours [first, end) write; the range of hour `end` among them."""
    hours = np.arange(first, end + 1)
    days = np.arange(first // DAY, max(end - 1, first) // DAY + 1)
    return [(name, hours % length) for name, length in _HOURLY.items()] + [
        (name, days % length) for name, length in _DAILY.items()
    ]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def head(self) -> tuple[int, int, int, int]:
        try:
            first, end, count, width = _HEAD.unpack_from(self.data, self.at)
        except struct.error as error:
            raise StateError(f"not a patch of a detector's state: {error}") from error
        self.at += _HEAD.size
        return first, end, count, width

    def take(self, kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        size = math.prod(shape)
        if not 0 <= size * kind.itemsize <= self.left:
            raise StateError("a patch that ends too soon")
        found = np.frombuffer(self.data, kind, size, self.at).reshape(shape)
        self.at += size * kind.itemsize
        return found
