"""The application's role in PostgreSQL: one that row-level security binds."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections
from psycopg import sql


def provision_app_role() -> None:
    """Create the application's role if there is none, and give it what it needs, as the owner."""
    app = settings.DATABASES["default"]
    role = sql.Identifier(app["USER"])
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [app["USER"]])
        if cursor.fetchone() is None:
            cursor.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} NOSUPERUSER NOBYPASSRLS").format(
                    role, sql.Literal(app["PASSWORD"] or None)
                )
            )
        for statement in (
            "GRANT USAGE ON SCHEMA public TO {}",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
            " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {}",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {}",
        ):
            cursor.execute(sql.SQL(statement).format(role))


def require_walled_role() -> None:
    """Raise ImproperlyConfigured if the application could look over the walls."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR rolbypassrls OR pg_has_role(tableowner, 'member')"
            " FROM pg_roles, pg_tables"
            " WHERE rolname = current_user AND tablename = 'tenants_tenant'"
        )
        row = cursor.fetchone()
    if row and row[0]:
        raise ImproperlyConfigured(
            "DATABASE_URL names a role that bypasses row-level security (a superuser or the"
            " tables' owner); give the owner's as DATABASE_OWNER_URL and a plain role here"
        )
