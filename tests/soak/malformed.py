"""A million malformed bodies at every door. `make soak ARGS=malformed`.

    python -m tests.soak.malformed [--bodies N] [--over-http N] [--examples N] [--seed N]

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
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="costboard-soak-"))
(FOLDER / "static").mkdir()
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

from apps.tenants.core.access import KeyIdentity  # noqa: E402
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

# One body in so many is Hypothesis's, beside the others: it takes some milliseconds for each.
GENERATED_SHARE = 50
WARM_UP = 2_000
PROGRESS_EVERY = 50_000


def make_key(now: datetime) -> tuple[str, KeyIdentity]:
    tenant_id = create_tenant(name="Malformed", time_zone="UTC", now=now)
    with tenant_scope(tenant_id):
        secret = issue_api_key(name="r", scopes=("ingest", "read"), actor="soak", now=now)
    key = find_key(secret)
    assert key is not None
    return secret, key


def go_straight(maker: Maker, key: KeyIdentity, numbers: range) -> Findings:
    findings = Findings()
    straight = Straight(key, maker.lot.now, findings)
    for first in range(numbers.start, numbers.stop, PROGRESS_EVERY):
        run(straight, maker.body, range(first, min(first + PROGRESS_EVERY, numbers.stop)))
        print(f"  straight: {findings.counts['bodies']:,} bodies", flush=True)
    take_generated_events(straight, len(numbers) // GENERATED_SHARE)
    return findings


def go_over_http(
    maker: Maker, secret: str, key: KeyIdentity, numbers: range, *, examples: int
) -> Findings:
    findings = Findings()
    headers = {"Authorization": f"Bearer {secret}"}
    with Server(log=FOLDER / "web.log") as server:
        planted = post_all(server.url, headers, maker.body, numbers[:WARM_UP], findings)
        server.begin()
        planted += post_all(server.url, headers, maker.body, numbers[WARM_UP:], findings)
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
    secret, key = make_key(now)
    maker = Maker(Lot(options.seed, now))
    over_http, straight = range(options.over_http), range(options.over_http, options.bodies)
    # The server works in a process of its own, so both shares go at once.
    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(go_over_http, maker, secret, key, over_http, examples=options.examples)
        shares = {"straight": go_straight(maker, key, straight)}
        shares["over HTTP"] = going.result()
    wrong = []
    for share, findings in shares.items():
        print(f"{share}: {sum(findings.faults.values())} faults")
        for name, count in sorted(findings.counts.items()):
            print(f"  {name:<20}{count:>12,}")
        wrong += findings.lines()
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak ARGS=malformed")
    parser.add_argument("--bodies", type=int, default=1_000_000)
    parser.add_argument("--over-http", type=int, default=50_000)
    parser.add_argument("--examples", type=int, default=100, help="of each operation and mode")
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
