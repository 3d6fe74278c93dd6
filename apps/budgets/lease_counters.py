"""Leases in Redis: what a router may spend without asking, held like any reservation. Part of
services.

A lease is a hold whose parts shrink as its charges come (lua/apply.lua), and a member of its
router's set of leases, so that a router's share counts what it has and did not spend yet.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from apps.budgets.core.amounts import UNITS
from apps.budgets.counter_types import (
    CounterId,
    Leased,
    LeaseWanted,
    Refusal,
    Refused,
    Seen,
    Unready,
)
from apps.budgets.counters import Counters

# What Lua reckons exactly with; in money a million dollars.
MOST_COUNT: Final = 10**15


def lease(counters: Counters, wanted: LeaseWanted) -> Leased | Seen | Unready | Refused:
    """Set a share aside in every counter or in none."""
    most = [wanted.most[unit] for unit in UNITS]
    answer = counters.run(
        "lease",
        [
            "expiry",
            f"request:{wanted.request_id}",
            f"hold:{wanted.lease_id}",
            _leases_of(wanted.router_id),
        ],
        [
            int(wanted.expires_at.timestamp() * 1000),
            wanted.ttl_ms,
            wanted.lease_id,
            wanted.routers,
            wanted.share_percent,
            wanted.floor_percent,
            *("" if count is None else count for count in most),
            *(UNITS.index(unit) + 1 for _, unit in wanted.counters),
        ],
        counters=[counter for counter, _ in wanted.counters],
    )
    if answer[0] == "seen":
        return Seen(str(answer[1]))
    if answer[0] == "unready":
        return Unready(wanted.counters[int(answer[1]) - 1][0])
    if answer[0] == "refused":
        numbers = [int(value) for value in answer[1:]]
        groups = [numbers[n : n + 4] for n in range(0, len(numbers), 4)]
        return Refused(tuple(Refusal(place - 1, *rest) for place, *rest in groups))
    counts = (int(count) if count else None for count in answer[1:])
    return Leased(dict(zip(UNITS, counts, strict=True)))


def move_expiry(counters: Counters, lease_id: str, expires_at: datetime) -> None:
    """It is held for longer, if it still is."""
    counters.run("move_expiry", ["expiry"], [lease_id, int(expires_at.timestamp() * 1000)])


def end_lease(
    counters: Counters,
    lease_id: str,
    *,
    is_held: bool,
    given_back: Iterable[tuple[CounterId, int]],
    ttl_ms: int,
) -> None:
    """Free what is given back; what else nobody claimed yet counts until it is claimed. Nothing,
    where it is not held (or not counted) any more: another has done it."""
    counters.run(
        "end_lease",
        ["expiry", f"hold:{lease_id}", f"counted:{lease_id}"],
        [
            lease_id,
            "held" if is_held else "counted",
            counters.parts_text(given_back),
            max(ttl_ms, 1),
        ],
    )


def restore_lease(
    counters: Counters,
    *,
    lease_id: str,
    request_id: str,
    router_id: int,
    expires_at: datetime,
    ttl_ms: int,
    is_held: bool,
    parts: Iterable[tuple[CounterId, int]],
) -> None:
    """Put back what the journal says is not claimed yet."""
    counters.run(
        "restore_lease",
        [
            "expiry",
            f"request:{request_id}",
            f"hold:{lease_id}",
            f"counted:{lease_id}",
            "ended",
            _leases_of(router_id),
        ],
        [
            int(expires_at.timestamp() * 1000),
            max(ttl_ms, 1),
            lease_id,
            "held" if is_held else "counted",
            counters.parts_text(parts),
        ],
    )


def forget_takes(counters: Counters, takes: Iterable[tuple[int, str]]) -> None:
    """A snapshot saw these (commit, lease id): not to be taken again of what is restored."""
    fields = [f"take:{commit}:{lease_id}" for commit, lease_id in takes]
    if fields:
        counters.run("forget_takes", ["ended"], fields)


def _leases_of(router_id: int) -> str:
    return f"leases:{router_id}"
