"""PostgreSQL slow, stopped or gone: 503 with Retry-After, then work again, and nothing is lost."""

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.test import Client

from costboard.embedded import EmbeddedServices
from costboard.processes import processes_in
from tests.conftest import ROOT, Key, native_event
from tests.processes import wait_until
from tests.web import WebServer

TIME_LIMIT_S = 2
# Far more than the limit on a busy machine, far less than for ever.
PATIENCE_S = 30
CLOUD, LOCAL = "openai/gpt-4o-mini", "local/llama"
SENDERS = 24  # more than the server's threads
MAKE_TENANT = """
import sys
from datetime import UTC, datetime
import django
django.setup()
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import create_tenant, issue_api_key
now = datetime.now(UTC)
tenant_id = create_tenant(name=sys.argv[1], time_zone="UTC", slug=sys.argv[1], now=now)
with tenant_scope(tenant_id):
    scopes = ("ingest", "read", "manage", "route")
    print(tenant_id, issue_api_key(name="k", scopes=scopes, actor="test", now=now))
"""


FOLD = """
import sys
from datetime import UTC, datetime
import django
django.setup()
from apps.usage.services import fold_pending
while fold_pending(int(sys.argv[1]), now=datetime.now(UTC)):
    pass
"""
BUDGET = {
    "scope": {},
    "period": "year",
    "amount_usd": "100",
    "on_limit": "refuse",
    "thresholds": [],
}


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: str | None
    body: Any


class Site:
    """An installation of its own, whose database may be mistreated."""

    def __init__(self, folder: Path, services: EmbeddedServices) -> None:
        self.services = services
        self.folder = folder
        dropped = ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")
        self.environment = {k: v for k, v in os.environ.items() if k not in dropped} | {
            "COSTBOARD_DATA_DIR": str(folder),
            "COSTBOARD_INGEST_TIME_LIMIT_S": str(TIME_LIMIT_S),
            "COSTBOARD_WEB_WAIT_LIMIT_S": str(TIME_LIMIT_S),
            "DJANGO_SETTINGS_MODULE": "costboard.settings",
        }
        self.run("manage.py", "migrate", "--verbosity", "0")
        self.run("manage.py", "sync_catalogue")
        self.web = WebServer(log=folder / "web.log", environment=self.environment)
        self.tenant_id, self.secret = self.make_tenant("first")

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def make_tenant(self, name: str) -> tuple[int, str]:
        tenant_id, secret = self.run("-c", MAKE_TENANT, name).split()
        return int(tenant_id), secret

    def post(self, events: list[dict[str, Any]], secret: str | None = None) -> Answer:
        return self.ask("/api/v1/usage/events", events, secret=secret or self.secret)

    def ask(self, path: str, body: Any = None, *, secret: str) -> Answer:
        """POST with a body, GET without."""
        request = urllib.request.Request(
            f"{self.web.url}{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return Answer(response.status, None, json.load(response))
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers["Retry-After"], json.load(error))

    def post_at_once(
        self, batches: list[list[dict[str, Any]]], secret: str | None = None
    ) -> list[Answer]:
        with ThreadPoolExecutor(len(batches)) as pool:
            return list(pool.map(lambda batch: self.post(batch, secret), batches))

    def post_until_taken(self, events: list[dict[str, Any]]) -> int:
        """Rows accepted or counted before, once the server takes them: all, or the test fails."""
        answers: list[Answer] = []

        def is_taken() -> bool:
            answers.append(self.post(events))
            return answers[-1].status == 200

        wait_until(is_taken, limit_s=PATIENCE_S, what="the batch is taken")
        assert answers[-1].body["rejected"] == []
        return int(answers[-1].body["accepted"] + answers[-1].body["duplicates"])

    @contextmanager
    def stopped(self, service: str) -> Iterator[None]:
        """Every process of "postgres" or "valkey" stopped: sockets stay open, nothing answers."""
        stopped = processes_in(self.folder / service)
        assert stopped
        for process in stopped:
            with suppress(psutil.NoSuchProcess):  # autovacuum's come and go
                process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)

    def owner(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.services.urls.database_owner_url)

    def counted(self) -> int:
        with self.owner() as connection:
            rows = connection.execute("SELECT count(*) FROM usage_ledger").fetchall()
            assert rows == connection.execute("SELECT count(*) FROM usage_identity").fetchall()
            return int(rows[0][0])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("backpressure") / "d"
    with EmbeddedServices(folder, durable=False) as services:
        made = Site(folder, services)
        with made.web:
            made.post_until_taken([native_event()])
            yield made


def batches(count: int) -> list[list[dict[str, Any]]]:
    return [[native_event(), native_event()] for _ in range(count)]


def assert_refused_for_now(answers: list[Answer]) -> None:
    assert {answer.status for answer in answers} == {503}
    assert all(int(answer.retry_after or 0) > 0 for answer in answers)
    assert {answer.body["code"] for answer in answers} <= {"overloaded", "database_unavailable"}


def assert_all_taken_once(site: Site, sent: list[list[dict[str, Any]]], before: int) -> None:
    assert [site.post_until_taken(batch) for batch in sent] == [2] * len(sent)
    assert site.counted() == before + 2 * len(sent)


def test_stopped_database_is_answered_with_503_and_retries_count_once(site: Site) -> None:
    before, sent = site.counted(), batches(SENDERS)
    with site.stopped("postgres"):
        assert_refused_for_now(site.post_at_once(sent))
        # Nobody is made to wait again for what is known: the next are refused without trying.
        again = site.post_at_once(batches(2))
        assert "overloaded" in {answer.body["code"] for answer in again}
    assert_all_taken_once(site, sent, before)


def test_stopped_database_is_answered_with_503_by_decisions_and_reads(site: Site) -> None:
    decision = {"request_id": "r", "input_tokens": 10, "max_output_tokens": 10, "reserve": True}
    with site.stopped("postgres"):
        # The limit of the request, not of the test's patience, ends each.
        answers = [
            site.ask("/api/v1/routing/decisions", decision, secret=site.secret),
            site.ask("/api/v1/spend", secret=site.secret),
        ]
    assert_refused_for_now(answers)


def test_locked_ledger_is_answered_with_503_until_the_lock_is_gone(site: Site) -> None:
    before, sent = site.counted(), batches(SENDERS)
    with site.owner() as owner:
        owner.execute("LOCK TABLE usage_ledger IN EXCLUSIVE MODE")
        assert_refused_for_now(site.post_at_once(sent))
        owner.rollback()
    assert_all_taken_once(site, sent, before)


def test_lock_on_one_tenants_event_refuses_that_tenant_alone(site: Site) -> None:
    _, other_secret = site.make_tenant("second")
    event = native_event()
    with site.owner() as owner:
        # What a commit that never ends would hold: the identity of this very event.
        owner.execute(
            "INSERT INTO usage_identity"
            " (tenant_id, identity, content_hash, ledger_id, occurred_at, segment)"
            " SELECT %s, %s, 0, 0, now(), segment FROM usage_identity_segment"
            " WHERE sealed_at IS NULL",
            [site.tenant_id, identity_of(event)],
        )
        assert_refused_for_now([site.post([event])])
        other = site.post([native_event()], other_secret)
        assert (other.status, other.body["accepted"]) == (200, 1)
        owner.rollback()
    assert site.post_until_taken([event]) == 1


def identity_of(event: dict[str, Any]) -> str:
    name = f"default\0{event['id']}".encode()
    return hashlib.blake2b(name, digest_size=16).hexdigest()


def test_restarted_database_is_found_again_without_a_restart_of_ours(site: Site) -> None:
    before, sent = site.counted(), batches(4)
    site.services.stop()
    try:
        assert_refused_for_now(site.post_at_once(sent))
    finally:
        site.services.start()
    assert_all_taken_once(site, sent, before)


def test_stopped_database_refuses_cloud_in_time_and_lets_local_run(site: Site) -> None:
    _, secret = site.make_tenant("fourth")
    assert site.ask("/api/v1/budgets", BUDGET, secret=secret).status == 201
    for meter in ("input_tokens", "output_tokens"):
        rate = {"provider": "local", "model": "llama", "kind": "local", "meter": meter}
        rate |= {"price_usd_per_mtok": "0.1"}
        assert site.ask("/api/v1/rates", rate, secret=secret).status in (200, 201)

    def decide(backend: str, *, reserve: bool = True) -> Answer:
        body = {"request_id": uuid.uuid4().hex, "candidates": [backend], "reserve": reserve}
        body |= {"input_tokens": 1000, "max_output_tokens": 500}
        return site.ask("/api/v1/routing/decisions", body, secret=secret)

    assert [decide(backend).status for backend in (CLOUD, LOCAL)] == [200, 200]
    with site.stopped("postgres"):
        # Twice: the second is refused without another wait.
        refused = [decide(CLOUD), decide(CLOUD)]
        local, unreserved = decide(LOCAL), decide(CLOUD, reserve=False)
    assert {answer.body["code"] for answer in refused} == {"budgets_unknown"}
    assert all(int(answer.retry_after or 0) > 0 for answer in refused)
    assert (local.status, local.body["held_usd"], unreserved.status) == (200, "0", 200)
    wait_until(lambda: decide(CLOUD).status == 200, limit_s=PATIENCE_S, what="it is back")


def test_stopped_valkey_does_not_hold_up_usage_and_budgets_catch_up(site: Site) -> None:
    tenant_id, secret = site.make_tenant("third")

    def spent() -> str:
        (row,) = site.ask("/api/v1/budgets", secret=secret).body["rows"]
        return str(row["spent_usd"])

    assert site.ask("/api/v1/budgets", BUDGET, secret=secret).status == 201
    assert site.post([native_event()], secret).status == 200
    wait_until(lambda: spent() == "0.000225", limit_s=PATIENCE_S, what="the first is counted")
    with site.stopped("valkey"):
        answers = site.post_at_once(batches(SENDERS), secret)
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.body["accepted"] for answer in answers) == 2 * SENDERS
    # What ingest could not tell the counters, the fold does.
    site.run("-c", FOLD, str(tenant_id))
    assert spent() == "0.011025"


@pytest.fixture
def post_native(client: Client, key: Key) -> Callable[[Any], Any]:
    def post(events: Any) -> Any:
        return client.post(
            "/api/v1/usage/events",
            json.dumps(events),
            content_type="application/json",
            headers=key.headers,
        )

    return post


def test_body_for_which_there_is_no_room_is_refused_and_leaves_none_behind(
    post_native: Callable[[Any], Any], settings: Any
) -> None:
    large, small = [native_event(user="u" * 150) for _ in range(20)], native_event()
    settings.INGEST_MAX_HELD_BYTES = 4000
    for _ in range(3):
        refused = post_native(large)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert int(refused["Retry-After"]) > 0
        assert post_native(small).status_code == 200
    settings.INGEST_MAX_HELD_BYTES = 1_000_000
    assert post_native(large).json()["accepted"] == len(large)


def test_gzipped_body_is_refused_once_unpacked_it_finds_no_room(
    client: Client, key: Key, settings: Any
) -> None:
    body = gzip.compress(b" " * 3_000_000 + json.dumps(native_event()).encode())
    headers = {**key.headers, "Content-Encoding": "gzip"}

    def post() -> int:
        path = "/api/v1/usage/events"
        answer = client.post(path, body, content_type="application/json", headers=headers)
        return int(answer.status_code)

    settings.INGEST_MAX_HELD_BYTES = 2_000_000
    assert [post(), post()] == [503, 503]
    settings.INGEST_MAX_HELD_BYTES = 4_000_000
    assert post() == 200
