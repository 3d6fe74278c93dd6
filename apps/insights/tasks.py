"""Celery's door to the services: no logic here."""

import logging

from celery import shared_task
from django.utils import timezone

from apps.insights.ticks import tick_tenant
from apps.tenants.selectors import list_tenant_ids

logger = logging.getLogger(__name__)


@shared_task
def watch_spend() -> None:
    """Score every tenant's hours that are over, portion by portion, and look at the running one."""
    for tenant_id in list_tenant_ids():
        try:
            while tick_tenant(tenant_id, now=timezone.now()).hours:
                pass
        except Exception:
            # One tenant's trouble keeps no other waiting; its hours are due again.
            logger.exception("tenant %s: hours not scored", tenant_id)
