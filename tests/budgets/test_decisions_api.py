"""POST /api/v1/routing/decisions: what is reserved, over HTTP."""

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.tenants.selectors import TenantInfo
from tests.budgets.asks import make_budget, standing
from tests.conftest import Key, make_key, native_event

# gpt-4o-mini: 0.15 and 0.60 USD per million tokens.
ESTIMATE = Decimal("0.00045")


@pytest.fixture
def call(client: Client, key: Key) -> Any:
    def send(path: str, body: dict[str, Any], by: Key = key) -> Any:
        return client.post(
            f"/api/v1{path}", json.dumps(body), content_type="application/json", headers=by.headers
        )

    return send


def wanted(**fields: Any) -> dict[str, Any]:
    return {
        "request_id": uuid.uuid4().hex,
        "input_tokens": 1000,
        "max_output_tokens": 500,
        "candidates": ["openai/gpt-4o-mini"],
        "reserve": True,
    } | fields


def test_a_decision_holds_its_worst_case_and_its_event_settles_it(
    tenant: TenantInfo, call: Any
) -> None:
    budget_id = make_budget(tenant.id, "1")
    answer = call("/routing/decisions", wanted())
    assert answer.status_code == 200, answer.content
    decision = answer.json()
    assert decision["backend"] == "openai/gpt-4o-mini"
    assert decision["estimated_cost_usd"] == decision["held_usd"] == "0.00045"
    assert standing(tenant.id, budget_id) == (0, ESTIMATE)
    call("/usage/events", native_event(decision_id=decision["decision_id"]))
    assert standing(tenant.id, budget_id) == (Decimal("0.000225"), 0)


def test_when_nothing_fits_the_refusal_names_the_cap_and_its_numbers(
    tenant: TenantInfo, call: Any
) -> None:
    make_budget(tenant.id, "0.001", name="All of it")
    for _ in range(2):
        assert call("/routing/decisions", wanted()).status_code == 200
    answer = call("/routing/decisions", wanted())
    assert (answer.status_code, answer.json()["code"]) == (402, "budget_exceeded")
    (cap,) = answer.json()["caps"]
    assert (cap["name"], cap["limit"], cap["spent"], cap["held"]) == (
        "All of it",
        "0.001",
        "0",
        "0.0009",
    )
    assert (cap["left"], cap["asked"]) == ("0.0001", "0.00045")


def test_a_dearer_candidate_is_an_alternative_and_a_full_model_cap_moves_on(
    tenant: TenantInfo, call: Any
) -> None:
    make_budget(tenant.id, "0", scope={"model": "gpt-4o-mini"})
    both = ["openai/gpt-4o", "openai/gpt-4o-mini"]
    decision = call("/routing/decisions", wanted(candidates=both)).json()
    assert decision["backend"] == "openai/gpt-4o"
    assert [a["backend"] for a in decision["alternatives"]] == ["openai/gpt-4o-mini"]


def test_what_nobody_prices_is_not_reserved(tenant: TenantInfo, call: Any) -> None:
    make_budget(tenant.id, "1")
    answer = call("/routing/decisions", wanted(candidates=["acme/secret-1"]))
    assert (answer.status_code, answer.json()["code"]) == (422, "no_candidate")


def test_settle_and_release_can_be_repeated(tenant: TenantInfo, call: Any) -> None:
    budget_id = make_budget(tenant.id, "1")
    one = call("/routing/decisions", wanted()).json()["decision_id"]
    two = call("/routing/decisions", wanted()).json()["decision_id"]
    for _ in range(2):
        settled = call(f"/routing/decisions/{one}/settle", {"cost_usd": "0.0001"}).json()
        released = call(f"/routing/decisions/{two}/release", {}).json()
    assert (settled["state"], settled["settled_usd"]) == ("settled", "0.0001")
    assert released["state"] == "released"
    assert standing(tenant.id, budget_id) == (Decimal("0.0001"), 0)


def test_bad_ids_other_tenants_and_missing_scopes_are_turned_away(
    tenant: TenantInfo, call: Any, make_tenant: Any
) -> None:
    decision_id = call("/routing/decisions", wanted()).json()["decision_id"]
    stranger = make_key(make_tenant().id)
    reader = make_key(tenant.id, "read")
    path = f"/routing/decisions/{decision_id}/release"
    assert call(path, {}, stranger).status_code == 404
    assert call("/routing/decisions/nonsense/release", {}).status_code == 404
    assert call(path, {}, reader).status_code == 403
    assert call("/routing/decisions", wanted(input_tokens=-1)).status_code == 422
    assert call("/routing/decisions", wanted(input_text="x")).status_code == 422
