"""Decisions over HTTP: where the next request goes, and what is set aside for it."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, NoReturn

from django.http import HttpResponse
from django.utils import timezone
from ninja import Router
from pydantic import ConfigDict, Field

from apps.budgets.errors import BudgetRefused, BudgetsUnknown, HoldNotFound
from apps.budgets.refusals import refused_problem, suspended_problem, unknown_problem
from apps.budgets.selectors import decision_uuid
from apps.budgets.settling import HoldState, HoldStatus, release, settle
from apps.insights.guard import Suspended
from apps.pricing.core.estimates import CHARACTERS_PER_TOKEN
from apps.pricing.core.money import plain_decimal
from apps.routing.core.choosing import Expected, NoneEligible
from apps.routing.core.overrides import Mode
from apps.routing.decisions import Decision, DecisionRequest, decide
from apps.routing.errors import NoCandidate, NotWorthItsPrice
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.patience import DECISION_LIMIT_S, time_limit
from apps.tenants.problems import Problem
from apps.tenants.schemas import Schema, json_answer

router = Router(tags=["routing"])

MAX_TOKENS = 1_000_000_000
MAX_TEXT_CHARACTERS = 8_000_000
MAX_CANDIDATES = 100
NO_NUL = r"^[^\x00]*$"
Tokens = Annotated[int, Field(strict=True, ge=0, le=MAX_TOKENS)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]
Money = Annotated[str, Field(pattern=r"^\d{1,9}(\.\d{1,24})?$")]


class DecisionIn(Schema):
    """A request that is about to run. `request_id` makes it safe to ask twice.

    `max_output_tokens` bounds the worst case, reasoning included; without candidates every backend
    of the tenant is one. `tier` unless told is the customer's. `difficulty` is 0 (easy) to 1.
    `output_tokens` (likely, not at most) and `revenue_usd` unless told are what such requests were
    of late. `min_quality`: the least table quality, on top of the tier's floor.
    """

    model_config = ConfigDict(extra="forbid")

    request_id: Name
    department: Name | None = None
    customer: Name | None = None
    project: Name | None = None
    tier: Name | None = None
    task: Name | None = None
    input_tokens: Tokens | None = None
    input_text: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)] | None = None
    max_output_tokens: Tokens
    candidates: Annotated[list[Name], Field(max_length=MAX_CANDIDATES)] = []
    min_quality: Annotated[float, Field(ge=0, le=1)] = 0.0
    difficulty: Annotated[float, Field(ge=0, le=1)] = 0.5
    output_tokens: Tokens | None = None
    revenue_usd: Money | None = None
    reserve: bool = False


class CandidateOut(Schema):
    """`quality` is the chance of a good answer, `expected_cost_usd` its likely cost and
    `expected_worth_usd` its value less cost; null below the floor. `reason`: why not this one."""

    backend: str
    kind: str
    estimated_cost_usd: str
    expected_cost_usd: float | None
    quality: float | None
    expected_worth_usd: float | None
    reason: str


class DecisionOut(Schema):
    """`held_usd` is what is set aside until `expires_at`, or until the request's usage event with
    this `decision_id` settles it. `estimated_cost_usd` is the worst case. `advised`: what the
    policy would choose (null: not worth any backend's price); it is chosen in the modes advise and
    enforce. `alternatives`: the other candidates, in the order they would be tried."""

    decision_id: str
    backend: str
    estimated_cost_usd: str
    held_usd: str
    expires_at: datetime | None
    policy_version: str | None
    mode: Mode
    advised: str | None
    expected_cost_usd: float | None
    quality: float | None
    expected_worth_usd: float | None
    reasons: list[str]
    alternatives: list[CandidateOut]


class UsageIn(Schema):
    model_config = ConfigDict(extra="forbid")

    input_tokens: Tokens
    output_tokens: Tokens


class SettleIn(Schema):
    """What the request cost: stands until its usage event comes."""

    model_config = ConfigDict(extra="forbid")

    cost_usd: Money
    usage: UsageIn | None = None


class HoldOut(Schema):
    decision_id: str
    state: HoldStatus
    estimated_cost_usd: str
    settled_usd: str | None
    expires_at: datetime


@router.post("/routing/decisions", auth=KeyAuth("route"), response=DecisionOut)
def make_decision(request: ApiRequest, body: DecisionIn) -> HttpResponse:
    """Choose a backend; with `reserve`, set its worst case aside in every budget that covers it.

    402 when no candidate fits every cap: the answer names each scope, its limit, spent and held;
    or when an enforced policy holds the request worth less than it costs at the budgets' prices.
    422 when no candidate meets the floor of the tier and task. 403 while an anomaly's guard rail
    suspends the key or customer: the answer names the finding.
    """
    if (body.input_tokens is None) == (body.input_text is None):
        detail = "give exactly one of input_tokens and input_text"
        raise Problem(422, "exactly_one", detail, field="input_tokens")
    tokens = body.input_tokens
    if tokens is None:
        tokens = len(body.input_text or "") // CHARACTERS_PER_TOKEN
    wanted = DecisionRequest(
        request_id=body.request_id,
        input_tokens=tokens,
        max_output_tokens=body.max_output_tokens,
        department=body.department,
        customer=body.customer,
        project=body.project,
        tier=body.tier,
        task=body.task,
        min_quality=body.min_quality,
        difficulty=body.difficulty,
        output_tokens=body.output_tokens,
        revenue_usd=float(body.revenue_usd) if body.revenue_usd is not None else None,
        candidates=tuple(body.candidates),
        reserve=body.reserve,
    )
    try:
        with time_limit(DECISION_LIMIT_S):
            decision = decide(request.auth, wanted, now=timezone.now())
    except NoCandidate as error:
        raise _no_candidate(error) from error
    except NoneEligible as error:
        raise _none_eligible(error) from error
    except NotWorthItsPrice as error:
        detail = f"{error.reason}. The mode of {error.department!r} is enforce"
        raise Problem(402, "not_worth_its_price", detail, price=round(error.price, 4)) from error
    except Suspended as error:
        raise suspended_problem(error) from error
    except BudgetRefused as error:
        raise refused_problem(request.auth.tenant_id, error) from error
    except BudgetsUnknown as error:
        raise unknown_problem() from error
    return json_answer(_decision_out(decision))


@router.post("/routing/decisions/{decision_id}/settle", auth=KeyAuth("route"), response=HoldOut)
def settle_decision(request: ApiRequest, decision_id: str, body: SettleIn) -> HttpResponse:
    """End a reservation at what the request cost, ahead of its usage event. Safe to repeat."""
    tokens = body.usage.input_tokens + body.usage.output_tokens if body.usage else 0
    cost_usd = Decimal(body.cost_usd)
    try:
        with time_limit(DECISION_LIMIT_S):
            state = settle(
                request.auth.tenant_id,
                _uuid(decision_id),
                cost_usd=cost_usd,
                tokens=tokens,
                now=timezone.now(),
            )
    except HoldNotFound as error:
        _not_found(error)
    return json_answer(_hold_out(state))


@router.post("/routing/decisions/{decision_id}/release", auth=KeyAuth("route"), response=HoldOut)
def release_decision(request: ApiRequest, decision_id: str) -> HttpResponse:
    """End the reservation of a request that did not run. Safe to repeat."""
    try:
        with time_limit(DECISION_LIMIT_S):
            state = release(request.auth.tenant_id, _uuid(decision_id), now=timezone.now())
    except HoldNotFound as error:
        _not_found(error)
    return json_answer(_hold_out(state))


def _decision_out(decision: Decision) -> DecisionOut:
    return DecisionOut(
        decision_id=decision.decision_id,
        backend=decision.backend,
        estimated_cost_usd=plain_decimal(decision.estimate_usd),
        held_usd=plain_decimal(decision.held_usd),
        expires_at=decision.expires_at,
        policy_version=str(decision.policy_version) if decision.policy_version else None,
        mode=decision.mode,
        advised=decision.advised,
        **_expected_out(decision.expected),
        reasons=list(decision.reasons),
        alternatives=[
            CandidateOut(
                backend=candidate.backend,
                kind=candidate.kind,
                estimated_cost_usd=plain_decimal(candidate.estimate_usd),
                **_expected_out(candidate.expected),
                reason=candidate.reason,
            )
            for candidate in decision.alternatives
        ],
    )


def _expected_out(expected: Expected | None) -> dict[str, Any]:
    """Estimates, to six significant digits: no money moves by them."""
    if expected is None:
        return dict.fromkeys(("expected_cost_usd", "quality", "expected_worth_usd"))
    return {
        "expected_cost_usd": float(f"{expected.cost_usd:.6g}"),
        "quality": round(expected.quality, 4),
        "expected_worth_usd": float(f"{expected.worth_usd:.6g}"),
    }


def _none_eligible(error: NoneEligible) -> Problem:
    best = f"the best, {error.best[0]}, has {error.best[1]:.2f}" if error.best else "none is known"
    banned = f", {error.banned} banned by hand" if error.banned else ""
    detail = (
        f"no candidate for {error.task} of tier {error.tier} has the quality {error.least:.2f} that"
        f" is due: {best}{banned}. Name other candidates, or change the value model"
    )
    return Problem(422, "below_the_floor", detail, field="candidates")


def _hold_out(state: HoldState) -> HoldOut:
    settled = state.settled_usd
    return HoldOut(
        decision_id=state.decision_id,
        state=state.state,
        estimated_cost_usd=plain_decimal(state.estimate_usd),
        settled_usd=plain_decimal(settled) if settled is not None else None,
        expires_at=state.expires_at,
    )


def _uuid(decision_id: str) -> str:
    found = decision_uuid(decision_id)
    if found is None:
        detail = (
            f"{decision_id[:100]!r} is no decision id; POST /api/v1/routing/decisions gives one"
        )
        raise Problem(404, "decision_not_found", detail, field="decision_id")
    return str(found)


def _not_found(error: HoldNotFound) -> NoReturn:
    detail = f"decision {error.decision_id} reserved nothing, or is another tenant's"
    raise Problem(404, "decision_not_found", detail, field="decision_id") from error


def _no_candidate(error: NoCandidate) -> Problem:
    if error.unpriced:
        names = ", ".join(error.unpriced[:10])
        detail = f"nobody prices {names}: what has no price is not reserved. Add a rate for it"
    else:
        detail = "the tenant has no backends yet; name candidates"
    return Problem(422, "no_candidate", detail, field="candidates")
