"""Sharing a commit: no rows are lost, doubled, delayed for company, or failed by another's."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from apps.usage.group_commit import GroupCommit

Numbers = Sequence[int]


class Ledger:
    """Records each commit; refuses rows below zero; marks odd rows with their value."""

    def __init__(self) -> None:
        self.commits: list[tuple[str, list[int]]] = []
        self.gate: threading.Event | None = None
        self.entered = threading.Semaphore(0)

    def write(self, group: str, rows: Numbers) -> list[tuple[int, int]]:
        self.entered.release()
        if self.gate is not None:
            assert self.gate.wait(10)
        if any(row < 0 for row in rows):
            raise ValueError("a row below zero")
        self.commits.append((group, list(rows)))
        return [(number, row) for number, row in enumerate(rows) if row % 2]


def test_lone_batch_is_written_at_once_and_alone() -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=10, leaders=1)
    assert commits.submit("a", [2, 3], patience_s=10) == [(1, 3)]
    assert ledger.commits == [("a", [2, 3])]


def submit_behind_a_slow_commit(
    ledger: Ledger, commits: GroupCommit[str, int, int], batches: list[list[int]]
) -> list[object]:
    """What each batch got, all of them queued while the first commit was held up."""
    ledger.gate = threading.Event()

    def submit(batch: list[int]) -> object:
        try:
            return commits.submit("a", batch, patience_s=10)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(len(batches) + 1) as pool:
        first = pool.submit(submit, [0])
        ledger.entered.acquire()
        others = [pool.submit(submit, batch) for batch in batches]
        while len(commits._queues.get("a", ())) < len(batches):
            pass
        ledger.gate.set()
        return [future.result(10) for future in [first, *others]]


def test_batches_that_queue_share_the_next_commit_and_get_their_own_marks() -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=100, leaders=1)
    answers = submit_behind_a_slow_commit(ledger, commits, [[1, 2], [3], [4, 5]])
    assert sorted(map(str, answers)) == sorted(map(str, [[], [(0, 1)], [(0, 3)], [(1, 5)]]))
    assert len(ledger.commits) == 2
    assert sorted(ledger.commits[1][1]) == [1, 2, 3, 4, 5]


def test_bad_batch_fails_alone() -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=100, leaders=1)
    answers = submit_behind_a_slow_commit(ledger, commits, [[2], [-1], [4]])
    assert answers.count("a row below zero") == 1
    assert answers.count([]) == 3
    assert sorted(row for _, rows in ledger.commits for row in rows) == [0, 2, 4]


def test_error_of_the_database_fails_all_at_once_and_is_not_tried_batch_by_batch() -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=100, leaders=1, of_all=(ValueError,))
    answers = submit_behind_a_slow_commit(ledger, commits, [[2], [-1], [4]])
    assert answers.count("a row below zero") == 3
    assert [rows for _, rows in ledger.commits] == [[0]]


def test_batch_that_no_commit_takes_up_in_time_leaves_and_is_not_written() -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=100, leaders=1)
    ledger.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(commits.submit, "a", [0], patience_s=10)
        ledger.entered.acquire()
        with pytest.raises(TimeoutError):
            commits.submit("a", [2], patience_s=0.01)
        ledger.gate.set()
        assert first.result(10) == []
    assert commits.submit("a", [4], patience_s=10) == []
    assert [rows for _, rows in ledger.commits] == [[0], [4]]
    assert (commits._leading, commits._queues) == ({}, {})


def test_commit_holds_no_more_rows_than_allowed() -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=4, leaders=1)
    submit_behind_a_slow_commit(ledger, commits, [[2] * 3 for _ in range(5)])
    assert [len(rows) for _, rows in ledger.commits] == [1, 3, 3, 3, 3, 3]


def test_another_commit_starts_beside_one_once_enough_rows_wait() -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=100, leaders=2, worth_rows=3)
    ledger.gate = threading.Event()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(commits.submit, "a", [0], patience_s=10)
        ledger.entered.acquire()
        waiting = pool.submit(commits.submit, "a", [2], patience_s=10)
        while not commits._queues.get("a"):
            pass
        # Still but one is being written: these two rows are one too few to begin another.
        assert not ledger.entered.acquire(timeout=0)
        enough = pool.submit(commits.submit, "a", [4, 6], patience_s=10)
        ledger.entered.acquire()
        ledger.gate.set()
        assert [each.result(10) for each in (first, waiting, enough)] == [[], [], []]
    assert sorted(rows for _, rows in ledger.commits) == [[0], [4, 6, 2]]
    assert (commits._leading, commits._queues) == ({}, {})


@pytest.mark.parametrize(("leaders", "worth_rows"), [(1, 1), (2, 1), (3, 1), (2, 8), (3, 20)])
def test_every_row_is_written_once_under_many_threads(leaders: int, worth_rows: int) -> None:
    ledger = Ledger()
    commits = GroupCommit(ledger.write, max_rows=50, leaders=leaders, worth_rows=worth_rows)

    def send(number: int) -> list[tuple[int, int]]:
        group = "ab"[number % 2]
        rows = list(range(number * 10, number * 10 + number % 7 + 1))
        return commits.submit(group, [-1] if number % 97 == 96 else rows, patience_s=10)

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(send, number) for number in range(1000)]
    failed = [number for number, future in enumerate(futures) if future.exception()]
    assert failed == [number for number in range(1000) if number % 97 == 96]
    written = sorted(row for _, rows in ledger.commits for row in rows)
    expected = [
        row
        for number in range(1000)
        if number not in failed
        for row in range(number * 10, number * 10 + number % 7 + 1)
    ]
    assert written == expected
    assert commits._leading == {}
    assert commits._queues == {}
