"""What-if, opportunities and hindsight over HTTP."""

from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Final, Literal

from django.db import transaction
from django.utils import timezone
from ninja import Router, Schema
from pydantic import AwareDatetime, ConfigDict, Field

from apps.pricing.core.money import plain_decimal
from apps.routing.errors import InvalidRoutingInput, UnknownOpportunity
from apps.routing.hindsights import HindsightInfo, list_hindsights
from apps.routing.opportunities import OpportunityInfo, get_opportunity, list_opportunities
from apps.routing.opportunity_actions import accept_opportunity, dismiss_opportunity
from apps.routing.simulations import (
    SimulationInfo,
    ask_simulation,
    get_simulation,
    list_simulations,
)
from apps.routing.tasks import simulate_window
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

router = Router(tags=["routing"])

MAX_ID = 2**63 - 1
MAX_LIMIT = 100
NO_NUL = r"^[^\x00]*$"
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)]
Number = Annotated[float, Field(ge=0, le=1e9)]


class MoveIn(Schema):
    """Requests of a task and tier that ran on `from` run on `to`; what is left out is any."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    task: Name | None = None
    tier: Name | None = None
    source: Annotated[Name | None, Field(alias="from")] = None
    to: Name


class NewBackendIn(Schema):
    """`like`: a backend of yours whose quality and answers it is taken to have."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    like: Name
    usd_in_per_mtok: Number
    usd_out_per_mtok: Number


ASKED: Final = (
    "policy", "backend", "tiers", "prices", "month_usd", "day_usd", "department_usd", "budgets",
    "local_factor",
)  # fmt: skip
Policy = Literal[
    "as_happened",
    "as_stored",
    "live",
    "cheapest",
    "best",
    "all_to",
    "tier_map",
    "moves",
    "thresholds",
]


class SimulationIn(Schema):
    """Replay [from, to) another way. `prices` are factors by backend. `month_usd` caps cloud spend
    per 30 days, `day_usd` per local day, `department_usd` per 30 days by department code; with
    `budgets` those that stand hold where these say nothing. `local_factor` is how many times
    today's local places there are."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: Name
    start: Annotated[AwareDatetime, Field(alias="from")]
    to: AwareDatetime
    policy: Policy = "as_happened"
    backend: Name | None = None
    tiers: Annotated[dict[Name, Name], Field(max_length=10)] = {}
    moves: Annotated[list[MoveIn], Field(max_length=100)] = []
    prices: Annotated[dict[Name, Number], Field(max_length=100)] = {}
    new_backend: NewBackendIn | None = None
    month_usd: Number | None = None
    day_usd: Number | None = None
    department_usd: Annotated[dict[Name, Number], Field(max_length=100)] = {}
    budgets: bool = False
    local_factor: Annotated[float, Field(ge=0, le=1000)] | None = None


class SimulationOut(Schema):
    """`progress` per cent. `result`, once done: `happened` and `would` (requests, cost_usd,
    worth_usd, quality, refused), `saved_usd`, `quality_points`, `worth_usd` and `gained_usd` each
    as [mean, low, high] of a 90% interval, and rows of departments, customers, tiers, backends."""

    id: int
    name: str
    state: str
    progress: int
    asked: dict[str, Any]
    result: dict[str, Any] | None
    error: str
    actor: str
    created_at: datetime
    finished_at: datetime | None


class SimulationsOut(Schema):
    """Newest first. `next_before_id` continues; null at the end."""

    rows: list[SimulationOut]
    next_before_id: int | None


class OpportunityOut(Schema):
    """Money is USD of 30 days, [low, high] its 90% interval, `replayed_usd` what other requests of
    the same window said. `gain_usd` counts what quality is worth beside the saving. `rate_usd`, by
    which they are ranked, is the gain that is as good as certain, of 30 days while it lasts.
    `realised_usd` is measured since it was accepted."""

    id: int
    key: str
    kind: str
    state: str
    saving_usd: str
    saving_low_usd: str
    saving_high_usd: str
    gain_usd: str
    gain_low_usd: str
    gain_high_usd: str
    rate_usd: str
    replayed_usd: str
    quality_points: float
    quality_low_points: float
    quality_high_points: float
    requests: float
    confidence: str
    change: dict[str, Any]
    facts: dict[str, Any]
    window_start: datetime
    window_end: datetime
    found_at: datetime
    computed_at: datetime
    decided_at: datetime | None
    decided_by: str
    reason: str
    applied: dict[str, Any]
    realised_usd: str | None
    realised_until: datetime | None


class OpportunitiesOut(Schema):
    rows: list[OpportunityOut]


class DismissIn(Schema):
    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=NO_NUL)]


class LeftCauseOut(Schema):
    """A task's requests on `ran` that would have brought more on `better`."""

    task: str
    ran: str
    better: str
    usd: float


class HindsightOut(Schema):
    """Value less cost, in USD: what was done, and the most that the same money could have done."""

    period: str
    first_day: date
    requests: int
    spent_usd: str
    done_usd: str
    bound_usd: str
    left_usd: str
    share: float | None
    causes: list[LeftCauseOut]
    value_model: int
    computed_at: datetime


class HindsightsOut(Schema):
    rows: list[HindsightOut]


@router.post("/routing/simulations", auth=KeyAuth("manage"), response={202: SimulationOut})
def post_simulation(request: ApiRequest, body: SimulationIn) -> tuple[int, dict[str, Any]]:
    """Ask for a replay; it runs in the background. GET it until its state is done or failed."""
    asked = body.model_dump(
        include=set(ASKED),
        exclude_none=True,
    )
    asked["moves"] = [move.model_dump(by_alias=True, exclude_none=True) for move in body.moves]
    if body.new_backend:
        asked["new_backend"] = body.new_backend.model_dump()
    tenant_id = request.auth.tenant_id
    try:
        with tenant_scope(tenant_id):
            simulation_id = ask_simulation(
                asked,
                start=body.start,
                end=body.to,
                name=body.name,
                actor=f"key {request.auth.name}",
                now=timezone.now(),
            )
            transaction.on_commit(partial(simulate_window.delay, tenant_id, simulation_id))
            found = get_simulation(simulation_id)
    except InvalidRoutingInput as error:
        raise _invalid(error) from error
    return 202, _simulation_out(found)


@router.get("/routing/simulations", auth=KeyAuth("read"), response=SimulationsOut)
def get_simulations(
    request: ApiRequest, limit: int = 50, before_id: int | None = None
) -> dict[str, Any]:
    """What was asked for, newest first."""
    _check(limit, before_id)
    with tenant_scope(request.auth.tenant_id):
        found = list_simulations(limit=limit, before_id=before_id)
    return {
        "rows": [_simulation_out(one) for one in found],
        "next_before_id": found[-1].id if len(found) == limit else None,
    }


@router.get("/routing/simulations/{simulation_id}", auth=KeyAuth("read"), response=SimulationOut)
def get_one_simulation(request: ApiRequest, simulation_id: int) -> dict[str, Any]:
    """One of them, with its result once it is done."""
    with tenant_scope(request.auth.tenant_id):
        found = get_simulation(simulation_id) if 0 < simulation_id <= MAX_ID else None
    if found is None:
        detail = f"there is no simulation {simulation_id}"
        raise Problem(404, "not_found", detail, field="simulation_id")
    return _simulation_out(found)


@router.get("/routing/opportunities", auth=KeyAuth("read"), response=OpportunitiesOut)
def get_opportunities(
    request: ApiRequest,
    state: Literal["open", "accepted", "dismissed", "gone"] = "open",
    limit: int = 50,
) -> dict[str, Any]:
    """What could be saved, the best first; or what was decided, the latest first."""
    _check(limit, None)
    with tenant_scope(request.auth.tenant_id):
        found = list_opportunities(state=state, limit=limit)
    return {"rows": [_opportunity_out(one) for one in found]}


@router.get(
    "/routing/opportunities/{opportunity_id}", auth=KeyAuth("read"), response=OpportunityOut
)
def get_one_opportunity(request: ApiRequest, opportunity_id: int) -> dict[str, Any]:
    with tenant_scope(request.auth.tenant_id):
        found = get_opportunity(opportunity_id) if 0 < opportunity_id <= MAX_ID else None
    if found is None:
        raise _unknown(opportunity_id)
    return _opportunity_out(found)


@router.post(
    "/routing/opportunities/{opportunity_id}/accept",
    auth=KeyAuth("manage"),
    response=OpportunityOut,
)
def post_accept(request: ApiRequest, opportunity_id: int) -> dict[str, Any]:
    """Make its change: overrides where Costboard can, else the decision is recorded."""
    return _decide(request, opportunity_id, None)


@router.post(
    "/routing/opportunities/{opportunity_id}/dismiss",
    auth=KeyAuth("manage"),
    response=OpportunityOut,
)
def post_dismiss(request: ApiRequest, opportunity_id: int, body: DismissIn) -> dict[str, Any]:
    """Not worth it, and why. It is not brought up again for 30 days."""
    return _decide(request, opportunity_id, body.reason)


@router.get("/routing/hindsight", auth=KeyAuth("read"), response=HindsightsOut)
def get_hindsight(
    request: ApiRequest, period: Literal["day", "month"] = "day", limit: int = 31
) -> dict[str, Any]:
    """What closed days or months brought, beside the most that they could have."""
    _check(limit, None)
    with tenant_scope(request.auth.tenant_id):
        found = list_hindsights(period=period, limit=limit)
    return {"rows": [_hindsight_out(one) for one in found]}


def _decide(request: ApiRequest, opportunity_id: int, reason: str | None) -> dict[str, Any]:
    actor, now = f"key {request.auth.name}", timezone.now()
    try:
        if not 0 < opportunity_id <= MAX_ID:
            raise UnknownOpportunity(opportunity_id)
        with tenant_scope(request.auth.tenant_id):
            if reason is None:
                found = accept_opportunity(opportunity_id, actor=actor, now=now)
            else:
                found = dismiss_opportunity(opportunity_id, reason=reason, actor=actor, now=now)
    except UnknownOpportunity as error:
        raise _unknown(opportunity_id) from error
    except InvalidRoutingInput as error:
        raise _invalid(error) from error
    return _opportunity_out(found)


def _simulation_out(one: SimulationInfo | None) -> dict[str, Any]:
    return {name: getattr(one, name) for name in SimulationOut.model_fields}


def _opportunity_out(one: OpportunityInfo) -> dict[str, Any]:
    return {name: _plain(getattr(one, name)) for name in OpportunityOut.model_fields}


def _hindsight_out(one: HindsightInfo) -> dict[str, Any]:
    shown = {name: _plain(getattr(one, name)) for name in HindsightOut.model_fields}
    return shown | {"share": None if one.share is None else float(one.share)}


def _plain(value: Any) -> Any:
    return plain_decimal(value) if isinstance(value, Decimal) else value


def _check(limit: int, before_id: int | None) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise Problem(422, "invalid_limit", f"limit is 1 to {MAX_LIMIT}", field="limit")
    if before_id is not None and not 0 < before_id <= MAX_ID:
        raise Problem(422, "invalid_before_id", "before_id is a positive number", field="before_id")


def _invalid(error: InvalidRoutingInput) -> Problem:
    return Problem(422, "invalid_routing_input", str(error), field=error.field)


def _unknown(opportunity_id: int) -> Problem:
    detail = f"there is no opportunity {opportunity_id}"
    return Problem(404, "not_found", detail, field="opportunity_id")
