"""Celery's door to the services: no logic here."""

import logging

from celery import shared_task
from django.utils import timezone

from apps.routing.decision_log import forget_old_decisions, store_decisions
from apps.routing.planning import pace_policy
from apps.routing.selectors import list_tenants_with_routing

logger = logging.getLogger(__name__)


@shared_task
def pace_policies() -> None:
    """Move every policy's prices with what was spent; plan where it is time to."""
    for tenant_id in list_tenants_with_routing():
        try:
            pace_policy(tenant_id, now=timezone.now())
        except Exception:
            # One tenant's trouble is not the next one's; its last prices stand.
            logger.exception("tenant %s: prices were not paced", tenant_id)


@shared_task
def store_routing_decisions() -> None:
    """Write down what was decided."""
    while store_decisions():
        pass


@shared_task
def forget_routing_decisions() -> None:
    """Delete decisions of long ago."""
    for tenant_id in list_tenants_with_routing():
        forget_old_decisions(tenant_id, now=timezone.now())
