"""Departments: parents hold their children, and budgets burn down beside them."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.test import Client

from apps.dashboards.trends import burn_of, trend_of
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import create_department
from tests.budgets.asks import make_budget
from tests.conftest import native_event
from tests.dashboards.test_budget_pages import text, words

DAYS = [date(2026, 5, 1) + timedelta(days=n) for n in range(10)]


def test_a_parent_holds_its_children_and_its_budget_stands_beside_it(
    tenant: TenantInfo,
    post_events: Callable[..., dict[str, Any]],
    sign_in: Callable[..., Client],
) -> None:
    now = datetime.now(UTC)
    with tenant_scope(tenant.id):
        create_department(code="support", name="Support", now=now)
        create_department(code="desk", name="Help desk", now=now, parent_code="support")
        create_department(code="sales", name="Sales", now=now)
    post_events(
        [native_event(department=code) for code in ("desk", "desk", "Support", "sales")]
        + [native_event()]
    )
    make_budget(tenant.id, "0.0008", scope={"department": "support"})
    html = text(sign_in("viewer").get("/departments"))
    table = words(html[html.index('id="departments-table"') :])
    # 0.000225 a call: two of the desk's and one of its own, three of five.
    assert "Support 0.000225 itself 0.000675 60%" in table
    assert "Help desk 0.000450 40%" in table
    assert table.index("Support") < table.index("Help desk") < table.index("no department")
    support = table[table.index("Support") : table.index("Help desk")]
    assert "0.000800 USD, a month" in support
    assert "0.000125" in support
    # The figure has one bar for the tree, not one for each of its parts.
    figure = html[html.index('id="customer-json"') : html.index('id="departments-part"')]
    assert "Help desk" not in figure
    assert "Support" in figure


def test_a_trend_ends_where_the_data_does_and_starts_at_zero() -> None:
    by_day = {DAYS[1]: Decimal(2), DAYS[3]: Decimal(4)}
    trend = trend_of(by_day, DAYS)
    assert trend is not None
    assert trend.points.split() == ["2.0,16.0", "24.7,9.0", "47.3,16.0", "70.0,2.0"]
    assert trend_of({DAYS[0]: Decimal(1)}, DAYS) is None
    assert trend_of({}, DAYS) is None


def test_a_budget_burns_down_to_nothing_and_no_further() -> None:
    days = [(day, Decimal(40 * (n + 1)), n < 3) for n, day in enumerate(DAYS)]
    burn = burn_of(days, Decimal(100))
    assert burn is not None
    assert burn.left == 0
    assert [point.split(",")[1] for point in burn.points.split()] == ["2.0", "7.6", "13.2", "16.0"]
    assert burn_of(days, Decimal(0)) is None
