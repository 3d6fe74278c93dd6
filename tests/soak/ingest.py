"""5,000 events a second under kill -9: each acknowledged one counts once. `make soak ARGS=ingest`.

    python -m tests.soak.ingest [--kills N] [--seconds N] [--per-second N] [--seed N]

Runs the production process tree on services of its own in a throwaway folder. Prints what was sent,
killed and found; exits 1 when an event was lost, doubled, invented or wrongly priced.
"""

import argparse
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg

from tests.demo_tree import DemoTree, running_demo
from tests.soak.calls import Calls, Row
from tests.soak.kills import Killer, felt
from tests.soak.senders import ABANDONED, ACKNOWLEDGED, ROUTES, SOURCES, Sender, Tally

QUIET_LIMIT_S = 180.0
RECONCILE_LIMIT_S = 300.0
USD = Decimal(10) ** -12

LEDGER = """
COPY (
    SELECT source, event_id, extract(epoch FROM occurred_at) * 1000, uncached_input_tokens,
        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, output_tokens,
        trim_scale(cost_usd * 1e12)
    FROM usage_ledger
) TO STDOUT
"""
ROLLED_UP = "SELECT sum(requests), sum(cost_usd), sum(unpriced_requests) FROM usage_rollup_{}"


@dataclass
class Found:
    """What the ledger holds, compared with what was sent."""

    rows: int = 0
    cost: int = 0
    unpriced: int = 0
    unknown_fate: int = 0
    missing: int = 0
    wrong: list[str] = field(default_factory=list)
    wrongs: Counter[str] = field(default_factory=Counter)

    def note(self, what: str, detail: object) -> None:
        self.wrongs[what] += 1
        if self.wrongs[what] <= 3:
            self.wrong.append(f"{what}: {detail}")


def send_under_kills(
    demo: DemoTree, calls: Calls, *, kills: int, seconds: float
) -> tuple[Tally, Killer, float]:
    """Load and kills for so long; returns when every sender has seen its last body through."""
    tally, stop = Tally(), threading.Event()
    senders = [
        Sender(demo.url, demo.headers, calls, tally, route, seed=f"{calls.seed}/{n}", stop=stop)
        for n, route in enumerate(ROUTES)
    ]
    began_s = time.monotonic()
    killer = Killer(demo, tally, kills=kills, seconds=seconds, seed=calls.seed)
    for thread in (*senders, killer):
        thread.start()
    while killer.is_alive():
        killer.join(30)
        _tell_progress(tally, killer, time.monotonic() - began_s)
    stop.set()
    lasted_s = time.monotonic() - began_s
    for sender in senders:
        sender.join(QUIET_LIMIT_S)
        assert not sender.is_alive(), f"{sender.name} never saw its last body through"
    return tally, killer, lasted_s


def _tell_progress(tally: Tally, killer: Killer, lasted_s: float) -> None:
    acknowledged = tally.fates.count(ACKNOWLEDGED)
    print(
        f"  {lasted_s:4.0f} s: {acknowledged:,} acknowledged, {len(killer.outages)} kills",
        flush=True,
    )


def become_quiet(demo: DemoTree, killer: Killer) -> float:
    """Wait until the worker has folded everything; returns the seconds it took."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < QUIET_LIMIT_S:
        killer.look()
        with psycopg.connect(demo.facts["database_url"]) as database:
            (pending,) = database.execute("SELECT count(*) FROM usage_commit").fetchone() or (0,)
        if not pending:
            return time.monotonic() - began_s
        time.sleep(0.2)
    raise AssertionError(f"{pending} commits were not folded in {QUIET_LIMIT_S} s of quiet")


def compare(demo: DemoTree, calls: Calls, tally: Tally) -> Found:
    """Every row of the ledger against the call it must be, and every call against the ledger."""
    found, seen = Found(), bytearray(len(tally.fates))
    with (
        psycopg.connect(demo.facts["database_url"]) as database,
        database.cursor() as cursor,
        cursor.copy(LEDGER) as copy,
    ):
        for row in copy.rows():
            compare_row(found, seen, calls, tally, row)
    found.missing = sum(
        fate == ACKNOWLEDGED and not times for fate, times in zip(tally.fates, seen, strict=True)
    )
    found.unknown_fate = sum(
        fate == ABANDONED and times for fate, times in zip(tally.fates, seen, strict=True)
    )
    return found


def compare_row(
    found: Found, seen: bytearray, calls: Calls, tally: Tally, row: tuple[str | None, ...]
) -> None:
    source, event_id, milliseconds, *tokens, cost = row
    found.rows += 1
    try:
        number = calls.number_of(source or "", event_id or "")
        is_sent = SOURCES[tally.sources[number]] == source
    except (ValueError, IndexError):
        is_sent = False
    if not is_sent:
        found.note("invented", row)
        return
    if seen[number]:
        found.note("doubled", row)
    seen[number] = 1
    expected = calls.row(number, source or "")
    actual = (
        Decimal(milliseconds or 0),
        *(int(count or 0) for count in tokens),
        None if cost is None else Decimal(cost),
    )
    if actual != (Decimal(round(expected.occurred_at.timestamp() * 1000)), *expected[1:]):
        found.note("wrong", (row, expected))
    _add(found, expected)


def _add(found: Found, expected: Row) -> None:
    if expected.cost is None:
        found.unpriced += 1
    else:
        found.cost += expected.cost


def check_sums(demo: DemoTree, found: Found) -> list[str]:
    """The rollups and the API against the independent sums; returns what differs."""
    expected = (found.rows, found.cost * USD, found.unpriced)
    differs = []
    with psycopg.connect(demo.facts["database_url"]) as database:
        for table in ("quarter_hour", "day"):
            sums = database.execute(ROLLED_UP.format(table)).fetchone()
            if sums != expected:
                differs.append(f"rollups by {table} say {sums}, sent were {expected}")
    start = datetime.fromtimestamp(time.time() - 90 * 86_400, UTC).date()
    for grouping in ("", "&group_by=model"):
        total = demo.call(f"/api/v1/spend?from={start}{grouping}")["total"]
        said = (total["requests"], Decimal(total["cost_usd"]), total["unpriced_requests"])
        if said != expected:
            differs.append(f"GET /api/v1/spend{grouping} says {said}, sent were {expected}")
    reconciled = demo.manage("reconcile", limit_s=RECONCILE_LIMIT_S)
    print("reconcile:    " + reconciled.stdout.strip().replace("\n", "\n              "))
    if reconciled.returncode or "zero drift" not in reconciled.stdout:
        differs.append(f"reconcile exits {reconciled.returncode}: {reconciled.stderr[-500:]}")
    return differs


def report(tally: Tally, killer: Killer, found: Found, lasted_s: float) -> list[str]:
    """Print the figures; returns what is wrong."""
    counts = tally.counts
    acknowledged = tally.fates.count(ACKNOWLEDGED)
    failed = {name: n for name, n in counts.items() if name.startswith(("answered", "no answer"))}
    print(f"sent:         {len(tally.fates):,} events, each in one body or more")
    print(f"acknowledged: {acknowledged:,} events, {acknowledged / lasted_s:,.0f} a second")
    print(f"              {counts['bodies']:,} bodies of {counts['rows of bodies']:,} rows")
    print(f"duplicates:   {counts['duplicates']:,} answered")
    print(f"sent again:   {', '.join(f'{n:,} {name}' for name, n in sorted(failed.items()))}")
    print(
        f"given up:     {tally.fates.count(ABANDONED):,},"
        f" of them in the ledger: {found.unknown_fate:,}"
    )
    print(
        f"ledger:       {found.rows:,} events, {found.cost * USD:f} USD,"
        f" {found.unpriced:,} unpriced"
    )
    print(f"              {found.missing:,} missing, {found.wrongs['doubled']:,} doubled,")
    print(f"              {found.wrongs['invented']:,} invented, {found.wrongs['wrong']:,} wrong")
    for line in felt(killer.outages):
        print(line)
    for outage in killer.outages:
        if None in (outage.acknowledged_after_s, outage.rolled_up_after_s):
            tally.fault(f"never felt again: {outage}")
    wrong = [*tally.faults, *found.wrong]
    if found.missing:
        wrong.append(f"{found.missing} acknowledged events are not in the ledger")
    return wrong


def soak(options: argparse.Namespace, scratch: Path) -> list[str]:
    with running_demo(scratch) as demo:
        calls = Calls(options.seed, datetime.now(UTC).replace(microsecond=0), options.per_second)
        tally, killer, lasted_s = send_under_kills(
            demo, calls, kills=options.kills, seconds=options.seconds
        )
        quiet_s = become_quiet(demo, killer)
        print(f"quiet:        folded {quiet_s:.1f} s after the last event")
        found = compare(demo, calls, tally)
        wrong = report(tally, killer, found, lasted_s)
        return wrong + check_sums(demo, found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak ARGS=ingest")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--per-second", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.kills} kills in {options.seconds:g} s", flush=True)
    scratch = Path(tempfile.mkdtemp(prefix="costboard-soak-"))
    try:
        wrong = soak(options, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for line in wrong:
        print(f"WRONG: {line}")
    print("every acknowledged event counts once" if not wrong else f"{len(wrong)} things are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
