"""Making counters from PostgreSQL: all of them when Redis lost them, or those of new budgets and
periods while the others go on. Part of services.

Folds are held, so that what is in the queue of commits stays there. Then counters are opened and
count what comes; then a snapshot is read; then they are filled with it, less what they have
counted themselves that the snapshot saw too. A commit that was folded before is in the snapshot,
and the counters know that they counted it (`folded`) or are of a later epoch than its ingest.
"""

import logging
import time
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import InterfaceError, OperationalError, connection
from django.db.models import Q

from apps.budgets.book import BudgetBook, budget_book, forget_book, live_periods, read_book
from apps.budgets.core.amounts import to_count
from apps.budgets.core.periods import Period
from apps.budgets.counter_types import CounterId, CountersLost, CountersUnreachable, Filling
from apps.budgets.counters import Counters, begin_epoch, find_counters
from apps.budgets.inheritance import read_inherited
from apps.budgets.lease_counters import forget_takes, restore_lease
from apps.budgets.models import Hold
from apps.budgets.spent import (
    Queued,
    count_commits,
    exact_amount,
    read_parts,
    read_pending_charges,
    read_spent,
)
from apps.tenants.patience import time_limit
from apps.tenants.scoping import tenant_scope
from apps.usage.commits import list_pending_commits
from apps.usage.services import fold_pending, hold_folds

logger = logging.getLogger(__name__)
# A counter outlives its period: late charges and holds admitted near its end still count there.
KEPT_AFTER: Final = timedelta(days=8)
MAX_FOLDS: Final = 1000

PAUSE_S: Final = 0.5
TELL_LIMIT_S: Final = 3.0
# Namespaces the advisory lock under which counters are told what they allow.
LIMITS_LOCK: Final = 0x11317

_known: dict[int, Counters] = {}
_ask_again_at: dict[int, float] = {}


def counters_of(tenant_id: int, *, now: datetime) -> Counters:
    """The tenant's counters, rebuilt if they are not there. Raises CountersLost if Redis is."""
    known = look_for_counters(tenant_id)
    if known is None:
        known = _known[tenant_id] = rebuild(tenant_id, now=now)
    return known


def look_for_counters(tenant_id: int, *, pauses: bool = True) -> Counters | None:
    """The counters that this process last saw, or finds; None when they must be rebuilt.

    Raises CountersUnreachable; with `pauses`, to everyone at once for a moment after Redis did not
    answer: what waits for it must not pile up.
    """
    known = _known.get(tenant_id)
    if known is None:
        if time.monotonic() < _ask_again_at.get(tenant_id, 0.0):
            raise CountersUnreachable
        try:
            known = find_counters(tenant_id)
        except CountersUnreachable:
            if pauses:
                _ask_again_at[tenant_id] = time.monotonic() + PAUSE_S
            raise
        if known is not None:
            _known[tenant_id] = known
    return known


def forget_counters(tenant_id: int) -> None:
    """Look for them anew next time: they turned out to be lost."""
    _known.pop(tenant_id, None)


def rebuild(tenant_id: int, *, now: datetime) -> Counters:
    """Make all of a tenant's counters anew, unless another process just did."""
    _drain(tenant_id, now=now)
    forget_book(tenant_id)
    book = budget_book(tenant_id)
    with tenant_scope(tenant_id):
        hold_folds(tenant_id)
        found = find_counters(tenant_id)
        if found is not None:
            return found
        counters = begin_epoch(tenant_id, uuid.uuid4().hex[:12])
        _fill(counters, book, live_periods(book.budgets.values(), now), now=now, restore=True)
    return counters


def prepare_counters(tenant_id: int, *, now: datetime) -> int:
    """Make the counters of new budgets and periods ahead of time; returns how many were missing."""
    book = budget_book(tenant_id)
    if not book.budgets:
        return 0
    counters = counters_of(tenant_id, now=now)
    periods = live_periods(book.budgets.values(), now)
    if not _missing(counters, periods):
        return 0
    _drain(tenant_id, now=now)
    with tenant_scope(tenant_id):
        hold_folds(tenant_id)
        missing = _missing(counters, periods)
        if missing:
            _fill(counters, book, missing, now=now, restore=False)
    return len(missing)


def refresh_limits(tenant_id: int, *, now: datetime) -> None:
    """Tell the counters what they allow now: amounts, top-ups and inheritance change with time."""
    if budget_book(tenant_id).budgets:
        _tell_limits(counters_of(tenant_id, now=now), now=now)


def tell_changed_limits(tenant_id: int, *, now: datetime) -> None:
    """As refresh_limits, at once after a change. Counters that are away are made with it; if Redis
    or PostgreSQL do not answer, the worker tells them."""
    try:
        counters = look_for_counters(tenant_id)
        if counters is not None:
            with time_limit(TELL_LIMIT_S):
                _tell_limits(counters, now=now)
    except CountersLost:
        forget_counters(tenant_id)
    except (InterfaceError, OperationalError):
        logger.warning("tenant %s: counters will be told of the change later", tenant_id)


def _tell_limits(counters: Counters, *, now: datetime) -> None:
    """One at a time, and each by what is committed when its turn comes: nobody tells what another
    has already told otherwise."""
    tenant_id = counters.tenant_id
    with tenant_scope(tenant_id):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LIMITS_LOCK, tenant_id])
        book = read_book()
        periods = live_periods(book.budgets.values(), now)
        limits = read_limits(book, periods, now=now)
        caps = {budget_id: terms.is_cap for budget_id, terms in book.budgets.items()}
        counters.set_limits({c: (limit, caps[c.budget_id]) for c, limit in limits})


def read_limits(
    book: BudgetBook, periods: Iterable[tuple[int, Period]], *, now: datetime
) -> list[tuple[CounterId, int]]:
    """What each budget's period allows, with what it inherited, in counts."""
    wanted = list(periods)
    inherited = read_inherited(book, wanted, now=now)
    limits = []
    for budget_id, period in wanted:
        terms, counter = book.budgets[budget_id], CounterId.of(budget_id, period)
        allowed = terms.allowed(period, now) + inherited.get(counter, Decimal(0))
        limits.append((counter, to_count(allowed, terms.unit)))
    return limits


def _drain(tenant_id: int, *, now: datetime) -> None:
    """Fold what is in the queue first: the less the snapshot must read by itself."""
    for _ in range(MAX_FOLDS):
        if not fold_pending(tenant_id, now=now):
            return


def _missing(counters: Counters, periods: Sequence[tuple[int, Period]]) -> list[tuple[int, Period]]:
    ids = [CounterId.of(budget_id, period) for budget_id, period in periods]
    there = counters.balances(ids)
    return [
        wanted
        for wanted, counter in zip(periods, ids, strict=True)
        if counter not in there or not there[counter].is_ready
    ]


def _fill(
    counters: Counters,
    book: BudgetBook,
    periods: Sequence[tuple[int, Period]],
    *,
    now: datetime,
    restore: bool,
) -> None:
    """Open, read, fill. Folds are held."""
    ids = [CounterId.of(budget_id, period) for budget_id, period in periods]
    counters.begin_filling(ids)
    queue = list_pending_commits()
    pending = read_pending_charges(queue)
    # Nobody may count these again later: the counters that are filled have them from here on.
    queued = count_commits(book, pending)
    for counts in queued:
        counters.apply(counts.commit_number, counts.decision_ids, counts.amounts, counts.takes)
    spent = read_spent(book, periods, pending)
    limits = dict(read_limits(book, periods, now=now))
    if restore:
        forget_takes(counters, ((each.commit_number, of) for each in queued for of in each.takes))
        _restore_holds(counters, Queued.of(queued), now=now)
    counters.fill(
        {
            counter: Filling(
                limit=limits[counter],
                is_cap=book.budgets[counter.budget_id].is_cap,
                spent=exact_amount(spent[counter], book.budgets[counter.budget_id].unit),
                ttl_ms=_milliseconds(max(period.end, now) + KEPT_AFTER - now),
            )
            for counter, (_, period) in zip(ids, periods, strict=True)
        },
        seen=queue,
    )
    counters.end_filling()


def _restore_holds(counters: Counters, queued: Queued, *, now: datetime) -> None:
    """Put back what the journal says is held, or counted in place of a charge; not what the queue
    is about to settle or claim."""
    rows = Hold.objects.filter(Q(state="open") | Q(counted_parts__isnull=False))
    for hold in rows.order_by("id").iterator(chunk_size=2000):
        decision_id = str(hold.decision_id)
        if decision_id in queued.settled:
            continue
        is_held = hold.state == "open"
        if hold.router_id is not None:
            left = hold.left_parts if is_held else hold.counted_parts
            restore_lease(
                counters,
                lease_id=decision_id,
                request_id=hold.request_id,
                router_id=hold.router_id,
                expires_at=hold.expires_at,
                ttl_ms=counted_ttl_ms(hold.expires_at, now),
                is_held=is_held,
                parts=queued.unclaimed(decision_id, read_parts(left or ())),
            )
            continue
        counters.restore(
            decision_id=decision_id,
            request_id=hold.request_id,
            expires_at=hold.expires_at,
            ttl_ms=counted_ttl_ms(hold.expires_at, now),
            is_held=is_held,
            parts=read_parts(hold.parts if is_held else hold.counted_parts or ()),
        )


def counted_ttl_ms(expires_at: datetime, now: datetime) -> int:
    """How long the counters remember what is counted in place of a charge."""
    return (max(expires_at, now) + KEPT_AFTER - now) // timedelta(milliseconds=1)


def _milliseconds(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


__all__ = [
    "CountersLost",
    "CountersUnreachable",
    "counted_ttl_ms",
    "counters_of",
    "forget_counters",
    "look_for_counters",
    "prepare_counters",
    "read_limits",
    "rebuild",
    "refresh_limits",
    "tell_changed_limits",
]
