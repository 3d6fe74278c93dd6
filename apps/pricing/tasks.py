"""Celery's way in."""

from celery import shared_task
from django.utils import timezone

from apps.pricing import services


@shared_task(name="apps.pricing.tasks.sync_catalogue")
def sync_catalogue() -> None:
    services.sync_catalogue(now=timezone.now())
