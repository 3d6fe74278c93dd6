"""What the detector remembers of many series: rings of hours and days, one column per series.

Everything that is learnt is a function of these rings alone, and none reaches further back than
its length. So the state is bounded, a restart goes on from its bytes, and hours of the last three
days can be scored again exactly as if a late value had come in time.
"""

import io
import zipfile
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

Column = NDArray[np.floating]
Marks = NDArray[np.uint8]

DAY: Final = 24
WEEK: Final = 7 * DAY
LATE_HOURS: Final = 72  # how far back a changed hour is scored again
REPLAY_HOURS: Final = LATE_HOURS + DAY  # a replay starts with its day

CHANNELS: Final = 3  # spend, requests, spend against the requests made
WINDOWS: Final = (1, 3, 6, 12, 24, 72)  # hours
SIGNS: Final = 2  # above, below
CALM_WINDOWS: Final = WINDOWS[:4]

HISTORY_WEEKS: Final = 6
VALUE_HOURS: Final = HISTORY_WEEKS * WEEK + REPLAY_HOURS + DAY
PROFILE_HOURS: Final = WEEK + REPLAY_HOURS + DAY
WINDOW_HOURS: Final = WINDOWS[-1] + REPLAY_HOURS + DAY
RECORD_DAYS: Final = 48
DAYS: Final = 64

SEEN: Final = 1
ANNOUNCED: Final = 2
QUIET: Final = 4  # a holiday, as far as the caller knows
QUIET_NEXT: Final = 8  # so is the hour after
COUNTED: Final = 16  # its requests are known

_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "value": (2, VALUE_HOURS),
    "profile": (2, PROFILE_HOURS),
    "expected": (CHANNELS, WINDOW_HOURS),
    "low": (CHANNELS, WINDOW_HOURS),
    "high": (CHANNELS, WINDOW_HOURS),
    "price": (WINDOW_HOURS,),
    "marks": (WINDOW_HOURS,),
    "record": (CHANNELS, len(WINDOWS), SIGNS, RECORD_DAYS),
    "calm": (2, len(CALM_WINDOWS), RECORD_DAYS),
    "scarce": (SIGNS, RECORD_DAYS),
    "day_total": (2, DAYS),
    "day_profile": (2, DAYS),
    "level": (CHANNELS, DAYS),
    "day_error": (DAYS,),
    "day_quiet": (DAYS,),
    "day_seen": (DAYS,),
    "drift": (DAYS,),
}
_ONES: Final = frozenset({"price"})
# Rings that states of before do not have: they begin empty.
_ADDED: Final = frozenset({"calm", "scarce"})
_ZEROS: Final = frozenset({"marks", "day_error", "day_quiet", "day_seen", "drift"})


class StateError(ValueError):
    """Bytes that are no state of this detector."""


@dataclass(slots=True)
class SeriesState:
    """Rings indexed by hour or day modulo their length; the last axis is the series.

    `hour` is the next one to be scored, in hours since 1970 UTC. `value` is spend (USD) and
    requests as learnt: what was expected stands in for hours that had no row or were announced.
    """

    hour: int
    first_hour: NDArray[np.int64]
    value: Column
    profile: Column  # the week's shape: 1 is the mean hour
    expected: Column
    low: Column  # an hour between low and high is ordinary
    high: Column
    price: Column  # what the hour's spend was multiplied by, to be in today's prices
    marks: Marks
    record: Column  # the day's largest deviation, by channel, window and sign
    calm: Column  # the day's largest of spend and requests where little is usual
    scarce: Column  # the day's largest of what counts requests one by one
    day_total: Column
    day_profile: Column
    level: Column  # the mean hour's size, as of the day's start
    day_error: Column
    day_quiet: Column  # hours
    day_seen: Column  # hours
    drift: Column

    @classmethod
    def empty(cls, hour: int, count: int) -> Self:
        """Return the state of `count` series that have no hour before `hour`."""
        rings: dict[str, Any] = {}
        for name, shape in _SHAPES.items():
            kind = np.uint8 if name == "marks" else np.float32
            start = 1.0 if name in _ONES else 0.0 if name in _ZEROS else np.nan
            rings[name] = np.full((*shape, count), start if name != "marks" else 0, dtype=kind)
        return cls(hour=hour, first_hour=np.full(count, NEVER), **rings)

    @property
    def count(self) -> int:
        return len(self.first_hour)

    def bytes_per_series(self) -> int:
        return int(sum(a.nbytes for a in self._arrays().values())) // max(self.count, 1)

    def take(self, columns: NDArray[np.intp]) -> Self:
        """Return a copy of some series: to score them again, or to drop the others."""
        taken: dict[str, Any] = {
            name: array[..., columns] for name, array in self._arrays().items()
        }
        return type(self)(hour=self.hour, **taken)

    def put(self, columns: NDArray[np.intp], part: Self) -> None:
        """Write `part`, once taken from these columns, back."""
        ours = self._arrays()
        for name, array in part._arrays().items():
            ours[name][..., columns] = array

    def joined(self, other: Self) -> Self:
        """Return this state with the series of another one of the same hour behind its own."""
        if other.hour != self.hour:
            raise ValueError(f"states of hours {self.hour} and {other.hour} cannot be joined")
        theirs = other._arrays()
        both = {n: np.concatenate([a, theirs[n]], axis=-1) for n, a in self._arrays().items()}
        return type(self)(hour=self.hour, **both)

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, hour=np.int64(self.hour), **self._arrays())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raise StateError for what `to_bytes` of this version did not write."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                first_hour = stored["first_hour"]
                empty = cls.empty(0, len(first_hour))._arrays()
                arrays: dict[str, Any] = {
                    name: empty[name] if name in _ADDED and name not in stored else stored[name]
                    for name in _SHAPES
                }
                hour = int(stored["hour"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise StateError(f"not a detector's state: {error}") from error
        count = len(first_hour)
        for name, shape in _SHAPES.items():
            if arrays[name].shape != (*shape, count):
                raise StateError(f"{name} is {arrays[name].shape}, not {(*shape, count)}")
        return cls(hour=hour, first_hour=first_hour, **arrays)

    def _arrays(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "hour"}


NEVER: Final = np.iinfo(np.int64).max
