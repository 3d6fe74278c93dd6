"""People, invitations and one's own account, in a browser's requests."""

import re
import uuid
from collections.abc import Callable

import pytest
from django.core.mail import EmailMessage
from django.test import Client

from apps.tenants.core.sign_in_limits import BY_ACCOUNT_AND_ADDRESS
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_members

SignIn = Callable[..., Client]
PASSWORD = "correct horse battery"
NEW_PASSWORD = "another long phrase"


def link_in(page: str) -> str:
    found = re.search(r'<pre id="offer-link"[^>]*>https?://[^/]+(/invitations/[\w-]+)</pre>', page)
    assert found is not None
    return found[1]


def offer(client: Client, email: str, role: str = "viewer", **more: str) -> str:
    response = client.post("/people/invite", {"email": email, "role": role, **more})
    assert response.status_code == 200, response.content.decode()
    return link_in(response.content.decode())


def test_an_invited_person_joins_with_a_password_of_their_own(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    email = f"new-{uuid.uuid4().hex[:8]}@example.org"
    owner, stranger = sign_in("owner"), Client()
    link = offer(owner, email, "admin")
    assert email in owner.get("/people").content.decode()
    assert f"{email} is invited as admin" in stranger.get(link).content.decode()
    weak = stranger.post(link, {"name": "New", "password": "short"})
    assert weak.status_code == 422
    joined = stranger.post(link, {"name": "New", "password": NEW_PASSWORD})
    assert joined.headers["Location"] == "/"
    assert stranger.get("/people").status_code == 200
    assert stranger.get(link).status_code == 404
    again = Client().post("/login", {"email": email, "password": NEW_PASSWORD})
    assert again.status_code == 302


def test_the_link_goes_by_e_mail_where_asked(
    tenant: TenantInfo, sign_in: SignIn, mailoutbox: list[EmailMessage]
) -> None:
    email = f"new-{uuid.uuid4().hex[:8]}@example.org"
    link = offer(sign_in("owner"), email, send="on")
    (letter,) = mailoutbox
    assert link in str(letter.body)
    assert letter.to == [email]
    offer(sign_in("owner"), f"b-{email}")
    assert len(mailoutbox) == 1


def test_a_viewer_sees_people_and_changes_none(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    page = client.get("/people").content.decode()
    assert "viewer-" in page
    assert "Invite" not in page
    for address in ("invite", "role", "remove", "withdraw"):
        assert client.post(f"/people/{address}", {}).status_code == 403
    assert client.post("/account/leave").headers["Location"] == "/"
    assert client.get("/").status_code == 403


def test_an_admin_changes_roles_and_is_told_what_only_owners_may(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    sign_in("owner")
    sign_in("viewer")
    client = sign_in("admin")
    with tenant_scope(tenant.id):
        ids = {member.role: member.user_id for member in list_members()}
    done = client.post("/people/role", {"user_id": ids["viewer"], "role": "admin"})
    assert "is admin now" in done.content.decode()
    refused = client.post("/people/role", {"user_id": ids["owner"], "role": "viewer"})
    assert refused.status_code == 422
    assert "An admin does not decide about owners" in refused.content.decode()
    removed = client.post("/people/remove", {"user_id": ids["viewer"]})
    assert "is no member any more" in removed.content.decode()


def test_a_new_password_ends_the_other_sessions(tenant: TenantInfo, sign_in: SignIn) -> None:
    here = sign_in("viewer")
    email = re.search(r"viewer-\w+@example.org", here.get("/people").content.decode())
    assert email is not None
    there = Client()
    assert there.login(username=email[0], password=PASSWORD)
    wrong = here.post("/account/password", {"current": "nonsense", "password": NEW_PASSWORD})
    assert "This is not your password" in wrong.content.decode()
    form = {"current": PASSWORD, "password": NEW_PASSWORD}
    assert "The password is changed" in here.post("/account/password", form).content.decode()
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 302


def test_signing_out_everywhere(tenant: TenantInfo, sign_in: SignIn) -> None:
    here = sign_in("viewer")
    email = re.search(r"viewer-\w+@example.org", here.get("/people").content.decode())
    assert email is not None
    there = Client()
    assert there.login(username=email[0], password=PASSWORD)
    assert here.post("/account/sign-out-everywhere").headers["Location"] == "/login"
    assert there.get("/account").status_code == 302
    assert there.login(username=email[0], password=PASSWORD)
    assert there.get("/account").status_code == 200


@pytest.mark.parametrize("known", [True, False])
def test_guessing_a_password_ends_in_waiting(
    tenant: TenantInfo, sign_in: SignIn, known: bool
) -> None:
    page = sign_in("viewer").get("/people").content.decode()
    found = re.search(r"viewer-\w+@example.org", page)
    assert found is not None
    email = found[0] if known else f"nobody-{uuid.uuid4().hex}@example.org"
    # An address of the test's own: the others sign in from 127.0.0.1.
    client = Client(REMOTE_ADDR=f"10.{int(known)}.{uuid.uuid4().int % 256}.7")
    for _ in range(BY_ACCOUNT_AND_ADDRESS.attempts):
        assert client.post("/login", {"email": email, "password": "guess"}).status_code == 401
    refused = client.post("/login", {"email": email, "password": PASSWORD})
    assert refused.status_code == 429
    assert "Try again in 15 minutes" in refused.content.decode()
    assert int(refused.headers["Retry-After"]) <= 900
    elsewhere = Client(REMOTE_ADDR="10.9.9.9")
    assert elsewhere.post("/login", {"email": email, "password": PASSWORD}).status_code == (
        302 if known else 401
    )
