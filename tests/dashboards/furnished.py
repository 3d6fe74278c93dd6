"""A tenant in which every page has something to show."""

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.alerts.services import ChannelSettings, add_channel
from apps.dashboards.reports.schedules import add_schedule
from apps.dashboards.reports.times import Rhythm
from apps.routing.decision_log import log_decision, store_decisions
from apps.routing.planning import plan_policy
from apps.routing.services import add_override, set_value_model
from apps.tenants.contracts import set_contract
from apps.tenants.scoping import tenant_scope
from apps.tenants.services import (
    add_member,
    create_customer,
    create_department,
    create_tenant,
    create_user,
)
from tests.budgets.asks import make_budget
from tests.conftest import Key, make_key, native_event, roll_up
from tests.dashboards.page_list import page_addresses
from tests.dashboards.rows import decision_record
from tests.insights.spend_history import HOUR, runaway_hour, spend, this_hour, usual_hours, watch
from tests.pricing.hardware.machine_room import add_machine_room

MINI: Final = "openai/gpt-4o-mini"
DEAR: Final = "openai/gpt-4o"
PASSWORD: Final = "correct horse battery"


@dataclass(frozen=True)
class Furnished:
    tenant_id: int
    key: Key
    email: str
    cookie: str
    addresses: dict[str, list[str]]


def furnish() -> Furnished:
    """Make it, through the services that people and routers use."""
    now = datetime.now(UTC)
    tenant_id = create_tenant(name="Furnished", time_zone="UTC", now=now)
    email = f"a-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=email, password=PASSWORD, now=now)
    with tenant_scope(tenant_id):
        add_member(user_id=user_id, role="owner", now=now)
        create_department(code="support", name="Support", now=now)
        create_department(code="desk", name="Help desk", now=now, parent_code="support")
        for tier in ("free", "enterprise"):
            create_customer(external_id=f"c-{tier}", name=f"The {tier} one", tier=tier, now=now)
        set_contract(
            customer="c-enterprise",
            usd_per_month=Decimal(50),
            starts_on=now.date().replace(day=1),
            actor="test",
            now=now,
        )
    key = make_key(tenant_id)
    client = Client()
    assert client.login(username=email, password=PASSWORD)
    add_machine_room(tenant_id)
    _use(key, client, now)
    make_budget(tenant_id, "5", scope={"department": "support"})
    make_budget(tenant_id, "0.0001", on_limit="refuse")
    with tenant_scope(tenant_id):
        add_channel(
            ChannelSettings(name="ops"),
            kind="email",
            target="ops@example.org",
            actor="test",
            now=now,
        )
        add_schedule(
            Rhythm("monthly", 31, 8), member_ids=[user_id], channel_ids=[], actor="test", now=now
        )
    _decide(tenant_id, now)
    client.post("/import/upload", {"file": SimpleUploadedFile("usage.csv", b"id,model\n1,x\n")})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    models = ("gpt-4o-mini", "llama-3-70b")
    addresses = dict(page_addresses(tenant_id, client, email, models=models))
    return Furnished(tenant_id, key, email, cookie, addresses)


def _use(key: Key, client: Client, now: datetime) -> None:
    """A month of usage with a runaway in it, and some of today with everything on it."""
    bad = this_hour() - 3 * HOUR
    spend(key.identity, usual_hours(bad - 30 * 24 * HOUR, 30 * 24 + 2))
    spend(key.identity, runaway_hour(bad))
    events = [
        native_event(
            model=model,
            customer=f"c-{tier}",
            department=department,
            task="chat",
            latency_ms=300,
            revenue="0.01",
            converted=True,
            timestamp=(now - timedelta(minutes=5)).isoformat(),
        )
        for model in ("gpt-4o-mini", "gpt-4o", "gpt-4.1", "claude-3-opus", "home-grown-7b")
        for tier, department in (("free", "support"), ("enterprise", "desk"))
    ]
    body = json.dumps([*events, native_event(provider="local", model="llama-3-70b")])
    answer = client.post(
        "/api/v1/usage/events", body, content_type="application/json", headers=key.headers
    )
    assert answer.status_code == 200, answer.content
    roll_up(key.identity.tenant_id)
    watch(key.identity.tenant_id, bad + HOUR + timedelta(minutes=11))


def _decide(tenant_id: int, now: datetime) -> None:
    """A policy with a history, values and an override of people's own, decisions by it."""
    with tenant_scope(tenant_id):
        set_value_model(
            {"quality": {MINI: {"chat": 0.93}}}, actor="test", reason="we measured it", now=now
        )
        add_override("ban", DEAR, actor="test", reason="too dear", now=now, task="chat")
    for seconds in (0, 5):
        plan_policy(tenant_id, now=now + timedelta(seconds=seconds), reasons=["a test asked"])
    for backend in (MINI, DEAR):
        log_decision(decision_record(tenant_id, backend, MINI))
    while store_decisions():
        pass
