"""The page about forecasts, and where the other pages draw what is to come."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.insights.selectors import list_planned_events
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant, native_event

Post = Callable[..., dict[str, Any]]
SignIn = Callable[..., Client]
OPUS = {
    "provider": "anthropic",
    "model": "claude-3-opus-20240229",
    "usage": {"input_tokens": 10_000, "output_tokens": 2_000},
}


def words(html: str) -> str:
    html = re.sub(r"<script.*?</script>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def read(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return words(response.content.decode())


@pytest.fixture
def usage(tenant: TenantInfo, post_events: Post) -> None:
    now = datetime.now(UTC)
    moments = [now - timedelta(days=n, minutes=5) for n in range(110)]
    post_events([native_event(timestamp=at.isoformat(), customer="acme", **OPUS) for at in moments])


def test_pages_of_a_month_say_and_draw_where_it_ends(usage: None, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    for address in ("/", "/models", "/models?customer=acme"):
        html = client.get(address).content.decode()
        assert "on course for" in words(html)
        assert '"role": "forecast"' in html
        assert "eight times of ten a day costs between" in words(html)
    for address in ("/customers", "/departments"):
        assert "The month is on course for" in read(client, address)


def test_other_periods_have_nothing_to_come(usage: None, sign_in: SignIn) -> None:
    html = sign_in("viewer").get("/models?period=30d").content.decode()
    assert '"role": "forecast"' not in html
    assert "on course" not in words(html)


def test_the_record_says_how_far_off_forecasts_were(usage: None, sign_in: SignIn) -> None:
    said = read(sign_in("viewer"), "/forecasts")
    assert re.search(r"On day 10 of the last [23] months the forecast .* was [\d.]+% off", said)
    assert "months ended inside the band told on day 10" in said
    assert "Nothing is announced" in said
    assert "Announce an event" not in said


def test_a_young_tenant_is_told_when_it_will_be_known(sign_in: SignIn, post_events: Post) -> None:
    post_events(native_event())
    said = read(sign_in("viewer"), "/forecasts")
    assert "Nobody knows yet" in said
    assert "No month to look back on yet" in said


def announcement(**fields: str) -> dict[str, str]:
    start = datetime.now(UTC) + timedelta(days=1)
    return {
        "name": "Launch of <b>it</b>",
        "starts_at": f"{start:%Y-%m-%dT09:00}",
        "ends_at": f"{start:%Y-%m-%dT18:00}",
        "dimension": "customer",
        "value": "acme",
        "multiplier": "1.5",
    } | fields


def test_an_admin_announces_an_event_and_ends_it(
    tenant: TenantInfo, usage: None, sign_in: SignIn
) -> None:
    client = sign_in("admin")
    html = client.post("/forecasts/announce", announcement()).content.decode()
    assert "Launch of &lt;b&gt;it&lt;/b&gt;" in html
    assert "1.5 times the usual" in words(html)
    assert "customer acme" in words(html)
    with tenant_scope(tenant.id):
        now = datetime.now(UTC)
        (event,) = list_planned_events(start=now, end=now + timedelta(days=9))
    assert event.starts_at.hour == 9
    assert "The event has ended." in words(
        client.post("/forecasts/end", {"event": str(event.id)}).content.decode()
    )
    assert "Nothing is announced" in read(client, "/forecasts")


def test_local_times_are_the_tenants_own(
    make_tenant: MakeTenant, sign_in: SignIn, client: Client
) -> None:
    tenant = make_tenant(time_zone="Asia/Kathmandu")
    member = sign_in("admin", tenant.id)
    start = datetime.now(UTC) + timedelta(days=2)
    form = announcement(starts_at=f"{start:%Y-%m-%d}T09:00", ends_at=f"{start:%Y-%m-%d}T10:00")
    member.post("/forecasts/announce", form, headers={"HX-Request": "true"})
    with tenant_scope(tenant.id):
        (event,) = list_planned_events(start=start - timedelta(days=2), end=start + timedelta(9))
    assert f"{event.starts_at:%H:%M}" == "03:15"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ends_at": "2020-01-01T00:00"}, "an event ends after it starts"),
        ({"starts_at": "soon"}, "write a local time such as"),
        ({"multiplier": "much"}, "write a number with a point"),
        ({"extra": "5"}, "not both"),
        ({"name": ""}, "name has 1 to 200 characters"),
    ],
)
def test_what_is_wrong_stands_at_its_field(
    usage: None, sign_in: SignIn, fields: dict[str, str], said: str
) -> None:
    response = sign_in("admin").post(
        "/forecasts/announce", announcement(**fields), headers={"HX-Request": "true"}
    )
    html = response.content.decode()
    assert response.status_code == 422
    assert said in words(html)
    assert 'aria-invalid="true"' in html
    assert 'value="acme"' in html


def test_a_viewer_announces_and_ends_nothing(usage: None, sign_in: SignIn) -> None:
    client = sign_in("viewer")
    assert client.post("/forecasts/announce", announcement()).status_code == 403
    assert client.post("/forecasts/end", {"event": "1"}).status_code == 403
