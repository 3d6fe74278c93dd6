"""Budgets over HTTP: what may be spent, how it stands, and changing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from django.http import HttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import ConfigDict, Field

from apps.budgets.answers import BudgetOut, budget_out
from apps.budgets.book import OnLimit, read_choices
from apps.budgets.core.amounts import Unit
from apps.budgets.core.periods import PeriodKind
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.services import (
    MAX_HOLD_SECONDS,
    MIN_HOLD_SECONDS,
    BudgetTermsInput,
    add_top_up,
    archive_budget,
    change_amount,
    change_budget,
    create_budget,
    set_choices,
    withdraw_amount,
)
from apps.budgets.status import find_status, find_terms, read_history, read_statuses
from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

router = Router(tags=["budgets"])

MAX_ROWS = 1000
NO_NUL = r"^[^\x00]*$"
Text = Annotated[str, Field(max_length=200, pattern=NO_NUL)]
Reason = Annotated[str, Field(max_length=500, pattern=NO_NUL)]
Number = Annotated[str, Field(pattern=r"^\d{1,29}(\.\d{1,9})?$")]
Percent = Annotated[Decimal, Field(gt=0, le=1000, decimal_places=2)]
Percents = Annotated[list[Percent], Field(max_length=10)]
BudgetId = Annotated[int, Field(ge=1, lt=2**63)]


class AmountIn(Schema):
    """`amount_usd`, or `amount` in the budget's unit."""

    model_config = ConfigDict(extra="forbid")

    amount_usd: Number | None = None
    amount: Number | None = None


class BudgetIn(AmountIn):
    """`scope` names what must agree: department (its children included), customer, project, router
    (a key's name), provider, model, backend ("openai/gpt-4o"), kind ("cloud" or "local"); all of
    them together; empty is the whole tenant. A grant runs from `grant_start` to `grant_end`.

    Thresholds are percent of the amount: of what is spent, and of the projected end of the period.
    """

    scope: Annotated[dict[str, Text], Field(max_length=8)] = {}
    period: PeriodKind
    unit: Unit = "usd"
    on_limit: OnLimit = "notify"
    thresholds: Percents = []
    projected_thresholds: Percents = []
    rollover: bool = False
    name: Text = ""
    grant_start: datetime | None = None
    grant_end: datetime | None = None


class BudgetChangeIn(AmountIn):
    """What is given changes; scope, period and unit never do. A new amount holds from now on, or
    from `effective_from`, for the whole period that runs then; what was spent stays spent."""

    effective_from: datetime | None = None
    reason: Reason = ""
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None
    on_limit: OnLimit | None = None
    thresholds: Percents | None = None
    projected_thresholds: Percents | None = None
    rollover: bool | None = None


class TopUpIn(AmountIn):
    """More from `starts_at` (now, unless given) until `ends_at`, and why."""

    starts_at: datetime | None = None
    ends_at: datetime
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=NO_NUL)]


class BudgetsOut(Schema):
    """By id. `next_after_id` continues the list; null at its end."""

    rows: list[BudgetOut]
    next_after_id: int | None


class BudgetsQuery(Schema):
    after_id: Annotated[int, Field(ge=0, lt=2**63)] = 0
    limit: Annotated[int, Field(ge=1, le=MAX_ROWS)] = MAX_ROWS


class ArchiveQuery(Schema):
    reason: Reason = ""


class AmountOut(Schema):
    """`withdrawn_at`: when it was taken back, before it began; else null."""

    id: int
    amount: str
    effective_from: datetime
    recorded_at: datetime
    actor: str
    reason: str
    withdrawn_at: datetime | None


class SettingsIn(Schema):
    """What cloud and local backends are told while the caps' counters are not known (Redis lost its
    memory, PostgreSQL is away): "refuse" fails closed, "allow" open. `hold_seconds`: how long a
    reservation is held for its usage event."""

    model_config = ConfigDict(extra="forbid")

    cloud_while_unknown: Literal["refuse", "allow"] = "refuse"
    local_while_unknown: Literal["refuse", "allow"] = "allow"
    hold_seconds: Annotated[int, Field(ge=MIN_HOLD_SECONDS, le=MAX_HOLD_SECONDS)] = 600


class SettingsOut(Schema):
    cloud_while_unknown: Literal["refuse", "allow"]
    local_while_unknown: Literal["refuse", "allow"]
    hold_seconds: int


class TopUpOut(Schema):
    id: int
    amount: str
    starts_at: datetime
    ends_at: datetime
    actor: str
    reason: str
    recorded_at: datetime


class ChangeOut(Schema):
    at: datetime
    actor: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class HistoryOut(Schema):
    """Newest first. `changes` is the audit trail, amounts and top-ups included."""

    amounts: list[AmountOut]
    top_ups: list[TopUpOut]
    changes: list[ChangeOut]


@router.get("/budgets", auth=KeyAuth("read", "manage"), response=BudgetsOut)
def get_budgets(request: ApiRequest, query: Query[BudgetsQuery]) -> BudgetsOut:
    """How every running budget stands, and where it is heading."""
    with tenant_scope(request.auth.tenant_id):
        statuses = read_statuses(now=timezone.now())
    after = [s for s in statuses if s.terms.id > query.after_id]
    after.sort(key=lambda status: status.terms.id)
    page = after[: query.limit]
    more = len(after) > len(page)
    return BudgetsOut(
        rows=[budget_out(status) for status in page],
        next_after_id=page[-1].terms.id if more else None,
    )


@router.post("/budgets", auth=KeyAuth("manage"), response={201: BudgetOut})
def post_budget(request: ApiRequest, body: BudgetIn) -> tuple[int, BudgetOut]:
    """Add a budget. It counts what its running period has spent already; a cap ("refuse") holds
    within a second."""
    now = timezone.now()
    with changing(request):
        budget_id = create_budget(
            BudgetTermsInput(
                scope=body.scope,
                period=body.period,
                unit=body.unit,
                amount=_amount(body, body.unit),
                on_limit=body.on_limit,
                name=body.name,
                rollover=body.rollover,
                thresholds=body.thresholds,
                projected_thresholds=body.projected_thresholds,
                grant_start=_aware("grant_start", body.grant_start),
                grant_end=_aware("grant_end", body.grant_end),
            ),
            actor=actor_of(request),
            now=now,
        )
        return 201, budget_out(find_status(budget_id, now=now))


@router.get("/budgets/settings", auth=KeyAuth("read", "manage"), response=SettingsOut)
def get_settings(request: ApiRequest) -> SettingsOut:
    """What happens while caps cannot be known, and how long a hold lasts."""
    with tenant_scope(request.auth.tenant_id):
        return SettingsOut(**asdict(read_choices()))


@router.put("/budgets/settings", auth=KeyAuth("manage"), response=SettingsOut)
def put_settings(request: ApiRequest, body: SettingsIn) -> SettingsOut:
    """Set all of it; what is left out has its default. Dated, with who, in the audit trail."""
    with changing(request):
        set_choices(**body.dict(), actor=actor_of(request), now=timezone.now())
        return SettingsOut(**asdict(read_choices()))


@router.get("/budgets/{budget_id}", auth=KeyAuth("read", "manage"), response=BudgetOut)
def get_budget(request: ApiRequest, budget_id: BudgetId) -> BudgetOut:
    with changing(request):
        return budget_out(find_status(budget_id, now=timezone.now()))


@router.patch("/budgets/{budget_id}", auth=KeyAuth("manage"), response=BudgetOut)
def patch_budget(request: ApiRequest, budget_id: BudgetId, body: BudgetChangeIn) -> BudgetOut:
    """Change what is given. The change is dated, with who and why, in the history."""
    now = timezone.now()
    with changing(request):
        unit = find_terms(budget_id).unit
        if body.amount is not None or body.amount_usd is not None:
            change_amount(
                budget_id,
                _amount(body, unit),
                actor=actor_of(request),
                reason=body.reason.strip(),
                now=now,
                effective_from=_aware("effective_from", body.effective_from),
            )
        change_budget(
            budget_id,
            actor=actor_of(request),
            now=now,
            name=body.name,
            on_limit=body.on_limit,
            rollover=body.rollover,
            thresholds=body.thresholds,
            projected_thresholds=body.projected_thresholds,
        )
        return budget_out(find_status(budget_id, now=now))


@router.delete("/budgets/{budget_id}", auth=KeyAuth("manage"), response={204: None})
def delete_budget(
    request: ApiRequest, budget_id: BudgetId, query: Query[ArchiveQuery]
) -> HttpResponse:
    """Archive it: it counts and refuses no more. Its history stays, with the reason."""
    with changing(request):
        archive_budget(budget_id, actor=actor_of(request), reason=query.reason, now=timezone.now())
    return HttpResponse(status=204)


@router.delete(
    "/budgets/{budget_id}/amounts/{amount_id}", auth=KeyAuth("manage"), response={204: None}
)
def delete_planned_amount(
    request: ApiRequest, budget_id: BudgetId, amount_id: BudgetId, query: Query[ArchiveQuery]
) -> HttpResponse:
    """Withdraw an amount that is planned: the one before it goes on. 422 once it has begun."""
    with changing(request):
        withdraw_amount(
            budget_id,
            amount_id,
            actor=actor_of(request),
            reason=query.reason,
            now=timezone.now(),
        )
    return HttpResponse(status=204)


@router.post("/budgets/{budget_id}/top-ups", auth=KeyAuth("manage"), response={201: BudgetOut})
def post_top_up(request: ApiRequest, budget_id: BudgetId, body: TopUpIn) -> tuple[int, BudgetOut]:
    """Allow more for a while, with a reason and an end."""
    now = timezone.now()
    with changing(request):
        unit = find_terms(budget_id).unit
        add_top_up(
            budget_id,
            _amount(body, unit),
            starts_at=_aware("starts_at", body.starts_at) or now,
            ends_at=_aware("ends_at", body.ends_at) or now,
            actor=actor_of(request),
            reason=body.reason,
            now=now,
        )
        return 201, budget_out(find_status(budget_id, now=now))


@router.get("/budgets/{budget_id}/history", auth=KeyAuth("read", "manage"), response=HistoryOut)
def get_history(request: ApiRequest, budget_id: BudgetId) -> HistoryOut:
    """Every amount and top-up, and every other change: when, by whom, why. Archived ones too."""
    with changing(request):
        history = read_history(budget_id)
    return HistoryOut(
        amounts=[
            AmountOut(
                id=row.id,
                amount=plain_decimal(row.amount),
                effective_from=row.effective_from,
                recorded_at=row.recorded_at,
                actor=row.actor,
                reason=row.reason,
                withdrawn_at=row.withdrawn_at,
            )
            for row in history.amounts
        ],
        top_ups=[
            TopUpOut(
                id=row.id,
                amount=plain_decimal(row.amount),
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                actor=row.actor,
                reason=row.reason,
                recorded_at=row.recorded_at,
            )
            for row in history.top_ups
        ],
        changes=[
            ChangeOut(at=c.at, actor=c.actor, action=c.action, before=c.before, after=c.after)
            for c in history.changes
        ],
    )


@contextmanager
def changing(request: ApiRequest) -> Iterator[None]:
    """In the key's tenant; what cannot be is a problem that names its field."""
    try:
        with tenant_scope(request.auth.tenant_id):
            yield
    except InvalidBudgetInput as error:
        if error.field == "budget_id":
            raise Problem(404, "budget_not_found", str(error), field="budget_id") from error
        raise Problem(422, "invalid_budget", str(error), field=error.field) from error


def actor_of(request: ApiRequest) -> str:
    """Who changed something, as the audit trail has it."""
    return f"key {request.auth.name}"


def _amount(body: AmountIn, unit: Unit) -> Decimal:
    """The amount given, in the budget's unit. Problem 422 when not exactly one is."""
    given = body.amount_usd if unit == "usd" and body.amount is None else body.amount
    if given is None or (body.amount is not None and body.amount_usd is not None):
        names = "amount_usd" if unit == "usd" else f"amount (in {unit})"
        raise Problem(
            422,
            "amount_missing",
            f"give {names} once; this budget is in {unit}",
            field="amount_usd" if unit == "usd" else "amount",
        )
    return Decimal(given)


def _aware(field: str, moment: datetime | None) -> datetime | None:
    if moment is not None and (moment.tzinfo is None or not 1 < moment.year < 9999):
        raise Problem(422, "time_zone_missing", f"{field} needs an offset, such as Z", field=field)
    return moment
