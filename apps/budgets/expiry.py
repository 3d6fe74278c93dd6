"""How holds end that nobody ended. Part of services."""

from datetime import datetime, timedelta
from typing import Final

from apps.budgets.book import budget_book
from apps.budgets.counters import Counters
from apps.budgets.lease_counters import end_lease, move_expiry
from apps.budgets.models import Hold
from apps.budgets.rebuild import counted_ttl_ms, counters_of
from apps.budgets.spent import read_parts
from apps.tenants.scoping import tenant_scope

SWEEP_PORTION: Final = 500
FORGOTTEN_AFTER: Final = timedelta(minutes=10)
# Usage is reported within a day.
CLAIMED_WITHIN: Final = timedelta(days=1)


def sweep(tenant_id: int, *, now: datetime) -> int:
    """End the holds that have run out, at their estimate; returns how many."""
    if not budget_book(tenant_id).budgets:
        return 0
    counters = counters_of(tenant_id, now=now)
    due = counters.expired(now, SWEEP_PORTION)
    if not due:
        return 0
    with tenant_scope(tenant_id):
        rows = Hold.objects.select_for_update().filter(decision_id__in=due).order_by("id")
        holds = {str(hold.decision_id): hold for hold in rows}
        for hold in holds.values():
            # A lease that was renewed runs on: the counters missed it.
            if hold.state == "open" and hold.expires_at <= now:
                hold.state, hold.ended_at = "expired", now
                hold.counted_parts = hold.parts if hold.left_parts is None else hold.left_parts
        Hold.objects.bulk_update(list(holds.values()), ["state", "ended_at", "counted_parts"])
    for decision_id in due:
        _end_in_counters(counters, decision_id, holds.get(decision_id), now=now)
    return len(due)


def _end_in_counters(
    counters: Counters, decision_id: str, hold: Hold | None, *, now: datetime
) -> None:
    ttl_ms = counted_ttl_ms(now, now)
    if hold is None:
        # Without an entry in the journal the caller never heard of it: nothing ran.
        counters.end_hold(decision_id)
    elif hold.state == "open":
        move_expiry(counters, decision_id, hold.expires_at)
    elif hold.router_id is None:
        counters.end_hold(decision_id, counted=read_parts(hold.counted_parts or ()), ttl_ms=ttl_ms)
    else:
        given_back = read_parts(hold.request.get("given_back", ()))
        end_lease(counters, decision_id, is_held=True, given_back=given_back, ttl_ms=ttl_ms)


def lapse_leases(tenant_id: int, *, now: datetime) -> int:
    """Give back what of leases nobody has claimed a day after they admitted their last; the
    journal keeps how much it was. Later usage counts like any other."""
    if not budget_book(tenant_id).budgets:
        return 0
    counters = counters_of(tenant_id, now=now)
    with tenant_scope(tenant_id):
        rows = Hold.objects.select_for_update().filter(
            router__isnull=False,
            state__in=["expired", "settled"],
            counted_parts__isnull=False,
            admits_until__lt=now - CLAIMED_WITHIN,
        )
        lapsed = list(rows.order_by("id")[:SWEEP_PORTION])
        for hold in lapsed:
            hold.state, hold.counted_parts = "released", None
        Hold.objects.bulk_update(lapsed, ["state", "counted_parts"])
    for hold in lapsed:
        counters.recount(str(hold.decision_id), [], ttl_ms=1)
    return len(lapsed)


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
