"""How holds end that nobody ended. Part of services."""

from datetime import datetime, timedelta
from typing import Final

from apps.budgets.book import budget_book
from apps.budgets.models import Hold
from apps.budgets.rebuild import counted_ttl_ms, counters_of
from apps.budgets.spent import read_parts
from apps.tenants.scoping import tenant_scope

SWEEP_PORTION: Final = 500
FORGOTTEN_AFTER: Final = timedelta(minutes=10)


def sweep(tenant_id: int, *, now: datetime) -> int:
    """End the holds that have run out, at their estimate; returns how many."""
    if not budget_book(tenant_id).budgets:
        return 0
    counters = counters_of(tenant_id, now=now)
    due = counters.expired(now, SWEEP_PORTION)
    if not due:
        return 0
    with tenant_scope(tenant_id):
        holds = {
            str(hold.decision_id): hold
            for hold in Hold.objects.select_for_update().filter(decision_id__in=due)
        }
        for hold in holds.values():
            if hold.state == "open":
                hold.state, hold.ended_at, hold.counted_parts = "expired", now, hold.parts
        Hold.objects.bulk_update(list(holds.values()), ["state", "ended_at", "counted_parts"])
    for decision_id in due:
        # Without an entry in the journal the caller never heard of it: nothing ran.
        hold_or_none = holds.get(decision_id)
        parts = (hold_or_none.counted_parts or ()) if hold_or_none else ()
        counters.end_hold(decision_id, counted=read_parts(parts), ttl_ms=counted_ttl_ms(now, now))
    return len(due)


def release_forgotten(tenant_id: int, *, now: datetime) -> int:
    """Release what the journal holds and the counters never got, long after it ran out: its caller
    was told of an error. What a charge settled is settled here by the fold, well before."""
    if not budget_book(tenant_id).budgets:
        return 0
    counters = counters_of(tenant_id, now=now)
    with tenant_scope(tenant_id):
        old = Hold.objects.filter(state="open", expires_at__lt=now - FORGOTTEN_AFTER)
        ids = [str(found) for found in old.values_list("decision_id", flat=True)[:SWEEP_PORTION]]
        forgotten = counters.not_held(ids)
        return Hold.objects.filter(decision_id__in=forgotten, state="open").update(
            state="released", ended_at=now
        )
