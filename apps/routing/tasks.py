"""Celery's door to the services: no logic here."""

import logging
from datetime import timedelta
from typing import Final

from celery import shared_task
from django.utils import timezone

from apps.routing.decision_log import forget_old_decisions, store_decisions
from apps.routing.hindsights import look_back_at_due
from apps.routing.opportunities import is_due, recompute
from apps.routing.opportunity_actions import measure_accepted
from apps.routing.planning import pace_policy
from apps.routing.selectors import list_tenants_with_routing
from apps.routing.simulations import (
    continue_simulations,
    list_tenants_with_waiting_simulation,
    run_simulation,
)
from apps.usage.selectors import list_tenants_with_usage_since

logger = logging.getLogger(__name__)
IN_USE: Final = timedelta(days=35)


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


@shared_task
def simulate_window(tenant_id: int, simulation_id: int) -> None:
    """Run one simulation that was asked for."""
    run_simulation(tenant_id, simulation_id, now=timezone.now())


@shared_task
def continue_waiting_simulations() -> None:
    """Run the replays that a dead worker left behind."""
    for tenant_id in list_tenants_with_waiting_simulation():
        continue_simulations(tenant_id, now=timezone.now())


@shared_task
def find_tenant_opportunities(tenant_id: int) -> None:
    """Find one tenant's opportunities anew, as somebody asked for it."""
    recompute(tenant_id, now=timezone.now())


@shared_task
def look_for_savings() -> None:
    """Each tenant's opportunities, what accepted ones saved, and its closed days in hindsight: once
    a local day."""
    now = timezone.now()
    for tenant_id in list_tenants_with_usage_since((now - IN_USE).date()):
        try:
            if is_due(tenant_id, now=timezone.now()):
                recompute(tenant_id, now=timezone.now())
                measure_accepted(tenant_id, now=timezone.now())
                look_back_at_due(tenant_id, now=timezone.now())
        except Exception:
            # One tenant's trouble keeps no other waiting; it is due again.
            logger.exception("tenant %s: no opportunities looked for", tenant_id)
