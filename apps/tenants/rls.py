"""Row-level security, as operations for migrations.

The application's role is not the tables' owner and cannot bypass these policies. With no tenant
set the comparison is with NULL: no row is seen and none can be written.
"""

from django.conf import settings
from django.db.migrations import RunSQL
from psycopg import sql

# A sub-select, so that PostgreSQL evaluates the setting once a query rather than once a row.
CURRENT_TENANT = "(SELECT NULLIF(current_setting('costboard.tenant_id', true), '')::bigint)"


def protect(table: str, *, column: str = "tenant_id") -> RunSQL:
    """Wall `table` by `column`."""
    rule = f"{column} = {CURRENT_TENANT}"
    return RunSQL(
        sql=(
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
            f"CREATE POLICY tenant_wall ON {table} USING ({rule}) WITH CHECK ({rule});"
        ),
        reverse_sql=(
            f"DROP POLICY tenant_wall ON {table}; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"
        ),
    )


def append_only(table: str, *, deletable: bool = False) -> RunSQL:
    """Take from the application the right to change (and delete) what it wrote."""
    verbs = "UPDATE, TRUNCATE" if deletable else "UPDATE, DELETE, TRUNCATE"
    role = app_role_identifier()
    return RunSQL(
        sql=f"REVOKE {verbs} ON {table} FROM {role};",
        reverse_sql=f"GRANT {verbs} ON {table} TO {role};",
    )


def door(signature: str, returns: str, body: str) -> RunSQL:
    """A narrow function that may look across tenants, for what must precede a scope.

    `signature` as in "find_api_key(hash bytea)". Runs as the tables' owner with a fixed
    search_path; only the application's role may call it.
    """
    role = app_role_identifier()
    name_and_types = signature
    return RunSQL(
        sql=(
            f"CREATE FUNCTION {signature} RETURNS {returns} LANGUAGE sql SECURITY DEFINER"
            f" SET search_path = public, pg_temp AS $body$ {body} $body$;"
            f"REVOKE ALL ON FUNCTION {name_and_types} FROM PUBLIC;"
            f"GRANT EXECUTE ON FUNCTION {name_and_types} TO {role};"
        ),
        reverse_sql=f"DROP FUNCTION {name_and_types};",
    )


def app_role_identifier() -> str:
    """The application's role, quoted for SQL."""
    return sql.Identifier(str(settings.DATABASES["default"]["USER"])).as_string()
