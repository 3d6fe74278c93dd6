"""The only writer of usage. Ingest reads as a list of steps; the parts stand beside this file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import msgspec
from django.conf import settings
from django.db import IntegrityError, InterfaceError, OperationalError
from django.utils import timezone

from apps.pricing.core.rating import RateBook
from apps.pricing.selectors import (
    current_rate_book,
    remember_catalogue,
    remembered_rate_book,
)
from apps.tenants.core.access import KeyIdentity
from apps.tenants.patience import give_back_connection, time_limit
from apps.tenants.scoping import tenant_scope
from apps.usage.attribution import current_rules
from apps.usage.backpressure import (
    COMMIT_SHARE,
    LEARN_SHARE,
    QUEUE_SHARE,
    SERVER_SHARE,
    OverloadedError,
    breaker,
)
from apps.usage.core.admission import admit
from apps.usage.core.attribution import Attributes, AttributionRules
from apps.usage.core.events import Parsed, Rejection
from apps.usage.core.rating import event_cost_units
from apps.usage.group_commit import GroupCommit
from apps.usage.identities import remember_filters
from apps.usage.ledger import (
    MAX_ROWS_PER_COMMIT,
    Seen,
    StagedEvent,
    Written,
    ensure_partitions,
    write_commit,
)
from apps.usage.reconciliation import Reconciliation, reconcile_usage
from apps.usage.rollups import fold_pending, forget_old_minutes, hold_folds
from apps.usage.selectors import list_tenants_with_usage_since
from apps.usage.slices import (
    Dimensions,
    Slice,
    SliceCache,
    dimensions_of,
    intern_slices,
    with_names,
)
from apps.usage.watching import after_commit, before_commit

__all__ = [
    "CommitGroup",
    "IngestOutcome",
    "Reconciliation",
    "fold_pending",
    "forget_old_minutes",
    "get_ready",
    "hold_folds",
    "ingest_events",
    "prepare_partitions",
    "reconcile_usage",
    "write_group",
]

PARTITIONS_AHEAD = timedelta(days=92)
# Whose rates a process reads when it starts, before it answers anyone.
IN_USE = timedelta(days=7)
MAX_TENANTS_READY = 100
GET_READY_LIMIT_S = 10
_slices = SliceCache()


@dataclass(frozen=True, slots=True)
class CommitGroup:
    """What rows of one commit have in common: the wall they are behind, the rates they cost."""

    tenant_id: int
    rate_revision: int


class IngestOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a body: the wire's answer."""

    accepted: int
    duplicates: int
    rejected: list[Rejection]


# Writes rows of one group in one transaction; returns those that were seen before.
Commit = Callable[[CommitGroup, Sequence[StagedEvent]], list[tuple[int, Seen]]]


def ingest_events(
    key: KeyIdentity, parsed: Parsed, *, now: datetime, commit: Commit | None = None
) -> IngestOutcome:
    """Rate and write a body's good rows for the key's tenant; durable when this returns.

    Rows already in the ledger are duplicates if their content is the same, else refused as
    conflicts: the first stands. `commit` writes in a transaction of the caller's (with write_group,
    beside what has to stand or fall with the rows) instead of sharing one with other requests.
    Raises OverloadedError or OperationalError within INGEST_TIME_LIMIT_S when the database does not
    keep up.
    """
    admitted = admit(parsed, now=now)
    if not admitted.events:
        return IngestOutcome(accepted=0, duplicates=0, rejected=_by_row(admitted.rejections))
    with breaker.guard(key.tenant_id):
        try:
            staged, rate_revision = _rate(key, admitted)
            seen = _commit(CommitGroup(key.tenant_id, rate_revision), staged, commit)
        except TimeoutError as error:
            raise OverloadedError(f"{error}; send it again a little later") from error
    conflicts = [
        _refuse_conflict(admitted, row)
        for row, how in seen
        if how is Seen.OTHER_CONTENT and not admitted.events[row].is_told_by_several_spans
    ]
    return IngestOutcome(
        accepted=len(staged) - len(seen),
        duplicates=len(seen) - len(conflicts),
        rejected=_by_row(admitted.rejections + conflicts),
    )


def prepare_partitions(*, now: datetime) -> int:
    """Make the ledger's partitions for the months to come; returns how many were missing."""
    return ensure_partitions(now, now + PARTITIONS_AHEAD)


def get_ready(*, now: datetime) -> None:
    """Read what a process that starts would else read while its first requests wait: the catalogue,
    the filters of identities, and the rates and rules of tenants in use.

    Raises OperationalError when the database does not answer within GET_READY_LIMIT_S.
    """
    with time_limit(GET_READY_LIMIT_S):
        remember_catalogue()
        remember_filters()
        in_use = list_tenants_with_usage_since((now - IN_USE).date())
        for tenant_id in in_use[:MAX_TENANTS_READY]:
            current_rules(tenant_id)
            with tenant_scope(tenant_id):
                current_rate_book()


def _rate(key: KeyIdentity, admitted: Parsed) -> tuple[list[StagedEvent], int]:
    """Each event with its slice and cost, and the revision of the rates that priced them."""
    events = admitted.events
    dimensions = [dimensions_of(event, key.api_key_id) for event in events]
    if rules := current_rules(key.tenant_id):
        dimensions = _attribute(dimensions, rules, key, admitted)
    book, places = _recall(key.tenant_id, dimensions)
    if book is None or None in places:
        book, known = _learn(key.tenant_id, set(dimensions))
        places = [known[dims] for dims in dimensions]
    staged = [
        StagedEvent(event, place.id, event_cost_units(place.card, event))
        for event, place in zip(events, places, strict=True)
        if place is not None
    ]
    return staged, book.revision


def _attribute(
    dimensions: list[Dimensions], rules: AttributionRules, key: KeyIdentity, admitted: Parsed
) -> list[Dimensions]:
    """With the names that the tenant's rules give. The events, and their content, stay theirs."""
    said: Sequence[Attributes | None] = admitted.attributes or [None] * len(admitted.events)
    return [
        with_names(dims, rules.names_of(event, attributes, api_key_id=key.api_key_id))
        for dims, event, attributes in zip(dimensions, admitted.events, said, strict=True)
    ]


def _recall(
    tenant_id: int, dimensions: list[Dimensions]
) -> tuple[RateBook | None, list[Slice | None]]:
    """The rates in force and each one's slice, as far as this process knows them."""
    book = remembered_rate_book(tenant_id)
    known = _slices.of(tenant_id, book.revision) if book else {}
    return book, [known.get(dims) for dims in dimensions]


def _learn(tenant_id: int, wanted: set[Dimensions]) -> tuple[RateBook, dict[Dimensions, Slice]]:
    """The rates in force and the slices wanted, from the database; new slices are written.

    Requests that come to learn together share one transaction.
    """
    patience_s = settings.INGEST_TIME_LIMIT_S * QUEUE_SHARE
    rows = list(wanted)
    learned = _lessons.submit(tenant_id, rows, patience_s=patience_s)
    book = learned[0][1][0]
    return book, {rows[row]: place for row, (_, place) in learned}


Learned = tuple[RateBook, Slice]


def _read_and_intern(tenant_id: int, wanted: Sequence[Dimensions]) -> list[tuple[int, Learned]]:
    """What is learnt, by row of `wanted`."""
    limit_s = settings.INGEST_TIME_LIMIT_S * LEARN_SHARE
    with time_limit(limit_s), tenant_scope(tenant_id, statement_limit_s=limit_s * SERVER_SHARE):
        book = current_rate_book()
        known = _slices.of(tenant_id, book.revision)
        missing = set(wanted) - known.keys()
        found = intern_slices(missing, book, now=timezone.now()) if missing else {}
    # After the commit: what this process remembers must exist.
    known.update(found)
    return [(row, (book, known[dims])) for row, dims in enumerate(wanted)]


_lessons: GroupCommit[int, Dimensions, Learned] = GroupCommit(
    _read_and_intern,
    max_rows=10_000,
    leaders=1,
    of_all=(InterfaceError, OperationalError),
    before_wait=give_back_connection,
)


def _commit(
    group: CommitGroup, staged: Sequence[StagedEvent], commit: Commit | None
) -> list[tuple[int, Seen]]:
    """Write all rows, by `commit` or shared with those of other requests; durable then."""
    patience_s = settings.INGEST_TIME_LIMIT_S * QUEUE_SHARE
    submit = commit or partial(_commits.submit, patience_s=patience_s)
    seen: list[tuple[int, Seen]] = []
    for start in range(0, len(staged), MAX_ROWS_PER_COMMIT):
        part = staged[start : start + MAX_ROWS_PER_COMMIT]
        known = submit(group, part)
        seen += [(row + start, how) for row, how in known]
    return seen


def _write(group: CommitGroup, staged: Sequence[StagedEvent]) -> list[tuple[int, Seen]]:
    """One transaction; durable when this returns. Then whoever watches commits is told."""
    with time_limit(settings.INGEST_TIME_LIMIT_S * COMMIT_SHARE):
        tokens = before_commit(group.tenant_id)
        written = write_group(group, staged)
        after_commit(group.tenant_id, written.commit_number, tokens)
    return written.seen


def write_group(group: CommitGroup, staged: Sequence[StagedEvent]) -> Written:
    """One transaction, or a part of the caller's: then watchers hear of it from its fold."""
    now = timezone.now()
    try:
        return _write_once(group, staged, now=now)
    except IntegrityError as error:
        if "no partition of relation" not in str(error):
            raise
    # The hourly task makes partitions ahead; after a long rest of the workers, ingest does.
    times = [item.event.occurred_at for item in staged]
    ensure_partitions(min(times), max(times))
    return _write_once(group, staged, now=now)


def _write_once(group: CommitGroup, staged: Sequence[StagedEvent], *, now: datetime) -> Written:
    return write_commit(
        group.tenant_id,
        staged,
        rate_revision=group.rate_revision,
        now=now,
        statement_limit_s=settings.INGEST_TIME_LIMIT_S * COMMIT_SHARE * SERVER_SHARE,
    )


# Three: while one commit is on its way to disk and one in PostgreSQL, the next is being made. No
# larger than two full batches, or their senders wake, and parse, all at once. Of single events that
# is not worth it: the more share a commit, the less of it each costs.
_commits: GroupCommit[CommitGroup, StagedEvent, Seen] = GroupCommit(
    _write,
    max_rows=2000,
    leaders=3,
    worth_rows=500,
    of_all=(InterfaceError, OperationalError),
    before_wait=give_back_connection,
)


def _refuse_conflict(admitted: Parsed, row: int) -> Rejection:
    event = admitted.events[row]
    return Rejection(
        index=admitted.indexes[row],
        id=event.event_id,
        code="conflict",
        field="id",
        detail=f"id {event.event_id!r} of source {event.source!r} is in the ledger with other"
        " content; the first stands. Send a correction under its own id",
    )


def _by_row(rejections: list[Rejection]) -> list[Rejection]:
    return sorted(rejections, key=lambda rejection: rejection.index)
