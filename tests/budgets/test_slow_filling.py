"""Counters that cannot be made in time: cloud is told that nothing is known, local runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection

from apps.budgets.book import budget_book
from apps.budgets.errors import BudgetsUnknown
from apps.budgets.services import BudgetTermsInput, create_budget
from apps.tenants.patience import time_limit
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo
from apps.usage.services import hold_folds
from tests.budgets.asks import hold, make_budget

LIMIT_S = 0.2


@contextmanager
def folds_held(tenant_id: int) -> Iterator[None]:
    """As while another folds a long queue."""
    is_held, is_over = threading.Event(), threading.Event()

    def fold() -> None:
        with tenant_scope(tenant_id):
            hold_folds(tenant_id)
            is_held.set()
            is_over.wait()
        connection.close()

    thread = threading.Thread(target=fold)
    thread.start()
    is_held.wait()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_counters_that_wait_for_a_fold_are_unknown(tenant: TenantInfo) -> None:
    make_budget(tenant.id, "100")
    terms = BudgetTermsInput(
        scope={}, period="day", unit="usd", amount=Decimal(1), on_limit="refuse"
    )
    with tenant_scope(tenant.id):
        create_budget(terms, actor="test", now=datetime.now(UTC))
    # What a busy machine is slow at is read before: here only the fold is waited for.
    budget_book(tenant.id)
    with folds_held(tenant.id), time_limit(LIMIT_S):
        with pytest.raises(BudgetsUnknown):
            hold(tenant.id, "0.4", request_id="cloud")
        local = hold(tenant.id, "0.4", kind="local")
    assert not local.is_held
    again = hold(tenant.id, "0.4", request_id="cloud")
    assert (again.is_held, again.is_repeat) == (True, False)
