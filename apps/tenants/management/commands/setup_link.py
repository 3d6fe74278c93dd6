"""`manage.py setup_link`: where the first account is made."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from apps.tenants.first_run import needs_setup, setup_token


def setup_link() -> str:
    base = settings.PUBLIC_URL or "http://127.0.0.1:8000"
    return f"{base}/setup?token={setup_token()}"


class Command(BaseCommand):
    help = "Print the link under which the first account of an empty installation is made."

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        if needs_setup():
            self.stdout.write(setup_link())
        else:
            self.stdout.write("There are accounts already: sign in, or ask for an invitation.")
