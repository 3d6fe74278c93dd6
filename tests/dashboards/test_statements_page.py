"""Statements as people see, print, close and share them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_department
from tests.budgets.asks import make_budget
from tests.conftest import MakeTenant, native_event
from tests.dashboards.test_budget_pages import IN_PLACE, text, words

SignIn = Callable[..., Client]
Post = Callable[..., dict[str, Any]]
LAST_DAY = datetime.now(UTC).replace(day=1) - timedelta(days=1)
LAST = f"{LAST_DAY:%Y-%m}"


@pytest.fixture
def usage(tenant: TenantInfo, post_events: Post) -> None:
    """Support and sales spend in the last month, and a third names nobody."""
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        create_department(code="support", name="Support", now=now)
        create_department(code="sales", name="Sales", now=now)
    last = LAST_DAY.isoformat()
    post_events(
        [
            native_event(department="support", timestamp=last),
            native_event(department="sales", timestamp=last),
            native_event(timestamp=last),
        ]
    )


def test_a_month_is_shown_and_each_statement_can_be_printed(
    tenant: TenantInfo, usage: None, sign_in: SignIn
) -> None:
    make_budget(tenant.id, "5", scope={"department": "support"})
    viewer = sign_in("viewer")
    html = text(viewer.get(f"/budgets/statements?month={LAST}"))
    assert "3 statements charge 0.000675 USD" in words(html)
    assert "no department" in html
    link = re.search(r'href="(/budgets/statements/department/\d+\?month=[\d-]+)">Support<', html)
    assert link is not None
    printed = words(text(viewer.get(link[1])))
    assert "Spend by model" in printed
    assert "Charged, USD 0.000225" in printed
    assert viewer.get(f"/budgets/statements/planet/1?month={LAST}").status_code == 404
    assert viewer.get(f"/budgets/statements/department/{2**62}?month={LAST}").status_code == 404


@pytest.mark.parametrize("query", ["month=nonsense", "month=2999-01", "payer=customer", "month="])
def test_odd_addresses_still_open_the_page(usage: None, sign_in: SignIn, query: str) -> None:
    assert "Who is charged what?" in text(sign_in("viewer").get(f"/budgets/statements?{query}"))


def test_costs_are_shared_and_the_split_stands_on_the_page(usage: None, sign_in: SignIn) -> None:
    admin = sign_in("admin")
    rule = {
        "name": "Overhead",
        "source": "unattributed",
        "rule": "fixed",
        "weights": "support=3, sales=1",
    }
    made = text(admin.post("/budgets/statements/sharing", rule, headers=IN_PLACE))
    assert "Overhead" in made
    html = words(text(admin.get(f"/budgets/statements?month={LAST}")))
    assert "Overhead: 0.000225 USD, shared by fixed shares" in html
    assert "Support 75.0% 0.000169" in html
    assert "no department" not in html
    number = re.search(r'name="rule_id" value="(\d+)"', made)
    assert number is not None
    ended = admin.post("/budgets/statements/sharing/end", {"rule_id": number[1]})
    assert "shared no more" in text(ended)
    again = admin.post("/budgets/statements/sharing/end", {"rule_id": number[1]})
    assert again.status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"weights": "support"}, "weights"),
        ({"weights": "support=x"}, "weights"),
        ({"weights": "mars=1"}, "weights"),
        ({"name": ""}, "name"),
        ({"source": "department", "value": "mars"}, "value"),
    ],
)
def test_a_rule_that_cannot_be_is_said_at_its_field(
    usage: None, sign_in: SignIn, change: dict[str, str], field: str
) -> None:
    rule = {"name": "A", "source": "unattributed", "rule": "fixed", "weights": "support=1"}
    html = text(sign_in("admin").post("/budgets/statements/sharing", rule | change), 422)
    assert f'id="share-{field}-error"' in html


def test_a_closed_month_stays_and_late_usage_is_an_adjustment(
    usage: None, sign_in: SignIn, post_events: Post
) -> None:
    admin = sign_in("admin")
    close = {"month": LAST, "reason": "month end"}
    done = text(admin.post("/budgets/statements/close", close))
    assert "Its statements are kept" in done
    before = text(admin.get(f"/budgets/statements?month={LAST}&format=csv"))
    post_events([native_event(department="support", timestamp=LAST_DAY.isoformat())])
    assert text(admin.get(f"/budgets/statements?month={LAST}&format=csv")) == before
    html = words(text(admin.get("/budgets/statements")))
    assert "0.000225 of it changes of closed months" in html
    refused = text(admin.post("/budgets/statements/close", close), 422)
    assert "closed already" in refused
    no_reason = admin.post("/budgets/statements/close", {"month": LAST, "reason": ""})
    assert no_reason.status_code == 422


def test_a_workbook_can_be_had(usage: None, sign_in: SignIn) -> None:
    answer = sign_in("viewer").get(f"/budgets/statements?month={LAST}&format=xlsx")
    assert answer["Content-Type"].endswith("spreadsheetml.sheet")
    assert answer.content[:2] == b"PK"


def test_viewers_close_and_share_nothing(usage: None, sign_in: SignIn) -> None:
    viewer = sign_in("viewer")
    assert "Close a month" not in text(viewer.get("/budgets/statements"))
    for address in ("close", "sharing", "sharing/end"):
        assert viewer.post(f"/budgets/statements/{address}", {"month": LAST}).status_code == 403


def test_another_tenants_statements_are_not_there(
    usage: None, make_tenant: MakeTenant, sign_in: SignIn
) -> None:
    stranger = sign_in("owner", make_tenant().id)
    html = text(stranger.get(f"/budgets/statements?month={LAST}"))
    assert "Nothing was spent" in html
