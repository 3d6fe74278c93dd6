"""Reservations: the worst case of a request set aside in every budget at once, or in none. Part of
services.

In this order: Redis decides, the journal in PostgreSQL is committed, Redis is asked whether it is
still the same, the caller is answered. So an answer is always in the journal, and counters that are
made anew from the journal hold it. What Redis holds and the journal does not know, nobody was told.
Requests that arrive together go round together: one round trip, one commit.
"""

import secrets
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec
from django.db import connection

from apps.budgets.book import BudgetBook, BudgetTerms, budget_book
from apps.budgets.core.amounts import to_count
from apps.budgets.core.periods import Period
from apps.budgets.core.scopes import Attributes
from apps.budgets.counter_types import (
    CounterId,
    CountersLost,
    CountersUnreachable,
    Held,
    Refusal,
    Refused,
    Seen,
    Unready,
    Wanted,
)
from apps.budgets.counters import Counters
from apps.budgets.errors import BudgetRefused, BudgetsUnknown, CapBroken
from apps.budgets.models import Hold
from apps.budgets.rebuild import (
    counters_of,
    forget_counters,
    prepare_counters,
)
from apps.budgets.spent import read_parts, write_parts
from apps.tenants.patience import give_back_connection
from apps.tenants.scoping import tenant_scope
from apps.usage.group_commit import GroupCommit

# A repeated request is answered alike for so long after its hold has run out.
REPEATS: Final = timedelta(days=1)
WAIT_S: Final = 0.02
PATIENCE_S: Final = 1.5


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
        self.is_written = False
        self.places = _places(book, ask.attributes, now)
        counts = {
            "usd": to_count(ask.estimate_usd, "usd"),
            "tokens": ask.tokens,
            "requests": 1,
        }
        self.wanted = Wanted(
            decision_id=decision_id,
            request_id=request_id,
            amounts=[
                (CounterId.of(terms.id, period), counts[terms.unit])
                for terms, period in self.places
            ],
            expires_at=expires_at,
            ttl_ms=(expires_at + REPEATS - now) // timedelta(milliseconds=1),
        )

    def run(self) -> "Reservation | list[CapBroken]":
        """Hold, write down, make sure; the caps that would break if it does not fit."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                ((_, outcome),) = _rounds.submit(self.tenant_id, [self])
                if isinstance(outcome, Seen) and self._forget_untold(outcome.decision_id):
                    continue
            except CountersLost as error:
                forget_counters(self.tenant_id)
                if isinstance(error, CountersUnreachable) or time.monotonic() > give_up_at:
                    self._take_back()
                    raise
                continue
            if isinstance(outcome, Held):
                return _granted(self, is_held=True)
            if isinstance(outcome, Seen):
                return _repeated(self.tenant_id, self.request_id)
            if isinstance(outcome, Refused):
                self._take_back()
                return [self._explain(refusal) for refusal in outcome.caps]
            # Being filled by another, or a period that nobody has prepared.
            if time.monotonic() > give_up_at:
                self._take_back()
                raise CountersLost
            if not prepare_counters(self.tenant_id, now=self.now):
                time.sleep(WAIT_S)

    def _take_back(self) -> None:
        """What was written down before the counters were lost does not run. Nobody was told of it:
        the request is asked anew when it is repeated, not answered by what holds nothing."""
        if not self.is_written:
            return
        with tenant_scope(self.tenant_id):
            Hold.objects.filter(decision_id=self.decision_id, state="open").update(
                state="released", ended_at=self.now, request_id=self.decision_id
            )

    def _forget_untold(self, decision_id: str) -> bool:
        """Whether the counters remember a decision on this request that was taken back; then they
        forget it."""
        if not decision_id:
            return False
        with tenant_scope(self.tenant_id):
            rows = Hold.objects.filter(decision_id=decision_id, state="released")
            is_untold = rows.filter(request_id=decision_id).exists()
        if is_untold:
            counters = counters_of(self.tenant_id, now=self.now)
            counters.end_hold(decision_id)
            counters.run("forget_request", [f"request:{self.request_id}"], [decision_id])
        return is_untold

    def _explain(self, refusal: Refusal) -> CapBroken:
        terms, period = self.places[refusal.place]
        return CapBroken(
            backend=self.ask.backend,
            terms=terms,
            period=period,
            limit=refusal.limit,
            spent=refusal.spent,
            held=refusal.held,
            asked=self.wanted.amounts[refusal.place][1],
        )


def _places(
    book: BudgetBook, attributes: Attributes, now: datetime
) -> list[tuple[BudgetTerms, Period]]:
    found = ((terms, book.running(terms, now)) for terms in book.matching(attributes))
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


def _go_round(
    tenant_id: int, attempts: Sequence[_Attempt]
) -> list[tuple[int, Held | Seen | Unready | Refused]]:
    """One round trip to the counters for all, one commit for what they granted, one look whether
    the counters are still the same. Raises CountersLost; then each tries again by itself."""
    # The clock of whoever leads; it only matters if the counters must be rebuilt.
    counters = counters_of(tenant_id, now=attempts[0].now)
    outcomes = counters.reserve([attempt.wanted for attempt in attempts])
    for n, (attempt, outcome) in enumerate(zip(attempts, outcomes, strict=True)):
        if isinstance(outcome, Seen) and outcome.decision_id == attempt.decision_id:
            outcomes[n] = Held()
    held = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, Held)]
    unwritten = [n for n in held if not attempts[n].is_written]
    try:
        written = _write_journal(tenant_id, [attempts[n] for n in unwritten])
    except Exception:
        _let_go(counters, [attempts[n].decision_id for n in unwritten])
        raise
    for n in unwritten:
        attempt = attempts[n]
        attempt.is_written = attempt.decision_id in written
        if not attempt.is_written:
            # Decided before, so long ago that the counters have forgotten.
            counters.end_hold(attempt.decision_id)
            outcomes[n] = Seen("")
    if held and not counters.is_current():
        raise CountersLost
    return list(enumerate(outcomes))


def _let_go(counters: Counters, decision_ids: Sequence[str]) -> None:
    """The journal cannot be written: nobody is told that anything is held."""
    with suppress(CountersLost):
        for decision_id in decision_ids:
            counters.end_hold(decision_id)


_INSERT = """
INSERT INTO budgets_hold (tenant_id, decision_id, request_id, state, admitted_at, expires_at,
    estimate_usd, estimate_tokens, parts, request)
SELECT %s, e.decision_id, e.request_id, 'open', e.admitted_at, e.expires_at, e.estimate_usd,
    e.estimate_tokens, e.parts, e.request
FROM jsonb_to_recordset(%s::jsonb) AS e (decision_id uuid, request_id text,
    admitted_at timestamptz, expires_at timestamptz, estimate_usd numeric, estimate_tokens bigint,
    parts jsonb, request jsonb)
ON CONFLICT (tenant_id, request_id) DO NOTHING
RETURNING decision_id::text
"""


def _write_journal(tenant_id: int, attempts: Sequence[_Attempt]) -> set[str]:
    """One commit; the decisions whose requests were not in the journal yet."""
    if not attempts:
        return set()
    rows = [
        {
            "decision_id": attempt.decision_id,
            "request_id": attempt.request_id,
            "admitted_at": attempt.now,
            "expires_at": attempt.expires_at,
            "estimate_usd": attempt.ask.estimate_usd,
            "estimate_tokens": attempt.ask.tokens,
            "parts": write_parts(attempt.wanted.amounts),
            "request": {"backend": attempt.ask.backend},
        }
        for attempt in attempts
    ]
    with tenant_scope(tenant_id), connection.cursor() as cursor:
        cursor.execute(_INSERT, [tenant_id, msgspec.json.encode(rows).decode()])
        return {row[0] for row in cursor.fetchall()}


_rounds: GroupCommit[int, _Attempt, Held | Seen | Unready | Refused] = GroupCommit(
    _go_round, max_rows=500, leaders=2, before_wait=give_back_connection
)
