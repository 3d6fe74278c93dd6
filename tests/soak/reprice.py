"""Reprice a million charges under kill -9, with readers, and undo it. `make soak ARGS=reprice`.

    python -m tests.soak.reprice [CHARGES]

Real services of its own in a throwaway folder. Prints times and sums; fails on the first number
that is not what it must be.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = tempfile.mkdtemp(prefix="costboard-soak-")
(Path(FOLDER) / "static").mkdir()
os.environ["COSTBOARD_DATA_DIR"] = FOLDER
os.environ["DJANGO_SETTINGS_MODULE"] = "costboard.settings"
for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
    os.environ.pop(name, None)

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from apps.pricing.services import add_rate, change_rate  # noqa: E402
from apps.tenants.core.access import KeyIdentity  # noqa: E402
from apps.tenants.scoping import tenant_scope  # noqa: E402
from apps.tenants.selectors import find_key  # noqa: E402
from apps.tenants.services import create_tenant, issue_api_key  # noqa: E402
from apps.usage.core.events import Parsed, UsageEvent  # noqa: E402
from apps.usage.measures import FROM_LEDGER  # noqa: E402
from apps.usage.repricing import (  # noqa: E402
    RepricingInfo,
    RepricingScope,
    get_repricing,
    preview_repricing,
    start_repricing,
    undo_repricing,
)
from apps.usage.services import fold_pending, ingest_events, reconcile_usage  # noqa: E402
from costboard.embedded import EmbeddedServices, default_data_dir  # noqa: E402

NOW = datetime.now(UTC)
DAYS = 180
BATCH = 5_000
MODELS = 10
ROOT = Path(__file__).resolve().parents[2]

# In one statement, so in one snapshot: what readers add up, what waits for them, and the truth.
CONSISTENT = """
SELECT (SELECT sum(cost_usd) FROM usage_ledger),
    (SELECT sum(cost_usd) FROM usage_rollup_day) + (
        SELECT coalesce(sum(l.cost_usd), 0) FROM usage_commit AS c CROSS JOIN LATERAL (
            SELECT cost_usd FROM usage_ledger
            WHERE tenant_id = c.tenant_id AND id BETWEEN c.id << 16 AND (c.id << 16) | 65535
                AND occurred_at BETWEEN c.first_occurred_at AND c.last_occurred_at
            OFFSET 0) AS l)
"""
ADJUSTED_TWICE = """
SELECT count(*) FROM (
    SELECT 1 FROM usage_ledger WHERE repricing_id = %s GROUP BY corrects_id HAVING count(*) > 1
) AS twice
"""


@contextmanager
def timed(what: str, rows: int = 0) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    speed = f", {rows / seconds:,.0f} rows a second" if rows else ""
    print(f"{what}: {seconds:.1f} s{speed}", flush=True)


def ask(tenant_id: int, statement: str, *values: Any) -> tuple[Any, ...]:
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(statement, values)
        row: tuple[Any, ...] = cursor.fetchone()
        return row


def fold(tenant_id: int) -> None:
    while fold_pending(tenant_id, now=NOW):
        pass


def fingerprint(tenant_id: int) -> list[tuple[Any, ...]]:
    """Every number of every rollup, as a count and a sum of hashes a table."""
    numbers = ", ".join(f"trim_scale({column}::numeric)" for column in FROM_LEDGER)
    return [
        ask(
            tenant_id,
            "SELECT count(*), sum(cost_usd), sum(hashtextextended("
            f"concat_ws(',', bucket, slice_id, {numbers}), 0)::numeric) FROM {table}",
        )
        for table in ("usage_rollup_quarter_hour", "usage_rollup_day")
    ]


def seed(key: KeyIdentity, charges: int) -> None:
    """Charges of ten models (odd ones unpriced) and five customers, over half a year."""
    chance = random.Random(7)
    for first in range(0, charges, BATCH):
        count = min(BATCH, charges - first)
        # One batch in ten is a backfill: its commit spans months.
        backfill = (first // BATCH) % 10 == 9
        events = []
        for n in range(first, first + count):
            share = chance.random() if backfill else n / charges
            output = chance.randrange(500)
            events.append(
                UsageEvent(
                    source="soak",
                    event_id=str(n),
                    occurred_at=NOW - timedelta(days=DAYS) * (1 - share) - timedelta(days=3),
                    provider="nobody",
                    model=f"m{chance.randrange(MODELS)}",
                    uncached_input_tokens=chance.randrange(5000),
                    cache_read_tokens=chance.randrange(5000),
                    output_tokens=output,
                    customer=f"c{chance.randrange(5)}",
                )
            )
        parsed = Parsed(events=events, indexes=list(range(count)), rejections=[])
        assert ingest_events(key, parsed, now=NOW).accepted == count


def set_rates(tenant_id: int, models: range, price: str) -> list[int]:
    with tenant_scope(tenant_id):
        return [
            add_rate(
                provider="nobody",
                model=f"m{model}",
                meter=meter,
                price_usd_per_mtok=Decimal(price) + model,
                effective_from=None,
                actor="soak",
                now=NOW,
            )
            for model in models
            for meter in ("input_tokens", "output_tokens")
        ]


def correct_rates(tenant_id: int, rate_ids: list[int]) -> None:
    with tenant_scope(tenant_id):
        for rate_id in rate_ids:
            change_rate(
                rate_id=rate_id,
                price_usd_per_mtok=Decimal("0.987654321"),
                effective_from=NOW - timedelta(days=400),
                actor="soak",
                now=NOW,
            )
    set_rates(tenant_id, range(1, MODELS, 2), "0.123456789")


def watch(tenant_id: int, stop: threading.Event) -> int:
    """Fold and read until told to stop; the ledger and what readers see agree each time."""
    looks = 0
    try:
        while not stop.is_set():
            fold(tenant_id)
            in_ledger, seen = ask(tenant_id, CONSISTENT)
            assert in_ledger == seen, (in_ledger, seen)
            looks += 1
    finally:
        connection.close()
    return looks


def work_under_kills(tenant_id: int, run: RepricingInfo, charges: int) -> RepricingInfo:
    """Run it in processes of its own, killing each at a third more; fold and read all the while."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch, tenant_id, stop)
        try:
            run = _work(tenant_id, run, charges)
        finally:
            stop.set()
        print(f"  readers looked {watching.result()} times", flush=True)
    fold(tenant_id)
    assert ask(tenant_id, ADJUSTED_TWICE, run.id) == (0,)
    return run


def _work(tenant_id: int, run: RepricingInfo, charges: int) -> RepricingInfo:
    kill_at = [charges // 3, 2 * charges // 3]
    command = [sys.executable, "manage.py", "reprice", f"--tenant={tenant_id}"]
    while run.status == "running":
        with (Path(FOLDER) / "worker.log").open("a") as log:
            process = subprocess.Popen([*command, f"--resume={run.id}"], cwd=ROOT, stderr=log)
        while process.poll() is None:
            time.sleep(0.02)
            with tenant_scope(tenant_id):
                run = get_repricing(run.id)
            if kill_at and run.changed_charges > kill_at[0]:
                process.kill()
                process.wait()
                kill_at.pop(0)
                print(f"  kill -9 at {run.changed_charges:,} of {charges:,}", flush=True)
        with tenant_scope(tenant_id):
            run = get_repricing(run.id)
    assert len(kill_at) < 2, "it was done before it could be killed"
    return run


def check_clean(tenant_id: int) -> None:
    with timed("  reconcile"):
        result = reconcile_usage(tenant_id, now=NOW)
    assert result.is_clean, result.drifts[:3]
    assert result.pending_rows == 0


def soak(charges: int) -> None:
    tenant_id = create_tenant(name="Soak", time_zone="Asia/Kathmandu", now=NOW)
    with tenant_scope(tenant_id):
        secret = issue_api_key(name="r", scopes=("ingest",), actor="soak", now=NOW)
    key = find_key(secret)
    assert key is not None
    rate_ids = set_rates(tenant_id, range(0, MODELS, 2), "1.5")
    with timed(f"ingest of {charges:,} charges", charges):
        seed(key, charges)
    with timed("first fold", charges):
        fold(tenant_id)
    before = fingerprint(tenant_id)
    print(f"before: {before[1][1]:f} USD in {before[0][0]:,} quarter-hour rows")
    correct_rates(tenant_id, rate_ids)
    scope = RepricingScope(NOW - timedelta(days=DAYS + 10), NOW)
    with timed("dry run", charges):
        draft = preview_repricing(tenant_id, scope, reason="soak", actor="soak", now=NOW)
    preview: dict[str, Any] = draft.preview or {}
    print(f"dry run: {preview['changed']:,} change, to {preview['after_usd']} USD")
    run = start_repricing(tenant_id, draft.id, actor="soak", now=NOW)
    with timed("run, two kills, folds and readers beside it", charges):
        run = work_under_kills(tenant_id, run, charges)
    after = fingerprint(tenant_id)
    print(f"after:  {after[1][1]:f} USD")
    assert Decimal(preview["after_usd"]) == after[1][1]
    assert (run.changed_charges, run.cost_change_usd) == (
        preview["changed"],
        Decimal(preview["difference_usd"]),
    )
    check_clean(tenant_id)
    undo = undo_repricing(tenant_id, run.id, reason="soak", actor="soak", now=NOW)
    with timed("undo, two kills, folds and readers beside it", charges):
        undo = work_under_kills(tenant_id, undo, charges)
    restored = fingerprint(tenant_id)
    print(f"undone: {restored[1][1]:f} USD")
    assert restored == before, (restored, before)
    assert undo.cost_change_usd == -run.cost_change_usd
    check_clean(tenant_id)
    print("every number restored")


def main(run: Callable[[int], None]) -> None:
    charges = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    try:
        with EmbeddedServices(default_data_dir()):
            call_command("migrate", verbosity=0)
            call_command("sync_catalogue", verbosity=0)
            run(charges)
            connection.close()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


if __name__ == "__main__":
    main(soak)
