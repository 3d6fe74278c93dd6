"""Leases over HTTP, for routers that want no round trip a request."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, NoReturn

from django.utils import timezone
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from apps.budgets.errors import BudgetsUnknown, HoldNotFound, InvalidBudgetInput, LeaseRefused
from apps.budgets.lease_journal import Lease, LeaseState, list_leases
from apps.budgets.leases import LeaseAsk, grant_lease, renew_lease, return_lease
from apps.budgets.refusals import lease_refused_problem, suspended_problem, unknown_problem
from apps.budgets.selectors import decision_uuid
from apps.insights.guard import Suspended
from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

router = Router(tags=["budgets"])

# What a lease holds is reckoned with exactly up to here.
Count = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Used = Annotated[int, Field(strict=True, ge=0, le=10**15)]
Name = Annotated[str, Field(min_length=1, max_length=150, pattern=r"^[^\x00]*$")]
Money = Annotated[str, Field(pattern=r"^\d{1,6}(\.\d{1,9})?$")]
Seconds = Annotated[int, Field(ge=5, le=3600)]


class LeaseIn(Schema):
    """The most that is wanted of money, and of tokens and requests where caps count those (all
    that may be had, unless given). What is named of department, customer, project and backend
    ("openai/gpt-4o-mini"), each request under the lease must be about. `request_id` makes it safe
    to ask twice."""

    model_config = ConfigDict(extra="forbid")

    request_id: Name
    amount_usd: Money
    tokens: Count | None = None
    requests: Count | None = None
    department: Name | None = None
    customer: Name | None = None
    project: Name | None = None
    backend: Name | None = None
    seconds: Seconds = 60


class LeaseOut(Schema):
    """What may be spent until `admits_until` without asking. `lease_id` goes into each usage event
    as `decision_id`. `amount_usd` may be less than was asked; `tokens` and `requests` are null
    where no cap counts them. Requests of a scope in `except_for` need a reservation of their own:
    the lease holds nothing in its cap. `unclaimed_usd`: what no usage has claimed yet.

    `state`: open; closing (admits no more, held until `held_until` for usage to come); returned;
    expired (what is unclaimed counts as spent until usage claims it); lapsed (a day after it ran
    out: what is unclaimed is free).
    """

    lease_id: str
    state: LeaseState
    router_id: int
    amount_usd: str
    tokens: int | None
    requests: int | None
    unclaimed_usd: str
    admits_until: datetime
    held_until: datetime
    budgets: list[int]
    except_for: list[dict[str, str]]
    is_repeat: bool


class LeasesOut(Schema):
    """Leases that may still be claimed, newest first."""

    rows: list[LeaseOut]


class LeaseRenewIn(Schema):
    model_config = ConfigDict(extra="forbid")

    seconds: Seconds = 60


class LeaseReturnIn(Schema):
    """All that was used under the lease, what usage events have yet to tell included: requests that
    run still at their worst case. Of a unit that is not given, all is used."""

    model_config = ConfigDict(extra="forbid")

    used_usd: Money
    used_tokens: Used | None = None
    used_requests: Used | None = None


@router.post("/budgets/leases", auth=KeyAuth("route"), response={201: LeaseOut})
def post_lease(request: ApiRequest, body: LeaseIn) -> tuple[int, LeaseOut]:
    """Set a share of what is left aside in every matching budget at once, or in none: at most 5% of
    what is left divided by the routers there are. 402 while less than 15% of a cap is left, or the
    router has its share: reserve each request by itself."""
    ask = LeaseAsk(
        request_id=body.request_id,
        usd=Decimal(body.amount_usd),
        tokens=body.tokens,
        requests=body.requests,
        seconds=body.seconds,
        department=body.department,
        customer=body.customer,
        project=body.project,
        backend=body.backend,
    )
    if not ask.usd:
        raise Problem(422, "amount_missing", "nothing is no lease", field="amount_usd")
    try:
        made = grant_lease(request.auth, ask, now=timezone.now())
    except Suspended as error:
        raise suspended_problem(error) from error
    except LeaseRefused as error:
        raise lease_refused_problem(request.auth.tenant_id, error) from error
    except BudgetsUnknown as error:
        raise unknown_problem() from error
    except InvalidBudgetInput as error:
        raise Problem(422, "invalid_lease", str(error), field=error.field) from error
    return 201, _lease_out(made)


@router.get("/budgets/leases", auth=KeyAuth("read"), response=LeasesOut)
def get_leases(request: ApiRequest) -> LeasesOut:
    """Leases that may still be claimed, of all routers, newest first; at most 200."""
    with tenant_scope(request.auth.tenant_id):
        found = list_leases(now=timezone.now())
    return LeasesOut(rows=[_lease_out(one) for one in found])


@router.post("/budgets/leases/{lease_id}/renew", auth=KeyAuth("route"), response=LeaseOut)
def renew(request: ApiRequest, lease_id: str, body: LeaseRenewIn) -> LeaseOut:
    """Let it admit for so long from now, at most to the end of its budgets' periods. The amount
    stays what it is: more is another lease. 409 when it admits no more."""
    try:
        now = timezone.now()
        found = renew_lease(request.auth, _uuid(lease_id), seconds=body.seconds, now=now)
    except HoldNotFound as error:
        _not_found(error.decision_id)
    except InvalidBudgetInput as error:
        raise Problem(409, "lease_over", str(error), field=error.field) from error
    return _lease_out(found)


@router.post("/budgets/leases/{lease_id}/return", auth=KeyAuth("route"), response=LeaseOut)
def return_(request: ApiRequest, lease_id: str, body: LeaseReturnIn) -> LeaseOut:
    """End it at what was used, ahead of the usage that tells it; the rest is free at once. Safe to
    repeat; say it again with less when requests have ended that were counted at their worst."""
    try:
        found = return_lease(
            request.auth,
            _uuid(lease_id),
            used_usd=Decimal(body.used_usd),
            used_tokens=body.used_tokens,
            used_requests=body.used_requests,
            now=timezone.now(),
        )
    except HoldNotFound as error:
        _not_found(error.decision_id)
    return _lease_out(found)


def _lease_out(found: Lease) -> LeaseOut:
    return LeaseOut(
        lease_id=found.lease_id,
        state=found.state,
        router_id=found.router_id,
        amount_usd=plain_decimal(found.usd),
        tokens=found.tokens,
        requests=found.requests,
        unclaimed_usd=plain_decimal(found.unclaimed_usd),
        admits_until=found.admits_until,
        held_until=found.held_until,
        budgets=list(found.budgets),
        except_for=list(found.except_for),
        is_repeat=found.is_repeat,
    )


def _uuid(lease_id: str) -> str:
    found = decision_uuid(lease_id)
    if found is None:
        _not_found(lease_id[:100])
    return str(found)


def _not_found(lease_id: str) -> NoReturn:
    raise Problem(
        404,
        "lease_not_found",
        f"this key has no lease {lease_id}; POST /api/v1/budgets/leases makes one",
        field="lease_id",
    )
