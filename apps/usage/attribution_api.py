"""Mapping rules, what is unattributed, and re-attributions over HTTP, to be read. Rules are made
and charges are moved by people, on the page."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.utils import timezone
from ninja import Router, Schema

from apps.pricing.core.money import plain_decimal
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import get_tenant
from apps.usage.attribution import RuleInfo, list_rules
from apps.usage.core.attribution import Target
from apps.usage.core.repricing import RepricingRefusedError
from apps.usage.http_time import read_moment
from apps.usage.reattribution import get_reattribution, list_reattributions
from apps.usage.repricing_rows import MAX_LISTED, RepricingInfo
from apps.usage.unattributed import Part, read_unattributed

router = Router(tags=["attribution"])
MAX_ID = 2**63 - 1
WINDOW = timedelta(days=30)
MAX_SPAN = timedelta(days=400)
ResultT = TypeVar("ResultT")


class RuleOut(Schema):
    """Events that say `attribute` = `value` (null: anything) are `target` `name` (null: what they
    say). `door`: native, litellm, otlp or cloudevents; null: any. Lower `position` is tried first.
    """

    id: int
    door: str | None
    source: str | None
    attribute: str
    value: str | None
    target: Target
    name: str | None
    position: int
    effective_from: datetime | None
    effective_to: datetime | None
    created_at: datetime
    created_by: str
    ended_at: datetime | None
    ended_by: str | None


class RulesOut(Schema):
    """In the order in which they are tried; ended ones last."""

    rows: list[RuleOut]


class ReattributionOut(Schema):
    """Which charges (`where`; null: not attributed) go to whom (`to`), the dry run's answer
    (`preview`; null for an undo), how far the run got.

    `examined_charges` of `preview.charges` is the progress; `changed_charges` were moved, with
    `moved_usd`.
    """

    id: int
    status: str
    starts_at: datetime
    ends_at: datetime
    where: dict[str, str | None]
    to: dict[str, str | None]
    reason: str
    actor: str
    created_at: datetime
    undo_of: int | None
    preview: dict[str, Any] | None
    examined_charges: int
    changed_charges: int
    moved_usd: str
    started_at: datetime | None
    progressed_at: datetime | None
    finished_at: datetime | None
    error: str | None


class ReattributionsOut(Schema):
    """Newest first. `next_before_id` continues; null at the end."""

    rows: list[ReattributionOut]
    next_before_id: int | None


class PartOut(Schema):
    """`value` is what `where` of a re-attribution takes; null: the requests do not say."""

    value: str | None
    name: str | None
    requests: int
    cost_usd: str


class UnattributedOut(Schema):
    """What names no `target`, in all and by what it is made of, the costliest parts first.

    Sources, users and tags are those of the `newest_read` newest requests.
    """

    target: Target
    start: datetime
    end: datetime
    requests: int
    cost_usd: str
    unpriced_requests: int
    all_requests: int
    all_cost_usd: str
    newest_read: int
    parts: dict[str, list[PartOut]]


@router.get("/attribution/rules", auth=KeyAuth("read"), response=RulesOut)
def get_rules(request: ApiRequest) -> dict[str, Any]:
    """The tenant's mapping rules, ended ones too."""
    with tenant_scope(request.auth.tenant_id):
        return {"rows": [_rule_out(info) for info in list_rules()]}


@router.get("/attribution/unattributed", auth=KeyAuth("read"), response=UnattributedOut)
def get_unattributed(request: ApiRequest, target: Target = "department") -> dict[str, Any]:
    """What usage names no department (or customer, project, environment, task), from `from` to
    before `to` (as in /spend; default: the last 30 days)."""
    now = timezone.now()
    with tenant_scope(request.auth.tenant_id):
        tenant = get_tenant()
        start = read_moment("from", request.GET.get("from"), tenant) or now - WINDOW
        end = read_moment("to", request.GET.get("to"), tenant) or now
        if not start < end or end - start > MAX_SPAN:
            raise Problem(
                422,
                "invalid_range",
                f"`to` ({end.isoformat()}) must be after `from` ({start.isoformat()}),"
                f" by at most {MAX_SPAN.days} days; `to` itself is not included",
                field="to",
            )
        found = read_unattributed(target, start, end)
    same = {name: getattr(found, name) for name in _SAME}
    return same | {
        "cost_usd": plain_decimal(found.cost_usd),
        "all_cost_usd": plain_decimal(found.all_cost_usd),
        "parts": {by: [_part_out(part) for part in parts] for by, parts in found.parts.items()},
    }


@router.get("/reattributions", auth=KeyAuth("read"), response=ReattributionsOut)
def get_reattributions(
    request: ApiRequest, before_id: int | None = None, limit: int = MAX_LISTED
) -> dict[str, Any]:
    """Re-attributions and drafts of the tenant, newest first, at most 100 at a time."""
    if not 1 <= limit <= MAX_LISTED:
        raise Problem(422, "invalid_limit", f"limit is 1 to {MAX_LISTED}", field="limit")
    if before_id is not None and not 0 <= before_id <= MAX_ID:
        raise Problem(422, "invalid_id", "before_id is an id of a re-attribution",
                      field="before_id")  # fmt: skip
    with tenant_scope(request.auth.tenant_id):
        found = list_reattributions(before_id=before_id, limit=limit)
    return {
        "rows": [_reattribution_out(run) for run in found],
        "next_before_id": found[-1].id if len(found) == limit else None,
    }


@router.get("/reattributions/{run_id}", auth=KeyAuth("read"), response=ReattributionOut)
def get_one_reattribution(request: ApiRequest, run_id: int) -> dict[str, Any]:
    """One re-attribution with its dry run and progress."""

    def read() -> dict[str, Any]:
        if not 0 <= run_id <= MAX_ID:
            raise RepricingRefusedError(f"there is no re-attribution {run_id}")
        return _reattribution_out(get_reattribution(run_id))

    with tenant_scope(request.auth.tenant_id):
        return _or_not_found(read)


_SAME = (
    "target", "start", "end", "requests", "unpriced_requests", "all_requests", "newest_read",
)  # fmt: skip


def _or_not_found(read: Callable[[], ResultT]) -> ResultT:
    try:
        return read()
    except RepricingRefusedError as error:
        raise Problem(404, "not_found", error.detail, field="run_id") from error


def _rule_out(info: RuleInfo) -> dict[str, Any]:
    rule = info.rule
    shown = {
        name: getattr(rule if hasattr(rule, name) else info, name) for name in RuleOut.model_fields
    }
    return shown | {"door": None if rule.door is None else rule.door.name.lower()}


def _reattribution_out(run: RepricingInfo) -> dict[str, Any]:
    move = run.move or {}
    given = {
        "where": move["where"],
        "to": move["to"],
        "moved_usd": plain_decimal(run.cost_change_usd),
    }
    names = ReattributionOut.model_fields.keys() - given.keys()
    return {name: getattr(run, name) for name in names} | given


def _part_out(part: Part) -> dict[str, Any]:
    return {
        "value": part.value,
        "name": part.name,
        "requests": part.requests,
        "cost_usd": plain_decimal(part.cost_usd),
    }
