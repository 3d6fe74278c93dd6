"""Many requests, one commit: what arrives while a commit runs goes into the next. Part of services.

A commit's price is mostly its own (round trips, a flush to disk), not its rows'. A lone batch is
written at once, with no wait; under load each commit takes everything that queued behind the last.
No thread of its own: the first to arrive leads, writes for all who queued, and hands on the lead.
Several commits at once share less each, so another starts beside one only when enough rows wait.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

Group = TypeVar("Group", bound=Hashable)
Row = TypeVar("Row")
Mark = TypeVar("Mark")


class _Batch(Generic[Row, Mark]):
    """One request's rows, and what becomes of them."""

    __slots__ = ("error", "leads", "marks", "rows", "wake")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        # Released, once, when the rows are written, or with `leads` when it is this one's turn to
        # write. A bare lock: an Event is several, and made for each request.
        self.wake = threading.Lock()
        self.wake.acquire()
        self.leads = False
        self.marks: list[tuple[int, Mark]] = []
        self.error: BaseException | None = None


class GroupCommit(Generic[Group, Row, Mark]):
    """`submit` returns when the rows are durable; batches of one group share a commit.

    `write(group, rows)` writes all rows in one transaction and returns marks (row number, mark)
    on some of them; each batch gets its own back, numbered from 0. At most `leaders` commits of
    a group run at once, with at most `max_rows` rows each unless one batch alone has more; beside
    one that runs the next starts when `worth_rows` wait.
    An error among `of_all` is no fault of any row: the batches that share it fail together.
    Who waits calls `before_wait` first: to give back what the one that writes may need.
    """

    def __init__(
        self,
        write: Callable[[Group, Sequence[Row]], list[tuple[int, Mark]]],
        *,
        max_rows: int,
        leaders: int,
        worth_rows: int = 1,
        of_all: tuple[type[Exception], ...] = (),
        before_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._write = write
        self._before_wait = before_wait
        self._max_rows = max_rows
        self._leaders = leaders
        self._worth_rows = worth_rows
        self._of_all = of_all
        self._lock = threading.Lock()
        self._queues: dict[Group, deque[_Batch[Row, Mark]]] = {}
        self._leading: dict[Group, int] = {}

    def submit(
        self, group: Group, rows: Sequence[Row], *, patience_s: float | None = None
    ) -> list[tuple[int, Mark]]:
        """Write the rows; raises what `write` raised for them.

        Raises TimeoutError when no commit took them up within `patience_s` (None: it waits as
        long as it takes): they are not written.
        """
        batch: _Batch[Row, Mark] = _Batch(rows)
        with self._lock:
            batch.leads = self._may_lead(group, len(rows))
            if batch.leads:
                self._leading[group] = self._leading.get(group, 0) + 1
            else:
                self._queues.setdefault(group, deque()).append(batch)
        if not batch.leads:
            self._wait(group, batch, patience_s)
        if batch.leads:
            self._lead(group, batch)
        if batch.error is not None:
            raise batch.error
        return batch.marks

    def _may_lead(self, group: Group, own_rows: int) -> bool:
        """Whether a commit of these rows, and of what is queued, starts now. Under the lock."""
        leading = self._leading.get(group, 0)
        if not 0 < leading < self._leaders:
            return leading == 0
        queued_rows = sum(len(batch.rows) for batch in self._queues.get(group, ()))
        return queued_rows + own_rows >= self._worth_rows

    def _wait(self, group: Group, batch: _Batch[Row, Mark], patience_s: float | None) -> None:
        self._before_wait()
        if not batch.wake.acquire(timeout=-1 if patience_s is None else patience_s):
            if self._withdraw(group, batch):
                raise TimeoutError(f"no commit took these rows up within {patience_s} s")
            # Taken up meanwhile: how long its commit may take is the writer's to bound.
            batch.wake.acquire()

    def _withdraw(self, group: Group, batch: _Batch[Row, Mark]) -> bool:
        """Leave the queue; False when the batch is not in it any more."""
        with self._lock:
            queue = self._queues.get(group, ())
            if batch not in queue:
                return False
            self._queues[group].remove(batch)
            return True

    def _lead(self, group: Group, own: _Batch[Row, Mark]) -> None:
        """Write one commit, of one's own rows and what is queued; hand on the lead."""
        batches = self._take(group, own)
        try:
            self._commit(group, batches)
        finally:
            self._hand_on(group)
            for batch in batches[1:]:
                batch.wake.release()

    def _take(self, group: Group, own: _Batch[Row, Mark]) -> list[_Batch[Row, Mark]]:
        taken = [own]
        room = self._max_rows - len(own.rows)
        with self._lock:
            queue = self._queues.get(group)
            while queue and len(queue[0].rows) <= room:
                room -= len(queue[0].rows)
                taken.append(queue.popleft())
        return taken

    def _hand_on(self, group: Group) -> None:
        """Wake the next in the queue as leader, or let the lead lapse: to whoever comes next, or to
        the leader beside, who hands on in turn."""
        with self._lock:
            self._leading[group] -= 1
            queue = self._queues.get(group)
            if queue and self._may_lead(group, 0):
                self._leading[group] += 1
                heir = queue.popleft()
                heir.leads = True
                heir.wake.release()
                return
            if not queue:
                self._queues.pop(group, None)
            if not self._leading[group]:
                del self._leading[group]

    def _commit(self, group: Group, batches: list[_Batch[Row, Mark]]) -> None:
        """Write the batches together; if that fails, each alone, so that none pays for another."""
        try:
            marks = self._write(group, [row for batch in batches for row in batch.rows])
        except BaseException as error:
            if len(batches) > 1 and self._is_of_a_row(error):
                for batch in batches:
                    self._commit(group, [batch])
            else:
                for batch in batches:
                    batch.error = error
        else:
            _deal_out(marks, batches)

    def _is_of_a_row(self, error: BaseException) -> bool:
        return isinstance(error, Exception) and not isinstance(error, self._of_all)


def _deal_out(marks: list[tuple[int, Mark]], batches: list[_Batch[Row, Mark]]) -> None:
    """Give each batch the marks on its own rows, numbered from its own first."""
    by_row = sorted(marks, key=lambda mark: mark[0])
    at, first = 0, 0
    for batch in batches:
        end = first + len(batch.rows)
        while at < len(by_row) and by_row[at][0] < end:
            batch.marks.append((by_row[at][0] - first, by_row[at][1]))
            at += 1
        first = end
