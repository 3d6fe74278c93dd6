"""Budgets, top-ups, history and plain reservations, over HTTP."""

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError
from django.db.transaction import atomic
from django.test import Client

from apps.budgets.models import BudgetAmount
from apps.budgets.rebuild import prepare_counters, refresh_limits
from apps.budgets.services import BudgetTermsInput, create_budget
from apps.budgets.status import find_terms
from apps.tenants.organisation import change_department
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit_of
from apps.tenants.services import create_department
from tests.conftest import Key, MakeTenant, make_key, native_event

Post = Callable[..., dict[str, Any]]
MONTHLY = {"scope": {}, "period": "month", "amount_usd": "100.00"}


class Caller:
    """Calls the API with a key that may do everything."""

    def __init__(self, client: Client, tenant_id: int) -> None:
        self.client = client
        self.tenant_id = tenant_id
        self.key = make_key(tenant_id, "ingest", "route", "read", "manage")

    def __call__(
        self, method: str, path: str, body: Any = None, *, status: int = 200, by: Key | None = None
    ) -> Any:
        answer = self.client.generic(
            method,
            f"/api/v1{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers=(by or self.key).headers,
        )
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else None

    def row(self, budget_id: int) -> Any:
        return self("GET", f"/budgets/{budget_id}")


@pytest.fixture
def call(client: Client, tenant: TenantInfo) -> Caller:
    return Caller(client, tenant.id)


def test_a_budget_is_made_and_says_how_it_stands(call: Caller, post_events: Post) -> None:
    with tenant_scope(call.tenant_id):
        create_department(code="support", name="Support", now=datetime.now(UTC))
    wanted = MONTHLY | {
        "scope": {"department": "support"},
        "on_limit": "notify",
        "thresholds": [50, 80, 100],
    }
    made = call("POST", "/budgets", wanted, status=201)
    post_events([native_event(department="support"), native_event()])
    row = call.row(made["id"])
    assert row["scope"] == {"department": "support"}
    assert (row["amount_usd"], row["spent_usd"], row["held_usd"]) == ("100", "0.000225", "0")
    assert row["left_usd"] == "99.999775"
    assert (row["reserved"], row["unreserved"]) == ("0", "0.000225")
    assert row["thresholds"] == ["50", "80", "100"]
    assert row["health"] == "on_course"
    start = datetime.fromisoformat(row["period_start"])
    assert (start.day, start.hour) == (1, 0)
    assert [one["id"] for one in call("GET", "/budgets")["rows"]] == [made["id"]]


def test_a_departments_budget_counts_its_children(call: Caller, post_events: Post) -> None:
    now = datetime.now(UTC)
    with tenant_scope(call.tenant_id):
        create_department(code="sales", name="Sales", now=now)
        create_department(code="sales-emea", name="Sales EMEA", now=now)
        change_department(code="sales-emea", parent_code="sales", actor="t", now=datetime.now(UTC))
    parent = call("POST", "/budgets", MONTHLY | {"scope": {"department": "sales"}}, status=201)
    post_events([native_event(department="sales-emea"), native_event(department="sales")])
    row = call.row(parent["id"])
    assert row["spent_usd"] == "0.00045"
    assert Decimal(row["projected"]["expected"]) >= Decimal("0.00045")


def test_budgets_in_tokens_and_requests_count_those(call: Caller, post_events: Post) -> None:
    tokens = call(
        "POST", "/budgets", {"period": "day", "unit": "tokens", "amount": "5000"}, status=201
    )
    requests = call(
        "POST", "/budgets", {"period": "year", "unit": "requests", "amount": "3"}, status=201
    )
    post_events([native_event(), native_event()])
    assert call.row(tokens["id"])["spent"] == "2400"
    row = call.row(requests["id"])
    assert (row["spent"], row["left"], row["amount_usd"]) == ("2", "1", None)


def test_an_amount_changes_from_now_on_and_what_was_spent_stays(
    call: Caller, post_events: Post
) -> None:
    post_events([native_event()])
    made = call("POST", "/budgets", MONTHLY, status=201)
    changed = call(
        "PATCH",
        f"/budgets/{made['id']}",
        {"amount_usd": "250", "reason": "launch", "thresholds": [90], "on_limit": "refuse"},
    )
    assert (changed["amount_usd"], changed["spent_usd"]) == ("250", "0.000225")
    assert (changed["thresholds"], changed["on_limit"]) == (["90"], "refuse")
    history = call("GET", f"/budgets/{made['id']}/history")
    assert [(row["amount"], row["reason"]) for row in history["amounts"]] == [
        ("250", "launch"),
        ("100", ""),
    ]
    actions = [row["action"] for row in history["changes"]]
    assert actions == ["budget.changed", "budget.amount_changed", "budget.created"]
    assert history["amounts"][0]["actor"] == "key router-1"


def test_an_amount_can_be_planned_for_a_moment_to_come(call: Caller) -> None:
    made = call("POST", "/budgets", MONTHLY, status=201)
    now = datetime.now(UTC)
    address, then = f"/budgets/{made['id']}", _in(now, days=40)
    planned = {"amount_usd": "250", "effective_from": then, "reason": "the fair"}
    assert call("PATCH", address, planned)["amount_usd"] == "100"
    assert call("GET", f"{address}/history")["amounts"][0]["amount"] == "250"
    again = call("PATCH", address, planned | {"amount_usd": "300"}, status=422)
    past = call("PATCH", address, planned | {"effective_from": _in(now, hours=-1)}, status=422)
    assert {again["field"], past["field"]} == {"effective_from"}
    with tenant_scope(call.tenant_id):
        terms = find_terms(made["id"])
    period = terms.calendar.at(now + timedelta(days=41))
    assert period is not None
    assert terms.allowed(period, now + timedelta(days=41)) == 250


def test_a_planned_amount_can_be_withdrawn_until_it_begins_and_planned_anew(call: Caller) -> None:
    made = call("POST", "/budgets", MONTHLY, status=201)
    now = datetime.now(UTC)
    address, then = f"/budgets/{made['id']}", _in(now, days=40)
    planned = {"amount_usd": "250", "effective_from": then, "reason": "the fair"}
    call("PATCH", address, planned)
    first = call("GET", f"{address}/history")["amounts"][0]
    call("DELETE", f"{address}/amounts/{first['id']}?reason=rain", status=204)
    assert allowed(call, made["id"], days=41) == 100
    history = call("GET", f"{address}/history")
    assert [(row["amount"], bool(row["withdrawn_at"])) for row in history["amounts"]] == [
        ("250", True),
        ("100", False),
    ]
    withdrawn = history["changes"][0]
    assert withdrawn["action"] == "budget.plan_withdrawn"
    assert withdrawn["after"] == {"reason": "rain"}
    assert withdrawn["before"]["amount"] == "250"
    again = call("DELETE", f"{address}/amounts/{first['id']}", status=422)
    begun = call("DELETE", f"{address}/amounts/{history['amounts'][1]['id']}", status=422)
    assert ("withdrawn already" in again["detail"], "has begun" in begun["detail"]) == (True, True)
    call("DELETE", f"/budgets/{made['id'] + 1}/amounts/{first['id']}", status=404)
    # The same moment may be planned for again, and taken back again.
    call("PATCH", address, planned | {"amount_usd": "300"})
    assert allowed(call, made["id"], days=41) == 300
    second = call("GET", f"{address}/history")["amounts"][0]
    call("DELETE", f"{address}/amounts/{second['id']}", status=204)
    assert allowed(call, made["id"], days=41) == 100


def test_the_database_lets_nobody_withdraw_what_has_begun(call: Caller) -> None:
    made = call("POST", "/budgets", MONTHLY, status=201)
    now = datetime.now(UTC)
    with tenant_scope(call.tenant_id):
        row = BudgetAmount.objects.get(budget_id=made["id"])
        fields = {"budget_id": made["id"], "recorded_at": now, "actor": "x"}
        with pytest.raises(IntegrityError, match="budget_amount_replaces_plan"), atomic():
            BudgetAmount.objects.create(
                amount=None, replaces=row, effective_from=row.effective_from, **fields
            )
        with pytest.raises(IntegrityError, match="budget_amount_once"), atomic():
            BudgetAmount.objects.create(
                amount=Decimal(7), effective_from=row.effective_from, **fields
            )


def test_what_happens_while_caps_are_not_known_is_the_tenants_choice(call: Caller) -> None:
    assert call("GET", "/budgets/settings") == {
        "cloud_while_unknown": "refuse",
        "local_while_unknown": "allow",
        "hold_seconds": 600,
    }
    wanted = {"cloud_while_unknown": "allow", "local_while_unknown": "refuse", "hold_seconds": 60}
    assert call("PUT", "/budgets/settings", wanted) == wanted
    assert call("GET", "/budgets/settings") == wanted
    call("PUT", "/budgets/settings", {"cloud_while_unknown": "perhaps"}, status=422)
    call("PUT", "/budgets/settings", {"hold_seconds": 4}, status=422)
    with tenant_scope(call.tenant_id):
        (entry,) = list_audit_of("budget_settings", limit=5)
    assert entry.after == wanted
    assert entry.before is not None


def allowed(call: Caller, budget_id: int, *, days: int) -> Decimal:
    """What the budget allows so many days from now."""
    moment = datetime.now(UTC) + timedelta(days=days)
    with tenant_scope(call.tenant_id):
        terms = find_terms(budget_id)
    period = terms.calendar.at(moment)
    assert period is not None
    return terms.allowed(period, moment)


def test_a_top_up_adds_while_it_stands(call: Caller) -> None:
    made = call("POST", "/budgets", MONTHLY, status=201)
    now = datetime.now(UTC)
    more = {"amount_usd": "20", "reason": "a conference", "ends_at": _in(now, hours=1)}
    topped = call("POST", f"/budgets/{made['id']}/top-ups", more, status=201)
    assert topped["amount_usd"] == "120"
    later = {
        "amount_usd": "5",
        "reason": "not yet",
        "starts_at": _in(now, days=400),
        "ends_at": _in(now, days=401),
    }
    call("POST", f"/budgets/{made['id']}/top-ups", later, status=201)
    assert call.row(made["id"])["amount_usd"] == "120"
    history = call("GET", f"/budgets/{made['id']}/history")
    assert [row["reason"] for row in history["top_ups"]] == ["not yet", "a conference"]


def test_what_a_period_left_is_allowed_in_the_next_and_ends_when_rollover_does(
    call: Caller, post_events: Post
) -> None:
    now = datetime.now(UTC)
    yesterday = now - timedelta(days=1)
    with tenant_scope(call.tenant_id):
        budget_id = create_budget(
            BudgetTermsInput(
                scope={}, period="day", unit="requests", amount=Decimal(5), rollover=True
            ),
            actor="test",
            now=yesterday,
        )
    post_events([native_event(timestamp=yesterday.isoformat()) for _ in range(2)])
    prepare_counters(call.tenant_id, now=now)
    row = call.row(budget_id)
    assert (row["rollover"], row["amount"], row["spent"]) == (True, "8", "0")
    post_events([native_event(timestamp=yesterday.isoformat())])
    refresh_limits(call.tenant_id, now=now)
    assert call.row(budget_id)["amount"] == "7"
    assert call("PATCH", f"/budgets/{budget_id}", {"rollover": False})["amount"] == "5"


def test_an_archived_budget_is_gone_and_its_history_stays(call: Caller) -> None:
    made = call("POST", "/budgets", MONTHLY, status=201)
    call("DELETE", f"/budgets/{made['id']}", status=204)
    assert call("GET", "/budgets")["rows"] == []
    gone = call("GET", f"/budgets/{made['id']}", status=404)
    assert gone["code"] == "budget_not_found"
    changes = call("GET", f"/budgets/{made['id']}/history")["changes"]
    assert changes[0]["action"] == "budget.archived"
    call("POST", "/budgets", MONTHLY, status=201)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scope": {"department": "nowhere"}}, "scope.department"),
        ({"scope": {"planet": "mars"}}, "scope"),
        ({"scope": {"kind": "mainframe"}}, "scope.kind"),
        ({"amount_usd": None}, "amount_usd"),
        ({"amount": "5"}, "amount_usd"),
        ({"amount_usd": "-1"}, "body.amount_usd"),
        ({"period": "fortnight"}, "body.period"),
        ({"period": "grant"}, "grant_start"),
        ({"thresholds": [0]}, "body.thresholds.0"),
        ({"grant_start": "2026-01-01T00:00:00"}, "grant_start"),
        ({"colour": "red"}, "body.colour"),
    ],
)
def test_what_cannot_be_is_refused_and_names_its_field(
    call: Caller, change: dict[str, Any], field: str
) -> None:
    problem = call("POST", "/budgets", MONTHLY | change, status=422)
    assert problem["field"].removeprefix("body.") == field.removeprefix("body.")


def test_the_same_budget_twice_is_refused(call: Caller) -> None:
    call("POST", "/budgets", MONTHLY, status=201)
    assert call("POST", "/budgets", MONTHLY, status=422)["field"] == "scope"
    cap = call("POST", "/budgets", MONTHLY | {"on_limit": "refuse"}, status=201)
    problem = call("PATCH", f"/budgets/{cap['id']}", {"on_limit": "notify"}, status=422)
    assert problem["field"] == "on_limit"


def test_changes_need_the_manage_scope_and_ones_own_tenant(
    call: Caller, make_tenant: MakeTenant
) -> None:
    made = call("POST", "/budgets", MONTHLY, status=201)
    reader = make_key(call.tenant_id, "ingest", "route", "read")
    stranger = make_key(make_tenant().id, "read", "manage")
    path = f"/budgets/{made['id']}"
    top_up = {"amount_usd": "1", "reason": "x", "ends_at": _in(datetime.now(UTC), days=1)}
    for method, where, body in (
        ("POST", "/budgets", MONTHLY),
        ("PATCH", path, {"amount_usd": "1"}),
        ("DELETE", path, None),
        ("POST", f"{path}/top-ups", top_up),
    ):
        assert call(method, where, body, status=403, by=reader)["code"] == "missing_scope"
    for method, where, body in (
        ("GET", path, None),
        ("PATCH", path, {"amount_usd": "1"}),
        ("DELETE", path, None),
        ("POST", f"{path}/top-ups", top_up),
        ("GET", f"{path}/history", None),
    ):
        assert call(method, where, body, status=404, by=stranger)["code"] == "budget_not_found"
    assert call("GET", "/budgets", by=stranger)["rows"] == []
    assert call.row(made["id"])["amount_usd"] == "100"


def test_the_list_goes_on_where_it_ended(call: Caller) -> None:
    for name in "abc":
        call("POST", "/budgets", MONTHLY | {"scope": {"project": name}}, status=201)
    first = call("GET", "/budgets?limit=2")
    rest = call("GET", f"/budgets?limit=2&after_id={first['next_after_id']}")
    names = [row["scope"]["project"] for row in first["rows"] + rest["rows"]]
    assert (names, rest["next_after_id"]) == (["a", "b", "c"], None)


def test_an_amount_is_reserved_settled_and_released(call: Caller, post_events: Post) -> None:
    cap = call("POST", "/budgets", MONTHLY | {"amount_usd": "1", "on_limit": "refuse"}, status=201)
    prepare_counters(call.tenant_id, now=datetime.now(UTC))
    asked = {"request_id": "r-1", "amount_usd": "0.6"}
    one = call("POST", "/budgets/reservations", asked, status=201)
    assert (one["held_usd"], one["budgets"]) == ("0.6", [cap["id"]])
    again = call("POST", "/budgets/reservations", asked, status=201)
    assert (again["reservation_id"], again["is_repeat"]) == (one["reservation_id"], True)
    refused = call("POST", "/budgets/reservations", asked | {"request_id": "r-2"}, status=402)
    assert (refused["caps"][0]["left"], refused["caps"][0]["asked"]) == ("0.4", "0.6")
    path = f"/budgets/reservations/{one['reservation_id']}"
    assert call("POST", f"{path}/settle", {"cost_usd": "0.1"})["settled_usd"] == "0.1"
    assert call.row(cap["id"])["spent_usd"] == "0.1"
    two = call("POST", "/budgets/reservations", asked | {"request_id": "r-3"}, status=201)
    assert call.row(cap["id"])["held_usd"] == "0.6"
    released = call("POST", f"/budgets/reservations/{two['reservation_id']}/release", {})
    assert (released["state"], released["held_usd"]) == ("released", "0")
    assert call.row(cap["id"])["held_usd"] == "0"


def test_a_worst_case_is_reserved_and_its_event_says_how_much_was(
    call: Caller, post_events: Post
) -> None:
    budget = call("POST", "/budgets", MONTHLY, status=201)
    prepare_counters(call.tenant_id, now=datetime.now(UTC))
    wanted = {
        "request_id": uuid.uuid4().hex,
        "backend": "openai/gpt-4o-mini",
        "input_tokens": 1000,
        "max_output_tokens": 500,
    }
    held = call("POST", "/budgets/reservations", wanted, status=201)
    assert held["held_usd"] == "0.00045"
    post_events([native_event(decision_id=held["reservation_id"]), native_event()])
    row = call.row(budget["id"])
    assert (row["spent_usd"], row["held_usd"]) == ("0.00045", "0")
    assert (row["reserved"], row["unreserved"]) == ("0.000225", "0.000225")
    assert row["reserved_share"] == "0.5"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"request_id": "x"}, "amount_missing"),
        ({"request_id": "x", "backend": "openai/gpt-4o"}, "no_worst_case"),
        ({"request_id": "x", "backend": "acme/none", "max_output_tokens": 1}, "no_price"),
        ({"amount_usd": "1"}, "invalid_request"),
    ],
)
def test_what_has_no_worst_case_is_not_reserved(
    call: Caller, body: dict[str, Any], code: str
) -> None:
    assert call("POST", "/budgets/reservations", body, status=422)["code"] == code


def test_another_tenants_reservation_is_not_there(call: Caller, make_tenant: MakeTenant) -> None:
    made = call("POST", "/budgets/reservations", {"request_id": "a", "amount_usd": "1"}, status=201)
    stranger = make_key(make_tenant().id, "route")
    path = f"/budgets/reservations/{made['reservation_id']}"
    call("POST", f"{path}/release", {}, status=404, by=stranger)
    call("POST", f"{path}/settle", {"cost_usd": "1"}, status=404, by=stranger)
    call("POST", "/budgets/reservations/nonsense/release", {}, status=404)


def test_an_own_rate_is_set_with_the_manage_scope_and_prices_what_comes(
    call: Caller, post_events: Post, client: Client
) -> None:
    rate = {"provider": "acme", "model": "m", "meter": "input_tokens", "price_usd_per_mtok": "3"}
    made = call("POST", "/rates", rate, status=201)
    assert (made["source"], made["price_usd_per_mtok"]) == ("tenant", "3")
    assert call("POST", "/rates", rate, status=422)["code"] == "invalid_rate"
    assert call("POST", "/rates", rate | {"meter": "smiles"}, status=422)["field"] == "meter"
    reader = make_key(call.tenant_id, "read", "route", "ingest")
    assert call("POST", "/rates", rate, status=403, by=reader)["code"] == "missing_scope"
    call("POST", "/rates", rate | {"meter": "output_tokens"}, status=201)
    event = native_event(provider="acme", model="m")
    event["usage"] = {"input_tokens": 1_000_000, "output_tokens": 0}
    post_events([event])
    assert call("GET", "/spend")["total"]["cost_usd"] == "3"


def _in(now: datetime, **length: int) -> str:
    return (now + timedelta(**length)).isoformat()
