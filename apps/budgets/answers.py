"""A budget's row as the API answers it."""

from datetime import date, datetime
from decimal import Decimal

from ninja import Schema

from apps.budgets.book import OnLimit
from apps.budgets.core.amounts import Unit
from apps.budgets.core.pace import Basis, Expected, Health
from apps.budgets.core.periods import PeriodKind
from apps.budgets.status import BudgetStatus
from apps.pricing.core.money import plain_decimal


class ProjectedOut(Schema):
    """How the period is expected to end, in the unit: eight times of ten between low and high.

    `basis` "forecast" is GET /api/v1/forecasts narrowed to the scope; "pace" is spending on as it
    went so far (tokens and requests), without an interval.
    """

    low: str
    expected: str
    high: str
    basis: Basis
    made_at: datetime


class BudgetOut(Schema):
    """A budget's running period. Figures in its unit; those in `_usd` are null for other units.

    `held` is set aside by open reservations, `left` may still be. `elapsed` is the share of the
    period that is over and `pace` spent against even spending (1 is on pace). `runs_out_on` is the
    local day on which the amount is used up as projected, `runs_out_earliest` at the high end.
    `reserved` of `spent` had been reserved, `unreserved` had not; `leased` of `held` routers may
    spend without asking. `is_live`: read from the counters
    that reservations use; else from the ledger.
    """

    id: int
    name: str
    scope: dict[str, str]
    period: PeriodKind
    period_start: datetime
    period_end: datetime
    unit: Unit
    amount: str
    spent: str
    held: str
    left: str
    amount_usd: str | None
    spent_usd: str | None
    held_usd: str | None
    left_usd: str | None
    on_limit: OnLimit
    rollover: bool
    thresholds: list[str]
    projected_thresholds: list[str]
    health: Health
    elapsed: str
    pace: str | None
    projected: ProjectedOut | None
    runs_out_on: date | None
    runs_out_earliest: date | None
    reserved: str
    unreserved: str
    reserved_share: str | None
    leased: str
    is_live: bool
    created_at: datetime


def budget_out(status: BudgetStatus) -> BudgetOut:
    standing, terms = status.standing, status.terms
    figures = {
        "amount": plain_decimal(standing.amount),
        "spent": plain_decimal(standing.spent),
        "held": plain_decimal(standing.held),
        "left": plain_decimal(standing.left),
    }
    in_usd = figures if terms.unit == "usd" else dict.fromkeys(figures)
    return BudgetOut(
        id=terms.id,
        name=terms.name,
        scope=dict(standing.scope),
        period=terms.calendar.kind,
        period_start=standing.period.start,
        period_end=standing.period.end,
        unit=terms.unit,
        on_limit=terms.on_limit,
        rollover=terms.rollover,
        thresholds=[plain_decimal(t) for t in terms.thresholds],
        projected_thresholds=[plain_decimal(t) for t in terms.projected_thresholds],
        health=status.health,
        elapsed=_ratio(status.elapsed),
        pace=_ratio(status.pace) if status.pace is not None else None,
        projected=_projected(status, status.expected) if status.expected else None,
        runs_out_on=status.runs_out_on,
        runs_out_earliest=status.runs_out_earliest,
        reserved=plain_decimal(status.reserved),
        unreserved=plain_decimal(status.unreserved),
        reserved_share=_ratio(status.reserved_share) if status.reserved_share is not None else None,
        leased=plain_decimal(status.leased),
        is_live=standing.is_live,
        created_at=terms.created_at,
        **figures,
        amount_usd=in_usd["amount"],
        spent_usd=in_usd["spent"],
        held_usd=in_usd["held"],
        left_usd=in_usd["left"],
    )


def _projected(status: BudgetStatus, expected: Expected) -> ProjectedOut:
    assert status.basis is not None and status.projected_at is not None  # noqa: S101, PT018
    return ProjectedOut(
        low=plain_decimal(expected.low),
        expected=plain_decimal(expected.mid),
        high=plain_decimal(expected.high),
        basis=status.basis,
        made_at=status.projected_at,
    )


def _ratio(value: Decimal) -> str:
    """A ratio has no last digit: six decimals of it."""
    return plain_decimal(value.quantize(Decimal("0.000001")))
