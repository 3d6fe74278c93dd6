"""What a process remembers: never too old, asked for by one, and a failure is one failure."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import OperationalError

from apps.tenants import remembered as module
from apps.tenants.remembered import Remembered
from tests.processes import wait_until


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0
        self.looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


class Source:
    """Counts readings; each may be held up, or fail."""

    def __init__(self) -> None:
        self.readings = 0
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.error: Exception | None = None

    def read(self, known: int | None) -> int:
        self.readings += 1
        self.entered.release()
        assert self.gate.wait(30)
        if self.error is not None:
            raise self.error
        return (known or 0) + 1


def test_value_is_read_again_before_it_is_too_old(clock: Clock) -> None:
    memory, source = Remembered[str, int](limit_s=1.0), Source()
    assert [memory.get("a", source.read) for _ in range(3)] == [1, 1, 1]
    clock.now_s += 0.4
    assert (memory.get("a", source.read), memory.glance("a")) == (1, 1)
    clock.now_s += 0.2
    # Its turn to ask, so a caller that cannot is told nothing.
    assert (memory.look("a"), memory.glance("a")) == (1, None)
    assert memory.get("a", source.read) == 2
    clock.now_s += 1.0
    assert memory.look("a") is None
    assert memory.get("a", source.read) == 3


def test_one_asks_ahead_of_time_while_the_others_go_on(clock: Clock) -> None:
    memory, source = Remembered[str, int](limit_s=1.0), Source()
    assert memory.get("a", source.read) == 1
    source.entered.acquire()
    clock.now_s += 0.6
    source.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(memory.get, "a", source.read)
        source.entered.acquire()
        assert [memory.get("a", source.read), memory.glance("a")] == [1, 1]
        source.gate.set()
        assert asking.result(30) == 2
    assert source.readings == 2


def test_who_waits_for_one_that_fails_fails_with_it(clock: Clock) -> None:
    memory, source = Remembered[str, int](limit_s=1.0), Source()
    source.error = OSError("away")
    source.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(memory.get, "a", source.read)]
        source.entered.acquire()
        looks = clock.looks
        waiting += [pool.submit(memory.get, "a", source.read) for _ in range(3)]
        # Each looks at the clock before it waits.
        wait_until(lambda: clock.looks == looks + 3, limit_s=30, what="the others wait")
        clock.now_s += 0.1
        source.gate.set()
        assert {str(future.exception(30)) for future in waiting} == {"away"}
    assert source.readings == 1
    source.error = None
    assert memory.get("a", source.read) == 1


def test_what_was_read_before_it_was_forgotten_is_not_kept(clock: Clock) -> None:
    memory, source = Remembered[str, int](limit_s=1.0), Source()
    source.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(memory.get, "a", source.read)
        source.entered.acquire()
        memory.forget("a")
        source.gate.set()
        assert asking.result(30) == 1
    assert memory.look("a") is None


def test_so_many_are_kept(clock: Clock) -> None:
    memory, source = Remembered[int, int](max_keys=3), Source()
    for key in range(10):
        memory.get(key, source.read)
    assert [key for key in range(10) if memory.look(key)] == [7, 8, 9]


def test_what_stands_is_known_while_the_database_is_away_and_asked_for_now_and_then(
    clock: Clock,
) -> None:
    source, known = Source(), Remembered[str, int]()

    def get() -> int:
        return known.get("a", source.read, stands=True)

    first = get()
    source.error = OperationalError("away")
    clock.now_s += 5
    assert [get(), get()] == [first, first]
    asked = source.readings
    clock.now_s += module.ASK_AGAIN_S
    assert get() == first
    assert source.readings == asked + 1
    with pytest.raises(OperationalError):
        known.get("a", source.read)
    source.error = None
    clock.now_s += module.ASK_AGAIN_S
    assert get() > first


def test_what_stands_fails_for_any_other_error(clock: Clock) -> None:
    source, known = Source(), Remembered[str, int]()
    known.get("a", source.read, stands=True)
    source.error = ValueError("a bug")
    clock.now_s += 5
    with pytest.raises(ValueError, match="a bug"):
        known.get("a", source.read, stands=True)
