"""A statement whole: with its budget and balance, and as it is kept. Part of services."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

from apps.budgets.book import BudgetBook, BudgetTerms, read_book
from apps.budgets.core.amounts import amount_in_force
from apps.budgets.core.scopes import Scope
from apps.budgets.core.statements import (
    NOBODY,
    ModelLine,
    PayerKind,
    PayerSums,
    Rule,
    SharedLine,
)
from apps.budgets.counter_types import CounterId
from apps.budgets.inheritance import read_inherited
from apps.pricing.core.money import EXACT, plain_decimal
from apps.pricing.core.sharing import exact_sum
from apps.tenants.selectors import list_customers, list_departments


@dataclass(frozen=True, slots=True)
class StatementInfo:
    """A payer's month. Its total is its own spend, adjustments of closed months and its parts of
    shared costs. Opening budget, its changes in the month (top-ups, inheritance) and the closing
    balance are None without a monthly budget; a department's balance counts what those below it
    were charged too."""

    kind: PayerKind
    payer_id: int
    code: str
    name: str
    month: date
    opening_usd: Decimal | None
    budget_change_usd: Decimal | None
    below_usd: Decimal
    sums: PayerSums = field(repr=False)

    @property
    def total_usd(self) -> Decimal:
        return self.sums.total_usd

    @property
    def closing_usd(self) -> Decimal | None:
        if self.opening_usd is None or self.budget_change_usd is None:
            return None
        charged = EXACT.add(self.total_usd, self.below_usd)
        return EXACT.subtract(EXACT.add(self.opening_usd, self.budget_change_usd), charged)


def tell_statements(
    kind: PayerKind, month: date, made: Sequence[PayerSums], *, now: datetime
) -> list[StatementInfo]:
    """Statements with names, budgets and balances; payers that have nothing but a budget too."""
    names = _names(kind)
    budgets = _budgets(kind, month, now=now)
    sums = {one.payer_id: one for one in made}
    nothing = {payer: PayerSums(payer, (), (), ()) for payer in budgets if payer not in sums}
    every = sums | nothing
    below = _below(every) if kind == "department" else {}
    told = []
    for payer, one in sorted(every.items()):
        opening, change = budgets.get(payer, (None, None))
        code, name = names.get(payer, (f"#{payer}", f"#{payer}"))
        told.append(
            StatementInfo(
                kind=kind,
                payer_id=payer,
                code=code,
                name=name,
                month=month,
                opening_usd=opening,
                budget_change_usd=change,
                below_usd=below.get(payer, Decimal(0)),
                sums=one,
            )
        )
    return told


def write_body(statement: StatementInfo) -> dict[str, Any]:
    """A statement as JSON; money as exact text."""
    sums = statement.sums
    return {
        "kind": statement.kind,
        "payer_id": statement.payer_id,
        "code": statement.code,
        "name": statement.name,
        "month": statement.month.isoformat(),
        "opening_usd": _text(statement.opening_usd),
        "budget_change_usd": _text(statement.budget_change_usd),
        "below_usd": plain_decimal(statement.below_usd),
        "models": [_model_body(line) for line in sums.models],
        "adjustments": [_model_body(line) for line in sums.adjustments],
        "shared": [
            {
                "name": line.name,
                "rule": line.rule,
                "pool_usd": plain_decimal(line.pool_usd),
                "weight": plain_decimal(line.weight),
                "whole_weight": plain_decimal(line.whole_weight),
                "cost_usd": plain_decimal(line.cost_usd),
            }
            for line in sums.shared
        ],
    }


def read_body(body: Mapping[str, Any]) -> StatementInfo:
    """The inverse of write_body."""
    return StatementInfo(
        kind=cast("PayerKind", body["kind"]),
        payer_id=body["payer_id"],
        code=body["code"],
        name=body["name"],
        month=date.fromisoformat(body["month"]),
        opening_usd=_decimal(body["opening_usd"]),
        budget_change_usd=_decimal(body["budget_change_usd"]),
        below_usd=Decimal(body["below_usd"]),
        sums=PayerSums(
            payer_id=body["payer_id"],
            models=tuple(_model_line(line) for line in body["models"]),
            adjustments=tuple(_model_line(line) for line in body["adjustments"]),
            shared=tuple(
                SharedLine(
                    name=line["name"],
                    rule=cast("Rule", line["rule"]),
                    pool_usd=Decimal(line["pool_usd"]),
                    weight=Decimal(line["weight"]),
                    whole_weight=Decimal(line["whole_weight"]),
                    cost_usd=Decimal(line["cost_usd"]),
                )
                for line in body["shared"]
            ),
        ),
    )


def _model_body(line: ModelLine) -> dict[str, Any]:
    return {
        "model": line.model,
        "cost_usd": plain_decimal(line.cost_usd),
        "requests": line.requests,
        "of_month": line.of_month.isoformat() if line.of_month else None,
    }


def _model_line(body: Mapping[str, Any]) -> ModelLine:
    of_month = date.fromisoformat(body["of_month"]) if body["of_month"] else None
    return ModelLine(body["model"], Decimal(body["cost_usd"]), body["requests"], of_month)


def _names(kind: PayerKind) -> dict[int, tuple[str, str]]:
    """(code, name) by payer id."""
    if kind == "department":
        named = {d.id: (d.code, d.name) for d in list_departments()}
    else:
        named = {c.id: (c.external_id, c.name) for c in list_customers()}
    return named | {NOBODY: ("", f"no {kind}")}


def _budgets(kind: PayerKind, month: date, *, now: datetime) -> dict[int, tuple[Decimal, Decimal]]:
    """(opening, change) of each payer's oldest monthly budget in USD."""
    book = read_book()
    found: dict[int, tuple[Decimal, Decimal]] = {}
    for terms in book.budgets.values():
        payer = terms.scope.department_id if kind == "department" else terms.scope.customer_id
        alone = Scope(department_id=payer) if kind == "department" else Scope(customer_id=payer)
        if payer is None or payer in found or terms.scope != alone:
            continue
        begins_after = terms.created_at >= terms.calendar.starting(month).end
        if terms.calendar.kind == "month" and terms.unit == "usd" and not begins_after:
            found[payer] = _opening(book, terms, month, now=now)
    return found


def _opening(
    book: BudgetBook, terms: BudgetTerms, month: date, *, now: datetime
) -> tuple[Decimal, Decimal]:
    """What was allowed at the month's start, and by how much that had changed at its end (or now):
    another amount, top-ups, what it inherited."""
    period = terms.calendar.starting(month)
    at_start = amount_in_force(terms.amounts, period.start)
    first = min(terms.amounts, key=lambda dated: dated.effective_from, default=None)
    opening = at_start if at_start is not None else first.amount if first else Decimal(0)
    moment = min(now, period.end - timedelta(microseconds=1))
    found = read_inherited(book, [(terms.id, period)], now=moment)
    inherited = found.get(CounterId.of(terms.id, period), Decimal(0))
    return opening, terms.allowed(period, moment) + inherited - opening


def _below(sums: Mapping[int, PayerSums]) -> dict[int, Decimal]:
    """What the departments below each were charged."""
    parents = {d.id: d.parent_id for d in list_departments()}
    parts: dict[int, list[Decimal]] = defaultdict(list)
    for payer, one in sums.items():
        above = parents.get(payer)
        seen: set[int] = {payer}
        while above is not None and above not in seen:
            seen.add(above)
            parts[above].append(one.total_usd)
            above = parents.get(above)
    return {payer: exact_sum(some) for payer, some in parts.items()}


def _text(value: Decimal | None) -> str | None:
    return plain_decimal(value) if value is not None else None


def _decimal(text: str | None) -> Decimal | None:
    return Decimal(text) if text is not None else None
