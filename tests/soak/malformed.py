"""A million malformed bodies at every door. `make soak ARGS=malformed`.

    python -m tests.soak.malformed [--bodies N] [--over-http N] [--minutes N] [--seed N]

Most bodies go straight at http_body, adapter and ingest (tests/malformed/straight.py), some over
real HTTP to the production web server; beside them Hypothesis makes events from the native schema,
and schemathesis calls every operation of the OpenAPI document. Services of its own in a throwaway
folder. Exits 1 on a 5xx, a dead or swollen server, a prompt repeated, or a good row lost.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

# A process of the pool imports this file again, and works in the folder of its parent.
FOLDER = Path(os.environ.get("SOAK_DIR") or tempfile.mkdtemp(prefix="costboard-soak-"))
(FOLDER / "static").mkdir(exist_ok=True)
os.environ["SOAK_DIR"] = str(FOLDER)
os.environ["COSTBOARD_DATA_DIR"] = str(FOLDER)
os.environ["DJANGO_SETTINGS_MODULE"] = "costboard.settings"
# What is asked here is not whether the disk keeps what it was given: tests/soak/ingest.py is.
os.environ["COSTBOARD_EMBEDDED_FSYNC"] = "off"
for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
    os.environ.pop(name, None)

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from apps.tenants.core.access import SCOPES, KeyIdentity  # noqa: E402
from apps.tenants.scoping import tenant_scope  # noqa: E402
from apps.tenants.selectors import find_key  # noqa: E402
from apps.tenants.services import create_tenant, issue_api_key  # noqa: E402
from costboard.embedded import EmbeddedServices, default_data_dir  # noqa: E402
from tests.malformed.bodies import Maker  # noqa: E402
from tests.malformed.drafts import Lot  # noqa: E402
from tests.malformed.findings import Findings  # noqa: E402
from tests.malformed.native_schema import take_generated_events  # noqa: E402
from tests.malformed.openapi import call_every_operation  # noqa: E402
from tests.malformed.over_http import post_all  # noqa: E402
from tests.malformed.server import Server, count_of_ids  # noqa: E402
from tests.malformed.straight import Straight, run  # noqa: E402

PROCESSES = 2
WARM_UP = 2_000
PROGRESS_EVERY = 10_000
AT_ONCE = 1_000


def make_key(now: datetime) -> tuple[str, KeyIdentity]:
    tenant_id = create_tenant(name="Malformed", time_zone="UTC", now=now)
    with tenant_scope(tenant_id):
        secret = issue_api_key(name="r", scopes=SCOPES, actor="soak", now=now)
    key = find_key(secret)
    assert key is not None
    return secret, key


def go_straight(
    seed: int, now: datetime, secret: str, numbers: range, *, generated: int, until: datetime
) -> Findings:
    """One process's share; what is not done by `until` is left."""
    key = find_key(secret)
    assert key is not None
    findings, maker = Findings(), Maker(Lot(seed, now))
    straight = Straight(key, now, findings)
    take_generated_events(straight, generated)
    for first in range(numbers.start, numbers.stop, AT_ONCE):
        if datetime.now(UTC) >= until:
            break
        run(straight, maker.body, range(first, min(first + AT_ONCE, numbers.stop)))
        if (first - numbers.start) % PROGRESS_EVERY == 0:
            print(f"  straight: {first - numbers.start:,} from {numbers.start:,}", flush=True)
    connection.close()
    return findings


def go_over_http(
    maker: Maker, secret: str, key: KeyIdentity, numbers: range, *, examples: int, until: datetime
) -> Findings:
    findings = Findings()
    headers = {"Authorization": f"Bearer {secret}"}
    with Server(log=FOLDER / "web.log") as server:
        planted = post_all(server.url, headers, maker.body, numbers[:WARM_UP], findings)
        server.begin()
        for first in range(WARM_UP, len(numbers), AT_ONCE):
            if datetime.now(UTC) >= until:
                break
            some = numbers[first : first + AT_ONCE]
            planted += post_all(server.url, headers, maker.body, some, findings)
        server.check(findings)
        print(f"  over HTTP: {findings.counts['bodies']:,} bodies", flush=True)
        called = call_every_operation(server.url, headers, findings, examples=examples)
        print(f"  schemathesis: {called:,} calls", flush=True)
        server.check(findings)
        print(f"  {server.memory}", flush=True)
    kept = count_of_ids(key.tenant_id, planted)
    connection.close()
    print(f"  good rows over HTTP: {len(planted):,} planted, {kept:,} in the ledger")
    if kept != len(planted):
        findings.fault("good rows are not in the ledger", f"{kept} of {len(planted)}")
    return findings


def soak(options: argparse.Namespace) -> list[str]:
    now = datetime.now(UTC)
    until = now + timedelta(minutes=options.minutes)
    secret, key = make_key(now)
    over_http = range(options.over_http)
    straight = range(options.over_http, options.bodies)
    each = -(-len(straight) // PROCESSES)
    shares = {"over HTTP": Findings(), "straight": Findings()}
    with (
        ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as processes,
        ThreadPoolExecutor(1) as threads,
    ):
        going = [
            processes.submit(
                go_straight, options.seed, now, secret, straight[n * each : (n + 1) * each],
                generated=options.generated // PROCESSES, until=until,
            )
            for n in range(PROCESSES)
        ]  # fmt: skip
        maker = Maker(Lot(options.seed, now))
        posting = threads.submit(
            go_over_http, maker, secret, key, over_http, examples=options.examples, until=until
        )
        for share in going:
            shares["straight"].add(share.result())
        shares["over HTTP"].add(posting.result())
    wrong = []
    for share, findings in shares.items():
        print(f"{share}: {sum(findings.faults.values())} faults")
        for name, count in sorted(findings.counts.items()):
            print(f"  {name:<20}{count:>12,}")
        wrong += findings.lines()
    made = sum(findings.counts["bodies"] for findings in shares.values())
    print(f"{made:,} bodies")
    if made < options.bodies:
        wrong.append(f"only {made:,} of {options.bodies:,} bodies in {options.minutes:g} minutes")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak ARGS=malformed")
    parser.add_argument("--bodies", type=int, default=1_000_000)
    parser.add_argument("--over-http", type=int, default=50_000)
    parser.add_argument("--generated", type=int, default=10_000, help="bodies by Hypothesis")
    parser.add_argument("--examples", type=int, default=50, help="of each operation and mode")
    parser.add_argument("--minutes", type=float, default=40, help="no body is made after these")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.bodies:,} bodies, {options.over_http:,} over HTTP")
    try:
        with EmbeddedServices(default_data_dir()):
            call_command("migrate", verbosity=0)
            call_command("sync_catalogue", verbosity=0)
            wrong = soak(options)
            connection.close()
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    for line in wrong:
        print(f"WRONG: {line}")
    print("no body did any harm" if not wrong else f"{len(wrong)} kinds of things are wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
