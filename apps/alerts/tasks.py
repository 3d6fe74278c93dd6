"""Celery's door to the services: no logic here."""

import threading

from celery import shared_task
from django.utils import timezone

from apps.alerts.delivery import deliver_due

# A worker's threads never all wait for receivers: one at a time sends, the others do other work.
_sending = threading.Lock()


@shared_task
def deliver_alerts() -> None:
    """Send the messages that are due."""
    if _sending.acquire(blocking=False):
        try:
            deliver_due(now=timezone.now())
        finally:
            _sending.release()
