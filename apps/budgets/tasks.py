"""Celery's door to the services: no logic here."""

import logging

from celery import shared_task
from django.utils import timezone

from apps.budgets.book import list_tenants_with_budgets
from apps.budgets.counter_types import CountersLost
from apps.budgets.counters import forget_old_epochs
from apps.budgets.expiry import lapse_leases, release_forgotten, sweep
from apps.budgets.projections import refresh_projections
from apps.budgets.rebuild import (
    counters_of,
    forget_counters,
    prepare_counters,
    refresh_limits,
)
from apps.budgets.thresholds import check_thresholds

logger = logging.getLogger(__name__)


@shared_task
def keep_counters() -> None:
    """End what has run out, prepare the periods to come, tell counters what they allow now."""
    for tenant_id in list_tenants_with_budgets():
        now = timezone.now()
        try:
            while sweep(tenant_id, now=now):
                pass
            release_forgotten(tenant_id, now=now)
            lapse_leases(tenant_id, now=now)
            prepare_counters(tenant_id, now=now)
            refresh_limits(tenant_id, now=now)
        except CountersLost:
            forget_counters(tenant_id)
            logger.warning("tenant %s: budget counters are not there; they will be", tenant_id)


@shared_task
def forget_old_counters() -> None:
    """Delete what lives of counters before the present one left behind."""
    for tenant_id in list_tenants_with_budgets():
        try:
            forget_old_epochs(counters_of(tenant_id, now=timezone.now()))
        except CountersLost:
            forget_counters(tenant_id)


@shared_task
def tell_thresholds() -> None:
    """Tell what budgets reached."""
    for tenant_id in list_tenants_with_budgets():
        try:
            check_thresholds(tenant_id, now=timezone.now())
        except Exception:
            # One tenant's trouble is not the next one's; what was not told is told next time.
            logger.exception("tenant %s: thresholds were not looked at", tenant_id)


@shared_task
def project_budgets() -> None:
    """Keep at hand how budgets are expected to end."""
    for tenant_id in list_tenants_with_budgets():
        try:
            refresh_projections(tenant_id, now=timezone.now())
        except Exception:
            logger.exception("tenant %s: budgets were not projected", tenant_id)
