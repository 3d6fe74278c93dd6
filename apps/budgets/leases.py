"""Leases: an amount that a router may spend without asking for each request. Part of services.

A lease is held in every budget that its requests count against, at once or in none, like a
reservation, and is journalled like one. What charges claim of it moves from held to spent. It is at
most SHARE_PERCENT of what is left divided by the routers there are, and only while over
FLOOR_PERCENT of each limit is left: below that, every request is reserved by itself.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import IntegrityError, transaction

from apps.budgets.book import BudgetBook, BudgetTerms, budget_book
from apps.budgets.core.amounts import Unit, from_count, to_count
from apps.budgets.core.periods import Period
from apps.budgets.core.scopes import Attributes
from apps.budgets.counter_types import (
    CounterId,
    CountersLost,
    Leased,
    LeaseWanted,
    Refusal,
    Refused,
    Seen,
    Unready,
)
from apps.budgets.counters import Counters
from apps.budgets.errors import (
    BudgetsUnknown,
    CapBroken,
    HoldNotFound,
    InvalidBudgetInput,
    LeaseRefused,
)
from apps.budgets.holds import (
    PATIENCE_S,
    REPEATS,
    WAIT_S,
    find_told,
    forget_in_journal,
    new_decision_id,
)
from apps.budgets.lease_counters import end_lease, lease, move_expiry
from apps.budgets.lease_journal import Lease, lease_of
from apps.budgets.models import Hold
from apps.budgets.rebuild import (
    counted_ttl_ms,
    counters_of,
    forget_counters,
    look_for_counters,
    prepare_counters,
)
from apps.budgets.selectors import ScopeNames
from apps.budgets.spent import read_parts, write_parts
from apps.insights.guard import heed_restrictions
from apps.pricing.selectors import current_rate_book
from apps.tenants.core.access import KeyIdentity
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import find_customer_id, list_api_keys
from apps.usage.services import hold_folds

# docs/decisions/0021: of what is left, shared between routers; and of a limit, that must be left.
SHARE_PERCENT: Final = 5
FLOOR_PERCENT: Final = 15
# So many caps may stand beside a lease before it must say more closely what it is for.
MOST_EXCEPTIONS: Final = 100


@dataclass(frozen=True, slots=True)
class LeaseAsk:
    """What a router wants to spend, and on what: requests that are about what is named. `tokens`
    and `requests` None: as many as caps in those units let it have."""

    request_id: str
    usd: Decimal
    tokens: int | None
    requests: int | None
    seconds: int
    department: str | None = None
    customer: str | None = None
    project: str | None = None
    backend: str | None = None


def grant_lease(key: KeyIdentity, ask: LeaseAsk, *, now: datetime) -> Lease:
    """Set a share of what is left aside, at most what is asked; a repeated request id, its answer
    again.

    Raises LeaseRefused while too little is left of a cap, BudgetsUnknown while counters are away,
    Suspended for a key or customer that a finding stopped, InvalidBudgetInput where a name is not
    known or too many other caps might concern its requests.
    """
    book = budget_book(key.tenant_id)
    with tenant_scope(key.tenant_id):
        about = _attributes(key, ask, book)
        except_for = _exceptions(book, about)
        routers = sum(1 for k in list_api_keys() if k.revoked_at is None and "route" in k.scopes)
    heed_restrictions(key.tenant_id, api_key_id=key.api_key_id, customer_id=about.customer_id)
    running = ((terms, book.running(terms, now)) for terms in book.matching(about))
    places = [(terms, period) for terms, period in running if period is not None]
    # A charge counts where its lease was made: it admits nothing in the next period.
    ends = [now + timedelta(seconds=ask.seconds), *(period.end for _, period in places)]
    admits_until = min(ends)
    held_until = admits_until + timedelta(seconds=book.choices.hold_seconds)
    most: dict[Unit, int | None] = {
        "usd": to_count(ask.usd, "usd"),
        "tokens": ask.tokens,
        "requests": ask.requests,
    }
    wanted = LeaseWanted(
        lease_id=str(new_decision_id(now)),
        request_id=f"lease:{key.api_key_id}:{ask.request_id}",
        router_id=key.api_key_id,
        counters=[(CounterId.of(terms.id, period), terms.unit) for terms, period in places],
        most=most,
        routers=max(1, routers),
        share_percent=SHARE_PERCENT,
        floor_percent=FLOOR_PERCENT,
        expires_at=held_until,
        ttl_ms=(held_until + REPEATS - now) // timedelta(milliseconds=1),
    )
    granting = _Granting(key.tenant_id, wanted, places, admits_until, except_for, now)
    return granting.run()


@dataclass(frozen=True, slots=True)
class _Granting:
    """One lease on its way: Redis decides, the journal is committed, Redis is asked again."""

    tenant_id: int
    wanted: LeaseWanted
    places: Sequence[tuple[BudgetTerms, Period]]
    admits_until: datetime
    except_for: Sequence[dict[str, str]]
    now: datetime

    def run(self) -> Lease:
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            is_late = time.monotonic() > give_up_at
            try:
                counters = counters_of(self.tenant_id, now=self.now)
                outcome: Leased | Seen | Refused | Unready = lease(counters, self.wanted)
                if isinstance(outcome, Leased):
                    if self._write_down(counters, outcome):
                        return self._made(counters)
                    outcome = Seen("")
                if isinstance(outcome, Seen):
                    told = find_told(self.tenant_id, self.wanted.request_id, outcome, now=self.now)
                    if told is not None:
                        # Its own, where the counters were made anew from the journal.
                        is_repeat = str(told.decision_id) != self.wanted.lease_id
                        return lease_of(told, now=self.now, is_repeat=is_repeat)
            except CountersLost as error:
                forget_counters(self.tenant_id)
                if is_late:
                    forget_in_journal(self.tenant_id, self.wanted.lease_id, now=self.now)
                    raise BudgetsUnknown from error
                continue
            if isinstance(outcome, Refused):
                raise LeaseRefused([self._explain(cap) for cap in outcome.caps])
            if is_late:
                raise BudgetsUnknown
            if isinstance(outcome, Unready) and not prepare_counters(self.tenant_id, now=self.now):
                time.sleep(WAIT_S)

    def _write_down(self, counters: Counters, leased: Leased) -> bool:
        """Journal it; False if this request is there already. Else than written it holds
        nothing."""
        is_written = False
        try:
            is_written = self._write(leased)
        finally:
            if not is_written:
                with suppress(CountersLost):
                    counters.let_go([(self.wanted.lease_id, self.wanted.request_id)])
        return is_written

    def _made(self, counters: Counters) -> Lease:
        """Raises CountersLost when the counters are no longer the same."""
        with tenant_scope(self.tenant_id):
            row = Hold.objects.get(decision_id=self.wanted.lease_id)
        if not counters.is_current():
            raise CountersLost
        return lease_of(row, now=self.now)

    def _write(self, leased: Leased) -> bool:
        """Journal it; False if this request is there already."""
        counts = leased.counts
        parts = write_parts((counter, counts[unit] or 0) for counter, unit in self.wanted.counters)
        try:
            with tenant_scope(self.tenant_id), transaction.atomic():
                Hold.objects.create(
                    decision_id=self.wanted.lease_id,
                    request_id=self.wanted.request_id,
                    admitted_at=self.now,
                    admits_until=self.admits_until,
                    expires_at=self.wanted.expires_at,
                    router_id=self.wanted.router_id,
                    estimate_usd=from_count(counts["usd"] or 0, "usd"),
                    estimate_tokens=counts["tokens"] or 0,
                    parts=parts,
                    left_parts=parts,
                    request={**counts, "except_for": list(self.except_for)},
                )
        except IntegrityError as error:
            if "hold_request_once" not in str(error):
                raise
            return False
        return True

    def _explain(self, refusal: Refusal) -> CapBroken:
        terms, period = self.places[refusal.place]
        return CapBroken(
            backend="",
            terms=terms,
            period=period,
            limit=refusal.limit,
            spent=refusal.spent,
            held=refusal.held,
            asked=self.wanted.most[terms.unit] or 0,
        )


def renew_lease(key: KeyIdentity, lease_id: str, *, seconds: int, now: datetime) -> Lease:
    """Let it admit for so long from now, within its periods; the amount stays what it is.

    Raises HoldNotFound, and InvalidBudgetInput when it admits no more: take another.
    """
    book = budget_book(key.tenant_id)
    with tenant_scope(key.tenant_id):
        row = _locked(key, lease_id)
        if row.state != "open" or row.admits_until is None or row.admits_until <= now:
            raise InvalidBudgetInput(
                f"lease {lease_id} admits no more since {row.admits_until}: take another",
                field="lease_id",
            )
        ends = [now + timedelta(seconds=seconds)]
        for counter, _ in read_parts(row.parts):
            terms = book.budgets.get(counter.budget_id)
            period = terms.calendar.at(counter.period_start) if terms else None
            ends += [period.end] if period else []
        row.admits_until = min(ends)
        row.expires_at = row.admits_until + timedelta(seconds=book.choices.hold_seconds)
        row.save(update_fields=["admits_until", "expires_at"])
    try:
        move_expiry(counters_of(key.tenant_id, now=now), lease_id, row.expires_at)
    except CountersLost:
        # Whoever makes them anew, or ends it, reads the journal.
        forget_counters(key.tenant_id)
    return lease_of(row, now=now)


def return_lease(
    key: KeyIdentity,
    lease_id: str,
    *,
    used_usd: Decimal,
    used_tokens: int | None,
    used_requests: int | None,
    now: datetime,
) -> Lease:
    """End it: of what the router says it has used in all, what no charge has claimed counts until
    one does; the rest is free. A unit of which it says nothing is used whole. Safe to repeat; a
    later word may say less, as requests end that were counted at their worst."""
    used: dict[Unit, int | None] = {
        "usd": to_count(used_usd, "usd"),
        "tokens": used_tokens,
        "requests": used_requests,
    }
    units = {terms.id: terms.unit for terms in budget_book(key.tenant_id).budgets.values()}
    with tenant_scope(key.tenant_id):
        # Nobody makes counters anew meanwhile: those that are told have not read this yet.
        hold_folds(key.tenant_id)
        row = _locked(key, lease_id)
        if row.state == "released":
            return lease_of(row, now=now)
        counters = _known_counters(key.tenant_id)
        was_held = row.state == "open"
        before = dict(read_parts(row.request.get("given_back", ())))
        back = {
            counter: max(before.get(counter, 0), _unused(count, used[units[counter.budget_id]]))
            for counter, count in read_parts(row.parts)
            if counter.budget_id in units
        }
        more = {counter: count - before.get(counter, 0) for counter, count in back.items()}
        left = [
            (c, max(0, count - more.get(c, 0))) for c, count in read_parts(row.left_parts or ())
        ]
        row.left_parts = row.counted_parts = write_parts(left)
        row.state, row.ended_at, row.settled_usd = "settled", row.ended_at or now, used_usd
        row.request |= {"given_back": write_parts(back.items())}
        row.save()
    if counters is not None:
        ttl_ms = counted_ttl_ms(row.expires_at, now)
        try:
            end_lease(counters, lease_id, is_held=was_held, given_back=more.items(), ttl_ms=ttl_ms)
        except CountersLost:
            # The next ones are made from the journal.
            forget_counters(key.tenant_id)
    return lease_of(row, now=now)


def _unused(count: int, used: int | None) -> int:
    return 0 if used is None else max(0, count - used)


def _known_counters(tenant_id: int) -> Counters | None:
    try:
        return look_for_counters(tenant_id)
    except CountersLost:
        return None


def _locked(key: KeyIdentity, lease_id: str) -> Hold:
    rows = Hold.objects.select_for_update().filter(router_id=key.api_key_id)
    row = rows.filter(decision_id=lease_id).first()
    if row is None:
        raise HoldNotFound(lease_id)
    return row


def _attributes(key: KeyIdentity, ask: LeaseAsk, book: BudgetBook) -> Attributes:
    """What its requests are about. A name that nobody knows would be about anything."""
    department_id = book.departments.get(ask.department.lower()) if ask.department else None
    customer_id = find_customer_id(ask.customer) if ask.customer else None
    backend = book.backends_by_key.get(ask.backend or "")
    priced = current_rate_book().resolve_anywhere(ask.backend) if ask.backend else None
    for field, name, found in (
        ("department", ask.department, department_id),
        ("customer", ask.customer, customer_id),
        ("backend", ask.backend, backend or priced),
    ):
        if name and found is None:
            raise InvalidBudgetInput(f"there is no {field} {name}; nothing is leased", field=field)
    named = backend or priced
    return Attributes(
        department_id=department_id,
        customer_id=customer_id,
        project=ask.project,
        api_key_id=key.api_key_id,
        provider=named.provider if named else None,
        model=named.model if named else None,
        backend_id=backend.id if backend else None,
        kind=named.kind if named else None,
    )


def _exceptions(book: BudgetBook, attributes: Attributes) -> list[dict[str, str]]:
    """The scopes of caps that requests of these attributes may fall under, by what they do not
    say, and in which a lease holds nothing."""
    covered = {terms.id for terms in book.matching(attributes)}
    caps = [terms for terms in book.budgets.values() if terms.is_cap and terms.id not in covered]
    other = [terms.scope for terms in caps if book.index.may_cover(terms.scope, attributes)]
    if len(other) > MOST_EXCEPTIONS:
        raise InvalidBudgetInput(
            f"{len(other)} other caps may concern its requests: name more of department, customer,"
            f" project and backend, until at most {MOST_EXCEPTIONS} do",
            field="department",
        )
    names = ScopeNames()
    return [names.of(scope) for scope in other]
