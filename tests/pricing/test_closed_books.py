"""Months whose books are closed: no price within them appears, goes or changes."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError

from apps.pricing.errors import ClosedPeriodError
from apps.pricing.models import TenantRate
from apps.pricing.services import add_rate, change_rate, end_rate, withdraw_rate
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.tenants.services import write_books_closed_through
from tests.conftest import MakeTenant

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLOSED = datetime(2026, 10, 10, tzinfo=UTC)
OPEN = datetime(2026, 11, 10, tzinfo=UTC)


def add(model: str = "m", **fields: Any) -> int:
    given = {"effective_from": CLOSED, "price_usd_per_mtok": Decimal(2)} | fields
    return add_rate(
        provider="acme", model=model, meter="input_tokens", actor="a@b.c", now=NOW, **given
    )


@pytest.fixture
def rate_id(tenant: TenantInfo) -> int:
    """A rate that began in October, before October was closed."""
    with tenant_scope(tenant.id):
        rate_id = add()
    with tenant_scope(tenant.id):
        write_books_closed_through(date(2026, 10, 31))
    return rate_id


def test_rate_that_begins_in_a_closed_month_is_refused_with_the_reason(
    tenant: TenantInfo, rate_id: int
) -> None:
    for effective_from in (CLOSED, None):
        with (
            tenant_scope(tenant.id),
            pytest.raises(ClosedPeriodError, match="closed through 2026-10-31") as caught,
        ):
            add("other", effective_from=effective_from)
        assert caught.value.field == "effective_from"
    with tenant_scope(tenant.id):
        add("other", effective_from=OPEN)


def test_rate_can_change_or_end_in_the_open_month_only(tenant: TenantInfo, rate_id: int) -> None:
    change = {"price_usd_per_mtok": Decimal(3), "actor": "a@b.c", "now": NOW}
    with tenant_scope(tenant.id):
        for at in (CLOSED, datetime(2026, 10, 20, tzinfo=UTC)):
            with pytest.raises(ClosedPeriodError):
                change_rate(rate_id=rate_id, effective_from=at, **change)
            with pytest.raises(ClosedPeriodError):
                end_rate(rate_id=rate_id, effective_to=at.replace(day=25), actor="a", now=NOW)
        with pytest.raises(ClosedPeriodError):
            withdraw_rate(rate_id=rate_id, actor="a", now=NOW)
        newer = change_rate(rate_id=rate_id, effective_from=OPEN, **change)
        end_rate(rate_id=newer, effective_to=OPEN.replace(day=20), actor="a", now=NOW)


def test_month_ends_at_the_tenants_midnight(make_tenant: MakeTenant) -> None:
    tenant = make_tenant(time_zone="Asia/Kathmandu")
    midnight = datetime(2026, 10, 31, 18, 15, tzinfo=UTC)
    with tenant_scope(tenant.id):
        write_books_closed_through(date(2026, 10, 31))
        with pytest.raises(ClosedPeriodError):
            add(effective_from=midnight.replace(minute=14))
        add(effective_from=midnight)


def test_database_refuses_what_passes_by_the_services(tenant: TenantInfo, rate_id: int) -> None:
    def insert() -> None:
        with tenant_scope(tenant.id):
            row = TenantRate.objects.get(pk=rate_id)
            row.pk, row.model, row.recorded_revision = None, "sneaked-in", 10**9
            row.save()

    def raise_price() -> None:
        with tenant_scope(tenant.id):
            row = TenantRate.objects.get(pk=rate_id)
            TenantRate.objects.filter(pk=rate_id).update(closed_revision=10**9)
            row.pk, row.price_usd, row.recorded_revision = None, Decimal(9), 10**9
            row.save()

    for sneak in (insert, raise_price):
        with pytest.raises(IntegrityError, match="books are closed"):
            sneak()


def test_opened_again_everything_moves(tenant: TenantInfo, rate_id: int) -> None:
    with tenant_scope(tenant.id):
        write_books_closed_through(None)
        withdraw_rate(rate_id=rate_id, actor="a", now=NOW)
    with tenant_scope(tenant.id):
        assert TenantRate.objects.get(pk=rate_id).closed_revision is not None


def test_books_close_by_whole_months(tenant: TenantInfo) -> None:
    with pytest.raises(IntegrityError), tenant_scope(tenant.id):
        write_books_closed_through(date(2026, 10, 30))
