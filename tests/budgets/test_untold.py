"""Requests of which nobody was told what was decided: nothing stays held, and they are decided anew
when they are sent again."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from apps.budgets import rounds
from apps.budgets.counter_types import CounterId, Wanted
from apps.budgets.errors import BudgetsUnknown
from apps.budgets.holds import Reservation, new_decision_id
from apps.budgets.models import Hold
from apps.budgets.rebuild import counters_of
from apps.tenants.scoping import execute_in_scope, tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.budgets.asks import hold, make_budget, standing, terms_of
from tests.conftest import Key


@pytest.fixture(autouse=True)
def no_pause() -> Iterator[None]:
    """Nobody waits for what another test's database did."""
    rounds._quiet.until_s = 0.0
    yield
    rounds._quiet.until_s = 0.0


def hold_without_database(
    tenant_id: int, patch: pytest.MonkeyPatch, *, is_written: bool, request_id: str
) -> None:
    """PostgreSQL goes away before the journal's commit, or before its answer."""

    def gone(*arguments: Any, **limits: Any) -> Any:
        if is_written:
            execute_in_scope(*arguments, **limits)
        raise OperationalError("the database did not answer")

    with patch.context() as patched:
        patched.setattr(rounds, "execute_in_scope", gone)
        with pytest.raises(BudgetsUnknown):
            hold(tenant_id, "0.4", request_id=request_id)
    rounds._quiet.until_s = 0.0


@pytest.mark.parametrize("is_written", [False, True])
def test_what_the_journal_may_not_have_is_held_by_nobody_and_decided_anew(
    tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
) -> None:
    budget_id = make_budget(tenant.id, "1")
    hold_without_database(tenant.id, monkeypatch, is_written=is_written, request_id="r-1")
    assert standing(tenant.id, budget_id) == (0, 0)
    again = hold(tenant.id, "0.4", request_id="r-1")
    assert (again.is_held, again.is_repeat) == (True, False)
    assert standing(tenant.id, budget_id)[1] == again.estimate_usd
    repeated = hold(tenant.id, "0.4", request_id="r-1")
    assert (repeated.decision_id, repeated.is_repeat) == (again.decision_id, True)
    with tenant_scope(tenant.id):
        assert Hold.objects.filter(state="open").count() == 1


def die_before_the_journal(tenant_id: int, budget_id: int, *, decided_at: datetime) -> None:
    """What a web process leaves behind that is killed between Redis and the journal."""
    period = terms_of(tenant_id, budget_id).calendar.at(decided_at)
    assert period is not None
    wanted = Wanted(
        decision_id=str(new_decision_id(decided_at)),
        request_id="r-1",
        amounts=[(CounterId.of(budget_id, period), 4 * 10**8)],
        expires_at=decided_at + timedelta(minutes=10),
        ttl_ms=10**6,
    )
    counters_of(tenant_id, now=decided_at).reserve([wanted])


def test_a_request_whose_process_died_is_decided_anew_once_nobody_can_be_writing_it_down(
    tenant: TenantInfo,
) -> None:
    budget_id = make_budget(tenant.id, "1", period="year")
    now = datetime.now(UTC)
    die_before_the_journal(tenant.id, budget_id, decided_at=now)
    with pytest.raises(BudgetsUnknown):
        hold(tenant.id, "0.4", request_id="r-1", now=now)
    later = now + timedelta(seconds=31)
    again: Reservation = hold(tenant.id, "0.4", request_id="r-1", now=later)
    assert (again.is_held, again.is_repeat) == (True, False)
    assert standing(tenant.id, budget_id)[1] == again.estimate_usd


def test_a_lease_that_the_journal_does_not_have_holds_nothing(
    tenant: TenantInfo, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget_id = make_budget(tenant.id, "100")
    body = {"request_id": uuid.uuid4().hex, "amount_usd": "1", "seconds": 60}

    def ask() -> int:
        address = "/api/v1/budgets/leases"
        answer = Client().post(address, body, content_type="application/json", headers=key.headers)
        return int(answer.status_code)

    def gone(*_: Any, **__: Any) -> Any:
        raise OperationalError("the database did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Hold.objects, "create", gone)
        assert ask() == 503
    assert standing(tenant.id, budget_id) == (0, 0)
    assert ask() == 201
    assert standing(tenant.id, budget_id) == (0, 1)
