"""Statements over HTTP: reading a month, closing it, and the rules of shared costs."""

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import ConfigDict, Field

from apps.budgets.api import Reason, Text, actor_of, changing
from apps.budgets.chargeback import (
    MonthStatements,
    close_month,
    list_closings,
    read_statements,
)
from apps.budgets.core.statements import ModelLine, PayerKind, Rule, Source
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.sharing import SharingInput, add_sharing, end_sharing, list_rules
from apps.budgets.statement_bodies import StatementInfo
from apps.budgets.statement_tables import XLSX, as_csv, as_xlsx
from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant

router = Router(tags=["charge-back"])

Month = Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class StatementsQuery(Schema):
    """`month` as 2026-11; the running one unless given."""

    month: Month | None = None
    payer: PayerKind = "department"
    format: Literal["json", "csv", "xlsx"] = "json"


class SpendLineOut(Schema):
    """Spend on a model; an adjustment says of which closed month."""

    model: str
    of_month: str | None
    requests: int
    cost_usd: str


class SharedLineOut(Schema):
    """A part of shared costs: `weight` of `whole_weight` of the pool."""

    name: str
    rule: Rule
    pool_usd: str
    weight: str
    whole_weight: str
    cost_usd: str


class StatementOut(Schema):
    """`code` is empty for what names no payer. Budget figures are null without a monthly budget;
    `charged_below_usd` is what departments below were charged, which counts in the balance."""

    code: str
    name: str
    opening_budget_usd: str | None
    budget_change_usd: str | None
    spend: list[SpendLineOut]
    adjustments: list[SpendLineOut]
    shared: list[SharedLineOut]
    own_usd: str
    adjustment_usd: str
    shared_usd: str
    total_usd: str
    charged_below_usd: str
    closing_balance_usd: str | None


class StatementsOut(Schema):
    """The dearest first; they add up to `total_usd`."""

    month: str
    payer: PayerKind
    is_closed: bool
    closed_at: datetime | None
    total_usd: str
    rows: list[StatementOut]


class ClosingIn(Schema):
    model_config = ConfigDict(extra="forbid")

    month: Month
    reason: Annotated[Reason, Field(min_length=1)]


class ClosedOut(Schema):
    months: list[str]


class ClosingOut(Schema):
    month: str
    closed_at: datetime
    actor: str
    reason: str


class ClosingsOut(Schema):
    """Newest first."""

    rows: list[ClosingOut]


class SharedCostIn(Schema):
    """Spend of `source` is split between payers: what names no payer ("unattributed"), a department
    or a project (`value`). `rule`: "even" between those that spend, "usage" by what they spend,
    "fixed" by `weights` ({"sales": "2", "support": "1"})."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Text, Field(min_length=1)]
    payer: PayerKind = "department"
    source: Source
    value: Text = ""
    rule: Rule
    weights: Annotated[
        dict[str, Annotated[str, Field(pattern=r"^\d{1,7}(\.\d{1,6})?$")]], Field(max_length=500)
    ] = {}


class SharedCostOut(Schema):
    id: int
    name: str
    payer: PayerKind
    source: Source
    rule: Rule


class SharedCostsOut(Schema):
    """Spend goes to the first that takes it."""

    rows: list[SharedCostOut]


@router.get("/statements", auth=KeyAuth("read"), response=StatementsOut)
def get_statements(
    request: ApiRequest, query: Query[StatementsQuery]
) -> StatementsOut | HttpResponse:
    """A month's statements: as it was closed, or as it stands. `format`: json, csv (every line) or
    xlsx."""
    now = timezone.now()
    with changing(request):
        first = _month(query.month) if query.month else get_tenant().local_date(now).replace(day=1)
        month = read_statements(first, query.payer, now=now)
    if query.format == "json":
        return statements_out(month)
    name = f"statements-{month.month:%Y-%m}-{month.kind}.{query.format}"
    if query.format == "csv":
        response = HttpResponse(as_csv(month), content_type="text/csv; charset=utf-8")
    else:
        response = HttpResponse(as_xlsx(month), content_type=XLSX)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@router.get("/statements/closings", auth=KeyAuth("read"), response=ClosingsOut)
def get_closings(request: ApiRequest) -> ClosingsOut:
    """The months that are closed."""
    with tenant_scope(request.auth.tenant_id):
        closings = list_closings()
    return ClosingsOut(
        rows=[
            ClosingOut(
                month=f"{c.month:%Y-%m}", closed_at=c.closed_at, actor=c.actor, reason=c.reason
            )
            for c in closings
        ]
    )


@router.post("/statements/closings", auth=KeyAuth("manage"), response={201: ClosedOut})
def post_closing(request: ApiRequest, body: ClosingIn) -> tuple[int, ClosedOut]:
    """Close a month that is over, and those before it that are open: their statements are kept, the
    books are closed, and what changes in them later is an adjustment in the open month."""
    try:
        months = close_month(
            request.auth.tenant_id,
            _month(body.month),
            actor=actor_of(request),
            reason=body.reason,
            now=timezone.now(),
        )
    except InvalidBudgetInput as error:
        raise Problem(422, "invalid_closing", str(error), field=error.field) from error
    return 201, ClosedOut(months=[f"{month:%Y-%m}" for month in months])


@router.get("/shared-costs", auth=KeyAuth("read"), response=SharedCostsOut)
def get_shared_costs(request: ApiRequest, payer: PayerKind = "department") -> SharedCostsOut:
    """The rules by which costs are shared."""
    with tenant_scope(request.auth.tenant_id):
        rules = list_rules(payer)
    return SharedCostsOut(
        rows=[
            SharedCostOut(id=r.id, name=r.name, payer=payer, source=r.source, rule=r.rule)
            for r in rules
        ]
    )


@router.post("/shared-costs", auth=KeyAuth("manage"), response={201: SharedCostOut})
def post_shared_cost(request: ApiRequest, body: SharedCostIn) -> tuple[int, SharedCostOut]:
    """Share costs from the open month on."""
    with changing(request):
        rule_id = add_sharing(
            SharingInput(
                name=body.name,
                kind=body.payer,
                source=body.source,
                rule=body.rule,
                value=body.value,
                weights={code: Decimal(weight) for code, weight in body.weights.items()},
            ),
            actor=actor_of(request),
            now=timezone.now(),
        )
    return 201, SharedCostOut(
        id=rule_id, name=body.name.strip(), payer=body.payer, source=body.source, rule=body.rule
    )


@router.delete("/shared-costs/{rule_id}", auth=KeyAuth("manage"), response={204: None})
def delete_shared_cost(
    request: ApiRequest, rule_id: Annotated[int, Field(ge=1, lt=2**63)]
) -> HttpResponse:
    """Share no more from the open month on. Closed statements keep what they say."""
    try:
        with tenant_scope(request.auth.tenant_id):
            end_sharing(rule_id, actor=actor_of(request), now=timezone.now())
    except InvalidBudgetInput as error:
        raise Problem(404, "shared_cost_not_found", str(error), field=error.field) from error
    return HttpResponse(status=204)


def statements_out(month: MonthStatements) -> StatementsOut:
    return StatementsOut(
        month=f"{month.month:%Y-%m}",
        payer=month.kind,
        is_closed=month.closing is not None,
        closed_at=month.closing.closed_at if month.closing else None,
        total_usd=plain_decimal(month.total_usd),
        rows=[_statement_out(one) for one in month.statements],
    )


def _statement_out(one: StatementInfo) -> StatementOut:
    sums = one.sums
    return StatementOut(
        code=one.code,
        name=one.name,
        opening_budget_usd=_text(one.opening_usd),
        budget_change_usd=_text(one.budget_change_usd),
        spend=[_line_out(line) for line in sums.models],
        adjustments=[_line_out(line) for line in sums.adjustments],
        shared=[
            SharedLineOut(
                name=line.name,
                rule=line.rule,
                pool_usd=plain_decimal(line.pool_usd),
                weight=plain_decimal(line.weight),
                whole_weight=plain_decimal(line.whole_weight),
                cost_usd=plain_decimal(line.cost_usd),
            )
            for line in sums.shared
        ],
        own_usd=plain_decimal(sums.own_usd),
        adjustment_usd=plain_decimal(sums.adjustment_usd),
        shared_usd=plain_decimal(sums.shared_usd),
        total_usd=plain_decimal(one.total_usd),
        charged_below_usd=plain_decimal(one.below_usd),
        closing_balance_usd=_text(one.closing_usd),
    )


def _line_out(line: ModelLine) -> SpendLineOut:
    return SpendLineOut(
        model=line.model,
        of_month=f"{line.of_month:%Y-%m}" if line.of_month else None,
        requests=line.requests,
        cost_usd=plain_decimal(line.cost_usd),
    )


def _text(value: Decimal | None) -> str | None:
    return plain_decimal(value) if value is not None else None


def _month(text: str) -> date:
    """The first day of a month. Problem 422 for year 0."""
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise Problem(422, "invalid_month", f"{text} is no month", field="month") from error
