"""No tenant reads or writes another's rows: in Python, nor in PostgreSQL when Python is passed."""

from datetime import UTC, datetime

import pytest
from django.db import ProgrammingError, connection, connections

from apps.tenants.database_roles import require_walled_role
from apps.tenants.errors import CrossTenantError, UnscopedQueryError
from apps.tenants.models import Customer, Department, Tenant
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import list_customers
from apps.tenants.services import create_customer, create_department
from tests.conftest import MakeTenant

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_unscoped_query_raises(database: None) -> None:
    for model in (Customer, Department, Tenant):
        with pytest.raises(UnscopedQueryError):
            model.objects.count()


def test_scope_sees_its_own_tenant_alone(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    with tenant_scope(theirs.id):
        create_customer(external_id="c-1", name="Theirs", tier="premium", now=NOW)
    with tenant_scope(mine.id):
        assert list_customers() == []
        create_customer(external_id="c-1", name="Mine", tier="free", now=NOW)
        assert [customer.name for customer in list_customers()] == ["Mine"]


def test_another_tenants_scope_cannot_be_entered_from_within(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    with tenant_scope(mine.id), pytest.raises(CrossTenantError), tenant_scope(theirs.id):
        pass


def test_saving_another_tenants_row_is_refused(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    with tenant_scope(mine.id), pytest.raises(CrossTenantError):
        Customer(tenant_id=theirs.id, external_id="x", name="x", created_at=NOW).save()


def test_raw_sql_without_a_scope_sees_no_rows(make_tenant: MakeTenant) -> None:
    tenant = make_tenant()
    with tenant_scope(tenant.id):
        create_department(code="eng", name="Engineering", now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tenants_department")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM tenants_tenant")
        assert cursor.fetchone() == (0,)


def test_raw_sql_in_a_scope_cannot_write_for_another_tenant(make_tenant: MakeTenant) -> None:
    mine, theirs = make_tenant(), make_tenant()
    insert = (
        "INSERT INTO tenants_department (tenant_id, code, name, discovered, created_at)"
        " VALUES (%s, 'x', 'x', false, now())"
    )
    with (
        pytest.raises(ProgrammingError, match="row-level security"),
        tenant_scope(mine.id),
        connection.cursor() as cursor,
    ):
        cursor.execute(insert, [theirs.id])


def test_every_table_with_a_tenant_is_walled(database: None) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class AS c"
            " JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'"
            " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace"
            " AND NOT c.relrowsecurity"
        )
        assert cursor.fetchall() == []


def test_application_connects_as_a_role_that_cannot_bypass_the_walls(database: None) -> None:
    require_walled_role()
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert cursor.fetchone() == (False, False)


def test_ledger_partitions_have_no_door_of_their_own(database: None) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'usage_ledger'::regclass"
        )
        partitions = [row[0] for row in cursor.fetchall()]
    assert len(partitions) >= 15
    for partition in partitions[:3]:
        with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as c:
            c.execute(f"SELECT count(*) FROM {partition}")


@pytest.mark.parametrize("table", ["usage_ledger", "usage_identity", "tenants_auditentry"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET tenant_id = 1", "DELETE FROM {}"])
def test_history_cannot_be_rewritten(database: None, table: str, statement: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(statement.format(table))
