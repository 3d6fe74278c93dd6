"""The only reader of what a tenant wants of routing, of its policies, and of what was decided."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, cast

from django.db import connection
from django.db.models import F, Q

from apps.routing.core.overrides import Action, Mode, Modes, Override
from apps.routing.core.policy import Policy, from_json
from apps.routing.core.value_model import ValueModel, changes, default_value_model
from apps.routing.core.value_model import read_value_model as from_content
from apps.routing.live_models import (
    DecisionCharge,
    LivePolicy,
    PolicyChange,
    RoutingDecision,
    ShadowPolicy,
)
from apps.routing.models import RoutingMode, RoutingOverride, ValueModelVersion
from apps.tenants.scoping import current_tenant_id
from apps.tenants.selectors import list_departments

MAX_VERSIONS = 200
MAX_DECISIONS = 500
# As the policy advised; not so; advised nothing; chosen to learn (its share is at most a half).
Outcome = Literal["followed", "otherwise", "refused", "explored"]
_OUTCOMES: Mapping[Outcome, Q] = {
    "followed": Q(backend=F("advised")),
    "otherwise": Q(advised__isnull=False) & (Q(backend=None) | ~Q(backend=F("advised"))),
    "refused": Q(advised=None),
    "explored": Q(propensity__lt=0.5),
}


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


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """How the live policy stands. `failure`: why the last plan found no prices, if so."""

    version: int
    planned_at: datetime
    issued_at: datetime
    failure: str


@dataclass(frozen=True, slots=True)
class PolicyChangeInfo:
    """A plan, or prices that pacing moved far: why, and what moved ({"what", "from", "to"})."""

    version: int
    at: datetime
    kind: str
    reasons: list[str]
    moved: list[dict[str, Any]]
    document: str


@dataclass(frozen=True, slots=True)
class ShadowInfo:
    id: int
    name: str
    value_model: dict[str, Any] | None
    budget_factor: Decimal
    reason: str
    actor: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DecisionInfo:
    """A decision, and the first charge that named it (None: not come yet)."""

    decision_id: uuid.UUID
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
    estimated_usd: Decimal
    held_usd: Decimal
    value_usd: float
    quality: float | None
    reasons: list[str]
    alternatives: list[list[str]]
    shadows: dict[str, list[Any]]
    charge_id: int | None
    ran_on: str | None
    actual_usd: Decimal | None
    output_tokens: int | None
    quality_score: float | None
    converted: bool | None


@dataclass(frozen=True, slots=True)
class EstimateQuality:
    """Of the decisions on one backend whose charges came: what was estimated, and billed."""

    backend: str
    decisions: int
    estimated_usd: Decimal
    actual_usd: Decimal

    @property
    def actual_share(self) -> Decimal | None:
        """Billed over estimated; None where nothing was estimated."""
        return self.actual_usd / self.estimated_usd if self.estimated_usd else None


@dataclass(frozen=True, slots=True)
class Flow:
    """How many decisions had one advice (None: refuse it) and ran in one place (None: nowhere).
    Where nothing was charged yet they ran where they were sent."""

    advised: str | None
    ran: str | None
    decisions: int


@dataclass(frozen=True, slots=True)
class ShadowComparison:
    """A shadow beside the live policy, on the same requests. USD, as the live policy expects
    them: cost, and value less cost."""

    name: str
    decisions: int
    agreed: int
    live_cost_usd: float
    shadow_cost_usd: float
    live_worth_usd: float
    shadow_worth_usd: float


def read_policy_status() -> PolicyStatus | None:
    """None until the tenant in scope's first policy is planned."""
    columns = ("version", "planned_at", "issued_at", "failure")
    row = LivePolicy.objects.filter(shadow="").values_list(*columns).first()
    return PolicyStatus(*row) if row else None


def read_policy() -> Policy | None:
    """The document that routers apply now; None until the tenant in scope's first is planned."""
    document = LivePolicy.objects.filter(shadow="").values_list("document", flat=True).first()
    return from_json(document) if document else None


def list_policy_changes(
    *, before_version: int | None = None, limit: int = 50
) -> list[PolicyChangeInfo]:
    """The policy's history in the tenant in scope, newest first."""
    rows = PolicyChange.objects.order_by("-version")
    if before_version is not None:
        rows = rows.filter(version__lt=before_version)
    columns = ("version", "at", "kind", "reasons", "moved", "document")
    return [
        PolicyChangeInfo(*row) for row in rows.values_list(*columns)[: min(limit, MAX_VERSIONS)]
    ]


def list_shadows() -> list[ShadowInfo]:
    """The policies that decide beside the tenant in scope's live one."""
    columns = (
        "id", "name", "value_model", "budget_factor", "reason", "actor", "created_at",
    )  # fmt: skip
    rows = ShadowPolicy.objects.filter(ended_at=None).order_by("id")
    return [ShadowInfo(*row) for row in rows.values_list(*columns)]


def shadow_model(name: str, model: ValueModel) -> ValueModel:
    """What a shadow decides by: its own value model, or the one in force."""
    row = ShadowPolicy.objects.filter(name=name, ended_at=None).first()
    if row is None or row.value_model is None:
        return model
    return from_content(row.value_model, version=model.version)


def list_decisions(
    *,
    start: datetime,
    end: datetime,
    backend: str | None = None,
    department: str | None = None,
    customer: str | None = None,
    task: str | None = None,
    outcome: Outcome | None = None,
    before: uuid.UUID | None = None,
    limit: int = 50,
) -> list[DecisionInfo]:
    """What was decided in [start, end), newest first, with what it then cost. None is any;
    `before` a decision goes on from it."""
    wanted = {"backend": backend, "department": department, "customer": customer, "task": task}
    filters = {name: value for name, value in wanted.items() if value is not None}
    rows = RoutingDecision.objects.filter(decided_at__gte=start, decided_at__lt=end, **filters)
    if outcome is not None:
        rows = rows.filter(_OUTCOMES[outcome])
    last = RoutingDecision.objects.filter(decision_id=before).first() if before else None
    if last is not None:
        same = Q(decided_at=last.decided_at, id__lt=last.pk)
        rows = rows.filter(Q(decided_at__lt=last.decided_at) | same)
    rows = rows.order_by("-decided_at", "-id")
    return _with_charges(list(rows[: min(limit, MAX_DECISIONS)]))


def find_decision(decision_id: uuid.UUID) -> DecisionInfo | None:
    rows = _with_charges(list(RoutingDecision.objects.filter(decision_id=decision_id)))
    return rows[0] if rows else None


def read_estimate_quality(*, start: datetime, end: datetime) -> list[EstimateQuality]:
    """Estimate against actual by backend, of the decisions of [start, end) that were charged there,
    the most billed first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT d.backend, count(*), sum(d.estimated_usd), sum(c.cost_usd)
            FROM routing_routingdecision AS d JOIN routing_decisioncharge AS c
                ON c.tenant_id = d.tenant_id AND c.decision_id = d.decision_id
            WHERE d.tenant_id = %s AND d.decided_at >= %s AND d.decided_at < %s
                AND c.cost_usd IS NOT NULL AND c.backend_key = d.backend
            GROUP BY d.backend ORDER BY 4 DESC, 1
            """,
            [current_tenant_id(), start, end],
        )
        return [EstimateQuality(*row) for row in cursor.fetchall()]


def read_flows(*, start: datetime, end: datetime) -> list[Flow]:
    """What the policy advised in [start, end) beside where it ran; the most frequent first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT d.advised, COALESCE(NULLIF(c.backend_key, ''), d.backend), count(*)
            FROM routing_routingdecision AS d LEFT JOIN routing_decisioncharge AS c
                ON c.tenant_id = d.tenant_id AND c.decision_id = d.decision_id
            WHERE d.tenant_id = %s AND d.decided_at >= %s AND d.decided_at < %s
            GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
            """,
            [current_tenant_id(), start, end],
        )
        return [Flow(*row) for row in cursor.fetchall()]


def compare_shadows(*, start: datetime, end: datetime) -> list[ShadowComparison]:
    """Every shadow that decided in [start, end) beside what the live policy advised."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT s.key, count(*), count(*) FILTER (
                    WHERE s.value->>0 IS NOT DISTINCT FROM d.advised),
                sum((s.value->>3)::float8), sum((s.value->>1)::float8),
                sum((s.value->>4)::float8), sum((s.value->>2)::float8)
            FROM routing_routingdecision AS d CROSS JOIN LATERAL jsonb_each(d.shadows) AS s
            WHERE d.tenant_id = %s AND d.decided_at >= %s AND d.decided_at < %s
            GROUP BY 1 ORDER BY 1
            """,
            [current_tenant_id(), start, end],
        )
        return [ShadowComparison(*row) for row in cursor.fetchall()]


def list_tenants_with_routing() -> list[int]:
    """Tenants with a policy, a mode or a value model of their own. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tenants_with_routing()")
        return [row[0] for row in cursor.fetchall()]


def _with_charges(rows: list[RoutingDecision]) -> list[DecisionInfo]:
    found = DecisionCharge.objects.filter(decision_id__in=[row.decision_id for row in rows])
    charges = {charge.decision_id: charge for charge in found}
    return [_decision(row, charges.get(row.decision_id)) for row in rows]


def _decision(row: RoutingDecision, charge: DecisionCharge | None) -> DecisionInfo:
    own = {name: getattr(row, name) for name in DecisionInfo.__slots__ if name not in _CHARGED}
    return DecisionInfo(
        **own,
        charge_id=charge.charge_id if charge else None,
        ran_on=charge.backend_key if charge else None,
        actual_usd=charge.cost_usd if charge else None,
        output_tokens=charge.output_tokens if charge else None,
        quality_score=charge.quality_score if charge else None,
        converted=charge.converted if charge else None,
    )


_CHARGED = ("charge_id", "ran_on", "actual_usd", "output_tokens", "quality_score", "converted")
