"""Discounts and the default rate, as admins set them and others see them."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import native_event

SignIn = Callable[..., Client]
Post = Callable[..., dict[str, Any]]
HALF = {"provider": "openai", "model": "", "meter": "", "percent": "50", "effective_from": ""}


def costs(tenant: TenantInfo) -> list[str | None]:
    with tenant_scope(tenant.id), connection.cursor() as cursor:
        cursor.execute("SELECT trim_scale(cost_usd)::text FROM usage_ledger ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def test_discount_is_recorded_shown_and_taken_off(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    admin = sign_in("admin")
    page = admin.post("/pricing/discounts", HALF).content.decode()
    assert "50% off" in page
    post_events([native_event()])
    assert costs(tenant) == ["0.0001125"]
    assert "50% off" in sign_in("viewer").get("/pricing/agreements").content.decode()


def test_default_rate_prices_what_nothing_else_does(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    owner = sign_in("owner")
    post_events([native_event(provider="acme", model="m")])
    for meter, price in (("input_tokens", "1"), ("output_tokens", "5")):
        given = {"meter": meter, "price": price, "effective_from": ""}
        assert owner.post("/pricing/default", given).status_code == 200
    post_events([native_event(provider="acme", model="m")])
    assert costs(tenant) == [None, "0.002"]


def test_discount_ends_on_a_day(tenant: TenantInfo, sign_in: SignIn) -> None:
    admin = sign_in("admin")
    page = admin.post("/pricing/discounts", HALF).content.decode()
    number = page.partition('name="number" value="')[2].partition('"')[0]
    ended = admin.post(
        "/pricing/agreements/end",
        {"kind": "discount", "number": number, "ends_on": "2030-01-01"},
    )
    assert ended.status_code == 200
    assert 'name="number"' not in ended.content.decode()


@pytest.mark.parametrize(
    ("address", "change"),
    [
        ("/pricing/discounts", {"percent": ""}),
        ("/pricing/discounts", {"amount": "1"}),
        ("/pricing/discounts", {"percent": "150"}),
        ("/pricing/discounts", {"percent": "NaN"}),
        ("/pricing/discounts", {"effective_from": "soon"}),
        ("/pricing/default", {"price": "", "meter": "input_tokens"}),
        ("/pricing/default", {"price": "-1", "meter": "input_tokens"}),
        ("/pricing/default", {"price": "1", "meter": "nonsense"}),
        ("/pricing/agreements/end", {"kind": "discount", "number": "x", "ends_on": "2030-01-01"}),
        (
            "/pricing/agreements/end",
            {"kind": "discount", "number": "999999", "ends_on": "2030-01-01"},
        ),
    ],
)
def test_what_cannot_be_agreed_is_refused_with_a_sentence(
    tenant: TenantInfo, sign_in: SignIn, address: str, change: dict[str, str]
) -> None:
    response = sign_in("admin").post(address, HALF | change)
    assert response.status_code == 422
    assert 'role="alert"' in response.content.decode()


def test_viewers_see_and_change_nothing(tenant: TenantInfo, sign_in: SignIn) -> None:
    viewer = sign_in("viewer")
    assert '<form class="rate-form"' not in viewer.get("/pricing/agreements").content.decode()
    for address in ("/pricing/discounts", "/pricing/default", "/pricing/agreements/end"):
        assert viewer.post(address, HALF).status_code == 403


def test_change_in_place_brings_the_sentence_above_with_it(
    tenant: TenantInfo, sign_in: SignIn
) -> None:
    admin = sign_in("admin")
    before = admin.get("/pricing/agreements").content.decode()
    assert "No discount stands" in before
    assert "hx-swap-oob" not in before
    assert f"Days are those of {tenant.time_zone}" in before
    part = admin.post("/pricing/discounts", HALF, headers={"HX-Request": "true"}).content.decode()
    assert 'id="agreements-answer" hx-swap-oob="true"><em>1 discount</em> stands over' in part
