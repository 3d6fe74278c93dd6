"""A tenant without usage: every page says how to send the first event, and notices it."""

import html
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_api_keys
from tests.conftest import native_event, roll_up

PAGES = ["/", "/models", "/customers", "/departments", "/routing"]
SignIn = Callable[..., Client]


def curl_of(page: str) -> list[str]:
    """The words of the command shown, as a shell would read them."""
    found = re.search(r'<pre id="first-line"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert found is not None
    return shlex.split(html.unescape(found[1]))


@pytest.mark.parametrize("address", PAGES)
def test_every_page_shows_the_line(tenant: TenantInfo, sign_in: SignIn, address: str) -> None:
    page = sign_in("viewer").get(address).content.decode()
    assert curl_of(page)[1] == "http://testserver/api/v1/usage/events"
    assert "Bearer YOUR_KEY" in page
    assert "Ask for a key" in page
    assert "Create a key" not in page


def test_an_admins_line_works_as_it_is(tenant: TenantInfo, sign_in: SignIn) -> None:
    client = sign_in("admin")
    assert "Create a key and show the line" in client.get("/").content.decode()
    made = client.post("/keys/first", headers={"HX-Request": "true"})
    line = curl_of(made.content.decode())
    sent = dict(line[n + 1].split(": ", 1) for n, word in enumerate(line) if word == "-H")
    body = line[line.index("-d") + 1]
    answer = Client().post(
        "/api/v1/usage/events", body, content_type=sent.pop("Content-Type"), headers=sent
    )
    assert answer.json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    roll_up(tenant.id)
    assert "gpt-4o-mini" in client.get("/").content.decode()


def test_the_first_key_may_post_usage_and_nothing_else(tenant: TenantInfo, sign_in: SignIn) -> None:
    sign_in("owner").post("/keys/first", headers={"HX-Request": "true"})
    with tenant_scope(tenant.id):
        (key,) = list_api_keys()
    assert list(key.scopes) == ["ingest"]


def test_a_viewer_makes_no_key(tenant: TenantInfo, sign_in: SignIn) -> None:
    assert sign_in("viewer").post("/keys/first").status_code == 403
    with tenant_scope(tenant.id):
        assert list_api_keys() == []


def test_the_page_waits_and_reloads_itself_when_the_event_is_there(
    tenant: TenantInfo, sign_in: SignIn, post_events: Callable[..., Any]
) -> None:
    client = sign_in("viewer")
    poll = {"HX-Request": "true"}
    assert client.get("/routing?waiting", headers=poll).status_code == 204
    post_events(native_event())
    response = client.get("/routing?waiting", headers=poll)
    assert response.headers["HX-Refresh"] == "true"


def test_a_page_that_shows_a_new_key_is_told_of_the_event_without_losing_the_key(
    tenant: TenantInfo, sign_in: SignIn, post_events: Callable[..., Any]
) -> None:
    client = sign_in("owner")
    page = html.unescape(
        client.post("/keys/first", headers={"HX-Request": "true"}).content.decode()
    )
    secret = re.search(r"Bearer (cb_[\w-]+)", page)
    assert secret is not None
    # In the lines for curl, for LiteLLM and for OpenTelemetry.
    assert page.count(secret[1]) == 3
    assert 'hx-get="/setup/arrival"' in page
    assert client.get("/setup/arrival").status_code == 204
    post_events(native_event())
    arrived = client.get("/setup/arrival").content.decode()
    assert "It arrived" in arrived
    assert "0.000225" in arrived
