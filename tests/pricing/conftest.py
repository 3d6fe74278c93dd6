"""Rate books for tests that need no tenant, and short ways to a tenant's own rates."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from apps.pricing.core.rating import RateBook
from apps.pricing.selectors import current_rate_book
from apps.pricing.services import add_rate
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from tests.conftest import MakeTenant

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SetRate = Callable[..., int]


@pytest.fixture
def catalogue_book(make_tenant: MakeTenant) -> RateBook:
    """The book of a tenant without own rates: the catalogue alone."""
    with tenant_scope(make_tenant().id):
        return current_rate_book()


@pytest.fixture
def set_rate(tenant: TenantInfo) -> SetRate:
    """Give the tenant an own rate: set_rate("input_tokens", "0.10", provider="local")."""

    def set_one(meter: str, price_usd_per_mtok: str, **options: Any) -> int:
        defaults = {"provider": "local", "model": "llama-3-70b", "effective_from": None}
        with tenant_scope(tenant.id):
            return add_rate(
                meter=meter,
                price_usd_per_mtok=Decimal(price_usd_per_mtok),
                actor="test",
                now=NOW,
                **(defaults | options),
            )

    return set_one


def book_of(tenant: TenantInfo) -> RateBook:
    with tenant_scope(tenant.id):
        return current_rate_book()
