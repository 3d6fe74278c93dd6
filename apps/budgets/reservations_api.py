"""Reservations over HTTP, for callers that choose their backend themselves."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NoReturn

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router
from pydantic import ConfigDict, Field

from apps.budgets.errors import BudgetRefused, BudgetsUnknown, HoldNotFound, InvalidBudgetInput
from apps.budgets.holds import Reservation
from apps.budgets.plain_reserve import Wanted, reserve_plainly
from apps.budgets.refusals import refused_problem, suspended_problem, unknown_problem
from apps.budgets.selectors import decision_uuid
from apps.budgets.settling import HoldState, HoldStatus, release, settle
from apps.insights.guard import Suspended
from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.patience import DECISION_LIMIT_S, time_limit
from apps.tenants.problems import Problem
from apps.tenants.schemas import Schema, json_answer

router = Router(tags=["budgets"])

MAX_TOKENS = 1_000_000_000
Tokens = Annotated[int, Field(strict=True, ge=0, le=MAX_TOKENS)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Money = Annotated[str, Field(pattern=r"^\d{1,8}(\.\d{1,24})?$")]


class ReservationIn(Schema):
    """`amount_usd`; or `backend` ("openai/gpt-4o-mini") with `input_tokens` and
    `max_output_tokens`, reasoning included: its worst case. Both: the amount, counted on that
    backend. `request_id` makes it safe to ask twice."""

    model_config = ConfigDict(extra="forbid")

    request_id: Name
    amount_usd: Money | None = None
    backend: Name | None = None
    input_tokens: Tokens | None = None
    max_output_tokens: Tokens | None = None
    department: Name | None = None
    customer: Name | None = None
    project: Name | None = None
    hold_seconds: Annotated[int, Field(ge=5, le=86400)] | None = None


class ReservationOut(Schema):
    """`reservation_id` goes into the usage event as `decision_id`, which settles it. `is_held`
    false: what is left of the budgets is not known just now and the tenant lets this run meanwhile;
    or it has ended."""

    reservation_id: str
    held_usd: str
    is_held: bool
    is_repeat: bool
    expires_at: datetime
    budgets: list[int]


class ReservationSettleIn(Schema):
    """What it cost: stands until its usage event comes."""

    model_config = ConfigDict(extra="forbid")

    cost_usd: Money
    tokens: Tokens = 0


class ReservationStateOut(Schema):
    reservation_id: str
    state: HoldStatus
    held_usd: str
    settled_usd: str | None
    expires_at: datetime


@router.post("/budgets/reservations", auth=KeyAuth("route"), response={201: ReservationOut})
def post_reservation(request: ApiRequest, body: ReservationIn) -> HttpResponse:
    """Set money aside in every matching budget at once, or in none: 402 names the caps that would
    break. It ends when it is settled or released, or at its full amount when it expires.
    403 while an anomaly's guard rail suspends the key or customer."""
    try:
        with time_limit(DECISION_LIMIT_S):
            made = reserve_plainly(request.auth, _wanted(body), now=timezone.now())
    except Suspended as error:
        raise suspended_problem(error) from error
    except BudgetRefused as error:
        raise refused_problem(request.auth.tenant_id, error) from error
    except BudgetsUnknown as error:
        raise unknown_problem() from error
    except InvalidBudgetInput as error:
        raise Problem(422, "no_price", str(error), field=error.field) from error
    return json_answer(_reservation_out(made), status=201)


@router.post(
    "/budgets/reservations/{reservation_id}/settle",
    auth=KeyAuth("route"),
    response=ReservationStateOut,
)
def settle_reservation(
    request: ApiRequest, reservation_id: str, body: ReservationSettleIn
) -> HttpResponse:
    """End it at what the request cost, ahead of its usage event. Safe to repeat."""
    try:
        with time_limit(DECISION_LIMIT_S):
            state = settle(
                request.auth.tenant_id,
                _uuid(reservation_id),
                cost_usd=Decimal(body.cost_usd),
                tokens=body.tokens,
                now=timezone.now(),
            )
    except HoldNotFound as error:
        _not_found(error.decision_id)
    return json_answer(_state_out(state))


@router.post(
    "/budgets/reservations/{reservation_id}/release",
    auth=KeyAuth("route"),
    response=ReservationStateOut,
)
def release_reservation(request: ApiRequest, reservation_id: str) -> HttpResponse:
    """End it without a cost: the request did not run. Safe to repeat."""
    try:
        with time_limit(DECISION_LIMIT_S):
            state = release(request.auth.tenant_id, _uuid(reservation_id), now=timezone.now())
    except HoldNotFound as error:
        _not_found(error.decision_id)
    return json_answer(_state_out(state))


def _wanted(body: ReservationIn) -> Wanted:
    if body.amount_usd is None and body.backend is None:
        raise Problem(
            422,
            "amount_missing",
            "give amount_usd, or backend with input_tokens and max_output_tokens",
            field="amount_usd",
        )
    if body.amount_usd is None and body.max_output_tokens is None:
        raise Problem(
            422,
            "no_worst_case",
            "without max_output_tokens a request has no worst case to reserve",
            field="max_output_tokens",
        )
    return Wanted(
        request_id=body.request_id,
        amount_usd=Decimal(body.amount_usd) if body.amount_usd is not None else None,
        backend=body.backend,
        input_tokens=body.input_tokens or 0,
        max_output_tokens=body.max_output_tokens or 0,
        department=body.department,
        customer=body.customer,
        project=body.project,
        hold_seconds=body.hold_seconds,
    )


def _reservation_out(made: Reservation) -> ReservationOut:
    return ReservationOut(
        reservation_id=made.decision_id,
        held_usd=plain_decimal(made.estimate_usd) if made.is_held else "0",
        is_held=made.is_held,
        is_repeat=made.is_repeat,
        expires_at=made.expires_at,
        budgets=list(made.budgets),
    )


def _state_out(state: HoldState) -> ReservationStateOut:
    settled = state.settled_usd
    return ReservationStateOut(
        reservation_id=state.decision_id,
        state=state.state,
        held_usd=plain_decimal(state.estimate_usd) if state.state == "open" else "0",
        settled_usd=plain_decimal(settled) if settled is not None else None,
        expires_at=state.expires_at,
    )


def _uuid(reservation_id: str) -> str:
    found = decision_uuid(reservation_id)
    if found is None:
        _not_found(reservation_id[:100])
    return str(found)


def _not_found(reservation_id: str) -> NoReturn:
    raise Problem(
        404,
        "reservation_not_found",
        f"there is no reservation {reservation_id}; POST /api/v1/budgets/reservations makes one",
        field="reservation_id",
    )
