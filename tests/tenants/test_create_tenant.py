"""`manage.py create_tenant`, as an operator uses it."""

import io
import uuid

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from apps.tenants.selectors import find_key, find_user_id, list_memberships

PASSWORD = "a long enough phrase"


def run(**options: str) -> str:
    out = io.StringIO()
    call_command("create_tenant", name="Acme", stdout=out, **options)
    return out.getvalue()


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTBOARD_OWNER_PASSWORD", PASSWORD)


def test_owner_signs_in_and_the_key_works(database: None, client: Client) -> None:
    email = f"Owner-{uuid.uuid4().hex[:8]}@Example.org"
    output = run(owner=email, time_zone="Europe/Berlin")
    assert client.login(username=email.lower(), password=PASSWORD)
    identity = find_key(output.split()[-1])
    assert identity is not None
    user_id = find_user_id(email)
    assert user_id is not None
    (membership,) = list_memberships(user_id)
    assert (membership.tenant_id, membership.role) == (identity.tenant_id, "owner")


def test_known_person_owns_a_second_organisation(database: None) -> None:
    email = f"twice-{uuid.uuid4().hex[:8]}@example.org"
    run(owner=email, time_zone="UTC")
    run(owner=email, time_zone="Asia/Kathmandu")
    user_id = find_user_id(email)
    assert user_id is not None
    assert len(list_memberships(user_id)) == 2


def test_unknown_time_zone_leaves_nothing_behind(database: None) -> None:
    email = f"none-{uuid.uuid4().hex[:8]}@example.org"
    with pytest.raises(CommandError, match="IANA"):
        run(owner=email, time_zone="Mars/Olympus")
    assert find_user_id(email) is None


def test_weak_password_is_refused(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSTBOARD_OWNER_PASSWORD", "password")
    with pytest.raises(CommandError):
        run(owner=f"weak-{uuid.uuid4().hex[:8]}@example.org", time_zone="UTC")
