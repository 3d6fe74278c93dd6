"""The only reader of what a tenant wants of routing."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from django.db.models import Q

from apps.routing.core.overrides import Action, Mode, Modes, Override
from apps.routing.core.value_model import ValueModel, changes, default_value_model
from apps.routing.core.value_model import read_value_model as from_content
from apps.routing.models import RoutingMode, RoutingOverride, ValueModelVersion
from apps.tenants.selectors import list_departments

MAX_VERSIONS = 200


@dataclass(frozen=True, slots=True)
class ValueModelInfo:
    """One version, and what it changed: (path, from, to)."""

    model: ValueModel
    effective_from: datetime
    recorded_at: datetime
    actor: str
    reason: str
    changed: list[tuple[str, Any, Any]]


def read_value_model(at: datetime) -> ValueModel:
    """The value model in force in the tenant in scope at a moment; the default's (version 0) while
    nobody has set one."""
    row = (
        ValueModelVersion.objects.filter(effective_from__lte=at)
        .order_by("-effective_from", "-number")
        .first()
    )
    return from_content(row.content, version=row.number) if row else default_value_model()


def list_value_models() -> list[ValueModelInfo]:
    """Every version of the tenant in scope, newest first; at most MAX_VERSIONS."""
    rows = list(ValueModelVersion.objects.order_by("-number")[: MAX_VERSIONS + 1])
    models = [from_content(row.content, version=row.number) for row in rows]
    before = [*models[1:], default_value_model()][: len(models)]
    return [
        ValueModelInfo(
            model=model,
            effective_from=row.effective_from,
            recorded_at=row.recorded_at,
            actor=row.actor,
            reason=row.reason,
            changed=changes(last, model),
        )
        for row, model, last in zip(rows, models, before, strict=True)
    ][:MAX_VERSIONS]


def read_modes(at: datetime) -> Modes:
    """How far the policy goes at a moment, in the tenant in scope and its departments."""
    codes = {department.id: department.code for department in list_departments()}
    found: dict[int | None, str] = {}
    for row in RoutingMode.objects.filter(effective_from__lte=at).order_by("effective_from", "id"):
        found[row.department_id] = row.mode
    departments = {
        codes[number]: cast("Mode", mode)
        for number, mode in found.items()
        if number is not None and mode and number in codes
    }
    tenant = found.get(None)
    return Modes(cast("Mode", tenant), departments) if tenant else Modes(departments=departments)


def list_overrides(at: datetime, *, include_over: bool = False) -> list[Override]:
    """What people pinned, banned or boosted that holds at or after a moment, oldest first; with
    `include_over` all that ever did."""
    rows = RoutingOverride.objects.select_related("department").order_by("id")
    if not include_over:
        rows = rows.filter(Q(ends_at=None) | Q(ends_at__gt=at)).filter(
            Q(ended_at=None) | Q(ended_at__gt=at)
        )
    return [_override(row) for row in rows]


def _override(row: RoutingOverride) -> Override:
    ends = [moment for moment in (row.ends_at, row.ended_at) if moment is not None]
    return Override(
        id=row.pk,
        action=cast("Action", row.action),
        backend=row.backend_key,
        department=row.department.code if row.department else None,
        task=row.task,
        tier=row.tier,
        boost_share=float(row.boost_share or 0),
        starts_at=row.starts_at,
        ends_at=min(ends, default=None),
        reason=row.reason,
        actor=row.actor,
    )
