"""Where one is signed in, and a password that was forgotten."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from apps.dashboards.setup.password_letters import LinkNotSentError, send_link
from apps.tenants.core.agents import agent_words
from apps.tenants.password_reset import find_reset, make_reset_code
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_audit_of
from apps.tenants.services import add_member, create_user
from tests.alerts.receivers import MailServer, mail_server

PASSWORD, NEW = "correct horse battery", "staple horse correct"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
    " (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)
EDGE = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/141.0 Safari/537.36 Edg/141.0"
)


@pytest.fixture
def email(tenant: TenantInfo) -> str:
    address, now = f"p-{uuid.uuid4().hex[:8]}@example.org", datetime.now(UTC)
    user_id = create_user(email=address, password=PASSWORD, now=now)
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role="viewer", now=now)
    return address


@pytest.fixture
def mail(settings: Settings) -> Iterator[MailServer]:
    with mail_server() as server:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        yield server


def signed_in(email: str, agent: str = FIREFOX, password: str = PASSWORD) -> Client:
    client = Client(headers={"user-agent": agent})
    assert client.post("/login", {"email": email, "password": password}).status_code == 302
    return client


def account(client: Client) -> str:
    response = client.get("/account")
    assert response.status_code == 200
    return response.content.decode()


def is_in(client: Client) -> bool:
    return bool(client.get("/account").status_code == 200)


def test_browsers_are_told_apart() -> None:
    words = [agent_words(agent) for agent in (FIREFOX, SAFARI, EDGE, "curl/8")]
    assert words == ["Firefox on Linux", "Safari on iPhone", "Edge on Windows", "some browser"]


def test_one_session_is_ended_and_the_others_stay(email: str) -> None:
    here, phone, desk = signed_in(email), signed_in(email, SAFARI), signed_in(email, EDGE)
    page = account(here)
    for browser in ("Firefox on Linux", "Safari on iPhone", "Edge on Windows"):
        assert page.count(f'<th scope="row">{browser}') == 1
    assert page.count("this one</span>") == 1
    number = re.search(r'value="(\d+)" aria-label="End the session with Safari', page)
    assert number is not None
    ended = here.post("/account/end-session", {"session_id": number[1]}).content.decode()
    assert "That session has ended." in ended
    assert '<th scope="row">Safari' not in ended
    assert (is_in(phone), is_in(desk), is_in(here)) == (False, True, True)


def test_a_session_tells_when_and_from_where_it_was_last_used(
    email: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, phone = signed_in(email), signed_in(email, SAFARI)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tenants_usersession SET used_at = '2026-02-03 04:05Z',"
            " began_at = '2026-01-02 03:04Z' WHERE agent = %s AND user_id ="
            " (SELECT id FROM tenants_user WHERE email = %s)",
            [SAFARI, email],
        )
    (row,) = re.findall(r'<tr><th scope="row">Safari.*?</tr>', account(here))
    assert "2026-02-03T04:05:00" in row
    assert "2026-01-02T03:04:00" in row
    # As if the five minutes of this process were over.
    monkeypatch.setattr("apps.tenants.sessions._noted", {})
    with CaptureQueriesContext(connection) as asked:
        for _ in range(3):
            phone.get("/account", REMOTE_ADDR="192.0.2.7")
    assert (
        len([one for one in asked if "usersession" in one["sql"] and "UPDATE" in one["sql"]]) == 1
    )
    (row,) = re.findall(r'<tr><th scope="row">Safari.*?</tr>', account(here))
    assert datetime.now(UTC).strftime("%Y-%m-%dT") in row
    assert "<td>192.0.2.7</td>" in row
    assert "from 127.0.0.1</span>" in row
    # Another process may write no sooner.
    monkeypatch.setattr("apps.tenants.sessions._noted", {})
    phone.get("/account", REMOTE_ADDR="192.0.2.8")
    assert "192.0.2.8" not in account(here)


def test_nobody_ends_anothers_session(email: str, tenant: TenantInfo) -> None:
    theirs = signed_in(email)
    other = f"q-{uuid.uuid4().hex[:8]}@example.org"
    user_id = create_user(email=other, password=PASSWORD, now=datetime.now(UTC))
    with tenant_scope(tenant.id):
        add_member(user_id=user_id, role="owner", now=datetime.now(UTC))
    mine, second = signed_in(other), signed_in(other)
    number = re.search(r'name="session_id" value="(\d+)"', account(mine))
    assert number is not None
    for near in range(max(1, int(number[1]) - 3), int(number[1])):
        mine.post("/account/end-session", {"session_id": str(near)})
    assert is_in(theirs)
    assert is_in(second)


def test_a_new_password_leaves_this_session_alone_in_the_list(email: str) -> None:
    here, there = signed_in(email), signed_in(email, SAFARI)
    here.post("/account/password", {"current": PASSWORD, "password": NEW})
    page = account(here)
    assert '<th scope="row">Firefox on Linux <span class="tag">this one' in page
    assert '<th scope="row">Safari' not in page
    assert not is_in(there)


def test_a_forgotten_password_is_set_by_a_link_once(
    email: str, tenant: TenantInfo, mail: MailServer
) -> None:
    elsewhere = signed_in(email)
    assert send_link(email.upper(), "https://costs.example")
    (letter,) = mail.mails
    assert not isinstance(letter, str | bytes)
    body: Any = letter.get_body(("plain",))
    link = re.search(r"https://costs\.example(/reset/\S+)", str(body.get_content()))
    assert link is not None
    client = Client()
    assert f"For {email}." in client.get(link[1]).content.decode()
    assert client.post(link[1], {"password": "short"}).status_code == 422
    assert client.post(link[1], {"password": NEW}).headers["Location"] == "/login?reset=1"
    assert client.post(link[1], {"password": PASSWORD}).status_code == 404
    assert "This link is over" in client.get(link[1]).content.decode()
    assert not is_in(elsewhere)
    assert is_in(signed_in(email, password=NEW))
    with tenant_scope(tenant.id):
        told = [row.action for row in list_audit_of(f"member:{email}", limit=9)]
    assert "member.password_reset" in told


def test_a_link_is_over_after_an_hour_and_no_other_is_one(
    email: str, settings: Settings, mail: MailServer
) -> None:
    made = make_reset_code(email)
    assert made is not None
    assert find_reset(made[1]) is not None
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert find_reset(made[1]) is None
    for wrong in ("", "x", "MQ.x", f"{made[1]}x", "LTE.a-b", "\u0661.a-b", "9" * 200):
        assert find_reset(wrong) is None
    assert not send_link("nobody@example.org", "https://costs.example")
    assert mail.mails == []


def test_a_mail_server_that_is_away_is_tried_again(email: str, settings: Settings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    with pytest.raises(LinkNotSentError):
        send_link(email, "https://costs.example")


def test_asking_says_the_same_of_anybody_and_ends_in_waiting(email: str) -> None:
    client = Client()
    for address in (email, "nobody@example.org"):
        said = client.post("/forgot", {"email": address}).content.decode()
        assert f"If somebody signs in with {address}, a link is on its way" in said
    codes = {client.post("/forgot", {"email": email}).status_code for _ in range(12)}
    assert codes == {200, 429}
    # Who asks for links locks nobody out.
    signed_in(email)
