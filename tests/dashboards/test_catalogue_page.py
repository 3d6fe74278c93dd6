"""The catalogue page: up to date or not, what differs, and who takes it over."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from django.test import Client

from apps.dashboards.pricing import catalogue_page
from apps.pricing.core.catalogue_diff import CatalogueDiff, ListedPrice, ModelChange, PriceChange
from apps.pricing.services import SyncResult
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit
from tests.dashboards.test_pricing_page import read, words

SignIn = Callable[..., Client]


def price(usd: str) -> ListedPrice:
    unit = 1_000_000
    return ListedPrice(
        "acme-ai", "acme-1", "input_tokens", Decimal(usd), unit, (), 0, 0, 0, 86400, None, None
    )


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that has one price anew."""
    diff = CatalogueDiff(
        added=0,
        changed=1,
        closed=0,
        models=[ModelChange("acme-ai", "acme-1", 0, 1, 0)],
        models_added=["acme-ai/acme-2"],
        models_removed=[],
        samples=[PriceChange("changed", price("0.15"), price("0.12"))],
    )
    monkeypatch.setattr(catalogue_page, "preview_catalogue_sync", lambda: diff)


def test_an_equal_list_is_up_to_date_and_offers_nothing(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    page = read(sign_in("admin"), "/pricing/catalogue")
    assert "The price list is up to date" in words(page)
    assert "Apply, from today" not in page
    assert "/pricing/catalogue" in read(sign_in("viewer"), "/pricing")


def test_a_viewer_sees_what_differs_and_may_not_apply_it(
    newer: None, tenant: TenantInfo, sign_in: SignIn
) -> None:
    client = sign_in("viewer")
    page = read(client, "/pricing/catalogue")
    assert "1 price differs" in words(page)
    assert "acme-ai/ acme-1 input 0.15 0.12 changed" in words(page)
    assert "New: acme-ai/acme-2." in words(page)
    assert "Apply, from today" not in page
    assert client.post("/pricing/catalogue/apply").status_code == 403
    assert sign_in("owner").get("/pricing/catalogue/apply").status_code == 405


def test_an_admin_applies_it_and_the_audit_trail_says_so(
    newer: None, tenant: TenantInfo, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = []

    def sync(*, now: object) -> SyncResult:
        moments.append(now)
        return SyncResult(True, 7, "9.9", rates_added=1, rates_closed=1)

    monkeypatch.setattr(catalogue_page, "sync_catalogue", sync)
    client = sign_in("admin")
    assert "Apply, from today" in read(client, "/pricing/catalogue")
    page = client.post("/pricing/catalogue/apply").content.decode()
    assert "Taken over. Prices recorded: 1, closed: 1." in words(page)
    with tenant_scope(tenant.id):
        (entry,) = list_audit(moments)  # type: ignore[arg-type]
    assert (entry.action, entry.subject) == ("catalogue.synced", "catalogue")


def test_applying_an_equal_list_changes_nothing(tenant: TenantInfo, sign_in: SignIn) -> None:
    page = sign_in("owner").post("/pricing/catalogue/apply").content.decode()
    assert "Nothing differed" in words(page)
