"""What was spent against budgets, from PostgreSQL: the truth that counters are made from. Part of
selectors.

A charge counts in the budgets that cover its place, in the period in which its decision admitted
it; without a decision of ours, in the period of its own moment.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Sum

from apps.budgets.book import BudgetBook
from apps.budgets.core.amounts import Unit, to_count
from apps.budgets.core.periods import Period
from apps.budgets.counter_types import Amount, CounterId
from apps.budgets.models import Carry, Hold
from apps.pricing.core.money import EXACT
from apps.tenants.selectors import get_tenant
from apps.usage.commits import CommitCharge, Volume, read_commit_charges, read_volume_by_place

# A count of money is a billionth of a dollar; what is below has 15 more decimals.
FRACTIONS: Final = 10**15
COST_DECIMALS: Final = 24


@dataclass(frozen=True, slots=True)
class Admission:
    """A decision's reservation, as the journal has it; `leased` of a lease: where it holds."""

    decision_id: str
    admitted_at: datetime
    leased: frozenset[CounterId] | None


@dataclass(frozen=True, slots=True)
class CommitCounts:
    """What a commit adds, which reservations it ends, and what it takes of leases: of each charge
    its cost, rounded up to a count."""

    commit_number: int
    amounts: dict[CounterId, Amount]
    decision_ids: tuple[str, ...]
    takes: Mapping[str, Mapping[CounterId, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CarriedCharge:
    """A charge that counts in another period than its own moment's."""

    charge_id: int
    budget_id: int
    from_start: datetime
    to_start: datetime
    amount: Decimal


def measured(volume: Volume, unit: Unit) -> Decimal:
    """A volume in a budget's unit, exactly."""
    if unit == "usd":
        return volume.cost_usd
    return Decimal(volume.tokens if unit == "tokens" else volume.requests)


def exact_amount(value: Decimal, unit: Unit) -> Amount:
    """A sum in the budget's unit as a counter has it."""
    if unit != "usd":
        return Amount(int(value))
    whole, frac = divmod(int(EXACT.scaleb(value, COST_DECIMALS)), FRACTIONS)
    return Amount(whole, frac)


def amount_value(amount: Amount, unit: Unit) -> Decimal:
    """The inverse of exact_amount."""
    if unit != "usd":
        return Decimal(amount.number)
    return EXACT.scaleb(Decimal(amount.number * FRACTIONS + amount.frac), -COST_DECIMALS)


def decision_uuid(text: str | None) -> uuid.UUID | None:
    """A decision id as ours are written; None when it is some other router's."""
    try:
        return uuid.UUID(text) if text else None
    except ValueError:
        return None


def read_admissions(decision_ids: Iterable[str | None]) -> dict[str, Admission]:
    """The journal's reservations among these decisions, by the id as it was given."""
    wanted = {text: found for text in decision_ids if text and (found := decision_uuid(text))}
    rows = Hold.objects.filter(decision_id__in=set(wanted.values()))
    columns = ("decision_id", "admitted_at", "router_id", "parts")
    by_id = {row[0]: row for row in rows.values_list(*columns)}
    return {
        text: Admission(
            decision_id=str(row[0]),
            admitted_at=row[1],
            leased=frozenset(counter for counter, _ in read_parts(row[3])) if row[2] else None,
        )
        for text, wanted_id in wanted.items()
        if (row := by_id.get(wanted_id))
    }


def read_parts(parts: Iterable[Sequence[Any]]) -> tuple[tuple[CounterId, int], ...]:
    """Counts by counter, from the journal's JSON."""
    return tuple(
        (CounterId(budget_id, datetime.fromisoformat(start)), count)
        for budget_id, start, count in parts
    )


def write_parts(parts: Iterable[tuple[CounterId, int]]) -> list[list[object]]:
    """Counts by counter, as the journal's JSON has them."""
    return [[c.budget_id, c.period_start.isoformat(), count] for c, count in parts]


def count_commits(book: BudgetBook, charges: Sequence[CommitCharge]) -> list[CommitCounts]:
    """What each commit adds to which counter."""
    admissions = read_admissions(charge.decision_id for charge in charges)
    sums: dict[int, dict[CounterId, Decimal]] = {}
    decided: dict[int, set[str]] = defaultdict(set)
    takes: dict[int, dict[str, dict[CounterId, int]]] = defaultdict(dict)
    for charge in charges:
        admission = admissions.get(charge.decision_id or "")
        leased: frozenset[CounterId] | None = None
        if admission and admission.leased is None:
            decided[charge.commit_number].add(admission.decision_id)
        # What corrects a charge is no request of the router's: its lease is for those.
        elif admission and charge.volume.requests > 0:
            leased = admission.leased
            of_lease = takes[charge.commit_number].setdefault(admission.decision_id, {})
        moment = admission.admitted_at if admission else charge.quarter_hour
        adds = sums.setdefault(charge.commit_number, defaultdict(Decimal))
        for terms in book.of_place(charge.place):
            period = book.running(terms, moment)
            if period is not None:
                counter = CounterId.of(terms.id, period)
                value = measured(charge.volume, terms.unit)
                adds[counter] = EXACT.add(adds[counter], value)
                if leased and counter in leased:
                    of_lease[counter] = of_lease.get(counter, 0) + to_count(value, terms.unit)
    return [
        CommitCounts(
            commit_number=number,
            amounts={
                counter: exact_amount(value, book.budgets[counter.budget_id].unit)
                for counter, value in adds.items()
            },
            decision_ids=tuple(sorted(decided[number])),
            takes=takes[number],
        )
        for number, adds in sums.items()
    ]


def find_carries(book: BudgetBook, charges: Sequence[CommitCharge]) -> list[CarriedCharge]:
    """The charges whose moment is in another period of a budget than their admission."""
    admissions = read_admissions(charge.decision_id for charge in charges)
    carries: list[CarriedCharge] = []
    for charge in charges:
        admission = admissions.get(charge.decision_id or "")
        if admission is None:
            continue
        for terms in book.of_place(charge.place):
            own = terms.calendar.at(charge.quarter_hour)
            admitted = terms.calendar.at(admission.admitted_at)
            if own == admitted:
                continue
            carries.append(
                CarriedCharge(
                    charge_id=charge.charge_id,
                    budget_id=terms.id,
                    # Outside a grant there is no period to take it from, or to add it to.
                    from_start=own.start if own else charge.quarter_hour,
                    to_start=admitted.start if admitted else admission.admitted_at,
                    amount=measured(charge.volume, terms.unit),
                )
            )
    return carries


def read_spent(
    book: BudgetBook, periods: Iterable[tuple[int, Period]], pending: Sequence[CommitCharge] = ()
) -> dict[CounterId, Decimal]:
    """What was spent in each budget's period, in its unit: folded charges, what stands in place of
    charges to come, and `pending` charges, whose commits are still in the queue."""
    spent = read_folded(book, periods)
    queued = _add_pending(spent, book, pending)
    add_counted_in_place(spent, book, queued)
    return spent


def read_folded(
    book: BudgetBook, periods: Iterable[tuple[int, Period]]
) -> dict[CounterId, Decimal]:
    """What the rollups hold of each budget's period, in its unit, by the charges' admission."""
    wanted = list(periods)
    if not wanted:
        return {}
    zone = get_tenant().zone
    spent: dict[CounterId, Decimal] = {CounterId.of(b, p): Decimal(0) for b, p in wanted}
    by_span: dict[tuple[datetime, datetime], set[int]] = defaultdict(set)
    for budget_id, period in wanted:
        if period.start < period.end:
            by_span[period.start, period.end].add(budget_id)
    for (start, end), budget_ids in by_span.items():
        for place, volume in read_volume_by_place(start, end, zone):
            for terms in book.of_place(place):
                if terms.id in budget_ids:
                    _add(spent, CounterId(terms.id, start), measured(volume, terms.unit))
    _add_carries(spent)
    return spent


def _add(spent: dict[CounterId, Decimal], counter: CounterId, value: Decimal) -> None:
    if counter in spent:
        spent[counter] = EXACT.add(spent[counter], value)


def _add_carries(spent: dict[CounterId, Decimal]) -> None:
    budget_ids = {counter.budget_id for counter in spent}
    starts = {counter.period_start for counter in spent}
    for column, sign in (("from_start", -1), ("to_start", 1)):
        rows = Carry.objects.filter(budget_id__in=budget_ids, **{f"{column}__in": starts})
        sums = rows.values_list("budget_id", column).annotate(total=Sum("amount"))
        for budget_id, start, total in sums:
            _add(spent, CounterId(budget_id, start), total * sign)


@dataclass(frozen=True, slots=True)
class Queued:
    """What the queue's commits settle, and take of leases."""

    settled: set[str]
    taken: dict[str, dict[CounterId, int]]

    @classmethod
    def of(cls, counts: Iterable[CommitCounts]) -> "Queued":
        found = cls(set(), {})
        for each in counts:
            found.settled.update(each.decision_ids)
            for lease_id, takes in each.takes.items():
                taken = found.taken.setdefault(lease_id, {})
                for counter, count in takes.items():
                    taken[counter] = taken.get(counter, 0) + count
        return found

    def unclaimed(
        self, decision_id: str, parts: Iterable[tuple[CounterId, int]]
    ) -> list[tuple[CounterId, int]]:
        """What these commits leave of a hold's parts."""
        taken = self.taken.get(decision_id, {})
        return [(counter, max(0, count - taken.get(counter, 0))) for counter, count in parts]


def _add_pending(
    spent: dict[CounterId, Decimal], book: BudgetBook, pending: Sequence[CommitCharge]
) -> Queued:
    """Add the queue's commits; returns what becomes of reservations by them."""
    counted = count_commits(book, pending)
    for counts in counted:
        for counter, amount in counts.amounts.items():
            unit = book.budgets[counter.budget_id].unit
            _add(spent, counter, amount_value(amount, unit))
    return Queued.of(counted)


def add_counted_in_place(
    spent: dict[CounterId, Decimal], book: BudgetBook, queued: Queued | None = None
) -> None:
    """Add what stands in place of charges to come: less what the queue settles or claims of it."""
    queued = queued or Queued(set(), {})
    rows = Hold.objects.filter(counted_parts__isnull=False)
    for decision_id, parts in rows.values_list("decision_id", "counted_parts"):
        if str(decision_id) in queued.settled:
            continue
        for counter, count in queued.unclaimed(str(decision_id), read_parts(parts or ())):
            if counter in spent:
                unit = book.budgets[counter.budget_id].unit
                _add(spent, counter, amount_value(Amount(count), unit))


def read_pending_charges(commit_numbers: Sequence[int]) -> list[CommitCharge]:
    """What these commits hold, in portions that a statement can bear."""
    charges: list[CommitCharge] = []
    for start in range(0, len(commit_numbers), 1000):
        charges += read_commit_charges(commit_numbers[start : start + 1000])
    return charges
