"""The organisation, its departments and customers, in a browser's requests."""

from collections.abc import Callable

from django.test import Client

from apps.tenants.contracts import list_contracts
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant, list_customers, list_departments

SignIn = Callable[..., Client]


def test_what_it_is_called_and_reports_in(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("admin")
    form = {"name": "Acme", "currency": "eur", "country": "AT"}
    assert "Kept." in client.post("/organisation/save", form).content.decode()
    with tenant_scope(tenant.id):
        found = get_tenant()
    assert (found.name, found.currency, found.country) == ("Acme", "EUR", "AT")
    refused = client.post("/organisation/save", form | {"currency": "euro"})
    assert refused.status_code == 422
    assert "is not an ISO currency" in refused.content.decode()
    assert "changed the organisation" in client.get("/audit").content.decode()


def test_departments_are_added_and_moved(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("admin")
    client.post("/organisation/departments/save", {"code": "eng", "name": "Engineering"})
    save = {"code": "ml", "name": "", "parent": "eng"}
    assert "ml is added" in client.post("/organisation/departments/save", save).content.decode()
    change = {"of": "ml", "name": "Models", "parent": ""}
    page = client.post("/organisation/departments/save", change).content.decode()
    assert "Models is kept" in page
    with tenant_scope(tenant.id):
        assert {(d.code, d.name, d.parent_id) for d in list_departments()} == {
            ("eng", "Engineering", None),
            ("ml", "Models", None),
        }
    ring = client.post(
        "/organisation/departments/save", {"of": "eng", "name": "E", "parent": "eng"}
    )
    assert ring.status_code == 422
    assert "own ancestor" in ring.content.decode()


def test_a_customer_gets_a_name_a_tier_and_a_contract_or_nothing(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    form = {"id": "acme", "name": "Acme", "tier": "premium", "contract": "1200,50"}
    half = client.post("/organisation/customers/save", form | {"contract": "much"})
    assert half.status_code == 422
    with tenant_scope(tenant.id):
        assert list_customers() == []
    page = client.post("/organisation/customers/save", form).content.decode()
    assert "1,200.50" in page
    with tenant_scope(tenant.id):
        (contract,) = list_contracts()
    assert f"{contract.usd_per_month:.2f}" == "1200.50"
    assert "Nobody is called so" in client.get("/organisation/customers?q=zz").content.decode()
    assert "Acme" in client.get("/organisation/customers?q=ACM").content.decode()


def test_a_viewer_looks_and_changes_nothing(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    for address in ("", "/departments", "/customers"):
        assert "Add a" not in client.get(f"/organisation{address}").content.decode()
        assert client.post(f"/organisation{address}/save", {}).status_code == 403
