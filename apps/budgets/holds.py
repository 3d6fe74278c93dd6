"""Reservations: the worst case of a request set aside in every budget at once, or in none. Part of
services.

In this order: Redis decides, the journal in PostgreSQL is committed, Redis is asked whether it is
still the same, the caller is answered. So an answer is always in the journal, and counters that are
made anew from the journal hold it. What Redis holds and the journal does not know, nobody was told.
"""

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal, cast

import msgspec
from django.db import connection

from apps.budgets.book import BudgetBook, BudgetTerms, budget_book
from apps.budgets.core.amounts import to_count
from apps.budgets.core.periods import Period
from apps.budgets.core.scopes import Attributes
from apps.budgets.counters import (
    CounterId,
    Counters,
    CountersLost,
    CountersUnreachable,
    Held,
    Refusal,
    Seen,
    Unready,
)
from apps.budgets.errors import BudgetRefused, BudgetsUnknown, CapBroken, HoldNotFound
from apps.budgets.models import Hold
from apps.budgets.rebuild import (
    KEPT_AFTER,
    counters_of,
    forget_counters,
    prepare_counters,
)
from apps.budgets.spent import read_parts, write_parts
from apps.tenants.scoping import tenant_scope
from apps.usage.group_commit import GroupCommit

# A repeated request is answered alike for so long after its hold has run out.
REPEATS: Final = timedelta(days=1)
WAIT_S: Final = 0.02
PATIENCE_S: Final = 1.5
SWEEP_PORTION: Final = 500
HoldStatus = Literal["open", "settled", "released", "expired"]


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as it would run on one backend: what it would cost at worst."""

    backend: str
    attributes: Attributes
    estimate_usd: Decimal
    tokens: int

    @property
    def is_local(self) -> bool:
        return self.attributes.kind == "local"


@dataclass(frozen=True, slots=True)
class Reservation:
    """What was granted. `is_held` False: budgets are unknown and the tenant lets local run."""

    decision_id: str
    request_id: str
    backend: str
    estimate_usd: Decimal
    expires_at: datetime
    is_held: bool
    is_repeat: bool
    budgets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HoldState:
    """A reservation as the journal has it."""

    decision_id: str
    state: HoldStatus
    estimate_usd: Decimal
    settled_usd: Decimal | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the journal."""

    decision_id: str
    request_id: str
    admitted_at: datetime
    expires_at: datetime
    estimate_usd: Decimal
    estimate_tokens: int
    parts: str
    request: str


def reserve(
    tenant_id: int,
    *,
    request_id: str,
    asks: Sequence[Ask],
    now: datetime,
    hold_seconds: int | None = None,
) -> Reservation:
    """Set aside the first of the asks that fits every cap; a repeated request id, its answer again.

    Raises BudgetRefused when none fits, BudgetsUnknown when the counters cannot be had and the
    tenant does not let these backends run meanwhile.
    """
    book = budget_book(tenant_id)
    decision_id = str(new_decision_id(now))
    expires_at = now + timedelta(seconds=hold_seconds or book.choices.hold_seconds)
    broken: list[CapBroken] = []
    for ask in asks:
        attempt = _Attempt(
            book,
            ask,
            decision_id=decision_id,
            request_id=request_id,
            now=now,
            expires_at=expires_at,
        )
        try:
            outcome = attempt.run()
        except CountersLost:
            if _may_run_unknown(book, ask):
                return _granted(attempt, is_held=False)
            continue
        if isinstance(outcome, Reservation):
            return outcome
        broken += outcome
    if broken:
        raise BudgetRefused(broken)
    raise BudgetsUnknown


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
        counters.end_hold(decision_id, counted=read_parts(parts), ttl_ms=_ttl_ms(now, now))
    return len(due)


def new_decision_id(now: datetime) -> uuid.UUID:
    """A UUID of version 7 (RFC 9562): ids of one time stand together in the journal's index."""
    milliseconds = int(now.timestamp() * 1000)
    value = milliseconds << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


class _Attempt:
    """One ask of one request."""

    def __init__(
        self,
        book: BudgetBook,
        ask: Ask,
        *,
        decision_id: str,
        request_id: str,
        now: datetime,
        expires_at: datetime,
    ) -> None:
        self.tenant_id = book.tenant_id
        self.decision_id = decision_id
        self.request_id = request_id
        self.ask = ask
        self.now = now
        self.expires_at = expires_at
        self.places = _places(book, ask.attributes, now)
        counts = {
            "usd": to_count(ask.estimate_usd, "usd"),
            "tokens": ask.tokens,
            "requests": 1,
        }
        self.amounts = [
            (CounterId.of(terms.id, period), counts[terms.unit]) for terms, period in self.places
        ]

    def run(self) -> "Reservation | list[CapBroken]":
        """Hold, write down, make sure; the caps that would break if it does not fit."""
        is_written = False
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                counters = counters_of(self.tenant_id, now=self.now)
                outcome = self._hold(counters, give_up_at)
                if isinstance(outcome, Seen) and outcome.decision_id != self.decision_id:
                    return _repeated(self.tenant_id, self.request_id)
                if isinstance(outcome, list):
                    if is_written:
                        self._take_back()
                    return [self._explain(refusal) for refusal in outcome]
                if not is_written:
                    is_written = self._write_down()
                    if not is_written:
                        counters.end_hold(self.decision_id)
                        return _repeated(self.tenant_id, self.request_id)
                if counters.is_current():
                    return _granted(self, is_held=True)
                raise CountersLost
            except CountersUnreachable:
                if is_written:
                    self._take_back()
                raise
            except CountersLost:
                forget_counters(self.tenant_id)
                if time.monotonic() > give_up_at:
                    if is_written:
                        self._take_back()
                    raise

    def _hold(self, counters: Counters, give_up_at: float) -> "Held | Seen | list[Refusal]":
        while True:
            outcome = counters.reserve(
                decision_id=self.decision_id,
                request_id=self.request_id,
                amounts=self.amounts,
                expires_at=self.expires_at,
                ttl_ms=(self.expires_at + REPEATS - self.now) // timedelta(milliseconds=1),
            )
            if not isinstance(outcome, Unready):
                return outcome
            if time.monotonic() > give_up_at:
                raise CountersLost
            # Being filled by another, or a period that nobody has prepared.
            if not prepare_counters(self.tenant_id, now=self.now):
                time.sleep(WAIT_S)

    def _write_down(self) -> bool:
        entry = _Entry(
            decision_id=self.decision_id,
            request_id=self.request_id,
            admitted_at=self.now,
            expires_at=self.expires_at,
            estimate_usd=self.ask.estimate_usd,
            estimate_tokens=self.ask.tokens,
            parts=_to_json(write_parts(self.amounts)),
            request=_to_json({"backend": self.ask.backend}),
        )
        return not _journal.submit(self.tenant_id, [entry])

    def _take_back(self) -> None:
        with tenant_scope(self.tenant_id):
            Hold.objects.filter(decision_id=self.decision_id, state="open").update(
                state="released", ended_at=self.now
            )

    def _explain(self, refusal: Refusal) -> CapBroken:
        terms, period = self.places[refusal.place]
        return CapBroken(
            backend=self.ask.backend,
            terms=terms,
            period=period,
            limit=refusal.limit,
            spent=refusal.spent,
            held=refusal.held,
            asked=self.amounts[refusal.place][1],
        )


def _places(
    book: BudgetBook, attributes: Attributes, now: datetime
) -> list[tuple[BudgetTerms, Period]]:
    found = ((terms, terms.calendar.at(now)) for terms in book.matching(attributes))
    return [(terms, period) for terms, period in found if period is not None]


def _granted(attempt: _Attempt, *, is_held: bool) -> Reservation:
    return Reservation(
        decision_id=attempt.decision_id,
        request_id=attempt.request_id,
        backend=attempt.ask.backend,
        estimate_usd=attempt.ask.estimate_usd,
        expires_at=attempt.expires_at,
        is_held=is_held,
        is_repeat=False,
        budgets=tuple(terms.id for terms, _ in attempt.places),
    )


def _repeated(tenant_id: int, request_id: str) -> Reservation:
    """The answer that this request got; waits while another is still writing it down."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        with tenant_scope(tenant_id):
            hold = Hold.objects.filter(request_id=request_id).first()
        if hold is not None:
            return Reservation(
                decision_id=str(hold.decision_id),
                request_id=request_id,
                backend=hold.request["backend"],
                estimate_usd=hold.estimate_usd,
                expires_at=hold.expires_at,
                is_held=hold.state == "open",
                is_repeat=True,
                budgets=tuple(counter.budget_id for counter, _ in read_parts(hold.parts)),
            )
        if time.monotonic() > give_up_at:
            raise BudgetsUnknown
        time.sleep(WAIT_S)


def _may_run_unknown(book: BudgetBook, ask: Ask) -> bool:
    choice = book.choices.local_while_unknown if ask.is_local else book.choices.cloud_while_unknown
    return choice == "allow"


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
        hold = Hold.objects.select_for_update().filter(decision_id=decision_id).first()
        if hold is None:
            raise HoldNotFound(decision_id)
        was = hold.state
        if hold.charge_id is not None or was in ("settled", "released"):
            return _state_of(hold)
        parts = counted(hold)
        hold.state, hold.ended_at, hold.settled_usd = state, now, settled_usd
        hold.counted_parts = write_parts(parts) or None
        hold.save(update_fields=["state", "ended_at", "settled_usd", "counted_parts"])
    try:
        counters = counters_of(tenant_id, now=now)
        ttl_ms = _ttl_ms(hold.expires_at, now)
        if was == "expired":
            counters.recount(decision_id, parts, ttl_ms=ttl_ms)
        else:
            counters.end_hold(decision_id, counted=parts, ttl_ms=ttl_ms)
    except CountersLost:
        forget_counters(tenant_id)
    return _state_of(hold)


def _state_of(hold: Hold) -> HoldState:
    return HoldState(
        decision_id=str(hold.decision_id),
        state=cast("HoldStatus", hold.state),
        estimate_usd=hold.estimate_usd,
        settled_usd=hold.settled_usd,
        expires_at=hold.expires_at,
    )


def _ttl_ms(expires_at: datetime, now: datetime) -> int:
    return (max(expires_at, now) + KEPT_AFTER - now) // timedelta(milliseconds=1)


def _to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_INSERT = """
INSERT INTO budgets_hold (tenant_id, decision_id, request_id, state, admitted_at, expires_at,
    estimate_usd, estimate_tokens, parts, request)
SELECT %s, d, r, 'open', a, e, u, t, p::jsonb, q::jsonb
FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::numeric[],
    %s::bigint[], %s::text[], %s::text[]) AS entry (d, r, a, e, u, t, p, q)
ON CONFLICT (tenant_id, request_id) DO NOTHING
RETURNING decision_id::text
"""


def _write_journal(tenant_id: int, entries: Sequence[_Entry]) -> list[tuple[int, bool]]:
    """One commit; marks the entries whose request is in the journal already."""
    columns = (
        "decision_id",
        "request_id",
        "admitted_at",
        "expires_at",
        "estimate_usd",
        "estimate_tokens",
        "parts",
        "request",
    )
    arrays = [[getattr(entry, column) for entry in entries] for column in columns]
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(_INSERT, [tenant_id, *arrays])
        written = {row[0] for row in cursor.fetchall()}
    return [(n, True) for n, entry in enumerate(entries) if entry.decision_id not in written]


_journal: GroupCommit[int, _Entry, bool] = GroupCommit(_write_journal, max_rows=1000, leaders=2)
