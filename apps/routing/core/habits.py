"""How each backend goes about each task, as a window shows it: the part of the input that its cache
takes, how long its answers are. Pure.

Used where a request is priced on a backend on which it did not run.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from apps.routing.core.traffic import SEEN, UNSEEN_LENGTH, Bools, Floats, Ints

UNCACHED, READ, WRITE_5M, WRITE_1H, OUTPUT, REASONING = range(6)
DAY_HOURS: Final = 24
# A stretch of hours whose cache takes less than this of what it usually does has lost it.
LOST_CACHE: Final = 0.25
# A cache that usually takes less of the input than this is not worth a word.
WORTH_CACHING: Final = 0.05
STRETCH_HOURS: Final = 8
FEW: Final = 5
# How much farther a median is off than a mean, of normal numbers.
MEDIAN_SPREAD: Final = 1.25


@dataclass(frozen=True, slots=True)
class Habits:
    """Tasks x backends. `split` is the share of the input that is read from the cache, written for
    5 minutes and for an hour; `usual` the same on the median day; `length` the median answer in
    tokens, `reasoning` its share that is reasoning; `count` requests seen. `length_doubt` is tasks
    x from x to, relative. `has_lost_cache` is by request."""

    count: Ints
    split: Floats
    usual: Floats
    length: Floats
    reasoning: Floats
    length_doubt: Floats
    has_lost_cache: Bools

    def usage_on(self, tokens: Ints, task: Ints, actual: Ints, there: int) -> Ints:
        """What backend `there` would bill for requests that ran elsewhere, columns as in `tokens`.
        A cache that was not seen at the task takes nothing; answers are as much longer as its
        median answer is."""
        read = self._shared(tokens, self.split[task, there])
        known = (self.count[task, actual] >= SEEN) & (self.count[task, there] >= SEEN)
        longer = self.length[task, there] / np.maximum(self.length[task, actual], 1.0)
        written = np.rint(tokens[:, OUTPUT] * np.where(known, longer, 1.0)).astype(np.int64)
        thought = np.rint(written * self.reasoning[task, there]).astype(np.int64)
        return np.column_stack([read, written, thought])

    def usual_usage(self, tokens: Ints, task: Ints, actual: Ints) -> Ints:
        """Requests where they ran, with the cache as on a median day; as they were where there is
        none to speak of."""
        usual = self.usual[task, actual]
        input_tokens = self._shared(tokens, usual)
        kept = (usual[:, 0] < WORTH_CACHING)[:, None]
        return np.column_stack(
            [np.where(kept, tokens[:, :OUTPUT], input_tokens), tokens[:, OUTPUT:]]
        )

    @staticmethod
    def _shared(tokens: Ints, shares: Floats) -> Ints:
        """The input in its four buckets, of which the last three have these shares."""
        total = tokens[:, :OUTPUT].sum(axis=1)
        taken = np.rint(total[:, None] * shares).astype(np.int64)
        return np.column_stack([total - taken.sum(axis=1), taken])


def learn_habits(
    task: Ints, actual: Ints, tokens: Ints, hour: Ints, *, tasks: int, backends: int
) -> Habits:
    """From a sample's columns; `tokens` as charges have them, `hour` since 1970."""
    size = tasks * backends
    cell = task * backends + actual
    total = tokens[:, :OUTPUT].sum(axis=1).astype(float)
    taken = tokens[:, READ:OUTPUT].astype(float)
    count = np.bincount(cell, minlength=size)
    input_tokens = np.maximum(np.bincount(cell, total, size), 1.0)
    sums = np.stack([np.bincount(cell, column, size) for column in taken.T], axis=1)
    split = np.where((count >= SEEN)[:, None], sums / input_tokens[:, None], 0.0)
    usual = _usual_split(cell, hour // DAY_HOURS, total, taken, size)
    written = tokens[:, OUTPUT].astype(float)
    length, spread = np.ones(size), np.full(size, UNSEEN_LENGTH)
    for n in np.flatnonzero(count >= SEEN):
        answers = written[cell == n]
        length[n] = max(float(np.median(answers)), 1.0)
        typical = np.minimum(answers, 4.0 * length[n])
        spread[n] = MEDIAN_SPREAD * float(typical.std()) / length[n] / np.sqrt(len(answers))
    thought = np.bincount(cell, tokens[:, REASONING], size)
    shape = (tasks, backends)
    by_pair = spread.reshape(shape)
    return Habits(
        count=count.reshape(shape),
        split=split.reshape(*shape, 3),
        usual=usual.reshape(*shape, 3),
        length=length.reshape(shape),
        reasoning=(thought / np.maximum(np.bincount(cell, written, size), 1.0)).reshape(shape),
        length_doubt=np.sqrt(by_pair[:, :, None] ** 2 + by_pair[:, None, :] ** 2),
        has_lost_cache=_lost_cache(cell, hour, total, taken[:, 0], usual[:, 0]),
    )


def _usual_split(cell: Ints, day: Ints, total: Floats, taken: Floats, size: int) -> Floats:
    """The shares on the median day of each task and backend: a bad day or two do not move it."""
    usual = np.zeros((size, taken.shape[1]))
    if not len(cell):
        return usual
    days = day - day.min()
    both = cell * (int(days.max()) + 1) + days
    keys, place = np.unique(both, return_inverse=True)
    sums = np.bincount(place, total)
    shares = np.stack([np.bincount(place, c) / np.maximum(sums, 1.0) for c in taken.T], axis=1)
    of_cell = keys // (int(days.max()) + 1)
    for n in np.unique(of_cell):
        usual[n] = np.median(shares[of_cell == n], axis=0)
    return usual


def _lost_cache(cell: Ints, hour: Ints, total: Floats, read: Floats, usual: Floats) -> Bools:
    """Requests of stretches of hours in which the cache took far less than it usually does."""
    if not len(cell):
        return np.zeros(0, dtype=bool)
    stretch = (hour - hour.min()) // STRETCH_HOURS
    both = cell * (int(stretch.max()) + 1) + stretch
    _, place = np.unique(both, return_inverse=True)
    share = np.bincount(place, read) / np.maximum(np.bincount(place, total), 1.0)
    enough = np.bincount(place) >= FEW
    lost: Bools = (
        enough[place] & (usual[cell] >= WORTH_CACHING) & (share[place] < LOST_CACHE * usual[cell])
    )
    return lost
