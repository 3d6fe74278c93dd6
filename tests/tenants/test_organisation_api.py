"""Departments and customers over HTTP."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.tenants.contracts import list_contracts
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant, make_key

Ask = Callable[..., Any]


@pytest.fixture
def ask(tenant: TenantInfo) -> Ask:
    manager = make_key(tenant.id, "manage", "read")

    def call(method: str, path: str, body: Any = None) -> Any:
        return Client().generic(
            method,
            f"/api/v1{path}",
            json.dumps(body),
            content_type="application/json",
            headers=manager.headers,
        )

    return call


def test_departments_are_added_moved_and_renamed(ask: Ask) -> None:
    assert ask("POST", "/departments", {"code": "eng", "name": "Engineering"}).status_code == 201
    made = ask("POST", "/departments", {"code": "CC/1", "parent": "ENG"})
    assert made.json() == {"code": "CC/1", "name": "CC/1", "parent": "eng"}
    moved = ask("PATCH", "/departments/cc/1", {"name": "Search", "parent": None})
    assert moved.json() == {"code": "CC/1", "name": "Search", "parent": None}
    # What is left out stays.
    assert ask("PATCH", "/departments/CC/1", {"parent": "eng"}).json()["name"] == "Search"
    ring = ask("PATCH", "/departments/eng", {"parent": "CC/1"})
    assert (ring.status_code, ring.json()["field"]) == (422, "parent")
    assert ask("PATCH", "/departments/nobody", {"name": "x"}).status_code == 404
    assert ask("POST", "/departments", {"code": "ENG"}).json()["field"] == "code"
    assert len(ask("GET", "/departments").json()["rows"]) == 2


def test_customers_have_a_tier_and_a_contract(ask: Ask, tenant: TenantInfo) -> None:
    made = ask("POST", "/customers", {"id": "acme", "tier": "premium"})
    assert made.json() == {"id": "acme", "name": "acme", "tier": "premium"}
    body = {"name": "Acme", "contract_usd_per_month": "1200.50", "contract_from": "2026-11-01"}
    assert ask("PATCH", "/customers/acme", body).json()["name"] == "Acme"
    with tenant_scope(tenant.id):
        (contract,) = list_contracts()
    assert (str(contract.usd_per_month.normalize()), str(contract.starts_on)) == (
        "1200.5",
        "2026-11-01",
    )
    for wrong, field in (
        ({"tier": "gold"}, "tier"),
        ({"contract_from": "2026-11-01"}, "contract_usd_per_month"),
    ):
        refused = ask("PATCH", "/customers/acme", wrong)
        assert (refused.status_code, refused.json()["field"]) == (422, field)
    assert ask("PATCH", "/customers/nobody", {"name": "x"}).status_code == 404


def test_changing_needs_manage_and_ones_own_tenant(
    ask: Ask, tenant: TenantInfo, make_tenant: MakeTenant
) -> None:
    ask("POST", "/customers", {"id": "acme"})
    router, other = make_key(tenant.id), make_key(make_tenant().id, "manage")
    for key, status in ((router, 403), (other, 404)):
        response = Client().patch(
            "/api/v1/customers/acme",
            {"name": "x"},
            content_type="application/json",
            headers=key.headers,
        )
        assert response.status_code == status
