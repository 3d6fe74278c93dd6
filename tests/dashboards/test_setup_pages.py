"""The first run: an installation without an account gets one, and its organisation."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client

from apps.tenants.first_run import FirstAccount, set_up, setup_token
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant, list_departments, list_tenant_ids

PASSWORD = "a long enough phrase"
FORM = {
    "organisation": "Acme",
    "time_zone": "Asia/Kathmandu",
    "currency": "eur",
    "country": "NP",
    "person": "Olga",
    "email": "Olga@Example.org",
    "password": PASSWORD,
}


@pytest.fixture
def empty(database: None) -> Iterator[None]:
    """As if nobody had an account. Constraints are looked at when a transaction commits, and this
    one never does."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM tenants_user")
        yield
        transaction.set_rollback(True)


def test_from_nothing_to_an_organisation_that_waits_for_usage(empty: None) -> None:
    client = Client()
    assert client.get("/", follow=True).status_code == 403
    page = client.get(f"/setup?token={setup_token()}").content.decode()
    assert "Whose costs are these?" in page
    made = client.post("/setup", FORM | {"token": setup_token()})
    assert made.headers["Location"] == "/setup/departments"
    tenant_id = list_tenant_ids()[-1]
    with tenant_scope(tenant_id):
        tenant = get_tenant()
    assert (tenant.name, tenant.time_zone, tenant.currency, tenant.country) == (
        "Acme", "Asia/Kathmandu", "EUR", "NP",
    )  # fmt: skip
    wrong = client.post("/setup/departments", {"tree": "Eng\nEng"})
    assert "Line 2: eng stands in line 1 already" in wrong.content.decode()
    assert client.post("/setup/departments", {"tree": "Eng\n  ML"}).headers["Location"] == "/"
    with tenant_scope(tenant_id):
        assert {one.code for one in list_departments()} == {"eng", "ml"}
    assert "Create a key and show the line" in client.get("/").content.decode()
    audit = client.get("/audit").content.decode()
    assert "set up the organisation Acme" in audit
    # Who comes back later signs in, and the link is worth nothing.
    assert Client().get(f"/setup?token={setup_token()}").headers["Location"] == "/login"
    assert Client().post("/setup", FORM | {"token": setup_token()}).headers["Location"] == "/login"


@pytest.mark.parametrize("token", ["", "nonsense", "é"])
def test_whoever_comes_first_does_not_own_it(empty: None, token: str) -> None:
    client = Client()
    assert client.get("/login").headers["Location"] == "/setup"
    refused = client.post("/setup", FORM | {"token": token})
    assert refused.status_code == 403
    assert "setup_link" in refused.content.decode()
    assert setup_token() not in refused.content.decode()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("email", "nobody", "is not an e-mail address"),
        ("password", "short", "too short"),
        ("organisation", " ", "1 to 200 characters"),
        ("time_zone", "Mars/Olympus", "is not an IANA time zone"),
        ("currency", "money", "is not an ISO currency"),
        ("country", "Nepal", "is not an ISO country"),
    ],
)
def test_what_cannot_be_taken_is_said_and_nothing_is_made(
    empty: None, field: str, value: str, says: str
) -> None:
    response = Client().post("/setup", FORM | {"token": setup_token(), field: value})
    assert response.status_code == 422
    page = response.content.decode()
    assert says in page
    assert f'id="{field}-error"' in page
    assert Client().get("/login").headers["Location"] == "/setup"


def test_the_link_is_printed_while_there_is_nobody(
    empty: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("setup_link")
    assert f"/setup?token={setup_token()}" in capsys.readouterr().out
    account = {name: text for name, text in FORM.items() if name not in ("currency",)}
    set_up(setup_token(), FirstAccount(currency="EUR", **account), now=datetime.now(UTC))
    call_command("setup_link")
    assert "token" not in capsys.readouterr().out
