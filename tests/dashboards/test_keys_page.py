import re
from collections.abc import Callable

import pytest
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, find_key, list_api_keys
from tests.conftest import Key, MakeTenant, make_key

SignIn = Callable[..., Client]
ALL_SCOPES = ["ingest", "route", "read"]


def create(client: Client, name: str = "gateway", scopes: list[str] | None = None) -> str:
    chosen = ALL_SCOPES if scopes is None else scopes
    return client.post("/keys/create", {"name": name, "scopes": chosen}).content.decode()


def secret_in(page: str) -> str:
    found = re.search(r'<pre id="new-secret"[^>]*>(cb_[\w-]+)</pre>', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("role", ["admin", "owner"])
def test_a_new_key_works_and_is_shown_once(tenant: TenantInfo, sign_in: SignIn, role: str) -> None:
    client = sign_in(role)
    secret = secret_in(create(client, scopes=["ingest"]))
    identity = find_key(secret)
    assert identity is not None
    assert (identity.tenant_id, identity.scopes) == (tenant.id, frozenset({"ingest"}))
    again = client.get("/keys").content.decode()
    assert secret not in again
    assert "gateway" in again


def test_a_new_key_comes_with_a_line_to_try_it(tenant: TenantInfo, sign_in: SignIn) -> None:
    page = create(sign_in("admin"))
    assert f"Bearer {secret_in(page)}" in page
    assert "/api/v1/usage/events" in page


@pytest.mark.parametrize(
    ("name", "scopes", "expected"),
    [
        ("", ALL_SCOPES, "Give the key a name"),
        ("x" * 101, ALL_SCOPES, "Give the key a name"),
        ("gateway", [], "Choose what the key may do"),
        ("gateway", ["everything"], "Choose what the key may do"),
    ],
)
def test_a_key_without_name_or_scope_is_not_made_and_the_form_says_why(
    tenant: TenantInfo, sign_in: SignIn, name: str, scopes: list[str], expected: str
) -> None:
    response = sign_in("admin").post("/keys/create", {"name": name, "scopes": scopes})
    assert response.status_code == 422
    assert expected in response.content.decode()
    with tenant_scope(tenant.id):
        assert list_api_keys() == []


def test_a_revoked_key_is_refused_and_listed_as_revoked(
    tenant: TenantInfo, key: Key, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    answer = client.post("/keys/revoke", {"key_id": key.identity.api_key_id}, follow=True)
    assert "Revoked keys (1)" in answer.content.decode()
    assert find_key(key.secret) is None


def test_a_key_of_another_tenant_cannot_be_revoked(
    tenant: TenantInfo, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    theirs = make_key(make_tenant().id)
    sign_in("owner").post("/keys/revoke", {"key_id": theirs.identity.api_key_id})
    assert find_key(theirs.secret) is not None


@pytest.mark.parametrize("key_id", ["", "x", "-1", "9" * 30])
def test_nonsense_revokes_nothing(tenant: TenantInfo, sign_in: SignIn, key_id: str) -> None:
    assert sign_in("owner").post("/keys/revoke", {"key_id": key_id}).status_code == 302


def test_a_viewer_sees_the_keys_and_can_do_nothing(
    tenant: TenantInfo, key: Key, sign_in: SignIn
) -> None:
    client = sign_in("viewer")
    page = client.get("/keys").content.decode()
    assert "router-1" in page
    assert "Make the key" not in page
    assert "Revoke" not in page
    assert client.post("/keys/create", {"name": "x", "scopes": "read"}).status_code == 403
    refused = client.post("/keys/revoke", {"key_id": key.identity.api_key_id})
    assert refused.status_code == 403
    assert "Your role does not allow this" in refused.content.decode()
    assert find_key(key.secret) is not None


def test_actions_are_posts(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("owner")
    for address in ("/keys/create", "/keys/revoke", "/keys/first"):
        assert client.get(address).status_code == 405


def test_actions_need_their_token(tenant: TenantInfo, sign_in: SignIn) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = sign_in("owner").cookies
    refused = strict.post("/keys/create", {"name": "x", "scopes": "read"})
    assert refused.status_code == 403
    assert "This form was open too long" in refused.content.decode()
