"""How holds end by word: settled at what the caller says, or released. Part of services.

A charge that names the decision is the last word, whenever it comes (watching.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, cast

from apps.budgets.book import budget_book
from apps.budgets.core.amounts import to_count
from apps.budgets.counter_types import CounterId, CountersLost
from apps.budgets.errors import HoldNotFound
from apps.budgets.models import Hold
from apps.budgets.rebuild import counted_ttl_ms, counters_of, forget_counters
from apps.budgets.spent import read_parts, write_parts
from apps.tenants.scoping import tenant_scope

HoldStatus = Literal["open", "settled", "released", "expired"]


@dataclass(frozen=True, slots=True)
class HoldState:
    """A reservation as the journal has it."""

    decision_id: str
    state: HoldStatus
    estimate_usd: Decimal
    settled_usd: Decimal | None
    expires_at: datetime


def settle(
    tenant_id: int, decision_id: str, *, cost_usd: Decimal, tokens: int, now: datetime
) -> HoldState:
    """End a hold at what the caller says it cost: that stands until its charge comes."""

    def counted(hold: Hold) -> list[tuple[CounterId, int]]:
        measures = {"usd": to_count(cost_usd, "usd"), "tokens": tokens, "requests": 1}
        units = {terms.id: terms.unit for terms in budget_book(tenant_id).budgets.values()}
        return [
            (counter, measures[units[counter.budget_id]])
            for counter, _ in read_parts(hold.parts)
            if counter.budget_id in units
        ]

    return _end(tenant_id, decision_id, "settled", counted, settled_usd=cost_usd, now=now)


def release(tenant_id: int, decision_id: str, *, now: datetime) -> HoldState:
    """End a hold of a request that did not run. A charge that comes all the same counts."""
    return _end(tenant_id, decision_id, "released", lambda _: [], settled_usd=None, now=now)


def _end(
    tenant_id: int,
    decision_id: str,
    state: str,
    counted: Callable[[Hold], list[tuple[CounterId, int]]],
    *,
    settled_usd: Decimal | None,
    now: datetime,
) -> HoldState:
    """The journal first; counters that miss it learn it when the hold runs out."""
    with tenant_scope(tenant_id):
        # A lease is returned (leases.py): it is not one request's.
        reservations = Hold.objects.select_for_update().filter(router__isnull=True)
        hold = reservations.filter(decision_id=decision_id).first()
        if hold is None:
            raise HoldNotFound(decision_id)
        was = hold.state
        if hold.charge_id is not None or was in ("settled", "released"):
            return _state_of(hold)
        parts = counted(hold)
        hold.state, hold.ended_at, hold.settled_usd = state, now, settled_usd
        hold.counted_parts = write_parts(parts) or None
        hold.save(update_fields=["state", "ended_at", "settled_usd", "counted_parts"])
    _tell_counters(tenant_id, hold, parts, was_expired=was == "expired", now=now)
    return _state_of(hold)


def _tell_counters(
    tenant_id: int,
    hold: Hold,
    parts: list[tuple[CounterId, int]],
    *,
    was_expired: bool,
    now: datetime,
) -> None:
    """Twice, because counters that were just made anew may not have seen the journal's change."""
    decision_id = str(hold.decision_id)
    ttl_ms = counted_ttl_ms(hold.expires_at, now)
    for _ in range(2):
        try:
            counters = counters_of(tenant_id, now=now)
            if was_expired:
                counters.recount(decision_id, parts, ttl_ms=ttl_ms)
            else:
                counters.end_hold(decision_id, counted=parts, ttl_ms=ttl_ms)
            return
        except CountersLost:
            forget_counters(tenant_id)


def _state_of(hold: Hold) -> HoldState:
    return HoldState(
        decision_id=str(hold.decision_id),
        state=cast("HoldStatus", hold.state),
        estimate_usd=hold.estimate_usd,
        settled_usd=hold.settled_usd,
        expires_at=hold.expires_at,
    )
