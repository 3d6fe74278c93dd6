"""64 clients at nested caps: nothing overspent, nothing refused that fitted, nothing left held."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest
from django.db import connections
from django.test import Client

from apps.budgets import leases
from apps.budgets.book import budget_book
from apps.budgets.counter_client import client as valkey
from apps.budgets.counter_types import CounterId
from apps.budgets.errors import BudgetRefused
from apps.budgets.expiry import sweep
from apps.budgets.rebuild import counters_of
from apps.budgets.services import set_choices
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_department
from tests.budgets.asks import balance, hold, make_budget, standing
from tests.budgets.caps_load import (
    Clients,
    Granted,
    Request,
    Sampler,
    TurnedAway,
)
from tests.budgets.lease_load import Leasing
from tests.conftest import Key, make_key, native_event, roll_up

CLIENTS = 64
DECISIONS = 1000


class InProcess:
    """The API's own views, by Django's client."""

    def __init__(self, tenant: TenantInfo, key: Key) -> None:
        self.tenant = tenant
        self.key = key
        self.client = Client()

    def post(self, path: str, body: object) -> tuple[int, dict]:  # type: ignore[type-arg]
        while True:
            answer = self.client.post(
                f"/api/v1{path}",
                json.dumps(body),
                content_type="application/json",
                headers=self.key.headers,
            )
            connections.close_all()
            # More threads than connections to PostgreSQL: as a router, send it again.
            if answer.status_code != 503:
                return answer.status_code, answer.json()
            time.sleep(0.1)

    def reserve(self, request: Request) -> Granted | TurnedAway:
        body = {
            "request_id": request.request_id,
            "department": request.department,
            "input_tokens": request.input_tokens,
            "max_output_tokens": request.max_output_tokens,
            "candidates": ["openai/gpt-4o-mini"],
            "reserve": True,
        }
        status, answer = self.post("/routing/decisions", body)
        if status == 402:
            cap = answer["caps"][0]
            return TurnedAway(Decimal(cap["left"]), Decimal(cap["asked"]))
        assert status == 200, answer
        return Granted(answer["decision_id"], Decimal(answer["held_usd"]))

    def charge(self, request: Request, decision_id: str, output_tokens: int) -> None:
        event = native_event(
            id=request.request_id,
            timestamp=STARTED.isoformat(),
            model="gpt-4o-mini",
            department=request.department,
            decision_id=decision_id,
            usage={"input_tokens": request.input_tokens, "output_tokens": output_tokens},
        )
        status, answer = self.post("/usage/events", [event])
        assert status == 200, answer
        assert answer["rejected"] == []

    def say(self, decision_id: str, cost_usd: Decimal) -> None:
        self.post(f"/routing/decisions/{decision_id}/settle", {"cost_usd": f"{cost_usd:f}"})

    def release(self, decision_id: str) -> None:
        self.post(f"/routing/decisions/{decision_id}/release", {})


STARTED = datetime.now(UTC)


@pytest.fixture
def caps(tenant: TenantInfo) -> dict[str, int]:
    """The tenant's, a parent department's, and its child's."""
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        for code, parent in (("eng", None), ("ml", "eng"), ("ops", None)):
            create_department(code=code, name=code, parent_code=parent, now=now)
        set_choices(
            cloud_while_unknown="refuse",
            local_while_unknown="allow",
            hold_seconds=600,
            actor="t",
            now=now,
        )
    return {
        "all": make_budget(tenant.id, "1.20"),
        "eng": make_budget(tenant.id, "0.70", scope={"department": "eng"}),
        "ml": make_budget(tenant.id, "0.30", scope={"department": "ml"}, period="week"),
        "mini": make_budget(tenant.id, "1.00", scope={"model": "gpt-4o-mini"}, period="day"),
    }


def left_of(tenant_id: int) -> Callable[[], list[int]]:
    now = datetime.now(UTC)
    ids = []
    for terms in budget_book(tenant_id).budgets.values():
        period = terms.calendar.at(now)
        assert period is not None
        ids.append(CounterId.of(terms.id, period))
    counters = counters_of(tenant_id, now=now)
    return lambda: [balance.left for balance in counters.balances(ids).values()]


def test_caps_hold_under_load_and_refuse_nothing_that_fits(
    tenant: TenantInfo, key: Key, caps: dict[str, int]
) -> None:
    sampler = Sampler(left_of(tenant.id), every_s=0.02)
    sampler.start()
    clients = Clients(lambda: InProcess(tenant, key), decisions=DECISIONS, clients=CLIENTS, seed=1)
    clients.start()
    books = clients.join()
    sampler.stop()
    assert books.errors == []
    assert books.granted > 50
    assert books.refused > 50
    assert books.refused_although_it_fitted == 0
    assert sampler.samples > 10
    assert sampler.worst == 0

    sweep(tenant.id, now=datetime.now(UTC) + timedelta(hours=1))
    roll_up(tenant.id)
    expected = {
        "all": sum(books.spent_usd.values()),
        "eng": books.spent_usd["eng"] + books.spent_usd["ml"],
        "ml": books.spent_usd["ml"],
        "mini": sum(books.spent_usd.values()),
    }
    for name, budget_id in caps.items():
        assert standing(tenant.id, budget_id) == (expected[name], 0), name


def test_leases_and_single_reservations_together_overspend_nothing(
    tenant: TenantInfo, key: Key, caps: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 16 clients four lease what they may, each a router of its own; the others, and those near
    exhaustion, reserve each request. Half of what is left may be leased: more is at stake."""
    monkeypatch.setattr(leases, "SHARE_PERCENT", 50)
    gates = [
        Leasing(single, partial(_post_lease, single))
        for single in [InProcess(tenant, make_key(tenant.id)) for _ in range(4)]
    ]
    to_lease = iter(gates)

    def gate() -> InProcess | Leasing:
        return next(to_lease, None) or InProcess(tenant, key)

    sampler = Sampler(left_of(tenant.id), every_s=0.02)
    sampler.start()
    clients = Clients(gate, decisions=600, clients=16, seed=3)
    clients.start()
    books = clients.join()
    for each in gates:
        each.close()
    sampler.stop()
    assert books.errors == []
    assert sum(each.leased for each in gates) > 30
    assert books.granted - sum(each.leased for each in gates) > 30
    assert books.refused > 20
    assert books.refused_although_it_fitted == 0
    assert sampler.samples > 10
    assert sampler.worst == 0

    sweep(tenant.id, now=datetime.now(UTC) + timedelta(hours=1))
    roll_up(tenant.id)
    expected = {
        "all": sum(books.spent_usd.values()),
        "eng": books.spent_usd["eng"] + books.spent_usd["ml"],
        "ml": books.spent_usd["ml"],
        "mini": sum(books.spent_usd.values()),
    }
    for name, budget_id in caps.items():
        assert standing(tenant.id, budget_id) == (expected[name], 0), name


def _post_lease(gate: InProcess, path: str, body: object) -> tuple[int, dict]:  # type: ignore[type-arg]
    return gate.post(f"/budgets/leases{path}", body)


class CheckThenAdd:
    """What others do: look, and if it fits, add. The same counters, in two steps."""

    def __init__(self, key: str, limit: int) -> None:
        self.key = key
        self.limit = limit

    def reserve(self, request: Request) -> Granted | TurnedAway:
        asked = int(request.worst_usd * 10**9)
        left = self.limit - int(str(valkey().get(self.key) or 0))
        if asked > left:
            return TurnedAway(Decimal(left), Decimal(asked))
        time.sleep(0.001)  # as far apart as two steps over a network
        valkey().incrby(self.key, asked)
        return Granted(uuid.uuid4().hex, request.worst_usd)

    def charge(self, request: Request, decision_id: str, output_tokens: int) -> None: ...
    def say(self, decision_id: str, cost_usd: Decimal) -> None: ...
    def release(self, decision_id: str) -> None: ...


@pytest.fixture
def counter(services: None) -> Iterator[str]:
    name = f"naive:{uuid.uuid4().hex}"
    yield name
    valkey().delete(name)


def test_the_same_clients_overspend_a_cap_that_is_checked_and_then_added_to(counter: str) -> None:
    limit = 10**8
    sampler = Sampler(lambda: [limit - int(str(valkey().get(counter) or 0))], every_s=0.01)
    sampler.start()
    clients = Clients(lambda: CheckThenAdd(counter, limit), decisions=4000, clients=CLIENTS, seed=1)
    clients.start()
    books = clients.join()
    sampler.stop()
    assert books.errors == []
    assert sampler.worst < 0


def test_what_is_left_to_the_last_billionth_can_be_had(
    tenant: TenantInfo, key: Key, caps: dict[str, int]
) -> None:
    """After any load: exactly what is left fits, and a billionth more does not."""
    gate = InProcess(tenant, key)
    clients = Clients(lambda: gate.__class__(tenant, key), decisions=200, clients=16, seed=2)
    clients.start()
    assert clients.join().errors == []
    left = Decimal(balance(tenant.id, caps["all"]).left).scaleb(-9)
    with ThreadPoolExecutor(1) as pool, pytest.raises(BudgetRefused):
        pool.submit(hold, tenant.id, str(left + Decimal("1e-9"))).result()
    assert hold(tenant.id, str(left)).is_held
