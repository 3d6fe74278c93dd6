"""Leases as the journal has them. Part of selectors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from django.db.models import Q

from apps.budgets.book import budget_book
from apps.budgets.core.amounts import from_count
from apps.budgets.counter_types import CounterId
from apps.budgets.errors import HoldNotFound
from apps.budgets.models import Hold
from apps.budgets.spent import read_parts

MOST_LISTED: Final = 200

LeaseState = Literal["open", "closing", "returned", "expired", "lapsed"]
_STATES: Final[dict[str, LeaseState]] = {
    "open": "open",
    "settled": "returned",
    "expired": "expired",
    "released": "lapsed",
}


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as the journal has it. Counts of tokens and requests are None where nothing bounds
    them. `unclaimed_usd` is what no folded charge has claimed. Requests of `except_for` scopes
    need a reservation of their own."""

    lease_id: str
    router_id: int
    state: LeaseState
    usd: Decimal
    tokens: int | None
    requests: int | None
    unclaimed_usd: Decimal
    admits_until: datetime
    held_until: datetime
    budgets: tuple[int, ...]
    except_for: tuple[dict[str, str], ...]
    is_repeat: bool = False


def list_leases(*, now: datetime) -> list[Lease]:
    """The tenant in scope's leases that may still be claimed, newest first."""
    rows = Hold.objects.filter(router__isnull=False)
    rows = rows.filter(Q(state="open") | Q(counted_parts__isnull=False))
    return [lease_of(row, now=now) for row in rows.order_by("-admitted_at")[:MOST_LISTED]]


def lease_of(row: Hold, *, now: datetime, is_repeat: bool = False) -> Lease:
    if row.router_id is None or row.admits_until is None:
        raise HoldNotFound(str(row.decision_id))
    granted: dict[str, Any] = row.request
    state = _STATES[row.state]
    left = read_parts(row.left_parts or ())
    dollars = _dollar_counts(row, left)
    return Lease(
        lease_id=str(row.decision_id),
        router_id=row.router_id,
        state="closing" if state == "open" and row.admits_until <= now else state,
        usd=row.estimate_usd,
        tokens=granted["tokens"],
        requests=granted["requests"],
        unclaimed_usd=from_count(max(dollars, default=0), "usd"),
        admits_until=row.admits_until,
        held_until=row.expires_at,
        budgets=tuple(counter.budget_id for counter, _ in read_parts(row.parts)),
        except_for=tuple(granted["except_for"]),
        is_repeat=is_repeat,
    )


def _dollar_counts(row: Hold, left: Sequence[tuple[CounterId, int]]) -> list[int]:
    units = {terms.id: terms.unit for terms in budget_book(row.tenant_id).budgets.values()}
    return [count for counter, count in left if units.get(counter.budget_id) == "usd"]


def read_leased(counters: Iterable[CounterId]) -> dict[CounterId, int]:
    """What of each counter routers may still spend without asking, by what is folded: a part of
    what is held."""
    wanted = set(counters)
    leased = dict.fromkeys(wanted, 0)
    rows = Hold.objects.filter(router__isnull=False, state="open")
    for left_parts in rows.values_list("left_parts", flat=True):
        for counter, count in read_parts(left_parts or ()):
            if counter in wanted:
                leased[counter] += count
    return leased
