"""Rules of shared costs: whose spend is split between whom. Part of services."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast

from django.db import IntegrityError, transaction

from apps.budgets.core.statements import MAX_WEIGHT, PayerKind, Rule, SharingRule, Source
from apps.budgets.errors import InvalidBudgetInput
from apps.budgets.statement_models import SharedCost
from apps.pricing.core.money import plain_decimal
from apps.tenants.selectors import list_customers, list_departments
from apps.tenants.services import record_audit

MAX_RULES: Final = 50
SOURCES: Final = ("unattributed", "department", "project")
RULES: Final = ("even", "usage", "fixed")


@dataclass(frozen=True, slots=True)
class SharingInput:
    """What is asked for. `value` names the department or the project; `weights` by the payers'
    own codes, for fixed shares."""

    name: str
    kind: PayerKind
    source: Source
    rule: Rule
    value: str = ""
    weights: Mapping[str, Decimal] | None = None


def list_rules(kind: PayerKind) -> list[SharingRule]:
    """The rules that stand, oldest first: spend goes to the first that takes it."""
    rows = SharedCost.objects.filter(payer_kind=kind, ended_at__isnull=True).order_by("id")
    return [
        SharingRule(
            id=row.pk,
            name=row.name,
            source=cast("Source", row.source),
            rule=cast("Rule", row.rule),
            department_id=row.department_id,
            project=row.project,
            weights={int(payer): Decimal(weight) for payer, weight in row.shares.items()},
        )
        for row in rows
    ]


def add_sharing(wanted: SharingInput, *, actor: str, now: datetime) -> int:
    """Share costs from the open month on; returns the rule's id."""
    name = wanted.name.strip()
    if not name or len(name) > 200:
        raise InvalidBudgetInput("name it, in up to 200 characters", field="name")
    if SharedCost.objects.filter(ended_at__isnull=True).count() >= MAX_RULES:
        raise InvalidBudgetInput(f"there are {MAX_RULES} rules already; end one", field="name")
    columns = _source_columns(wanted)
    shares = _shares(wanted)
    try:
        with transaction.atomic():
            row = SharedCost.objects.create(
                name=name,
                payer_kind=wanted.kind,
                source=wanted.source,
                rule=wanted.rule,
                shares=shares,
                created_at=now,
                created_by=actor,
                **columns,
            )
    except IntegrityError as error:
        if "shared_cost_once" not in str(error):
            raise
        raise InvalidBudgetInput(f"there is a rule {name!r} already", field="name") from error
    after = {"name": name, "kind": wanted.kind, "source": wanted.source, "value": wanted.value}
    record_audit(
        actor=actor,
        action="shared_cost.added",
        subject=f"shared_cost:{row.pk}",
        after=after | {"rule": wanted.rule, "shares": shares},
        now=now,
    )
    return row.pk


def end_sharing(rule_id: int, *, actor: str, now: datetime) -> None:
    """Share no more from the open month on. Closed statements keep what they say."""
    changed = SharedCost.objects.filter(pk=rule_id, ended_at__isnull=True).update(ended_at=now)
    if not changed:
        raise InvalidBudgetInput(f"there is no rule {rule_id}", field="rule_id")
    record_audit(actor=actor, action="shared_cost.ended", subject=f"shared_cost:{rule_id}", now=now)


def _source_columns(wanted: SharingInput) -> dict[str, Any]:
    if wanted.source not in SOURCES or wanted.rule not in RULES:
        raise InvalidBudgetInput(
            f"a source is one of {', '.join(SOURCES)}, a rule one of {', '.join(RULES)}",
            field="source" if wanted.source not in SOURCES else "rule",
        )
    if wanted.source == "unattributed":
        return {}
    if not wanted.value or len(wanted.value) > 200:
        raise InvalidBudgetInput(f"say which {wanted.source}", field="value")
    if wanted.source == "project":
        return {"project": wanted.value}
    codes = {d.code.lower(): d.id for d in list_departments()}
    found = codes.get(wanted.value.lower())
    if found is None:
        raise InvalidBudgetInput(f"there is no department {wanted.value[:100]!r}", field="value")
    return {"department_id": found}


def _shares(wanted: SharingInput) -> dict[str, str]:
    """Weights by payer id, as they are kept."""
    weights = wanted.weights or {}
    if wanted.rule != "fixed":
        if weights:
            raise InvalidBudgetInput(f"shares {wanted.rule} need no weights", field="weights")
        return {}
    if wanted.kind == "department":
        known = {d.code.lower(): d.id for d in list_departments()}
    else:
        known = {c.external_id: c.id for c in list_customers()}
    shares: dict[str, str] = {}
    for code, weight in weights.items():
        found = known.get(code.lower() if wanted.kind == "department" else code)
        if found is None:
            raise InvalidBudgetInput(f"there is no {wanted.kind} {code[:100]!r}", field="weights")
        if not weight.is_finite() or not 0 < weight <= MAX_WEIGHT:
            raise InvalidBudgetInput(
                f"the weight of {code} is {weight}; it is over 0, up to {MAX_WEIGHT}",
                field="weights",
            )
        shares[str(found)] = plain_decimal(weight)
    if not shares:
        raise InvalidBudgetInput("fixed shares need weights: sales=2, support=1", field="weights")
    return shares
