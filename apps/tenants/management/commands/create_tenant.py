"""`manage.py create_tenant`: a new organisation with its owner and a first router key."""

import getpass
import os
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from apps.tenants.core.access import ROUTER_SCOPES
from apps.tenants.errors import TenantsError
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import find_user_id
from apps.tenants.services import add_member, create_tenant, create_user, issue_api_key


class Command(BaseCommand):
    help = (
        "Create an organisation, its owner (a new or a known person), and a key for its first"
        " router. The password is asked for, or read from COSTBOARD_OWNER_PASSWORD."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--name", required=True)
        parser.add_argument("--time-zone", required=True, help="IANA name, e.g. Europe/Berlin")
        parser.add_argument("--owner", required=True, metavar="EMAIL")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        now = timezone.now()
        email = options["owner"].strip().lower()
        user_id = find_user_id(email)
        if user_id is None:
            user_id = create_user(email=email, password=self._ask_password(), now=now)
        try:
            tenant_id = create_tenant(name=options["name"], time_zone=options["time_zone"], now=now)
        except TenantsError as error:
            raise CommandError(str(error)) from error
        with tenant_scope(tenant_id):
            add_member(user_id=user_id, role="owner", now=now)
            secret = issue_api_key(name="first router", scopes=ROUTER_SCOPES, actor=email, now=now)
        self.stdout.write(f"tenant {tenant_id}: {options['name']}, owner {email}")
        self.stdout.write(f"API key (shown once): {secret}")

    def _ask_password(self) -> str:
        password = os.environ.get("COSTBOARD_OWNER_PASSWORD") or getpass.getpass("Password: ")
        try:
            validate_password(password)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        return password
