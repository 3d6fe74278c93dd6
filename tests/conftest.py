"""Fixtures. Every test that needs data makes its own tenant: the walls keep tests apart.

So nothing is rolled back or flushed, and what is tested commits as it does in production.
"""

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core.management import call_command
from django.test import Client
from hypothesis import HealthCheck, settings
from playwright.sync_api import Browser, Page, sync_playwright

from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, find_key, get_tenant
from apps.tenants.services import add_member, create_tenant, create_user, issue_api_key
from costboard.embedded import EmbeddedServices, default_data_dir
from tests.database_template import copy_template
from tests.services_plugin import OWN_SERVICES
from tests.web import WebServer

# Hundreds of sign-ins: what is tested is never how long a password takes to hash.
PBKDF2PasswordHasher.iterations = 1000

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("costboard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("costboard")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def services() -> Iterator[None]:
    """PostgreSQL and Valkey, up."""
    if not OWN_SERVICES:
        yield
        return
    copy_template(default_data_dir())
    with EmbeddedServices(default_data_dir()):
        yield


@pytest.fixture(scope="session")
def django_db_setup(services: None, django_db_blocker: Any) -> None:
    """The schema and the price catalogue, made by the commands that production uses."""
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        call_command("sync_catalogue", verbosity=0)


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


@dataclass(frozen=True)
class Key:
    """An API key with its secret."""

    secret: str
    identity: KeyIdentity

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


MakeTenant = Callable[..., TenantInfo]


@pytest.fixture
def make_tenant(database: None) -> MakeTenant:
    """Make a tenant of the test's own: make_tenant(time_zone="Asia/Kathmandu")."""

    def make(*, time_zone: str = "UTC", name: str = "Test") -> TenantInfo:
        now = datetime.now(UTC)
        tenant_id = create_tenant(
            name=name, time_zone=time_zone, slug=f"t-{uuid.uuid4().hex[:12]}", now=now
        )
        with tenant_scope(tenant_id):
            return get_tenant()

    return make


@pytest.fixture
def tenant(make_tenant: MakeTenant) -> TenantInfo:
    return make_tenant()


def make_key(tenant_id: int, *scopes: str) -> Key:
    with tenant_scope(tenant_id):
        secret = issue_api_key(
            name="router-1",
            scopes=scopes or ("ingest", "route", "read"),
            actor="test",
            now=datetime.now(UTC),
        )
    identity = find_key(secret)
    assert identity is not None
    return Key(secret, identity)


@pytest.fixture
def key(tenant: TenantInfo) -> Key:
    return make_key(tenant.id)


@pytest.fixture
def sign_in(tenant: TenantInfo) -> Callable[..., Client]:
    """A browser's client, signed in to the tenant: sign_in("viewer")."""

    def sign(role: str = "viewer", tenant_id: int | None = None) -> Client:
        now = datetime.now(UTC)
        email, password = f"{role}-{uuid.uuid4().hex[:8]}@example.org", "correct horse battery"
        user_id = create_user(email=email, password=password, now=now)
        with tenant_scope(tenant_id or tenant.id):
            add_member(user_id=user_id, role=role, now=now)
        client = Client()
        assert client.login(username=email, password=password)
        return client

    return sign


def native_event(**fields: Any) -> dict[str, Any]:
    """A good native event of the OpenAI call that costs 0.000225 USD; `fields` replace or add."""
    return {
        "id": uuid.uuid4().hex,
        "timestamp": datetime.now(UTC).isoformat(),
        "provider": "openai",
        "model": "gpt-4o-mini-2024-07-18",
        "usage": {
            "input_tokens": 1000,
            "cache_read_tokens": 600,
            "output_tokens": 200,
            "reasoning_tokens": 64,
        },
    } | fields


def roll_up(tenant_id: int) -> None:
    from apps.usage.services import fold_pending

    while fold_pending(tenant_id, now=datetime.now(UTC)):
        pass


@pytest.fixture
def post_events(key: Key, client: Client) -> Callable[..., dict[str, Any]]:
    """POST native events through the API's own door and roll them up; returns the answer."""

    def post(events: Any) -> dict[str, Any]:
        response = client.post(
            "/api/v1/usage/events",
            json.dumps(events),
            content_type="application/json",
            headers=key.headers,
        )
        assert response.status_code == 200, response.content
        roll_up(key.identity.tenant_id)
        return dict(response.json())

    return post


@pytest.fixture(scope="session")
def web(django_db_setup: None) -> Iterator[WebServer]:
    """The production web server on a free loopback port."""
    with WebServer(log=default_data_dir() / "web.log") as server:
        yield server


@pytest.fixture(scope="module")
def worker(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Celery's workers with their beat, over the run's Valkey.

    Gone after the module: it would do the work that other tests watch being done.
    """
    from apps.usage.selectors import list_tenants_with_pending_usage
    from apps.usage.services import fold_pending

    # What earlier tests left in the queue, and what beat would find overdue, is not these tests'.
    now = datetime.now(UTC)
    with django_db_blocker.unblock():
        for tenant_id in list_tenants_with_pending_usage():
            while fold_pending(tenant_id, now=now):
                pass
    command = [sys.executable, "-m", "celery", "-A", "costboard", "worker", "--pool", "threads"]
    schedule = default_data_dir() / f"beat-{uuid.uuid4().hex[:8]}"
    # As in production: who visits tenants for long does not stand before what must be prompt.
    options = {"prompt": ["--beat", "--schedule", str(schedule)], "slow": []}
    with ExitStack() as stack:
        workers = []
        for queue, more in options.items():
            named = ["--queues", queue, "--hostname", f"{queue}@%h", "--concurrency", "2"]
            log = stack.enter_context((default_data_dir() / f"worker-{queue}.log").open("w"))
            process = subprocess.Popen(
                [*command, *named, *more], cwd=ROOT, env=os.environ, stdout=log, stderr=log
            )
            workers.append(stack.enter_context(process))
        yield
        for process in workers:
            process.terminate()
        for process in workers:
            process.wait(timeout=30)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a real Chromium; skips where there is none, unless COSTBOARD_REQUIRE_BROWSER."""
    if CHROMIUM:
        return CHROMIUM
    message = "no Chromium on this machine: browser tests did not run"
    if os.environ.get("COSTBOARD_REQUIRE_BROWSER"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    # Playwright's loop runs in this thread; Django would take it for an async caller.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a fresh session; the test fails on any console error, CSP report or failed load."""
    troubles: list[str] = []
    # English of no country: figures as the house writes them.
    context = browser.new_context(locale="en")
    page = context.new_page()
    page.on(
        "console", lambda message: troubles.append(message.text) if message.type == "error" else ""
    )
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    context.close()
    assert troubles == []
