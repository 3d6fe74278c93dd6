"""Budgets keep up with usage: each commit is counted once, as soon as it is durable. Part of
services."""

import logging
import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.budgets.activity import note_changes, note_reserved
from apps.budgets.book import BudgetBook, budget_book, forget_book, has_budgets
from apps.budgets.counter_client import in_a_hurry
from apps.budgets.counter_types import CountersLost, CountersUnreachable
from apps.budgets.counters import Counters
from apps.budgets.models import Carry, Hold
from apps.budgets.rebuild import forget_counters, look_for_counters
from apps.budgets.spent import (
    CommitCounts,
    Queued,
    count_commits,
    decision_uuid,
    find_carries,
    read_parts,
    read_pending_charges,
    write_parts,
)
from apps.tenants.scoping import tenant_scope
from apps.usage.backpressure import TELL_SHARE
from apps.usage.commits import CommitCharge

logger = logging.getLogger(__name__)
# After Redis did not answer in time, ingest does not wait for it again for so long.
QUIET_S: Final = 0.5
# Longer than any ingest takes between its commit and its word of it.
LATE_WORD: Final = timedelta(minutes=15)


class BudgetWatcher:
    """Told of commits by usage (apps/usage/watching.py).

    What ingest waits for Redis comes out of its own time limit, so it is short: the fold counts
    what ingest could not.
    """

    def __init__(self) -> None:
        # By tenant: until when ingest leaves Redis alone (monotonic).
        self._quiet_until: dict[int, float] = {}

    def before_commit(self, tenant_id: int) -> Counters | None:
        """The counters as they are before the commit: if others stand after it, they were made
        since, and whoever made them knows whether this commit is in them."""
        if not budget_book(tenant_id).budgets:
            return None
        if time.monotonic() < self._quiet_until.get(tenant_id, 0.0):
            return None
        try:
            with in_a_hurry(settings.INGEST_TIME_LIMIT_S * TELL_SHARE):
                return look_for_counters(tenant_id, pauses=False)
        except CountersUnreachable:
            self._leave_alone(tenant_id)
        except CountersLost:
            pass
        return None

    def after_commit(self, tenant_id: int, commit_number: int, token: object) -> None:
        """Count it. If that fails, or takes too long, its fold does."""
        if not isinstance(token, Counters):
            return
        book = budget_book(tenant_id)
        with tenant_scope(tenant_id):
            counts = count_commits(book, read_pending_charges([commit_number]))
        try:
            with in_a_hurry(settings.INGEST_TIME_LIMIT_S * TELL_SHARE):
                for each in counts:
                    token.apply(each.commit_number, each.decision_ids, each.amounts, each.takes)
        except CountersUnreachable:
            forget_counters(tenant_id)
            self._leave_alone(tenant_id)
        except CountersLost:
            forget_counters(tenant_id)

    def _leave_alone(self, tenant_id: int) -> None:
        self._quiet_until[tenant_id] = time.monotonic() + QUIET_S

    def before_fold(self, tenant_id: int, commit_numbers: Sequence[int]) -> None:
        """Count what ingest did not, and write down in the journal what the charges settle."""
        if not has_budgets():
            return
        # Read anew, under the fold's lock: a budget made a moment ago must not miss this fold.
        forget_book(tenant_id)
        book = budget_book(tenant_id)
        now = timezone.now()
        charges = read_pending_charges(commit_numbers)
        counts = count_commits(book, charges)
        _count_folding(tenant_id, counts, now=now)
        note_changes(book, counts)
        _settle_in_journal(book, charges, now=now)
        _claim_leases(book, charges, counts)
        Carry.objects.bulk_create(
            [
                Carry(
                    tenant_id=tenant_id,
                    charge_id=carry.charge_id,
                    budget_id=carry.budget_id,
                    from_start=carry.from_start,
                    to_start=carry.to_start,
                    amount=carry.amount,
                )
                for carry in find_carries(book, charges)
            ],
            ignore_conflicts=True,
        )


def _count_folding(tenant_id: int, counts: Sequence[CommitCounts], *, now: datetime) -> None:
    """Count what ingest did not. Counters that are lost need nothing: what is folded is in the
    snapshot that they will be made from. While that is not known, the fold must wait."""
    for _ in range(2):
        counters = look_for_counters(tenant_id)
        if counters is None:
            return
        try:
            for each in counts:
                counters.apply(each.commit_number, each.decision_ids, each.amounts, each.takes)
        except CountersUnreachable:
            raise
        except CountersLost:
            forget_counters(tenant_id)
            continue
        numbers = [each.commit_number for each in counts]
        transaction.on_commit(partial(_note_folded, counters, numbers, now))
        return


def _note_folded(counters: Counters, commit_numbers: Sequence[int], now: datetime) -> None:
    try:
        counters.note_folded(commit_numbers, now=now, forget_before=now - LATE_WORD)
    except CountersLost:
        logger.info("budget counters were lost after a fold; they will be made anew")


def _settle_in_journal(book: BudgetBook, charges: Sequence[CommitCharge], *, now: datetime) -> None:
    """The first charge of a decision settles its hold, open or not."""
    first: dict[uuid.UUID, CommitCharge] = {}
    for charge in sorted(charges, key=lambda charge: charge.charge_id):
        decision_id = decision_uuid(charge.decision_id)
        if decision_id is not None:
            first.setdefault(decision_id, charge)
    if not first:
        return
    unsettled = Hold.objects.filter(charge_id__isnull=True, router__isnull=True)
    holds = list(unsettled.filter(decision_id__in=first))
    for hold in holds:
        charge = first[hold.decision_id]
        hold.state = "settled"
        hold.ended_at = hold.ended_at or now
        hold.charge_id = charge.charge_id
        hold.settled_usd = charge.volume.cost_usd
        hold.counted_parts = None
    Hold.objects.bulk_update(
        holds, ["state", "ended_at", "charge_id", "settled_usd", "counted_parts"], batch_size=1000
    )
    note_reserved(book, [(hold, first[hold.decision_id].volume) for hold in holds])


def _claim_leases(
    book: BudgetBook, charges: Sequence[CommitCharge], counts: Sequence[CommitCounts]
) -> None:
    """Take what these commits were spent under leases from what is left of those."""
    queued = Queued.of(counts)
    if not queued.taken:
        return
    rows = Hold.objects.select_for_update().filter(decision_id__in=queued.taken)
    leases = {str(row.decision_id): row for row in rows.order_by("id")}
    for decision_id, row in leases.items():
        for name in ("left_parts", "counted_parts"):
            parts = getattr(row, name)
            if parts is not None:
                left = queued.unclaimed(decision_id, read_parts(parts))
                setattr(row, name, write_parts(left))
    Hold.objects.bulk_update(list(leases.values()), ["left_parts", "counted_parts"])
    claimed = (
        (lease, charge.volume)
        for charge in charges
        if charge.volume.requests > 0
        and (lease := leases.get(str(decision_uuid(charge.decision_id)))) is not None
    )
    note_reserved(book, claimed)
