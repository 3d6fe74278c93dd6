"""The only writer of what a tenant wants of routing: value models, modes, overrides."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.db.models import Max, Q

from apps.pricing.selectors import read_backend_keys
from apps.routing.core.overrides import ACTIONS, MODES
from apps.routing.core.value_model import (
    TIERS,
    ValueModelError,
    changes,
    read_value_model,
)
from apps.routing.errors import InvalidRoutingInput
from apps.routing.live_models import ShadowPolicy
from apps.routing.models import RoutingMode, RoutingOverride, ValueModelVersion
from apps.routing.selectors import read_value_model as value_model_in_force
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import list_departments
from apps.tenants.services import record_audit

MAX_REASON: Final = 500
MAX_TASK: Final = 200
MAX_OPEN_OVERRIDES: Final = 200
MAX_SHADOWS: Final = 3
MAX_SHADOW_NAME: Final = 100
MAX_BUDGET_FACTOR: Final = 1000
# The audit trail names so many of the numbers that changed; the versions have them all.
MAX_CHANGES_TOLD: Final = 50


def set_value_model(
    content: Mapping[str, Any],
    *,
    actor: str,
    reason: str,
    now: datetime,
    effective_from: datetime | None = None,
) -> int:
    """Make a new version of the whole value model for the tenant in scope; returns its number.

    `content` as `ValueModel.content()` has it; what is left out has its default. It holds from
    `effective_from` (now), which may not be before. Raises InvalidRoutingInput.
    """
    reason = _reason(reason)
    begins = effective_from or now
    if begins < now:
        raise InvalidRoutingInput(
            f"{begins.isoformat()} is past: what was decided by then stands. Begin now or later",
            field="effective_from",
        )
    _one_at_a_time()
    number = (ValueModelVersion.objects.aggregate(n=Max("number"))["n"] or 0) + 1
    try:
        model = read_value_model(content, version=number)
    except ValueModelError as error:
        raise InvalidRoutingInput(str(error), field=error.field) from error
    before = value_model_in_force(begins)
    ValueModelVersion.objects.create(
        number=number,
        content=model.content(),
        effective_from=begins,
        recorded_at=now,
        actor=actor,
        reason=reason,
    )
    changed = changes(before, model)
    record_audit(
        actor=actor,
        action="value_model.set",
        subject=f"value_model:{number}",
        before={path: old for path, old, _ in changed[:MAX_CHANGES_TOLD]},
        after={
            "reason": reason,
            "effective_from": begins.isoformat(),
            "changes": len(changed),
            **{path: new for path, _, new in changed[:MAX_CHANGES_TOLD]},
        },
        now=now,
    )
    return number


def set_mode(
    mode: str, *, actor: str, reason: str, now: datetime, department: str | None = None
) -> None:
    """How far the policy goes from now on, for the tenant in scope or one department (by code).
    An empty mode gives a department the tenant's again. Raises InvalidRoutingInput."""
    reason = _reason(reason)
    if mode not in MODES and not (mode == "" and department):
        raise InvalidRoutingInput(f"{mode!r} is none of {', '.join(MODES)}", field="mode")
    department_id = _department_id(department)
    own = Q(department__isnull=True) if department_id is None else Q(department_id=department_id)
    last = RoutingMode.objects.filter(own).order_by("id").last()
    if last is not None and last.mode == mode:
        return
    RoutingMode.objects.create(
        department_id=department_id,
        mode=mode,
        effective_from=now,
        recorded_at=now,
        actor=actor,
        reason=reason,
    )
    record_audit(
        actor=actor,
        action="routing_mode.set",
        subject=f"routing_mode:{department or 'tenant'}"[:200],
        before={"mode": last.mode} if last else None,
        after={"mode": mode, "reason": reason},
        now=now,
    )


def add_override(
    action: str,
    backend: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
    department: str | None = None,
    task: str | None = None,
    tier: str | None = None,
    boost_share: Decimal | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> int:
    """Pin, ban or boost a backend (by its key) of the tenant in scope; returns the override's id.
    Raises InvalidRoutingInput."""
    reason = _reason(reason)
    begins = starts_at or now
    _check_override(action, backend, task=task, tier=tier, boost_share=boost_share)
    if ends_at is not None and ends_at <= max(begins, now):
        raise InvalidRoutingInput(
            f"it ends at {ends_at.isoformat()}, which is not later than it starts, or over",
            field="ends_at",
        )
    if RoutingOverride.objects.filter(ended_at=None).count() >= MAX_OPEN_OVERRIDES:
        raise InvalidRoutingInput(
            f"{MAX_OPEN_OVERRIDES} overrides stand; end some first", field="action"
        )
    row = RoutingOverride.objects.create(
        action=action,
        backend_key=backend,
        department_id=_department_id(department),
        task=task,
        tier=tier,
        boost_share=None if boost_share is None else round(boost_share, 4),
        starts_at=begins,
        ends_at=ends_at,
        reason=reason,
        actor=actor,
        recorded_at=now,
    )
    after = {
        "action": action,
        "backend": backend,
        "department": department,
        "task": task,
        "tier": tier,
        "boost_share": None if boost_share is None else str(boost_share),
        "starts_at": begins.isoformat(),
        "ends_at": ends_at.isoformat() if ends_at else None,
        "reason": reason,
    }
    record_audit(
        actor=actor,
        action="routing_override.added",
        subject=f"routing_override:{row.pk}",
        after=after,
        now=now,
    )
    return row.pk


def _check_override(
    action: str,
    backend: str,
    *,
    task: str | None,
    tier: str | None,
    boost_share: Decimal | None,
) -> None:
    if action not in ACTIONS:
        raise InvalidRoutingInput(f"{action!r} is none of {', '.join(ACTIONS)}", field="action")
    if backend not in read_backend_keys().values():
        raise InvalidRoutingInput(
            f"{backend[:200]!r} is no backend of yours; GET /api/v1/backends lists them",
            field="backend",
        )
    if tier is not None and tier not in TIERS:
        raise InvalidRoutingInput(f"{tier!r} is none of {', '.join(TIERS)}", field="tier")
    if task is not None and (not 1 <= len(task) <= MAX_TASK or "\0" in task):
        raise InvalidRoutingInput(f"a task has 1 to {MAX_TASK} characters", field="task")
    if (action == "boost") != (boost_share is not None) or not (
        boost_share is None or (boost_share.is_finite() and 0 < boost_share <= 1)
    ):
        raise InvalidRoutingInput(
            "a boost, and nothing else, has a boost_share: over 0 up to 1 of the request's value",
            field="boost_share",
        )


def end_override(override_id: int, *, actor: str, now: datetime) -> None:
    """It holds no more. Raises InvalidRoutingInput when there is none that stands."""
    changed = RoutingOverride.objects.filter(pk=override_id, ended_at=None).update(
        ended_at=now, ended_by=actor
    )
    if not changed:
        raise InvalidRoutingInput(f"no override {override_id} stands", field="override_id")
    record_audit(
        actor=actor,
        action="routing_override.ended",
        subject=f"routing_override:{override_id}",
        now=now,
    )


def begin_shadow(
    name: str,
    *,
    actor: str,
    reason: str,
    now: datetime,
    value_model: Mapping[str, Any] | None = None,
    budget_factor: Decimal = Decimal(1),
) -> int:
    """Have a policy decide beside the live one of the tenant in scope: with another value model
    (None: the one in force), or budgets so many times as large. Raises InvalidRoutingInput."""
    reason, name = _reason(reason), name.strip()
    if not 1 <= len(name) <= MAX_SHADOW_NAME or "\0" in name:
        raise InvalidRoutingInput(f"a name has 1 to {MAX_SHADOW_NAME} characters", field="name")
    if not (budget_factor.is_finite() and 0 < budget_factor <= MAX_BUDGET_FACTOR):
        raise InvalidRoutingInput(
            f"{budget_factor} is not over 0 and up to {MAX_BUDGET_FACTOR}", field="budget_factor"
        )
    running = ShadowPolicy.objects.filter(ended_at=None)
    if running.filter(name=name).exists():
        raise InvalidRoutingInput(f"a shadow {name!r} runs; end it first", field="name")
    if running.count() >= MAX_SHADOWS:
        raise InvalidRoutingInput(f"{MAX_SHADOWS} shadows run; end one first", field="name")
    content = None
    if value_model is not None:
        try:
            content = read_value_model(value_model, version=0).content()
        except ValueModelError as error:
            raise InvalidRoutingInput(str(error), field=f"value_model.{error.field}") from error
    row = ShadowPolicy.objects.create(
        name=name,
        value_model=content,
        budget_factor=round(budget_factor, 4),
        reason=reason,
        actor=actor,
        created_at=now,
    )
    record_audit(
        actor=actor,
        action="routing_shadow.begun",
        subject=f"routing_shadow:{row.pk}",
        after={"name": name, "budget_factor": str(budget_factor), "reason": reason},
        now=now,
    )
    return row.pk


def end_shadow(shadow_id: int, *, actor: str, now: datetime) -> None:
    """It decides no more; what it decided stays. Raises InvalidRoutingInput for none that runs."""
    if not ShadowPolicy.objects.filter(pk=shadow_id, ended_at=None).update(ended_at=now):
        raise InvalidRoutingInput(f"no shadow {shadow_id} runs", field="shadow_id")
    record_audit(
        actor=actor, action="routing_shadow.ended", subject=f"routing_shadow:{shadow_id}", now=now
    )


def _reason(reason: str) -> str:
    reason = reason.strip()
    if not 1 <= len(reason) <= MAX_REASON or "\0" in reason:
        raise InvalidRoutingInput(
            f"say why, in 1 to {MAX_REASON} characters: the policy's history shows it",
            field="reason",
        )
    return reason


def _department_id(code: str | None) -> int | None:
    if code is None:
        return None
    for department in list_departments():
        if department.code.lower() == code.lower():
            return department.id
    raise InvalidRoutingInput(
        f"{code[:200]!r} is no department; GET /api/v1/departments lists them", field="department"
    )


def _one_at_a_time() -> None:
    """Until this transaction ends nobody else numbers a version of this tenant."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('value_model', %s))",
            [current_tenant_id()],
        )
