"""How budgets stand and where they are heading: what pages, the API and alerts tell. Part of
selectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from apps.budgets.activity import read_reserved
from apps.budgets.book import BudgetTerms, list_terms, read_book
from apps.budgets.core.amounts import from_count
from apps.budgets.core.pace import (
    HEALTH_ORDER,
    TOLD,
    Basis,
    DayTotal,
    Expected,
    Health,
    health,
    pace,
    running_totals,
    runs_out,
)
from apps.budgets.counter_types import CounterId
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.lease_journal import read_leased
from apps.budgets.models import Budget, BudgetAmount, BudgetTopUp, Crossing
from apps.budgets.projections import ProjectionInfo, read_projections
from apps.budgets.selectors import BudgetStanding, ScopeNames, read_standings
from apps.tenants.selectors import AuditInfo, list_audit_of

MOST_CHANGES: Final = 200


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget's running period (a grant's own, when it is not running), in the budget's unit.

    `elapsed` is the share of the period that is over; `pace` spent against an even spender's.
    `runs_out_on` is the local day on which the amount is used up if all goes as expected,
    `runs_out_earliest` at the high end of it. `reserved` is what of spent came by reservation,
    `leased` what of held routers may spend without asking.
    """

    standing: BudgetStanding
    elapsed: Decimal
    pace: Decimal | None
    expected: Expected | None
    basis: Basis | None
    projected_at: datetime | None
    days: tuple[DayTotal, ...]
    runs_out_on: date | None
    runs_out_earliest: date | None
    reserved: Decimal
    leased: Decimal
    health: Health

    @property
    def terms(self) -> BudgetTerms:
        return self.standing.terms

    @property
    def spent_share(self) -> Decimal | None:
        """Of the amount; None where nothing is allowed."""
        amount = self.standing.amount
        return self.standing.spent / amount if amount > 0 else None

    @property
    def unreserved(self) -> Decimal:
        return self.standing.spent - self.reserved

    @property
    def reserved_share(self) -> Decimal | None:
        """Of what was spent; None while nothing was."""
        spent = self.standing.spent
        return self.reserved / spent if spent > 0 else None


@dataclass(frozen=True, slots=True)
class TopUpInfo:
    """More for a while, why, and by whom."""

    id: int
    amount: Decimal
    starts_at: datetime
    ends_at: datetime
    actor: str
    reason: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class AmountInfo:
    """What a period is allowed from a moment on, why, and by whom. `withdrawn_at`: when it was
    taken back, before it began."""

    id: int
    amount: Decimal
    effective_from: datetime
    recorded_at: datetime
    actor: str
    reason: str
    withdrawn_at: datetime | None

    def is_planned(self, now: datetime) -> bool:
        return self.withdrawn_at is None and self.effective_from > now


@dataclass(frozen=True, slots=True)
class ArchivedBudget:
    """What a budget was about that counts no more; its history says who ended it, and why."""

    terms: BudgetTerms
    scope: Mapping[str, str]
    archived_at: datetime


@dataclass(frozen=True, slots=True)
class CrossingInfo:
    """A threshold that was reached, of which amount, and when it was told."""

    basis: str
    threshold: Decimal
    amount: Decimal
    crossed_at: datetime


@dataclass(frozen=True, slots=True)
class BudgetHistory:
    """Newest first, amounts that are planned before all; `changes` is the audit trail, of amounts
    and top-ups too."""

    amounts: list[AmountInfo]
    top_ups: list[TopUpInfo]
    changes: list[AuditInfo]


def read_statuses(*, now: datetime) -> list[BudgetStatus]:
    """Every running budget of the tenant in scope, those in trouble first."""
    return sorted(_tell(read_standings(now=now), now=now), key=_trouble)


def find_status(budget_id: int, *, now: datetime) -> BudgetStatus:
    """One running budget. Raises InvalidBudgetInput when there is none of that id."""
    found = [one for one in read_standings(now=now) if one.terms.id == budget_id]
    if not found:
        raise _no_budget(budget_id)
    return _tell(found, now=now)[0]


def find_terms(budget_id: int) -> BudgetTerms:
    """What one running budget is about. Raises InvalidBudgetInput when there is none of that id."""
    terms = read_book().budgets.get(budget_id)
    if terms is None:
        raise _no_budget(budget_id)
    return terms


def find_archived(budget_id: int) -> ArchivedBudget:
    """One that was ended. Raises InvalidBudgetInput when there is none of that id."""
    found = [one for one in list_archived() if one.terms.id == budget_id]
    if not found:
        raise InvalidBudgetInput(f"there is no budget {budget_id}", field="budget_id")
    return found[0]


def list_archived() -> list[ArchivedBudget]:
    """Budgets that were ended, the last ended first. They count nowhere."""
    rows = Budget.objects.filter(archived_at__isnull=False)
    ended = {row.pk: row.archived_at for row in rows if row.archived_at is not None}
    if not ended:
        return []
    names = ScopeNames()
    archived = [
        ArchivedBudget(terms=terms, scope=names.of(terms.scope), archived_at=ended[terms.id])
        for terms in list_terms(include_archived=True)
        if terms.id in ended
    ]
    return sorted(archived, key=lambda one: (one.archived_at, one.terms.id), reverse=True)


def _no_budget(budget_id: int) -> InvalidBudgetInput:
    return InvalidBudgetInput(f"there is no running budget {budget_id}", field="budget_id")


def _tell(standings: Sequence[BudgetStanding], *, now: datetime) -> list[BudgetStatus]:
    projections = read_projections(((s.terms, s.period) for s in standings), now=now)
    counters = [CounterId.of(s.terms.id, s.period) for s in standings]
    reserved, leased = read_reserved(counters), read_leased(counters)
    return [
        _status(
            standing,
            projections.get(standing.terms.id),
            reserved[counter],
            from_count(leased[counter], standing.terms.unit),
            now=now,
        )
        for standing, counter in zip(standings, counters, strict=True)
    ]


def read_history(budget_id: int) -> BudgetHistory:
    """What was allowed since when, and every change; of archived budgets too.

    Raises InvalidBudgetInput when the tenant never had it.
    """
    if not Budget.objects.filter(pk=budget_id).exists():
        raise InvalidBudgetInput(f"there is no budget {budget_id}", field="budget_id")
    rows = list(BudgetAmount.objects.filter(budget_id=budget_id).order_by("-effective_from", "-id"))
    withdrawn = {row.replaces_id: row.recorded_at for row in rows if row.amount is None}
    top_ups = BudgetTopUp.objects.filter(budget_id=budget_id).order_by("-starts_at", "-id")
    return BudgetHistory(
        amounts=[
            AmountInfo(
                row.pk,
                row.amount,
                row.effective_from,
                row.recorded_at,
                row.actor,
                row.reason,
                withdrawn.get(row.pk),
            )
            for row in rows
            if row.amount is not None
        ][:MOST_CHANGES],
        top_ups=[
            TopUpInfo(
                row.pk,
                row.amount,
                row.starts_at,
                row.ends_at,
                row.actor,
                row.reason,
                row.recorded_at,
            )
            for row in top_ups[:MOST_CHANGES]
        ],
        changes=list_audit_of(f"budget:{budget_id}", limit=MOST_CHANGES),
    )


def list_crossings(budget_id: int, period_start: datetime) -> list[CrossingInfo]:
    """The thresholds told for one of a budget's periods, in order."""
    rows = Crossing.objects.filter(budget_id=budget_id, period_start=period_start).order_by("id")
    columns = ("basis", "threshold", "amount", "crossed_at")
    return [CrossingInfo(*row) for row in rows.values_list(*columns)]


def _status(
    standing: BudgetStanding,
    projection: ProjectionInfo | None,
    reserved: Decimal,
    leased: Decimal,
    *,
    now: datetime,
) -> BudgetStatus:
    amount, spent, period = standing.amount, standing.spent, standing.period
    elapsed = Decimal(period.elapsed(now)).quantize(TOLD)
    expected = projection.expected.at_least(spent) if projection else None
    days = (
        tuple(running_totals(projection.days, spent, expected)) if projection and expected else ()
    )
    out_on, earliest = runs_out((d for d in days if not d.is_past), amount)
    return BudgetStatus(
        standing=standing,
        elapsed=elapsed,
        pace=pace(spent, amount, elapsed),
        expected=expected,
        basis=projection.basis if projection else None,
        projected_at=projection.made_at if projection else None,
        days=days,
        runs_out_on=out_on,
        runs_out_earliest=earliest,
        # What was reserved and then repriced or taken back is not spent any more.
        reserved=max(Decimal(0), min(reserved, spent)),
        # What is claimed is folded a moment later.
        leased=min(leased, standing.held),
        health=_health(standing, expected, now),
    )


def _health(standing: BudgetStanding, expected: Expected | None, now: datetime) -> Health:
    if now < standing.period.start:
        return "not_begun"
    if now >= standing.period.end:
        return "ended"
    return health(
        amount=standing.amount, spent=standing.spent, held=standing.held, projected=expected
    )


def _trouble(status: BudgetStatus) -> tuple[int, Decimal, int]:
    """The order of a list: the worst first, then by how much of the amount will be used."""
    amount = status.standing.amount
    ends = status.expected.mid if status.expected else status.standing.spent
    return (
        HEALTH_ORDER.index(status.health),
        -(ends / amount if amount > 0 else Decimal(0)),
        status.terms.id,
    )
