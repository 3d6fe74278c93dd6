"""`manage.py sync_catalogue`: take the installed genai-prices into our tables."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.pricing.services import sync_catalogue


class Command(BaseCommand):
    help = "Make the price catalogue equal to the installed genai-prices; quick when it is."

    def handle(self, *_args: Any, **_options: Any) -> None:
        result = sync_catalogue(now=timezone.now())
        if result.changed:
            self.stdout.write(
                f"catalogue {result.package_version}, revision {result.revision}:"
                f" {result.rates_added} rates recorded, {result.rates_closed} closed"
            )
        else:
            self.stdout.write(f"catalogue {result.package_version} stands already")
