"""What a period inherits is summed once, and late changes still reach it, to the last digit."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.budgets import inheritance
from apps.budgets.book import forget_book, read_book
from apps.budgets.expiry import sweep
from apps.budgets.inheritance import read_inherited
from apps.budgets.models import Budget
from apps.budgets.rebuild import refresh_limits
from apps.budgets.services import add_top_up
from apps.pricing.services import change_rate
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.budgets.asks import balance, hold, make_budget
from tests.conftest import Key, native_event, roll_up
from tests.usage.repricing_steps import own_rate, reprice

Post = Callable[..., dict[str, Any]]
EVENT_COST = Decimal("0.000225")
DAY = timedelta(days=1)


@pytest.fixture
def now() -> datetime:
    """Noon: a day ago is yesterday, whatever the hour."""
    return datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture
def rolling(tenant: TenantInfo, now: datetime) -> int:
    """A USD a day since five days, what is left rolls over."""
    budget_id = make_budget(tenant.id, "1", period="day", rollover=True)
    with tenant_scope(tenant.id):
        Budget.objects.filter(pk=budget_id).update(
            created_at=now - 5 * DAY, changed_at=now - 5 * DAY
        )
    forget_book(tenant.id)
    return budget_id


def inherited(tenant: TenantInfo, budget_id: int, now: datetime) -> Decimal:
    """What today inherits; the same as one finds who remembers nothing."""
    with tenant_scope(tenant.id):
        book = read_book()
        today = book.budgets[budget_id].calendar.at(now)
        assert today is not None
        (found,) = read_inherited(book, [(budget_id, today)], now=now).values()
        remembered = inheritance._remembered.pop(tenant.id)
        (afresh,) = read_inherited(book, [(budget_id, today)], now=now).values()
        inheritance._remembered[tenant.id] = remembered
    assert found == afresh
    return found


def test_what_is_over_is_summed_once(
    tenant: TenantInfo, rolling: int, now: datetime, post_events: Post
) -> None:
    post_events([native_event(timestamp=(now - n * DAY).isoformat()) for n in range(1, 6)])
    assert inherited(tenant, rolling, now) == 5 - 5 * EVENT_COST
    with CaptureQueriesContext(connection) as queries:
        refresh_limits(tenant.id, now=now)
        refresh_limits(tenant.id, now=now)
    assert not [q["sql"] for q in queries.captured_queries if "usage_rollup" in q["sql"]]
    assert balance(tenant.id, rolling, at=now).limit == 6 * 10**9 - 5 * 225_000


def test_late_usage_repricing_and_ended_holds_still_reach_it(
    tenant: TenantInfo, key: Key, rolling: int, now: datetime, post_events: Post
) -> None:
    rate = own_rate(key, "1")
    assert inherited(tenant, rolling, now) == 5
    million = {"input_tokens": 1_000_000, "output_tokens": 0}
    old = (now - 3 * DAY).isoformat()
    ours = {"provider": "nobody", "model": "home-grown", "timestamp": old}
    post_events([native_event(**ours, usage={"input_tokens": 333_333, "output_tokens": 0})])
    assert inherited(tenant, rolling, now) == Decimal("4.666667")
    # Overspending of a day is not inherited: what the days before left of it is.
    post_events([native_event(**ours, usage=million) for _ in range(3)])
    assert inherited(tenant, rolling, now) == 2
    hold(tenant.id, "0.000000007", now=now - DAY, seconds=60)
    sweep(tenant.id, now=now)
    assert inherited(tenant, rolling, now) == 2 - Decimal("0.000000007")
    reprice_to(key, rate, "0.1")
    assert inherited(tenant, rolling, now) == 5 - Decimal("0.333333300") - Decimal("0.000000007")
    refresh_limits(tenant.id, now=now)
    assert balance(tenant.id, rolling, at=now).limit == 5_666_666_693


def test_a_top_up_of_a_day_that_is_over_reaches_it(
    tenant: TenantInfo, rolling: int, now: datetime
) -> None:
    assert inherited(tenant, rolling, now) == 5
    with tenant_scope(tenant.id):
        add_top_up(
            rolling,
            Decimal(2),
            starts_at=now - 2 * DAY,
            ends_at=datetime.now(UTC) + DAY,
            actor="t",
            reason="late",
            now=datetime.now(UTC),
        )
    assert inherited(tenant, rolling, now) == 9


def reprice_to(key: Key, rate_id: int, price: str) -> None:
    tenant_id = key.identity.tenant_id
    with tenant_scope(tenant_id):
        change_rate(
            rate_id=rate_id,
            price_usd_per_mtok=Decimal(price),
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
            actor="test",
            now=datetime.now(UTC),
        )
    reprice(key)
    roll_up(tenant_id)
