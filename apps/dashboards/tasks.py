"""Celery's door to reports: no logic here."""

from celery import shared_task
from django.utils import timezone

from apps.dashboards.reports import make_due_reports


@shared_task
def make_reports() -> None:
    """Make the reports that are due."""
    make_due_reports(now=timezone.now())
