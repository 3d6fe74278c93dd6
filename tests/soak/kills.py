"""kill -9 of the tree's processes at random times, and how long each was felt."""

import os
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from tests.demo_tree import DemoTree
from tests.processes import command_line, descendants
from tests.soak.senders import Tally

KINDS = ("web", "worker", "beat", "postgresql", "valkey")
WORDS = {
    "web": ("granian",),
    "worker": ("celery", "worker"),
    "beat": ("celery", "beat"),
    "postgresql": ("postgres", "-D"),
    "valkey": ("valkey",),
}
LOOK_S = 0.1
# Every commit up to this number is in the rollups.
FOLDED = """
SELECT last_value, NOT EXISTS (SELECT FROM usage_commit WHERE id <= %s)
FROM usage_commit_number
"""


@dataclass
class Outage:
    """One kill, and the seconds until calls made after it were acknowledged, and in rollups."""

    kind: str
    victim: str
    at_s: float
    commit: int | None = None
    acknowledged_after_s: float | None = None
    rolled_up_after_s: float | None = None


class Killer(threading.Thread):
    """Kills `kills` times within `seconds`, each kind as often, in random order."""

    def __init__(
        self, demo: DemoTree, tally: Tally, *, kills: int, seconds: float, seed: int
    ) -> None:
        super().__init__(name="killer", daemon=True)
        self._demo = demo
        self._tally = tally
        self._chance = random.Random(seed)
        self._kinds = [KINDS[n % len(KINDS)] for n in range(kills)]
        self._chance.shuffle(self._kinds)
        began_s = time.monotonic()
        # The last tenth is for what the last kill left behind.
        self._times_s = sorted(
            began_s + self._chance.uniform(0.03, 0.9) * seconds for _ in range(kills)
        )
        self._until_s = began_s + seconds
        self.outages: list[Outage] = []

    def run(self) -> None:
        kills = zip(self._times_s, self._kinds, strict=True)
        coming = next(kills, None)
        while time.monotonic() < self._until_s or coming:
            if coming and time.monotonic() >= coming[0]:
                if self._kill(coming[1]):
                    coming = next(kills, None)
                else:  # it has not come back from the last one yet
                    coming = (time.monotonic() + 1, coming[1])
            self.look()
            time.sleep(LOOK_S)

    def look(self) -> None:
        """See which outages are over."""
        now_s = time.monotonic()
        for outage in self.outages:
            if outage.acknowledged_after_s is None and self._tally.latest_begun_s > outage.at_s:
                outage.acknowledged_after_s = now_s - outage.at_s
        waiting = [outage for outage in self.outages if outage.rolled_up_after_s is None]
        if waiting:
            with (
                suppress(psycopg.Error),
                psycopg.connect(self._demo.facts["database_url"], connect_timeout=2) as database,
            ):
                for outage in waiting:
                    _look_at_rollups(database, outage)

    def _kill(self, kind: str) -> bool:
        victims = list(self._victims(kind))
        if not victims:
            return False
        # A parent or any of its children: what is left behind differs.
        pid, name = victims[0] if self._chance.random() < 0.5 else self._chance.choice(victims)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.outages.append(Outage(kind, name, time.monotonic()))
        return True

    def _victims(self, kind: str) -> Iterator[tuple[int, str]]:
        for pid in self._demo.processes(*WORDS[kind])[:1]:
            yield pid, kind
            for child, _ in descendants(pid):
                yield child, f"{kind} child ({command_line(child)[:50]})"


def _look_at_rollups(database: psycopg.Connection, outage: Outage) -> None:
    (latest, is_folded) = database.execute(FOLDED, [outage.commit or 0]).fetchone() or (0, False)
    if outage.commit is None:
        outage.commit = latest + 1  # a commit that is still to come
    elif latest >= outage.commit and is_folded:
        outage.rolled_up_after_s = time.monotonic() - outage.at_s


def felt(outages: list[Outage]) -> list[str]:
    """A line for each kind: how often, and the median and longest seconds felt."""
    by_kind: dict[str, list[Outage]] = defaultdict(list)
    for outage in outages:
        by_kind[outage.kind].append(outage)
    lines = [f"{'kind':<12}{'kills':>6}   s until acknowledged   s until in rollups"]
    for kind in KINDS:
        of_kind = by_kind[kind]
        acknowledged = [o.acknowledged_after_s for o in of_kind]
        rolled_up = [o.rolled_up_after_s for o in of_kind]
        lines.append(
            f"{kind:<12}{len(of_kind):>6}   {_median_and_most(acknowledged):>20}"
            f"   {_median_and_most(rolled_up):>18}"
        )
    return lines


def _median_and_most(values: list[float | None]) -> str:
    if not values:
        return "-"
    if None in values:
        return f"never ({values.count(None)} of {len(values)})"
    known = sorted(value for value in values if value is not None)
    return f"{known[len(known) // 2]:.1f}, at most {known[-1]:.1f}"
