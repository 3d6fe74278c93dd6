"""What a tenant wants of routing, over HTTP: value model, modes, overrides, shadow policies."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from django.utils import timezone
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from apps.routing.core.overrides import Action, Mode
from apps.routing.core.value_model import ValueModel
from apps.routing.errors import InvalidRoutingInput
from apps.routing.policy_memory import forget_live
from apps.routing.selectors import (
    list_overrides,
    list_shadows,
    list_value_models,
    read_modes,
    read_value_model,
)
from apps.routing.services import (
    add_override,
    begin_shadow,
    end_override,
    end_shadow,
    set_mode,
    set_value_model,
)
from apps.tenants.authentication import ApiRequest, KeyAuth
from apps.tenants.problems import Problem
from apps.tenants.scoping import tenant_scope

router = Router(tags=["routing"])

NO_NUL = r"^[^\x00]*$"
Name = Annotated[str, Field(min_length=1, max_length=400, pattern=NO_NUL)]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=NO_NUL)]
Share = Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,4})?$")]
Number = Annotated[int, Field(ge=1, lt=2**63)]


class ValueModelIn(Schema):
    """The whole model: what is left out of `content` has its default. docs/routing.md has its
    fields. It holds from `effective_from`, unless told from now."""

    model_config = ConfigDict(extra="forbid")

    content: dict[str, Any]
    reason: Reason
    effective_from: datetime | None = None


class ChangedOut(Schema):
    path: str
    from_: Annotated[Any, Field(alias="from")] = None
    to: Any = None


class VersionOut(Schema):
    version: int
    effective_from: datetime
    recorded_at: datetime
    actor: str
    reason: str
    changes: list[ChangedOut]


class ValueModelOut(Schema):
    """Version 0 is the default, which holds while nobody has set one."""

    version: int
    content: dict[str, Any]
    versions: list[VersionOut]


class ModeIn(Schema):
    """For the tenant, or a department; null gives a department the tenant's again."""

    model_config = ConfigDict(extra="forbid")

    mode: Mode | None
    department: Name | None = None
    reason: Reason


class ModesOut(Schema):
    mode: Mode
    departments: dict[str, Mode]


class OverrideIn(Schema):
    """`boost_share` (0 to 1) of a request's value is added to what a boosted backend brings."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    backend: Name
    department: Name | None = None
    task: Name | None = None
    tier: Name | None = None
    boost_share: Share | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    reason: Reason


class OverrideOut(Schema):
    id: int
    action: Action
    backend: str
    department: str | None
    task: str | None
    tier: str | None
    boost_share: float
    starts_at: datetime
    ends_at: datetime | None
    reason: str
    actor: str


class OverridesOut(Schema):
    rows: list[OverrideOut]


class ShadowIn(Schema):
    """Another value model (null: the one in force), or budgets so many times as large."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    value_model: dict[str, Any] | None = None
    budget_factor: Share = "1"
    reason: Reason


class ShadowPolicyOut(Schema):
    id: int
    name: str
    value_model: dict[str, Any] | None
    budget_factor: str
    reason: str
    actor: str
    created_at: datetime


class ShadowsOut(Schema):
    rows: list[ShadowPolicyOut]


@router.get(
    "/routing/value-model", auth=KeyAuth("read", "manage"), response=ValueModelOut, by_alias=True
)
def get_value_model(request: ApiRequest) -> dict[str, Any]:
    """The value model in force, and every version with what it changed."""
    with tenant_scope(request.auth.tenant_id):
        return _model_out(read_value_model(timezone.now()))


@router.put("/routing/value-model", auth=KeyAuth("manage"), response=ValueModelOut, by_alias=True)
def put_value_model(request: ApiRequest, body: ValueModelIn) -> dict[str, Any]:
    """Make a new version. The policy is planned anew within seconds."""
    with _changing(request) as (actor, now):
        set_value_model(
            body.content,
            actor=actor,
            reason=body.reason,
            now=now,
            effective_from=_aware("effective_from", body.effective_from),
        )
        return _model_out(read_value_model(now))


@router.get("/routing/modes", auth=KeyAuth("read", "manage"), response=ModesOut)
def get_modes(request: ApiRequest) -> dict[str, Any]:
    """How far the policy goes: observe (say what it would do), advise (do it, refuse nothing by
    price) or enforce."""
    with tenant_scope(request.auth.tenant_id):
        modes = read_modes(timezone.now())
    return {"mode": modes.tenant, "departments": dict(modes.departments or {})}


@router.put("/routing/modes", auth=KeyAuth("manage"), response=ModesOut)
def put_mode(request: ApiRequest, body: ModeIn) -> dict[str, Any]:
    """Change one, from now on."""
    with _changing(request) as (actor, now):
        set_mode(
            body.mode or "", department=body.department, actor=actor, reason=body.reason, now=now
        )
    return get_modes(request)


@router.get("/routing/overrides", auth=KeyAuth("read", "manage"), response=OverridesOut)
def get_overrides(request: ApiRequest) -> OverridesOut:
    """What people pinned, banned or boosted that holds now or later."""
    with tenant_scope(request.auth.tenant_id):
        rows = list_overrides(timezone.now())
    fields = OverrideOut.model_fields
    return OverridesOut(
        rows=[OverrideOut(**{name: getattr(row, name) for name in fields}) for row in rows]
    )


@router.post("/routing/overrides", auth=KeyAuth("manage"), response={201: OverridesOut})
def post_override(request: ApiRequest, body: OverrideIn) -> tuple[int, OverridesOut]:
    """Pin, ban or boost a backend. No pin lowers a floor; a ban is sterner than a pin."""
    with _changing(request) as (actor, now):
        add_override(
            body.action,
            body.backend,
            department=body.department,
            task=body.task,
            tier=body.tier,
            boost_share=None if body.boost_share is None else Decimal(body.boost_share),
            starts_at=_aware("starts_at", body.starts_at),
            ends_at=_aware("ends_at", body.ends_at),
            actor=actor,
            reason=body.reason,
            now=now,
        )
    return 201, get_overrides(request)


@router.delete("/routing/overrides/{override_id}", auth=KeyAuth("manage"), response=OverridesOut)
def delete_override(request: ApiRequest, override_id: Number) -> OverridesOut:
    """End one now."""
    with _changing(request) as (actor, now):
        end_override(override_id, actor=actor, now=now)
    return get_overrides(request)


@router.get("/routing/shadows", auth=KeyAuth("read", "manage"), response=ShadowsOut)
def get_shadows(request: ApiRequest) -> ShadowsOut:
    """Policies that decide beside the live one; GET /api/v1/routing/decisions compares them."""
    with tenant_scope(request.auth.tenant_id):
        rows = list_shadows()
    return ShadowsOut(
        rows=[
            ShadowPolicyOut(
                id=row.id,
                name=row.name,
                value_model=row.value_model,
                budget_factor=str(row.budget_factor),
                reason=row.reason,
                actor=row.actor,
                created_at=row.created_at,
            )
            for row in rows
        ]
    )


@router.post("/routing/shadows", auth=KeyAuth("manage"), response={201: ShadowsOut})
def post_shadow(request: ApiRequest, body: ShadowIn) -> tuple[int, ShadowsOut]:
    """Begin one; three run at most."""
    with _changing(request) as (actor, now):
        begin_shadow(
            body.name,
            value_model=body.value_model,
            budget_factor=Decimal(body.budget_factor),
            actor=actor,
            reason=body.reason,
            now=now,
        )
    return 201, get_shadows(request)


@router.delete("/routing/shadows/{shadow_id}", auth=KeyAuth("manage"), response=ShadowsOut)
def delete_shadow(request: ApiRequest, shadow_id: Number) -> ShadowsOut:
    """End one now; what it decided stays."""
    with _changing(request) as (actor, now):
        end_shadow(shadow_id, actor=actor, now=now)
    return get_shadows(request)


@contextmanager
def _changing(request: ApiRequest) -> Iterator[tuple[str, datetime]]:
    """In the key's tenant: (who changes something, now). What cannot be names its field."""
    try:
        with tenant_scope(request.auth.tenant_id):
            yield f"key {request.auth.name}", timezone.now()
    except InvalidRoutingInput as error:
        if error.field in ("override_id", "shadow_id"):
            raise Problem(404, "not_found", str(error), field=error.field) from error
        raise Problem(422, "invalid_routing", str(error), field=error.field) from error
    forget_live(request.auth.tenant_id)


def _aware(field: str, moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise Problem(422, "no_offset", f"{field} needs an offset, such as Z", field=field)
    return moment


def _model_out(model: ValueModel) -> dict[str, Any]:
    return {
        "version": model.version,
        "content": model.content(),
        "versions": [
            {
                "version": row.model.version,
                "effective_from": row.effective_from,
                "recorded_at": row.recorded_at,
                "actor": row.actor,
                "reason": row.reason,
                "changes": [
                    {"path": path, "from": old, "to": new} for path, old, new in row.changed[:200]
                ],
            }
            for row in list_value_models()
        ],
    }
