"""Tenants, departments, customers, members and keys."""

from datetime import UTC, datetime

import pytest

from apps.tenants.core.access import hash_secret, read_authorization
from apps.tenants.errors import InvalidTenantInputError
from apps.tenants.models import ApiKey, AuditEntry
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import (
    TenantInfo,
    find_key,
    list_api_keys,
    list_departments,
    list_memberships,
)
from apps.tenants.services import (
    add_member,
    create_department,
    create_tenant,
    create_user,
    ensure_customers,
    ensure_departments,
    issue_api_key,
    revoke_api_key,
)
from tests.conftest import MakeTenant

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_key_secret_is_returned_once_and_kept_hashed(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        secret = issue_api_key(name="edge", scopes=["ingest"], actor="a@b.c", now=NOW)
        stored = ApiKey.objects.get()
        assert bytes(stored.secret_hash) == hash_secret(secret)
        assert secret not in repr(vars(stored))
        assert secret.startswith(stored.prefix)
        assert len(stored.prefix) < 12
    identity = find_key(secret)
    assert identity is not None
    assert (identity.tenant_id, identity.scopes) == (tenant.id, {"ingest"})


def test_revoked_key_is_unknown_at_once_and_the_audit_says_who(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        secret = issue_api_key(name="edge", scopes=["read"], actor="anna@x.org", now=NOW)
        (key,) = list_api_keys()
        revoke_api_key(api_key_id=key.id, actor="ben@x.org", now=NOW)
        actions = list(AuditEntry.objects.order_by("id").values_list("action", "actor"))
    assert find_key(secret) is None
    assert actions == [("api_key.issued", "anna@x.org"), ("api_key.revoked", "ben@x.org")]


def test_key_of_another_tenant_cannot_be_revoked(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    with tenant_scope(theirs.id):
        secret = issue_api_key(name="edge", scopes=["read"], actor="x", now=NOW)
        (key,) = list_api_keys()
    with tenant_scope(mine.id):
        revoke_api_key(api_key_id=key.id, actor="x", now=NOW)
    assert find_key(secret) is not None


@pytest.mark.parametrize("scopes", [[], ["admin"], ["ingest", "everything"]])
def test_unknown_or_no_scopes_are_refused(tenant: TenantInfo, scopes: list[str]) -> None:
    with tenant_scope(tenant.id), pytest.raises(InvalidTenantInputError) as caught:
        issue_api_key(name="edge", scopes=scopes, actor="x", now=NOW)
    assert caught.value.field == "scopes"


def test_departments_that_usage_names_are_found_whatever_their_case(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        known = create_department(code="support", name="Support", now=NOW)
        ids = ensure_departments(["Support", "SUPPORT", "Legal", "legal"], now=NOW)
        assert ids["Support"] == ids["SUPPORT"] == known
        assert ids["Legal"] == ids["legal"]
        assert len(list_departments()) == 2


# Python's lower() and PostgreSQL's differ for these: a final sigma, a capital with its own dot.
@pytest.mark.parametrize("codes", [["ΑΣ", "ασ"], ["İ", "i"], ["x" * 200, "X" * 200]])
def test_departments_of_any_letters_and_length_are_found(
    tenant: TenantInfo, codes: list[str]
) -> None:
    with tenant_scope(tenant.id):
        first = ensure_departments(codes[:1], now=NOW)
        assert ensure_departments(codes, now=NOW).keys() == set(codes)
        assert ensure_departments(codes, now=NOW)[codes[0]] == first[codes[0]]


def test_customers_that_usage_names_keep_their_case(tenant: TenantInfo) -> None:
    with tenant_scope(tenant.id):
        ids = ensure_customers(["Acme", "acme"], now=NOW)
        assert len(set(ids.values())) == 2
        assert ensure_customers(["Acme"], now=NOW) == {"Acme": ids["Acme"]}


def test_time_zone_must_exist(database: None) -> None:
    with pytest.raises(InvalidTenantInputError) as caught:
        create_tenant(name="X", time_zone="Mars/Olympus", now=NOW)
    assert caught.value.field == "time_zone"


def test_memberships_name_every_tenant_of_a_person(make_tenant: MakeTenant) -> None:
    first, second = make_tenant(name="Alpha"), make_tenant(name="Beta")
    user_id = create_user(email=f"m-{first.id}@x.org", password="long enough one", now=NOW)
    for tenant, role in ((second, "owner"), (first, "viewer")):
        with tenant_scope(tenant.id):
            add_member(user_id=user_id, role=role, now=NOW)
    assert [(m.tenant_name, m.role) for m in list_memberships(user_id)] == [
        ("Alpha", "viewer"),
        ("Beta", "owner"),
    ]


@pytest.mark.parametrize(
    ("header", "secret"),
    [
        ("Basic \xe9", None),
        ("Bearer cb_x", "cb_x"),
        ("bearer  cb_x ", "cb_x"),
        ("Basic cGstbGYtZGFzaDpjYl94", "cb_x"),
        ("Basic not-base64!", None),
        ("Bearer ", None),
        ("cb_x", None),
        ("", None),
    ],
)
def test_authorization_header_is_read(header: str, secret: str | None) -> None:
    assert read_authorization(header) == secret
