"""Charge-back: statements of the open month as it stands, closing it, and those that were closed.
Part of services.

Closing a month keeps its statements for good and remembers the spend they report. What then changes
in it (late usage, repricing, moves) is the difference between what the rollups say now and what was
reported, and stands as an adjustment in the open month, until that is closed in turn.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, cast

from django.db.models import Max, Min

from apps.budgets.core.statements import (
    PayerKind,
    PayerSums,
    Piece,
    differences,
    make_statements,
)
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.sharing import list_rules
from apps.budgets.statement_bodies import StatementInfo, read_body, tell_statements, write_body
from apps.budgets.statement_models import MonthClosing, ReportedSpend, Statement
from apps.pricing.core.sharing import exact_sum
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import TenantInfo, get_tenant, list_customers, list_departments
from apps.usage.repricing import RepricingRefusedError, close_books
from apps.usage.selectors import SpendQuery, read_spend
from apps.usage.services import fold_pending, hold_folds

PAYER_KINDS: Final[tuple[PayerKind, ...]] = ("department", "customer")
MAX_FOLDS: Final = 1000
MOST_MONTHS: Final = 24
MAX_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class ClosingInfo:
    """A closed month: when, by whom, why."""

    month: date
    closed_at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class MonthStatements:
    """One month's statements of one kind of payer, the dearest first. They add up to `total_usd`:
    what the month cost and what changed of months closed before."""

    month: date
    kind: PayerKind
    closing: ClosingInfo | None
    statements: list[StatementInfo]
    total_usd: Decimal


def list_months(*, now: datetime) -> list[date]:
    """The months that have statements, the running one first; at most MOST_MONTHS."""
    tenant = get_tenant()
    month = tenant.local_date(now).replace(day=1)
    months = [month]
    while len(months) < MOST_MONTHS:
        month = _before(month)
        months.append(month)
    return months


def list_closings() -> list[ClosingInfo]:
    """The closed months, newest first."""
    rows = MonthClosing.objects.order_by("-month")
    return [ClosingInfo(*row) for row in rows.values_list("month", "closed_at", "actor", "reason")]


def read_statements(month: date, kind: PayerKind, *, now: datetime) -> MonthStatements:
    """A month's statements: as they were closed, or as they stand. Raises InvalidBudgetInput for a
    month to come, or one before the first that was closed."""
    tenant = get_tenant()
    _check_month(month, tenant, now)
    closing = MonthClosing.objects.filter(month=month).first()
    if closing is None:
        statements = _open_statements(month, kind, tenant, now=now)
        info = None
    else:
        rows = Statement.objects.filter(closing=closing, payer_kind=kind)
        statements = [read_body(row.body) for row in rows.order_by("-total_usd", "payer_id")]
        info = ClosingInfo(closing.month, closing.closed_at, closing.actor, closing.reason)
    return MonthStatements(month, kind, info, statements, _total(statements))


def close_month(
    tenant_id: int, month: date, *, actor: str, reason: str, now: datetime
) -> list[date]:
    """Close every open month from the last closed one through `month`, and its books; returns them.

    The first closing begins with that month: what was before it is on no statement.
    """
    for _ in range(MAX_FOLDS):
        if not fold_pending(tenant_id, now=now):
            break
    with tenant_scope(tenant_id):
        # What is reported is what the rollups hold: nothing is folded meanwhile.
        hold_folds(tenant_id)
        tenant = get_tenant()
        months = _months_to_close(month, tenant, now)
        _check_reason(reason)
        for one in months:
            _close(one, tenant, actor=actor, reason=reason.strip(), now=now)
        last_day = _after(month) - timedelta(days=1)
        if tenant.books_closed_through is None or tenant.books_closed_through < last_day:
            try:
                close_books(tenant_id, last_day, actor=actor, reason=reason.strip(), now=now)
            except RepricingRefusedError as error:
                raise InvalidBudgetInput(error.detail, field="month") from error
    return months


def _close(month: date, tenant: TenantInfo, *, actor: str, reason: str, now: datetime) -> None:
    pieces = _pieces_of(month, tenant)
    closing = MonthClosing.objects.create(month=month, closed_at=now, actor=actor, reason=reason)
    for kind in PAYER_KINDS:
        made = make_statements(kind, pieces, list_rules(kind))
        Statement.objects.bulk_create(
            Statement(
                tenant_id=tenant.id,
                closing=closing,
                payer_kind=kind,
                payer_id=statement.payer_id,
                total_usd=statement.total_usd,
                body=write_body(statement),
            )
            for statement in tell_statements(kind, month, made, now=now)
        )
    ReportedSpend.objects.bulk_create(
        [
            ReportedSpend(
                tenant_id=tenant.id,
                closing=closing,
                of_month=piece.of_month or month,
                department_id=piece.department_id,
                customer_id=piece.customer_id,
                project=piece.project,
                model=piece.model,
                cost_usd=piece.cost_usd,
                requests=piece.requests,
            )
            for piece in pieces
        ],
        batch_size=2000,
    )


def _open_statements(
    month: date, kind: PayerKind, tenant: TenantInfo, *, now: datetime
) -> list[StatementInfo]:
    made: Sequence[PayerSums] = make_statements(kind, _pieces_of(month, tenant), list_rules(kind))
    told = tell_statements(kind, month, made, now=now)
    return sorted(told, key=lambda one: (-one.total_usd, one.payer_id))


def _pieces_of(month: date, tenant: TenantInfo) -> list[Piece]:
    """A month's spend; and, in the first month that is open, what changed of closed ones."""
    own = [_without_month(p) for p in _read_pieces(month, _after(month), tenant)]
    bounds = MonthClosing.objects.aggregate(first=Min("month"), last=Max("month"))
    first, last = bounds["first"], bounds["last"]
    if first is None or month != _after(last):
        return own
    now = _read_pieces(first, _after(last), tenant)
    columns = ("department_id", "customer_id", "project", "model", "cost_usd", "requests")
    rows = ReportedSpend.objects.values_list(*columns, "of_month")
    return own + differences(now, [Piece(*row) for row in rows.iterator(chunk_size=5000)])


def _read_pieces(first: date, end: date, tenant: TenantInfo) -> list[Piece]:
    """What the rollups say of the months [first, end), each piece with its month."""
    departments = {d.code.lower(): d.id for d in list_departments()}
    customers = {c.external_id: c.id for c in list_customers()}
    spend = read_spend(
        SpendQuery(
            start=datetime.combine(first, time.min, tenant.zone).astimezone(UTC),
            end=datetime.combine(end, time.min, tenant.zone).astimezone(UTC),
            group_by=("department", "customer", "project", "model"),
            interval="month",
        )
    )
    return [
        Piece(
            department_id=departments.get((row.labels["department"] or "").lower()),
            customer_id=customers.get(row.labels["customer"] or ""),
            project=row.labels["project"],
            model=row.labels["model"] or "",
            cost_usd=row.cost_usd,
            requests=row.requests,
            of_month=cast("date", row.bucket),
        )
        for row in spend.rows
    ]


def _without_month(piece: Piece) -> Piece:
    return Piece(
        piece.department_id,
        piece.customer_id,
        piece.project,
        piece.model,
        piece.cost_usd,
        piece.requests,
    )


def _months_to_close(month: date, tenant: TenantInfo, now: datetime) -> list[date]:
    _check_month(month, tenant, now)
    if _after(month) > tenant.local_date(now):
        raise InvalidBudgetInput(
            f"{month:%Y-%m} is not over yet: it can be closed from {_after(month)} on",
            field="month",
        )
    last = MonthClosing.objects.aggregate(last=Max("month"))["last"]
    if last is not None and month <= last:
        raise InvalidBudgetInput(
            f"{month:%Y-%m} is closed already; its statements stay as they are", field="month"
        )
    months = [month]
    while last is not None and _before(months[0]) > last:
        months.insert(0, _before(months[0]))
    return months


def _check_month(month: date, tenant: TenantInfo, now: datetime) -> None:
    if month.day != 1 or not 2000 <= month.year <= 9000:
        raise InvalidBudgetInput(f"{month} is no month: give its first day", field="month")
    if month > tenant.local_date(now):
        raise InvalidBudgetInput(f"{month:%Y-%m} has not begun", field="month")


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > MAX_REASON:
        raise InvalidBudgetInput("say why, in up to 500 characters", field="reason")


def _total(statements: Iterable[StatementInfo]) -> Decimal:
    return exact_sum(statement.total_usd for statement in statements)


def _after(month: date) -> date:
    return (month + timedelta(days=32)).replace(day=1)


def _before(month: date) -> date:
    return (month - timedelta(days=1)).replace(day=1)
