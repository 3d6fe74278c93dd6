"""Customers: who earns and who costs, the deepest loss first, and each on a page of its own."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.dashboards.sentences import plain
from apps.dashboards.spending.margin_words import customer_title, margins_answer, margins_title
from apps.tenants.contracts import set_contract
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, list_customers
from apps.tenants.services import create_customer
from apps.usage.core.margins import Earnings
from tests.conftest import MakeTenant, native_event

SignIn = Callable[..., Client]
Post = Callable[..., dict[str, Any]]


def earned(cost: str, revenue: str, **more: Any) -> Earnings:
    return Earnings(Decimal(cost), Decimal(revenue), requests=1, **more)


def words(html: str) -> str:
    html = re.sub(r"<script.*?</script>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


@pytest.fixture
def customers(tenant: TenantInfo, post_events: Post) -> dict[str, int]:
    """Ids by name: Acme pays little for much, Umbra by contract, and a third pays nothing."""
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        create_customer(external_id="acme", name="Acme", tier="premium", now=now)
        create_customer(external_id="umbra", name="Umbra", tier="enterprise", now=now)
        set_contract(
            customer="umbra",
            usd_per_month=Decimal(3000),
            starts_on=now.date().replace(day=1),
            actor="test",
            now=now,
        )
    post_events(
        [native_event(customer="acme", revenue="0.0001", converted=True) for _ in range(4)]
        + [native_event(customer="umbra"), native_event()]
    )
    with tenant_scope(tenant.id):
        return {one.name: one.id for one in list_customers()}


def test_who_loses_money_stands_on_top_with_the_figures(
    customers: dict[str, int], sign_in: SignIn
) -> None:
    html = sign_in("viewer").get("/customers").content.decode()
    assert "Acme costs more than it brings" in html
    rows = words(html[html.index('id="customers-table"') :])
    # Four calls of 0.000225 against 0.0001 each: a loss of 0.0005, and 0.000225 a conversion.
    acme = "Acme premium −0.000500 −125% 0.000400 0.000900"
    assert acme in rows
    assert rows.index(acme) < rows.index("Umbra enterprise")
    assert "of a contract" in rows
    assert "0.000225" in rows[rows.index(acme) :][:120]


def test_a_customer_has_a_page_of_its_own_behind_the_wall(
    customers: dict[str, int], sign_in: SignIn, make_tenant: MakeTenant
) -> None:
    address = f"/customers/{customers['Acme']}"
    said = words(sign_in("viewer").get(address).content.decode())
    assert "Is Acme worth what it costs?" in said
    assert "0.000500 more than it brought" in said
    assert "gpt-4o-mini-2024-07-18 is all of what Acme costs" in said
    by_contract = sign_in("viewer").get(f"/customers/{customers['Umbra']}").content.decode()
    assert "a month spread over its days" in words(by_contract)
    assert 'title="3,000.00 USD"' in by_contract
    elsewhere = sign_in("viewer", tenant_id=make_tenant().id)
    assert elsewhere.get(address).status_code in (200, 404)
    assert "Acme" not in elsewhere.get(address).content.decode()


def test_without_any_revenue_the_page_says_so_and_still_allocates(
    tenant: TenantInfo, post_events: Post, sign_in: SignIn
) -> None:
    post_events(native_event(customer="acme"))
    said = words(sign_in("viewer").get("/customers").content.decode())
    assert "no event says what it earned and no contract is set" in said
    assert "acme cost 0.000225 USD" in said
    assert "margin, USD" not in said


def test_words_say_who_loses_and_are_silent_without_revenue() -> None:
    bad, good = ("Acme", earned("3", "1")), ("Umbra", earned("1", "9"))
    said = plain(margins_answer([bad, good], unattributed=earned("5", "0"), in_words="in May"))
    assert said == (
        "Customers brought 10.00 USD in May and cost 4.00 to serve: 60% stays."
        " Acme cost 2.00 USD more than it brought. Another 5.00 names no customer."
    )
    assert margins_answer([("Acme", earned("3", "0"))], unattributed=None, in_words="") == ()
    assert margins_title([bad] * 4, 9) == (
        "4 of 9 customers cost more than they bring, 8.00 USD together"
    )
    assert margins_title([], 2) == "Every customer brings at least what it costs"
    assert customer_title("Acme", ("gpt-5", Decimal("0.5"))) == "gpt-5 is half of what Acme costs"
