"""A cap holds; what fits is never refused; a hold always ends."""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.budgets.core.amounts import to_count
from apps.budgets.errors import BudgetRefused
from apps.budgets.expiry import sweep
from apps.budgets.settling import release, settle
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_departments
from apps.tenants.services import create_department
from tests.budgets.asks import balance, hold, make_budget, standing
from tests.conftest import Key, make_key, native_event, roll_up

PostEvents = Callable[[list[dict[str, Any]]], None]
EVENT_COST = Decimal("0.000225")


@pytest.fixture
def post(key: Key, client: Client) -> PostEvents:
    """POST native events; what they do, they do before any fold."""

    def send(events: list[dict[str, Any]]) -> None:
        response = client.post(
            "/api/v1/usage/events",
            json.dumps(events),
            content_type="application/json",
            headers=key.headers,
        )
        assert response.status_code == 200, response.content

    return send


def test_what_fits_is_granted_and_what_does_not_is_refused(tenant: TenantInfo) -> None:
    budget_id = make_budget(tenant.id, "1.00")
    hold(tenant.id, "0.60")
    with pytest.raises(BudgetRefused) as refused:
        hold(tenant.id, "0.400000001")
    (broken,) = refused.value.broken
    assert (broken.terms.id, broken.limit, broken.held) == (budget_id, 10**9, 6 * 10**8)
    assert (broken.spent, broken.left) == (0, 4 * 10**8)
    hold(tenant.id, "0.40")
    assert standing(tenant.id, budget_id) == (0, Decimal("1.00"))


def test_a_refused_request_leaves_nothing_held_anywhere(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        department_id = create_department(code="ops", name="Ops", now=datetime.now(UTC))
    wide = make_budget(tenant.id, "10")
    narrow = make_budget(tenant.id, "0.10", scope={"department": "ops"})
    with pytest.raises(BudgetRefused) as refused:
        hold(tenant.id, "0.20", department_id=department_id)
    assert [broken.terms.id for broken in refused.value.broken] == [narrow]
    assert standing(tenant.id, wide) == standing(tenant.id, narrow) == (0, 0)


def test_a_parents_cap_contains_its_children(tenant: TenantInfo) -> None:
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        create_department(code="eng", name="Engineering", now=now)
        create_department(code="ml", name="ML", parent_code="eng", now=now)
        ids = {d.code: d.id for d in list_departments()}
    parent = make_budget(tenant.id, "1", scope={"department": "eng"})
    hold(tenant.id, "0.7", department_id=ids["ml"])
    with pytest.raises(BudgetRefused):
        hold(tenant.id, "0.7", department_id=ids["eng"])
    assert standing(tenant.id, parent) == (0, Decimal("0.7"))


def test_a_budget_that_only_notifies_refuses_nothing(tenant: TenantInfo) -> None:
    budget_id = make_budget(tenant.id, "0.10", on_limit="notify")
    hold(tenant.id, "5")
    assert balance(tenant.id, budget_id).left < 0


def test_the_same_request_gets_the_same_answer_and_holds_once(tenant: TenantInfo) -> None:
    budget_id = make_budget(tenant.id, "1")
    first = hold(tenant.id, "0.3", request_id="r-1")
    again = hold(tenant.id, "0.3", request_id="r-1")
    assert (again.decision_id, again.is_repeat) == (first.decision_id, True)
    assert standing(tenant.id, budget_id) == (0, Decimal("0.3"))


def test_many_at_once_fill_a_cap_exactly(tenant: TenantInfo) -> None:
    """64 at a time ask for a hundredth of the cap each, 400 times: 100 are granted."""
    budget_id = make_budget(tenant.id, "1")

    def ask(_: int) -> bool:
        try:
            hold(tenant.id, "0.01")
        except BudgetRefused:
            return False
        return True

    with ThreadPoolExecutor(64) as pool:
        granted = list(pool.map(ask, range(400)))
    assert sum(granted) == 100
    assert standing(tenant.id, budget_id) == (0, Decimal(1))


def test_its_charge_settles_a_hold_at_what_it_cost(tenant: TenantInfo, post: PostEvents) -> None:
    budget_id = make_budget(tenant.id, "1")
    decision_id = hold(tenant.id, "0.5").decision_id
    post([native_event(decision_id=decision_id)])
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)


def test_usage_without_a_reservation_is_felt_by_the_next_decision(
    tenant: TenantInfo, post: PostEvents
) -> None:
    budget_id = make_budget(tenant.id, "0.001")
    post([native_event() for _ in range(4)])
    assert standing(tenant.id, budget_id) == (4 * EVENT_COST, 0)
    with pytest.raises(BudgetRefused):
        hold(tenant.id, "0.0002")
    hold(tenant.id, "0.0001")


def test_a_duplicate_settle_and_a_retried_event_count_once(
    tenant: TenantInfo, post: PostEvents
) -> None:
    budget_id = make_budget(tenant.id, "1")
    decision_id = hold(tenant.id, "0.5").decision_id
    event = native_event(decision_id=decision_id)
    for _ in range(3):
        post([event])
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)


def test_a_word_stands_until_the_charge_comes(tenant: TenantInfo, post: PostEvents) -> None:
    budget_id = make_budget(tenant.id, "1")
    decision_id = hold(tenant.id, "0.5").decision_id
    now = datetime.now(UTC)
    for _ in range(2):
        settle(tenant.id, decision_id, cost_usd=Decimal("0.02"), tokens=100, now=now)
    assert standing(tenant.id, budget_id) == (Decimal("0.02"), 0)
    post([native_event(decision_id=decision_id)])
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)


def test_a_released_hold_is_free_again_and_its_late_charge_counts(
    tenant: TenantInfo, post: PostEvents
) -> None:
    budget_id = make_budget(tenant.id, "1")
    decision_id = hold(tenant.id, "1").decision_id
    release(tenant.id, decision_id, now=datetime.now(UTC))
    assert standing(tenant.id, budget_id) == (0, 0)
    post([native_event(decision_id=decision_id)])
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)


def test_an_expired_hold_counts_its_estimate_until_its_charge_comes(
    tenant: TenantInfo, post: PostEvents
) -> None:
    budget_id = make_budget(tenant.id, "1")
    begun = datetime.now(UTC) - timedelta(seconds=60)
    decision_id = hold(tenant.id, "0.4", now=begun, seconds=30).decision_id
    assert sweep(tenant.id, now=datetime.now(UTC)) == 1
    assert standing(tenant.id, budget_id) == (Decimal("0.4"), 0)
    assert sweep(tenant.id, now=datetime.now(UTC)) == 0
    post([native_event(decision_id=decision_id)])
    assert standing(tenant.id, budget_id) == (EVENT_COST, 0)


def test_an_expired_hold_can_still_be_settled_or_released_by_word(tenant: TenantInfo) -> None:
    budget_id = make_budget(tenant.id, "1")
    begun, now = datetime.now(UTC) - timedelta(seconds=60), datetime.now(UTC)
    one = hold(tenant.id, "0.3", now=begun, seconds=30).decision_id
    two = hold(tenant.id, "0.3", now=begun, seconds=30).decision_id
    sweep(tenant.id, now=now)
    settle(tenant.id, one, cost_usd=Decimal("0.1"), tokens=10, now=now)
    release(tenant.id, two, now=now)
    assert standing(tenant.id, budget_id) == (Decimal("0.1"), 0)


def test_tokens_and_requests_have_caps_too(tenant: TenantInfo, post: PostEvents) -> None:
    tokens = make_budget(tenant.id, "5000", unit="tokens", period="day")
    requests = make_budget(tenant.id, "2", unit="requests", period="week")
    hold(tenant.id, "0", tokens=3000)
    with pytest.raises(BudgetRefused) as refused:
        hold(tenant.id, "0", tokens=2001)
    assert [broken.terms.id for broken in refused.value.broken] == [tokens]
    decision_id = hold(tenant.id, "0", tokens=2000).decision_id
    post([native_event(decision_id=decision_id)])
    assert (balance(tenant.id, tokens).spent.number, balance(tenant.id, tokens).held) == (
        1200,
        3000,
    )
    assert (balance(tenant.id, requests).spent.number, balance(tenant.id, requests).held) == (1, 1)


def test_spending_before_the_budget_was_made_counts(tenant: TenantInfo, post: PostEvents) -> None:
    post([native_event()])
    roll_up(tenant.id)
    post([native_event()])
    budget_id = make_budget(tenant.id, "1")
    assert standing(tenant.id, budget_id) == (2 * EVENT_COST, 0)
    roll_up(tenant.id)
    assert standing(tenant.id, budget_id) == (2 * EVENT_COST, 0)


def test_sums_are_exact_to_the_last_digit(tenant: TenantInfo, post: PostEvents) -> None:
    """Thirds of a billionth add up; the counter is never below them."""
    budget_id = make_budget(tenant.id, "1")
    event = native_event(usage={"input_tokens": 1, "cache_read_tokens": 1, "output_tokens": 0})
    cost = Decimal("0.000000075")
    for _ in range(7):
        post([event | {"id": uuid.uuid4().hex}])
    assert standing(tenant.id, budget_id) == (7 * cost, 0)
    assert balance(tenant.id, budget_id).limit - balance(tenant.id, budget_id).left == to_count(
        7 * cost, "usd"
    )


def test_another_tenants_budget_is_not_touched(make_tenant: Callable[..., TenantInfo]) -> None:
    one, two = make_tenant(), make_tenant()
    make_key(two.id)
    budget_id = make_budget(one.id, "1")
    hold(two.id, "5")
    assert standing(one.id, budget_id) == (0, 0)
