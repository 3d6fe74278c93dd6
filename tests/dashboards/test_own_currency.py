"""Tables in the tenant's own currency: each of its days at that day's rate, the USD beside."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from apps.tenants.exchange import set_rate
from apps.tenants.organisation import change_tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_customer, create_department
from tests.conftest import native_event

EVENT_USD = Decimal("0.000225")
# Two of the newest day at 0.5, one of the day before at 4.
EUR = EVENT_USD * 2 * Decimal("0.5") + EVENT_USD * 4


@pytest.fixture
def viewer(
    tenant: TenantInfo, post_events: Callable[..., Any], sign_in: Callable[..., Client]
) -> Client:
    """Of a tenant that reports in EUR and used two days of one month, the last but one."""
    now = datetime.now(UTC)
    last = now.replace(day=1, hour=12) - timedelta(days=1)
    with tenant_scope(tenant.id):
        create_department(code="support", name="Support", now=now)
        create_customer(external_id="acme", name="Acme", tier="premium", now=now)
        change_tenant(name="Acme", currency="EUR", country="", actor="olga", now=now)
        for moment, rate in ((last, "0.5"), (last - timedelta(days=1), "4")):
            day = tenant.local_date(moment)
            set_rate(day=day, per_usd=Decimal(rate), actor="olga", now=now)
    moments = [last, last, last - timedelta(days=1)]
    post_events(
        [
            native_event(timestamp=moment.isoformat(), customer="acme", department="support")
            for moment in moments
        ]
    )
    return sign_in("viewer")


def values(html: str) -> list[Decimal]:
    return [Decimal(value) for value in re.findall('<data value="([^"]+)"', html)]


@pytest.mark.parametrize("page", ["models", "customers", "departments"])
def test_pages_have_a_column_of_it(viewer: Client, page: str) -> None:
    html = viewer.get(f"/{page}?period=last-month").content.decode()
    table = re.search(rf'<table id="{page}-table">.*?</table>', html, re.DOTALL)
    assert table is not None
    body, foot = table[0].split("<tfoot>")
    for part in (body, foot):
        assert {EUR, EVENT_USD * 3} <= set(values(part))
    assert "Each day is converted at its own rate" in html
    headings = len(re.findall("<th[ >]", body.split("<tbody>")[0]))
    for row in re.findall(r"<tr[ >].*?</tr>", foot, re.DOTALL):
        cells = len(re.findall("<t[hd][ >]", row))
        spanned = sum(int(n) - 1 for n in re.findall(r'colspan="(\d+)"', row))
        assert cells + spanned == headings


def test_a_statement_goes_by_the_months_average(viewer: Client) -> None:
    last = datetime.now(UTC).replace(day=1) - timedelta(days=1)
    html = viewer.get(f"/budgets/statements?month={last:%Y-%m}").content.decode()
    assert "in EUR</th>" in html
    assert values(html).count(EUR) == 2


def test_budgets_say_that_they_are_in_usd(viewer: Client) -> None:
    assert "Budgets are set, and held, in USD" in viewer.get("/budgets").content.decode()
