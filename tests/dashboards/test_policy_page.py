"""The page of the routing policy: what it says, what its forms do, why it moved."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.test import Client

from apps.dashboards.routing import policy_words as words
from apps.routing.core.overrides import Modes
from apps.routing.planning import plan_policy
from apps.routing.selectors import list_overrides, list_shadows, read_modes
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_department
from tests.budgets.asks import make_budget
from tests.conftest import native_event
from tests.routing.policies import make_policy


def test_prices_are_told_as_what_a_dollar_is_worth() -> None:
    def answer(**changed: float) -> str:
        policy = make_policy(**changed)
        return "".join(phrase.text for phrase in words.policy_answer(policy, Modes("advise"), {}))

    assert answer() == (
        "The policy advises. No budget is short: a dollar spent need only bring a dollar of value."
    )
    assert answer(month_price=0.8) == (
        "The policy advises. A dollar of this month’s budget is worth 1.80 dollars of value."
    )
    assert "today’s cap is worth 2.50" in answer(month_price=0.5, day_price=1.0)
    month, _, sales = words.scope_lines(make_policy(month_price=0.8), {"sales": "Sales"})
    assert (month.worth_usd, month.left_usd) == (Decimal("1.8"), Decimal(100))
    assert (sales.name, sales.worth_usd) == ("Sales", Decimal("1.8"))
    assert words.local_words(make_policy(local_requests_left=0.0)).startswith("No local place")
    assert words.policy_answer(None, Modes(), {})[0].text == "No policy is planned yet"
    moved = {"what": "department sales", "from": 0.1, "to": 0.8}
    assert words.moved_words(moved, {"sales": "Sales"}) == "Sales: 1.10 → 1.80"


def test_the_policy_is_read_switched_and_overruled(
    tenant: TenantInfo, post_events: Any, sign_in: Callable[..., Client]
) -> None:
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        create_department(code="sales", name="Sales people", now=now)
    post_events([native_event(department="sales", task="chat") for _ in range(40)])
    admin, viewer = sign_in("admin"), sign_in("viewer")
    assert "No policy is planned yet" in viewer.get("/routing/policy").content.decode()
    plan_policy(tenant.id, now=now, reasons=["a test wanted it"])
    make_budget(tenant.id, "5")
    plan_policy(tenant.id, now=now + timedelta(seconds=5), reasons=["a budget changed"])
    page = viewer.get("/routing/policy").content.decode()
    for told in ("only observes", "Sales people", "openai/gpt-4o-mini", "a budget changed"):
        assert told in page
    assert "by-hand/end" not in page
    mode = {"department": "sales", "mode": "enforce", "mode_reason": "sure by now"}
    assert viewer.post("/routing/policy/mode", mode).status_code == 403
    refused = admin.post("/routing/policy/mode", mode | {"mode_reason": " "})
    assert refused.status_code == 422
    assert 'id="m-reason-error">Say why' in refused.content.decode()
    assert "Kept. Routers" in admin.post("/routing/policy/mode", mode).content.decode()
    with tenant_scope(tenant.id):
        assert read_modes(datetime.now(UTC)).departments == {"sales": "enforce"}
    hand = {
        "action": "boost",
        "backend": "openai/gpt-4o-mini",
        "override_department": "sales",
        "boost_percent": "20",
        "starts_on": (tenant.local_date(now) + timedelta(days=2)).isoformat(),
        "ends_on": (tenant.local_date(now) + timedelta(days=3)).isoformat(),
        "reason": "the launch",
    }
    wrongs = {"backend": "x", "boost_percent": "much", "ends_on": "2020-01-01", "starts_on": "soon"}
    shown = {"backend": "backend", "boost_percent": "boost", "ends_on": "to", "starts_on": "from"}
    for field, wrong in wrongs.items():
        refused = admin.post("/routing/policy/by-hand", hand | {field: wrong})
        assert refused.status_code == 422
        assert f'id="o-{shown[field]}-error"' in refused.content.decode()
    page = admin.post("/routing/policy/by-hand", hand).content.decode()
    assert "rather openai/gpt-4o-mini, 20% of the value added" in page
    with tenant_scope(tenant.id):
        (override,) = list_overrides(now)
    assert override.ends_at is not None
    assert override.ends_at - override.starts_at > timedelta(days=1)
    ended = admin.post("/routing/policy/by-hand/end", {"override_id": override.id})
    assert "Nothing is decided by hand" in ended.content.decode()
    assert admin.post("/routing/policy/by-hand/end", {"override_id": "9"}).status_code == 422
    assert "boost openai/gpt-4o-mini" in admin.get("/audit").content.decode()


def test_a_shadow_is_begun_compared_and_ended_by_hand(
    tenant: TenantInfo, sign_in: Callable[..., Client]
) -> None:
    admin, viewer = sign_in("admin"), sign_in("viewer")
    wanted = {"name": "thrift", "budget_percent": "80", "shadow_reason": "next year"}
    begin, end = "/routing/policy/shadows/begin", "/routing/policy/shadows/end"
    assert viewer.post(begin, wanted).status_code == 403
    assert "shadows/begin" not in viewer.get("/routing/policy").content.decode()
    for field, value, shown in (
        ("name", "", "name"),
        ("budget_percent", "much", "budget"),
        ("budget_percent", "0", "budget"),
        ("version", "99", "values"),
        ("shadow_reason", "", "reason"),
    ):
        refused = admin.post(begin, wanted | {field: value})
        assert refused.status_code == 422
        assert f'id="s-{shown}-error"' in refused.content.decode()
    page = admin.post(begin, wanted).content.decode()
    assert "80% of each budget" in page
    assert "Nothing was decided beside the live policy yet" in page
    with tenant_scope(tenant.id):
        (shadow,) = list_shadows()
    assert (shadow.name, shadow.budget_factor, shadow.reason) == (
        "thrift", Decimal("0.8"), "next year",
    )  # fmt: skip
    ended = admin.post(end, {"shadow_id": shadow.id}).content.decode()
    assert "No policy decides beside the live one" in ended
    assert admin.post(end, {"shadow_id": shadow.id}).status_code == 422
