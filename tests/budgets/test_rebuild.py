"""Counters come back from PostgreSQL as they were, whatever happens to Redis."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.budgets.counter_client import client
from apps.budgets.counter_types import (
    Amount,
    CounterId,
    CountersLost,
    CountersUnreachable,
    Filling,
)
from apps.budgets.counters import Counters, begin_epoch, find_counters, forget_old_epochs
from apps.budgets.errors import BudgetRefused, BudgetsUnknown
from apps.budgets.expiry import sweep
from apps.budgets.rebuild import counters_of, forget_counters, refresh_limits
from apps.budgets.services import add_top_up, archive_budget, change_amount, change_budget
from apps.budgets.settling import settle
from apps.budgets.spent import read_spent
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.budgets.asks import balance, hold, make_budget, standing, terms_of
from tests.conftest import Key, native_event, roll_up

EVENT_COST = Decimal("0.000225")
Post = Callable[[list[dict[str, Any]]], None]


@pytest.fixture
def post(key: Key, client: Client) -> Post:
    def send(events: list[dict[str, Any]]) -> None:
        response = client.post(
            "/api/v1/usage/events",
            json.dumps(events),
            content_type="application/json",
            headers=key.headers,
        )
        assert response.status_code == 200, response.content

    return send


def lose_counters(tenant_id: int) -> None:
    """As a server restarted empty: nothing of the tenant is left, no script is known."""
    keys = list(client().scan_iter(match=f"costboard:{{b{tenant_id}}}:*"))
    assert keys
    client().delete(*keys)
    client().script_flush()


def test_holds_and_spending_come_back(tenant: TenantInfo, post: Post) -> None:
    budget_id = make_budget(tenant.id, "1")
    open_hold = hold(tenant.id, "0.3", request_id="open")
    said = hold(tenant.id, "0.2")
    settle(tenant.id, said.decision_id, cost_usd=Decimal("0.05"), tokens=1, now=datetime.now(UTC))
    charged = hold(tenant.id, "0.1")
    post([native_event(decision_id=charged.decision_id), native_event()])
    expected = (Decimal("0.05") + 2 * EVENT_COST, Decimal("0.3"))
    assert standing(tenant.id, budget_id) == expected

    lose_counters(tenant.id)
    assert hold(tenant.id, "0.3", request_id="open").decision_id == open_hold.decision_id
    assert standing(tenant.id, budget_id) == expected

    # What comes after the loss settles what was held before it.
    post([native_event(decision_id=open_hold.decision_id)])
    post([native_event(decision_id=said.decision_id)])
    assert standing(tenant.id, budget_id) == (4 * EVENT_COST, 0)
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == (4 * EVENT_COST, 0)


def test_a_commit_in_the_queue_is_counted_once_by_the_next_life(
    tenant: TenantInfo, post: Post
) -> None:
    budget_id = make_budget(tenant.id, "1")
    post([native_event()])
    lose_counters(tenant.id)
    assert standing_after_loss(tenant.id, budget_id) == (EVENT_COST, 0)
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)


def standing_after_loss(tenant_id: int, budget_id: int) -> tuple[Decimal, Decimal]:
    forget_counters(tenant_id)
    return standing(tenant_id, budget_id)


def test_usage_while_the_counters_are_away_is_in_them_when_they_come_back(
    tenant: TenantInfo, post: Post
) -> None:
    budget_id = make_budget(tenant.id, "0.001")
    lose_counters(tenant.id)
    post([native_event() for _ in range(4)])
    roll_up(tenant.id)
    with pytest.raises(BudgetRefused):
        hold(tenant.id, "0.0002")
    assert standing(tenant.id, budget_id) == (4 * EVENT_COST, 0)


def test_data_of_another_servers_life_is_not_trusted(tenant: TenantInfo) -> None:
    """A server restarted with an old copy of its data: another run id, no scripts."""
    budget_id = make_budget(tenant.id, "1")
    hold(tenant.id, "0.4")
    name = f"costboard:{{b{tenant.id}}}:epoch"
    epoch = str(client().get(name))
    client().set(name, epoch.partition(" ")[0] + " " + "0" * 40)
    client().script_flush()
    forget_counters(tenant.id)
    assert find_counters(tenant.id) is None
    hold(tenant.id, "0.1")
    assert standing(tenant.id, budget_id) == (0, Decimal("0.5"))
    assert forget_old_epochs(counters_of(tenant.id, now=datetime.now(UTC))) > 0
    assert standing(tenant.id, budget_id) == (0, Decimal("0.5"))


def test_counters_of_an_older_life_count_nothing(tenant: TenantInfo) -> None:
    make_budget(tenant.id, "1")
    old = counters_of(tenant.id, now=datetime.now(UTC))
    lose_counters(tenant.id)
    forget_counters(tenant.id)
    counters_of(tenant.id, now=datetime.now(UTC))
    with pytest.raises(CountersLost):
        old.apply(1, [], {})


def test_the_counters_agree_with_postgresql(tenant: TenantInfo, post: Post) -> None:
    budget_id = make_budget(tenant.id, "1")
    post([native_event() for _ in range(5)])
    expired = hold(tenant.id, "0.2", now=datetime.now(UTC) - timedelta(minutes=2), seconds=60)
    sweep(tenant.id, now=datetime.now(UTC))
    assert expired.is_held
    roll_up(tenant.id)
    terms = terms_of(tenant.id, budget_id)
    period = terms.calendar.at(datetime.now(UTC))
    assert period is not None
    from apps.budgets.book import budget_book

    book = budget_book(tenant.id)
    with tenant_scope(tenant.id):
        (spent,) = read_spent(book, [(budget_id, period)]).values()
    assert spent == standing(tenant.id, budget_id)[0] == Decimal("0.2") + 5 * EVENT_COST


def test_a_change_in_mid_period_never_loses_what_was_spent(tenant: TenantInfo, post: Post) -> None:
    budget_id = make_budget(tenant.id, "1")
    post([native_event()])
    hold(tenant.id, "0.5")
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        change_amount(budget_id, Decimal("0.4"), actor="t", reason="less", now=now)
    # Counters know it at once, without the worker.
    assert balance(tenant.id, budget_id).limit == 4 * 10**8
    assert standing(tenant.id, budget_id) == (EVENT_COST, Decimal("0.5"))
    with pytest.raises(BudgetRefused):
        hold(tenant.id, "0.000000001")
    with tenant_scope(tenant.id):
        add_top_up(
            budget_id,
            Decimal("0.2"),
            starts_at=now,
            ends_at=now + timedelta(hours=1),
            actor="t",
            reason="launch",
            now=now,
        )
    hold(tenant.id, "0.09")
    refresh_limits(tenant.id, now=now + timedelta(hours=1))
    assert balance(tenant.id, budget_id).limit == 4 * 10**8


def test_a_cap_can_become_a_notice_and_an_archived_budget_refuses_nothing(
    tenant: TenantInfo,
) -> None:
    first, second = make_budget(tenant.id, "0.1"), make_budget(tenant.id, "0.2", period="day")
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        change_budget(first, on_limit="notify", actor="t", now=now)
    refresh_limits(tenant.id, now=now)
    assert hold(tenant.id, "0.15").is_held
    with tenant_scope(tenant.id):
        archive_budget(second, actor="t", now=now)
    assert hold(tenant.id, "7").is_held


def test_a_charge_after_midnight_counts_on_the_day_of_its_admission(
    tenant: TenantInfo, post: Post
) -> None:
    budget_id = make_budget(tenant.id, "1", period="day")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    decision_id = hold(tenant.id, "0.5", now=yesterday, seconds=86_000).decision_id
    post([native_event(decision_id=decision_id)])
    for _ in range(2):
        assert standing(tenant.id, budget_id) == (0, 0)
        spent_then = balance(tenant.id, budget_id, at=yesterday)
        assert (spent_then.spent.number, spent_then.held) == (225_000, 0)
        roll_up(tenant.id)
        lose_counters(tenant.id)
        forget_counters(tenant.id)


def test_what_is_said_while_counters_are_filled_is_in_them(tenant: TenantInfo) -> None:
    """A settle by word between the snapshot and the restoring of its hold is not lost."""
    budget_id = make_budget(tenant.id, "1")
    decision_id = hold(tenant.id, "0.4", request_id="said").decision_id
    now = datetime.now(UTC)
    period = terms_of(tenant.id, budget_id).calendar.at(now)
    assert period is not None
    counter = CounterId.of(budget_id, period)
    lose_counters(tenant.id)
    counters = begin_epoch(tenant.id, "filling")
    counters.begin_filling([counter])
    assert not counters.end_hold(decision_id, counted=[(counter, 7 * 10**7)], ttl_ms=60_000)
    counters.restore(
        decision_id=decision_id,
        request_id="said",
        expires_at=now + timedelta(minutes=1),
        ttl_ms=60_000,
        is_held=True,
        parts=[(counter, 4 * 10**8)],
    )
    counters.fill({counter: Filling(10**9, True, Amount(0), 60_000)}, seen=[])
    counters.end_filling()
    found = counters.balances([counter])[counter]
    assert (found.spent.number, found.held, found.left) == (7 * 10**7, 0, 93 * 10**7)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_request_that_was_answered_with_an_error_is_decided_anew(
    tenant: TenantInfo, monkeypatch: pytest.MonkeyPatch, *, is_lost: bool
) -> None:
    """Redis goes away between the journal and the answer: a repeat is held, not waved through."""
    budget_id = make_budget(tenant.id, "1")

    def gone(_: Counters) -> bool:
        raise CountersUnreachable

    with monkeypatch.context() as patched:
        patched.setattr(Counters, "is_current", gone)
        with pytest.raises(BudgetsUnknown):
            hold(tenant.id, "0.4", request_id="r-1")
    if is_lost:
        lose_counters(tenant.id)
    again = hold(tenant.id, "0.4", request_id="r-1")
    assert (again.is_held, again.is_repeat) == (True, False)
    assert standing(tenant.id, budget_id) == (0, Decimal("0.4"))
    assert hold(tenant.id, "0.4", request_id="r-1").decision_id == again.decision_id
    sweep(tenant.id, now=datetime.now(UTC) + timedelta(hours=1))
    assert standing(tenant.id, budget_id) == (Decimal("0.4"), 0)
