"""Celery's doors to reports and letters: no logic here."""

from celery import shared_task
from django.utils import timezone

from apps.dashboards.reports.letters import make_due_reports
from apps.dashboards.setup.password_letters import LinkNotSentError, send_link


@shared_task
def make_reports() -> None:
    """Make the reports that are due."""
    make_due_reports(now=timezone.now())


@shared_task(autoretry_for=(LinkNotSentError,), retry_backoff=10, max_retries=4)
def send_password_link(email: str, base_url: str) -> None:
    """Send the link to a new password, if anybody has this address."""
    send_link(email, base_url)
