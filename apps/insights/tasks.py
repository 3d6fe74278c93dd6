"""Celery's door to the services: no logic here."""

import logging
from datetime import timedelta
from typing import Final

from celery import shared_task
from django.utils import timezone

from apps.insights.ticks import tick_tenant
from apps.usage.selectors import list_tenants_with_usage_since

logger = logging.getLogger(__name__)
# A tenant that fell silent is an outage for a while; then it is a tenant that left.
WATCHED_AFTER_LAST_USE: Final = timedelta(days=45)


@shared_task
def watch_spend() -> None:
    """Score every tenant's hours that are over, portion by portion, and look at the running one."""
    first_day = (timezone.now() - WATCHED_AFTER_LAST_USE).date()
    for tenant_id in list_tenants_with_usage_since(first_day):
        try:
            while tick_tenant(tenant_id, now=timezone.now()).hours:
                pass
        except Exception:
            # One tenant's trouble keeps no other waiting; its hours are due again.
            logger.exception("tenant %s: hours not scored", tenant_id)
