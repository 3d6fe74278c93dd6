"""The policy document over HTTP, its history, and what was decided by it: more of api.py's
router, since an address belongs to one."""

import threading
import time
import uuid
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Schema
from pydantic import Field

from apps.pricing.core.money import plain_decimal
from apps.routing.api import router
from apps.routing.planning import plan_policy
from apps.routing.policy_memory import Live, forget_live, live_policy
from apps.routing.selectors import (
    MAX_DECISIONS,
    MAX_VERSIONS,
    DecisionInfo,
    compare_shadows,
    find_decision,
    list_decisions,
    list_policy_changes,
    read_estimate_quality,
)
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

__all__ = ["router"]

MAX_WAIT_S: Final = 30
# A process keeps its other threads for those who do not wait.
MAX_WAITING: Final = 8
LOOK_EVERY_S: Final = 0.5
LOOKED_BACK: Final = timedelta(days=7)
MAX_DAYS: Final = 45
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
_waiting = threading.BoundedSemaphore(MAX_WAITING)


class PolicyQuery(Schema):
    """`wait`: with If-None-Match, seconds to wait for another version before 304."""

    wait: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = 0.0


class WindowQuery(Schema):
    """[from, to); unless told the last seven days. At most 45."""

    from_: Annotated[datetime | None, Field(alias="from")] = None
    to: datetime | None = None


class DecisionsQuery(WindowQuery):
    backend: Name | None = None
    department: Name | None = None
    customer: Name | None = None
    task: Name | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_DECISIONS)] = 50


class ChangesQuery(Schema):
    before_version: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_VERSIONS)] = 50


class MovedOut(Schema):
    """A price that moved: "month", "day" or "department support"."""

    what: str
    from_: Annotated[float, Field(alias="from")]
    to: float


class PolicyChangeOut(Schema):
    version: int
    at: datetime
    kind: Literal["plan", "pace"]
    reasons: list[str]
    moved: list[MovedOut]


class PolicyHistoryOut(Schema):
    """Newest first; `next_before_version` continues, null at the end."""

    rows: list[PolicyChangeOut]
    next_before_version: int | None


class DecisionRowOut(Schema):
    """`advised` is the policy's own choice, `because` its reason in a word, `propensity` the chance
    it was chosen with. What the first charge that named it says is null until it comes."""

    decision_id: str
    decided_at: datetime
    request_id: str
    policy_version: int
    mode: str
    department: str
    customer: str | None
    tier: str
    task: str
    backend: str | None
    advised: str | None
    because: str
    propensity: float
    input_tokens: int
    estimated_output_tokens: float
    estimated_cost_usd: str
    held_usd: str
    value_usd: float
    quality: float | None
    reasons: list[str]
    ran_on: str | None
    actual_cost_usd: str | None
    output_tokens: int | None
    quality_score: float | None
    converted: bool | None


class EstimateOut(Schema):
    backend: str
    decisions: int
    estimated_cost_usd: str
    actual_cost_usd: str
    actual_share: float | None


class ShadowOut(Schema):
    """Costs and worths (value less cost) as the live policy expects them."""

    name: str
    decisions: int
    agreed: int
    live_cost_usd: float
    shadow_cost_usd: float
    live_worth_usd: float
    shadow_worth_usd: float


class DecisionsOut(Schema):
    """Newest first. `estimates`: what was estimated against what was billed, of the window's
    decisions that were charged; `shadows`: policies that decided beside the live one."""

    rows: list[DecisionRowOut]
    estimates: list[EstimateOut]
    shadows: list[ShadowOut]


@router.get("/routing/policy", auth=KeyAuth("route"))
def get_policy(request: HttpRequest, query: Query[PolicyQuery]) -> HttpResponse:
    """The policy document that routers apply (docs/routing.md), with its ETag.

    304 when If-None-Match names it still; with `wait`, only after so many seconds. The first call
    of a tenant plans its policy.
    """
    tenant_id = request.auth.tenant_id  # type: ignore[attr-defined]  # an ApiRequest
    known = request.headers.get("If-None-Match", "").removeprefix("W/").strip('"')
    live = _planned(tenant_id)
    if known == live.etag and query.wait and _waiting.acquire(blocking=False):
        try:
            live = _wait(tenant_id, live, time.monotonic() + query.wait)
        finally:
            _waiting.release()
    headers = {"ETag": f'"{live.etag}"', "Cache-Control": "private, no-cache"}
    if known == live.etag:
        return HttpResponse(status=304, headers=headers)
    return HttpResponse(live.document, content_type="application/json", headers=headers)


@router.get(
    "/routing/policy/history",
    auth=KeyAuth("read", "manage"),
    response=PolicyHistoryOut,
    by_alias=True,
)
def get_policy_history(request: ApiRequest, query: Query[ChangesQuery]) -> dict[str, Any]:
    """Each plan, and prices that pacing moved far: what moved, from, to, and why."""
    with tenant_scope(request.auth.tenant_id):
        found = list_policy_changes(before_version=query.before_version, limit=query.limit + 1)
    rows = found[: query.limit]
    return {
        "rows": [
            {
                "version": row.version,
                "at": row.at,
                "kind": row.kind,
                "reasons": row.reasons,
                "moved": row.moved,
            }
            for row in rows
        ],
        "next_before_version": rows[-1].version if len(found) > len(rows) else None,
    }


@router.get("/routing/decisions", auth=KeyAuth("read", "manage"), response=DecisionsOut)
def get_decisions(request: ApiRequest, query: Query[DecisionsQuery]) -> DecisionsOut:
    """What was decided, why, and what it then cost; estimate against actual; shadow policies."""
    start, end = _window(query)
    with tenant_scope(request.auth.tenant_id):
        rows = list_decisions(
            start=start,
            end=end,
            backend=query.backend,
            department=query.department,
            customer=query.customer,
            task=query.task,
            limit=query.limit,
        )
        estimates = read_estimate_quality(start=start, end=end)
        shadows = compare_shadows(start=start, end=end)
    return DecisionsOut(
        rows=[_row_out(row) for row in rows],
        estimates=[
            EstimateOut(
                backend=one.backend,
                decisions=one.decisions,
                estimated_cost_usd=plain_decimal(one.estimated_usd),
                actual_cost_usd=plain_decimal(one.actual_usd),
                actual_share=None
                if one.actual_share is None
                else round(float(one.actual_share), 4),
            )
            for one in estimates
        ],
        shadows=[
            ShadowOut(**{name: getattr(one, name) for name in ShadowOut.model_fields})
            for one in shadows
        ],
    )


@router.get(
    "/routing/decisions/{decision_id}", auth=KeyAuth("read", "manage"), response=DecisionRowOut
)
def get_decision(request: ApiRequest, decision_id: uuid.UUID) -> DecisionRowOut:
    """One decision; it is written down some seconds after it was made, and kept for 45 days."""
    with tenant_scope(request.auth.tenant_id):
        row = find_decision(decision_id)
    if row is None:
        detail = f"no decision {decision_id} of the last {MAX_DAYS} days is written down"
        raise Problem(404, "decision_not_found", detail, field="decision_id")
    return _row_out(row)


def _planned(tenant_id: int) -> Live:
    """The live policy; planned now if it never was."""
    live = live_policy(tenant_id, timezone.now())
    if live.version:
        return live
    plan_policy(tenant_id, now=timezone.now(), reasons=["a router asked for the first policy"])
    forget_live(tenant_id)
    return live_policy(tenant_id, timezone.now())


def _wait(tenant_id: int, live: Live, until: float) -> Live:
    """Another version, or the same when time is up."""
    etag = live.etag
    while live.etag == etag and (left := until - time.monotonic()) > 0:
        if not connection.in_atomic_block:
            # Who waits holds no connection of the pool.
            connection.close()
        time.sleep(min(LOOK_EVERY_S, left))
        live = live_policy(tenant_id, timezone.now())
    return live


def _window(query: WindowQuery) -> tuple[datetime, datetime]:
    end = query.to or timezone.now() + timedelta(seconds=1)
    start = query.from_ or end - LOOKED_BACK
    for field, moment in (("from", start), ("to", end)):
        if moment.tzinfo is None:
            raise Problem(422, "no_offset", f"{field} needs an offset, such as Z", field=field)
    if not start < end or end - start > timedelta(days=MAX_DAYS):
        detail = f"a window ends after it starts, by at most {MAX_DAYS} days"
        raise Problem(422, "invalid_window", detail, field="to")
    return start, end


def _share(share: Decimal | None) -> float | None:
    return None if share is None else round(float(share), 4)


def _row_out(row: DecisionInfo) -> DecisionRowOut:
    own = {
        name: getattr(row, name)
        for name in DecisionRowOut.model_fields
        if name not in ("decision_id", "estimated_cost_usd", "held_usd", "actual_cost_usd")
    }
    return DecisionRowOut(
        **own,
        decision_id=str(row.decision_id),
        estimated_cost_usd=plain_decimal(row.estimated_usd),
        held_usd=plain_decimal(row.held_usd),
        actual_cost_usd=None if row.actual_usd is None else plain_decimal(row.actual_usd),
    )
