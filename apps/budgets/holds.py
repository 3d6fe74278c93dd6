"""Reservations: the worst case of a request set aside in every budget at once, or in none. Part of
services.

In this order: Redis decides, the journal in PostgreSQL is committed, Redis is asked whether it is
still the same, the caller is answered. So an answer is always in the journal, and counters that are
made anew from the journal hold it. What Redis holds and the journal does not know, nobody was told.
Requests that arrive together go round together (rounds.py).
"""

import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import InterfaceError, OperationalError
from django.db.models import Q

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
    Wanted,
)
from apps.budgets.errors import BudgetRefused, BudgetsUnknown, CapBroken
from apps.budgets.models import Hold
from apps.budgets.rebuild import counters_of, forget_counters, prepare_counters
from apps.budgets.rounds import Entry, JournalAway, go_round
from apps.budgets.spent import read_parts
from apps.tenants.scoping import tenant_scope

# A repeated request is answered alike for so long after its hold has run out.
REPEATS: Final = timedelta(days=1)
WAIT_S: Final = 0.02
PATIENCE_S: Final = 1.5
# Nobody is still writing a decision down that is this old (rounds.py), whatever clock it is by.
WRITTEN_WITHIN: Final = timedelta(seconds=30)


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
        except (CountersLost, JournalAway):
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


def decided_at(decision_id: str) -> datetime:
    """When a decision id of ours was made."""
    return datetime.fromtimestamp((uuid.UUID(decision_id).int >> 80) / 1000, UTC)


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
        self.ask = ask
        self.now = now
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
        self.entry = Entry(self.wanted, now, ask.backend, ask.estimate_usd, ask.tokens)

    def run(self) -> "Reservation | list[CapBroken]":
        """Hold, write down, make sure; the caps that would break if it does not fit.

        Raises CountersLost, JournalAway, and BudgetsUnknown while another decides this request.
        """
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            is_late = time.monotonic() > give_up_at
            try:
                outcome = go_round(self.tenant_id, self.entry)
                if isinstance(outcome, Seen):
                    told = find_told(self.tenant_id, self.wanted.request_id, outcome, now=self.now)
                    if told is not None:
                        return _repeated(told)
                    if is_late:
                        raise BudgetsUnknown
                    continue
            except CountersLost as error:
                forget_counters(self.tenant_id)
                if isinstance(error, CountersUnreachable) or is_late:
                    self._take_back()
                    raise
                continue
            if isinstance(outcome, Held):
                return _granted(self, is_held=True)
            if isinstance(outcome, Refused):
                self._take_back()
                return [self._explain(refusal) for refusal in outcome.caps]
            # Being filled by another, or a period that nobody has prepared.
            if is_late:
                self._take_back()
                raise CountersLost
            if not self._prepare():
                time.sleep(WAIT_S)

    def _prepare(self) -> bool:
        """Make the counters that are missing; False: another just did. Raises CountersLost where
        PostgreSQL does not give in time what they are filled with: a long queue is folded first."""
        try:
            return bool(prepare_counters(self.tenant_id, now=self.now))
        except (InterfaceError, OperationalError) as error:
            self._take_back()
            raise CountersLost from error

    def _take_back(self) -> None:
        """What was written down before the counters were lost does not run."""
        if self.entry.is_written:
            forget_in_journal(self.tenant_id, self.wanted.decision_id, now=self.now)

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
        decision_id=attempt.wanted.decision_id,
        request_id=attempt.wanted.request_id,
        backend=attempt.ask.backend,
        estimate_usd=attempt.ask.estimate_usd,
        expires_at=attempt.wanted.expires_at,
        is_held=is_held,
        is_repeat=False,
        budgets=tuple(terms.id for terms, _ in attempt.places),
    )


def _repeated(hold: Hold) -> Reservation:
    """The answer that this request got."""
    return Reservation(
        decision_id=str(hold.decision_id),
        request_id=hold.request_id,
        backend=hold.request["backend"],
        estimate_usd=hold.estimate_usd,
        expires_at=hold.expires_at,
        is_held=hold.state == "open",
        is_repeat=True,
        budgets=tuple(counter.budget_id for counter, _ in read_parts(hold.parts)),
    )


def find_told(tenant_id: int, request_id: str, seen: Seen, *, now: datetime) -> Hold | None:
    """What this request, which the counters or the journal know, was told before. None: nobody was
    told of anything, and what there was is forgotten, or another is just deciding: ask again."""
    with tenant_scope(tenant_id):
        about = Q(request_id=request_id)
        if seen.decision_id:
            about |= Q(decision_id=seen.decision_id)
        rows = {row.request_id: row for row in Hold.objects.filter(about)}
    counters = counters_of(tenant_id, now=now)
    told = rows.pop(request_id, None)
    if told is not None:
        # Written down by a commit whose answer got lost, and let go in the counters since, which is
        # why they did not know the request.
        decision_id = str(told.decision_id)
        is_lost = not seen.decision_id and told.state == "open"
        if not is_lost or not counters.not_held([decision_id]):
            return told
        forget_in_journal(tenant_id, decision_id, now=now)
    elif seen.decision_id:
        # Taken back; or never written down, as whoever wanted to is dead or gave up.
        is_untold = bool(rows) or counters.not_held([seen.decision_id])
        if is_untold or now - decided_at(seen.decision_id) > WRITTEN_WITHIN:
            counters.let_go([(seen.decision_id, request_id)])
        else:
            time.sleep(WAIT_S)
    return None


def forget_in_journal(tenant_id: int, decision_id: str, *, now: datetime) -> None:
    """Nobody was told of it: its request is decided anew when it is repeated, not answered by what
    holds nothing."""
    with tenant_scope(tenant_id):
        Hold.objects.filter(decision_id=decision_id, state="open").update(
            state="released", ended_at=now, request_id=decision_id
        )


def _may_run_unknown(book: BudgetBook, ask: Ask) -> bool:
    choice = book.choices.local_while_unknown if ask.is_local else book.choices.cloud_while_unknown
    return choice == "allow"
