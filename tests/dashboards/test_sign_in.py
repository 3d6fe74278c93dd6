import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import add_member, create_user
from tests.conftest import MakeTenant

SignIn = Callable[..., Client]
PASSWORD = "correct horse battery"


@pytest.fixture
def person(tenant: TenantInfo) -> tuple[int, str]:
    """(id, e-mail) of a viewer of the tenant."""
    email, now = f"p-{uuid.uuid4().hex[:8]}@example.org", datetime.now(UTC)
    user_id = create_user(email=email, password=PASSWORD, now=now)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role="viewer", now=now)
    return user_id, email


def log_in(email: str, password: str = PASSWORD, **more: str) -> tuple[Client, Any]:
    client = Client()
    return client, client.post("/login", {"email": email, "password": password, **more})


def test_signing_in_leads_to_the_overview(person: tuple[int, str]) -> None:
    client, response = log_in(person[1])
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    assert client.get("/").status_code == 200


def test_the_address_does_not_mind_case(person: tuple[int, str]) -> None:
    _, response = log_in(person[1].upper())
    assert response.status_code == 302


def test_a_wrong_password_and_an_unknown_person_get_the_same_words(
    person: tuple[int, str],
) -> None:
    _, wrong = log_in(person[1], "wrong password!!")
    _, unknown = log_in("nobody@example.org", "wrong password!!")
    assert wrong.status_code == unknown.status_code == 401
    for response in (wrong, unknown):
        assert "do not belong together" in response.content.decode()


@pytest.mark.parametrize("address", ["/", "/models?period=7d", "/routing", "/keys"])
def test_without_a_session_one_signs_in_first_and_comes_back(
    person: tuple[int, str], address: str
) -> None:
    client = Client()
    sent = client.get(address)
    assert sent.status_code == 302
    assert sent.headers["Location"].startswith("/login")
    form = {"email": person[1], "password": PASSWORD}
    there = client.get(sent.headers["Location"]).context["next"]
    assert there == address
    assert client.post("/login", form | {"next": there}).headers["Location"] == address


@pytest.mark.parametrize("evil", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_signing_in_leads_nowhere_else(person: tuple[int, str], evil: str) -> None:
    _, response = log_in(person[1], next=evil)
    assert response.headers["Location"] == "/"


def test_a_poll_whose_session_has_ended_takes_the_whole_page_to_sign_in(database: None) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/routing?window=day"}
    response = Client().get("/routing?window=day&seen=x", headers=headers)
    assert response.headers["HX-Redirect"] == "/login?next=%2Frouting%3Fwindow%3Dday&expired=1"
    page = Client().get(response.headers["HX-Redirect"]).content.decode()
    assert "Your session has ended" in page


def test_signing_out_ends_it(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    assert client.get("/logout").status_code == 405
    assert client.post("/logout").headers["Location"] == "/login"
    assert client.get("/").status_code == 302


def test_a_person_in_no_organisation_is_told_so(database: None) -> None:
    email = f"alone-{uuid.uuid4().hex[:8]}@example.org"
    create_user(email=email, password=PASSWORD, now=datetime.now(UTC))
    client, _ = log_in(email)
    response = client.get("/")
    assert response.status_code == 403
    assert "You are in no organisation yet" in response.content.decode()


def test_one_looks_at_one_organisation_at_a_time_and_can_switch(
    person: tuple[int, str], make_tenant: MakeTenant
) -> None:
    other = make_tenant(name="Zweite GmbH")
    with tenant_scope(other.id):
        add_member(user_id=person[0], role="owner", now=datetime.now(UTC))
    client, _ = log_in(person[1])
    assert "Switch organisation" in client.get("/").content.decode()
    assert client.post("/switch-tenant", {"tenant_id": other.id}).headers["Location"] == "/"
    assert "<b>Zweite GmbH</b>" in client.get("/").content.decode()


def test_one_cannot_switch_to_an_organisation_of_others(
    person: tuple[int, str], make_tenant: MakeTenant
) -> None:
    client, _ = log_in(person[1])
    assert client.post("/switch-tenant", {"tenant_id": make_tenant().id}).status_code == 404


def test_a_page_that_is_not_there_is_a_designed_one(tenant: TenantInfo, sign_in: SignIn) -> None:
    for client in (Client(), sign_in("viewer")):
        response = client.get("/no-such-page")
        assert response.status_code == 404
        assert "There is no such page" in response.content.decode()
