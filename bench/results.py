"""What an entry yields, and how all are shown."""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

REPEATS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """One measured number. `goal` is what it must reach, None where none is set.

    With `at_most` it is what it must not pass. `digits` are those shown after the point;
    `note` says what was measured, in words.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    note: str = ""
    at_most: bool = False
    digits: int = 0

    @property
    def is_met(self) -> bool:
        if self.goal is None:
            return True
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def tell(what: str) -> None:
    """Say what a long entry is at, and since when; the table comes at the end."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def best_per_second(work: Callable[[], int], repeats: int = REPEATS) -> float:
    """Items a second of one core's time; `work` returns how many items it did. Best of a few.

    CPU time, not the clock's: what else runs on the machine is no fault of ours.
    """
    rates = []
    for _ in range(repeats):
        started_s = time.process_time()
        items = work()
        rates.append(items / (time.process_time() - started_s))
    return max(rates)


def table(results: Iterable[Result]) -> list[str]:
    """Aligned lines, the heading first."""
    rows = [("measured", "value", "unit", "goal", "")]
    for result in results:
        goal = "" if result.goal is None else f"{result.goal:,.{result.digits}f}"
        verdict = "" if result.goal is None else ("met" if result.is_met else "MISSED")
        rows.append((result.name, f"{result.value:,.{result.digits}f}", result.unit, goal, verdict))
    widths = [max(len(row[n]) for row in rows) for n in range(5)]
    return [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}} {row[2]:<{widths[2]}}"
        f"  {row[3]:>{widths[3]}} {row[4]}".rstrip()
        for row in rows
    ]
