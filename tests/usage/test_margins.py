"""Margins: what was earned, contracts shared out, against what the ledger says it cost."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.tenants.contracts import set_contract
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_customer
from apps.usage.margins import read_margins
from apps.usage.selectors import Dimension, SpendQuery, read_spend
from tests.conftest import Key, native_event

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# Whole days: what is accrued does not depend on the hour that a test runs at.
START, END = TODAY - timedelta(days=3), TODAY
BEFORE_NOON = (TODAY - timedelta(hours=20)).isoformat()


@pytest.fixture
def earning(tenant: TenantInfo, post_events: Callable[..., Any]) -> TenantInfo:
    """acme asks three times of four on one model; umbra pays and asks nothing."""
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        for one in ("acme", "umbra"):
            create_customer(external_id=one, name=one, tier="premium", now=now)
            set_contract(
                customer=one,
                usd_per_month=Decimal(30_000),
                starts_on=START.date(),
                actor="t",
                now=now,
            )
    post_events(
        [
            native_event(
                customer="acme",
                timestamp=BEFORE_NOON,
                model="gpt-4o" if n else "gpt-4o-mini",
                revenue="0.10",
                converted=n == 1,
            )
            for n in range(4)
        ]
        + [native_event(timestamp=BEFORE_NOON, revenue="0.02")]
    )
    return tenant


def margins(tenant: TenantInfo, *group_by: Dimension, **filters: Any) -> dict[Any, Any]:
    query = SpendQuery(START, END, group_by=group_by, filters=filters)
    with tenant_scope(tenant.id):
        return read_margins(query, until=END).rows


def test_a_contract_goes_where_its_customers_requests_go(earning: TenantInfo) -> None:
    by_customer = margins(earning, "customer")
    whole = by_customer["acme",].contract
    assert whole > 2_500
    assert by_customer["umbra",].contract == whole
    assert by_customer["umbra",].requests == 0
    assert by_customer[None,].revenue == Decimal("0.02")
    by_model = margins(earning, "model", "customer")
    assert by_model["gpt-4o", "acme"].contract == whole * 3 / 4
    # Narrowed to the model, the other's part is not its own.
    assert margins(earning, "customer", model=("gpt-4o",)) == {
        ("acme",): by_model["gpt-4o", "acme"]
    }


def test_groups_add_up_to_the_whole_whatever_they_are(earning: TenantInfo) -> None:
    with tenant_scope(earning.id):
        spent = read_spend(SpendQuery(START, END)).total
    for group_by in (("customer",), ("tier",), ("model",), ("model", "tier"), ()):
        found = margins(earning, *group_by).values()
        assert sum(one.cost for one in found) == spent.cost_usd
        assert sum(one.event_revenue for one in found) == Decimal("0.42")
        assert sum(one.conversions for one in found) == 1
        doubled = 2 * margins(earning, "customer")["acme",].contract
        assert abs(sum(one.contract for one in found) - doubled) < Decimal("1e-20")


def test_unit_costs_say_nothing_where_there_is_nothing(earning: TenantInfo) -> None:
    rows = margins(earning, "customer")
    assert rows["acme",].cost_per_conversion == rows["acme",].cost
    assert rows[None,].cost_per_conversion is None
    assert rows["umbra",].cost_per_request is None
    assert rows["umbra",].margin_share == 1


def test_the_api_tells_the_same_the_deepest_loss_first(
    earning: TenantInfo, key: Key, client: Client
) -> None:
    span = {"from": START.date().isoformat(), "to": END.date().isoformat()}

    def asked(**more: str) -> Any:
        return client.get("/api/v1/margins", span | more, headers=key.headers)

    answer = asked().json()
    read = margins(earning, "customer")
    assert [row["customer"] for row in answer["rows"]] == [
        labels[0] for labels, _ in sorted(read.items(), key=lambda one: one[1].margin)
    ]
    for row in answer["rows"]:
        one = read[(row["customer"],)]
        assert Decimal(row["margin_usd"]) == one.margin
        assert Decimal(row["revenue_usd"]) == one.revenue
        assert Decimal(row["cost_usd"]) == one.cost
    total = Decimal(answer["total"]["margin_usd"])
    assert total == sum(Decimal(row["margin_usd"]) for row in answer["rows"])
    (only,) = asked(group_by="model", model="gpt-4o").json()["rows"]
    assert (only["model"], only["requests"]) == ("gpt-4o", 3)
    for wrong in ({"group_by": "joy"}, {"interval": "day"}, {"colour": "red"}):
        assert asked(**wrong).status_code == 422
    assert client.get("/api/v1/margins").status_code == 401
