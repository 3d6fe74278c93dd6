"""The organisation, its departments and customers, in a browser's requests."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.tenants.contracts import list_contracts
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant, list_customers, list_departments
from tests.conftest import native_event

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


def test_the_holidays_may_be_those_of_a_part_of_a_country(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    form = {"name": "Acme", "currency": "EUR", "country": "DE"}
    assert "Bayern" in client.post("/organisation/save", form).content.decode()

    def kept(**more: str) -> str:
        client.post("/organisation/save", form | more)
        with tenant_scope(tenant.id):
            return get_tenant().country

    assert kept(region="BY") == "DE-BY"
    assert kept(country="AT", region="BY") == "AT"


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


def test_exchange_rates_are_imported_entered_and_used(
    tenant: TenantInfo, sign_in: SignIn, post_events: Callable[..., Any]
) -> None:
    client = sign_in("admin")
    assert "No rate is needed" in client.get("/organisation/rates").content.decode()
    client.post("/organisation/save", {"name": "Acme", "currency": "EUR", "country": ""})
    post_events(native_event())
    assert "no <a" in client.get("/").content.decode()
    assert "exchange rate</a> of EUR" in client.get("/explorer").content.decode()
    today = datetime.now(UTC).date()
    file = SimpleUploadedFile("r.csv", f"date,per_usd\n{today - timedelta(days=2)},2\n".encode())
    said = client.post("/organisation/rates/import", {"file": file}).content.decode()
    assert "Rates of 1 days were taken over" in said
    overview = client.get("/").content.decode()
    assert 'title="0.00045 EUR, of 0.000225 USD"' in overview
    for page in (overview, client.get("/explorer").content.decode()):
        assert "<em>0.000450 EUR</em> in" in page
    statements = client.get("/budgets/statements").content.decode()
    assert "average of the month’s days" in statements
    entered = {"day": today.isoformat(), "per_usd": "0,93"}
    assert "Kept: one USD was 0.93 EUR" in (
        client.post("/organisation/rates/enter", entered).content.decode()
    )
    wrong = client.post("/organisation/rates/enter", entered | {"per_usd": "-1"})
    assert (wrong.status_code, "above 0" in wrong.content.decode()) == (422, True)
    bad = SimpleUploadedFile("r.csv", b"\xff\xfe\x00")
    assert client.post("/organisation/rates/import", {"file": bad}).status_code == 422
