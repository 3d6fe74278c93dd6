"""Celery's door to the services: no logic here."""

from datetime import datetime
from typing import Any

from celery import shared_task
from django.utils import timezone

from apps.tenants.selectors import list_tenant_ids
from apps.usage.hardware_costs import close_due_hours
from apps.usage.hardware_provisional import refresh_provisional_rates
from apps.usage.identities import keep_segments
from apps.usage.imports import (
    continue_import,
    forget_stale_uploads,
    list_tenants_with_running_import,
)
from apps.usage.repricing import continue_repricing, list_tenants_with_running_repricing
from apps.usage.repricing_requests import answer_request
from apps.usage.selectors import list_tenants_with_pending_usage
from apps.usage.services import fold_pending, forget_old_minutes, prepare_partitions

REPRICING_SECONDS = 1.0
IMPORT_SECONDS = 2.0


@shared_task
def roll_up_pending_usage() -> None:
    """Fold what every tenant's routers posted since the last time."""
    now = timezone.now()
    for tenant_id in list_tenants_with_pending_usage():
        while fold_pending(tenant_id, now=now):
            pass


@shared_task
def maintain_ledger() -> None:
    """Make partitions ahead of time and let go of minutes that no page shows and of
    uploads that nobody went on with."""
    now = timezone.now()
    prepare_partitions(now=now)
    for tenant_id in list_tenant_ids():
        forget_old_minutes(tenant_id, now=now)
        forget_stale_uploads(tenant_id, now=now)


@shared_task
def keep_identity_segments() -> None:
    """Seal the segment of identities that is full; make the filters that sealed ones lack."""
    keep_segments(now=timezone.now())


@shared_task
def continue_repricings() -> None:
    """Go on with every tenant's running repricing for a moment: the next beat does the rest, so
    that a repricing keeps no other work waiting and a killed worker costs it a second."""
    for tenant_id in list_tenants_with_running_repricing():
        continue_repricing(tenant_id, now=timezone.now(), seconds=REPRICING_SECONDS)


@shared_task
def continue_imports() -> None:
    """Go on with every tenant's oldest upload for a moment, as with repricings."""
    for tenant_id in list_tenants_with_running_import():
        continue_import(tenant_id, clock=timezone.now, seconds=IMPORT_SECONDS)


@shared_task
def draft_repricing(tenant_id: int, wanted: dict[str, Any], actor: str, asked_at: str) -> None:
    """Make the dry run asked for at that moment, which names it."""
    answer_request(tenant_id, wanted, actor=actor, now=datetime.fromisoformat(asked_at))


@shared_task
def close_hardware_hours() -> None:
    """Charge what own hardware's hours cost that are over; what a crash left is due again."""
    for tenant_id in list_tenant_ids():
        close_due_hours(tenant_id, now=timezone.now())
        refresh_provisional_rates(tenant_id, now=timezone.now())
