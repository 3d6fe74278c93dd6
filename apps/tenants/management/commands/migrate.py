"""`manage.py migrate`, as the owner of the tables, for an application role that is not."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as DjangoMigrate

from apps.tenants.database_roles import provision_app_role
from apps.tenants.first_run import needs_setup
from apps.tenants.management.commands.setup_link import setup_link


class Command(DjangoMigrate):
    def add_arguments(self, parser: Any) -> None:
        super().add_arguments(parser)
        parser.set_defaults(database="owner")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DATABASE_OWNER_URL:
            raise CommandError(
                "DATABASE_OWNER_URL is not set: migrations run as the owner of the tables, and"
                " DATABASE_URL is for the application's role, which row-level security binds"
            )
        if options["database"] == "owner":
            provision_app_role()
        super().handle(*args, **options)
        if options["verbosity"] and options["database"] == "owner" and needs_setup():
            self.stdout.write(f"Nobody can sign in yet. Make the first account: {setup_link()}")
