"""Celery's door to the services: no logic here."""

from celery import shared_task
from django.utils import timezone

from apps.tenants.selectors import list_tenant_ids
from apps.usage.selectors import list_tenants_with_pending_usage
from apps.usage.services import fold_pending, forget_old_minutes, prepare_partitions


@shared_task
def roll_up_pending_usage() -> None:
    """Fold what every tenant's routers posted since the last time."""
    now = timezone.now()
    for tenant_id in list_tenants_with_pending_usage():
        while fold_pending(tenant_id, now=now):
            pass


@shared_task
def maintain_ledger() -> None:
    """Make partitions ahead of time and drop minutes that no page shows."""
    now = timezone.now()
    prepare_partitions(now=now)
    for tenant_id in list_tenant_ids():
        forget_old_minutes(tenant_id, now=now)
