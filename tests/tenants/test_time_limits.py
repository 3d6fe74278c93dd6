"""Who is past a time limit gets no connection, and takes none from the others."""

import pytest
from django.db import OperationalError, connection

from apps.tenants.patience import time_limit
from apps.tenants.scoping import execute_in_scope
from apps.tenants.selectors import TenantInfo


def ask(tenant_id: int) -> int:
    rows = execute_in_scope(tenant_id, "SELECT 7", [], statement_limit_s=5.0)
    return int(rows[0][0])


def test_who_is_past_the_limit_leaves_the_pool_as_it_is(tenant: TenantInfo) -> None:
    assert ask(tenant.id) == 7
    connection.close()
    lost = connection.pool.get_stats().get("connections_lost", 0)
    with time_limit(0.0), pytest.raises(OperationalError, match="time limit was over"):
        ask(tenant.id)
    assert ask(tenant.id) == 7
    assert connection.pool.get_stats().get("connections_lost", 0) == lost


def test_little_time_left_is_no_sign_of_a_dead_connection(tenant: TenantInfo) -> None:
    assert ask(tenant.id) == 7
    connection.close()
    lost = connection.pool.get_stats().get("connections_lost", 0)
    with time_limit(0.001):
        # Had, if what comes next is in time or not.
        connection.ensure_connection()
    connection.close()
    assert connection.pool.get_stats().get("connections_lost", 0) == lost


def test_a_statement_ends_with_the_limit_and_the_next_gets_a_connection(
    tenant: TenantInfo,
) -> None:
    with time_limit(0.2), pytest.raises(OperationalError, match="within its time limit"):
        execute_in_scope(tenant.id, "SELECT pg_sleep(60)", [], statement_limit_s=60.0)
    assert ask(tenant.id) == 7
