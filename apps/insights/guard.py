"""The guard rail: stopping or slowing what a runaway finding names, until someone answers.

Off unless a tenant switches it on. Ingest never heeds it: what was used is always counted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal

from apps.insights.core.finding_words import finding_title
from apps.insights.finding_models import AnomalySettings, Finding, Restriction
from apps.tenants.remembered import Remembered
from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import find_customer_id, list_api_keys
from apps.tenants.services import record_audit

ACTOR: Final = "anomaly guard"
RUNAWAY_KINDS: Final = ("spike", "storm")
RUNAWAY_SCORE: Final = 2.0
RUNAWAY_TIMES: Final = 3
# Of the excess, by one key or customer.
RUNAWAY_SHARE: Final = Decimal("0.6")


@dataclass(frozen=True, slots=True)
class Restricted:
    """What a decision must heed, and the sentence it tells."""

    mode: Literal["slow", "suspend"]
    dimension: str
    label: str
    finding_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Restrictions:
    by_router: Mapping[int, Restricted]
    by_customer: Mapping[int, Restricted]

    def of(self, *, api_key_id: int, customer_id: int | None) -> Restricted | None:
        """The sterner of the two."""
        found = [self.by_router.get(api_key_id), self.by_customer.get(customer_id or 0)]
        held = [one for one in found if one is not None]
        return max(held, key=lambda one: one.mode == "suspend", default=None)


class Suspended(Exception):
    """A finding stopped the key or the customer until someone answers it."""

    def __init__(self, restricted: Restricted) -> None:
        super().__init__(restricted.reason)
        self.restricted = restricted


_remembered: Remembered[int, Restrictions] = Remembered()


def remembered_restrictions(tenant_id: int) -> Restrictions:
    """What holds in a tenant now, at most a second old. Needs no scope."""

    def read(_: Restrictions | None) -> Restrictions:
        with tenant_scope(tenant_id):
            return _read_restrictions()

    return _remembered.get(tenant_id, read, stands=True)


def heed_restrictions(
    tenant_id: int, *, api_key_id: int, customer_id: int | None
) -> Restricted | None:
    """What slows this key or customer, if anything does. Raises Suspended where it is stopped."""
    held = remembered_restrictions(tenant_id).of(api_key_id=api_key_id, customer_id=customer_id)
    if held is not None and held.mode == "suspend":
        raise Suspended(held)
    return held


def _read_restrictions() -> Restrictions:
    found: dict[str, dict[int, Restricted]] = {"router": {}, "customer": {}}
    for row in Restriction.objects.filter(lifted_at=None).select_related("finding"):
        done = "suspended" if row.mode == "suspend" else "slowed"
        subject = f"{'key' if row.dimension == 'router' else 'customer'} {row.label}"
        found[row.dimension][row.subject_id] = Restricted(
            mode=row.mode,  # type: ignore[arg-type]  # a constraint holds it to the two
            dimension=row.dimension,
            label=row.label,
            finding_id=row.finding_id,
            reason=f"{subject} is {done} by finding {row.finding_id}: {_title(row.finding)}."
            f" Someone answers it at /anomalies/{row.finding_id}",
        )
    return Restrictions(found["router"], found["customer"])


def _title(finding: Finding) -> str:
    return finding_title(
        (finding.dimension, finding.key),
        excess_usd=finding.excess_usd,
        since=f"since {finding.first_bad_at:%Y-%m-%d %H:%M} UTC",
        explanation=finding.explanation,
        money=lambda usd: f"{usd:,.2f} USD",
    )


def restrict_runaway(finding: Finding, settings: AnomalySettings, *, now: datetime) -> None:
    """Restrict the key or customer that a runaway is by, where the tenant wants that; once."""
    if settings.guard == "off" or finding.answer or not is_runaway(finding):
        return
    if Restriction.objects.filter(finding=finding).exists():
        return
    for part in _suspects(finding):
        subject_id = _subject_id(part["dimension"], part["value"])
        if subject_id is None:
            continue
        _, is_new = Restriction.objects.get_or_create(
            dimension=part["dimension"],
            subject_id=subject_id,
            lifted_at=None,
            defaults={
                "finding": finding,
                "label": part["value"],
                "mode": settings.guard,
                "created_at": now,
            },
        )
        if is_new:
            record_audit(
                actor=ACTOR,
                action=f"guard.{settings.guard}",
                subject=f"finding:{finding.pk}",
                after={"dimension": part["dimension"], "label": part["value"]},
                now=now,
            )
        return


def is_runaway(finding: Finding) -> bool:
    """Much more than expected, beyond doubt, and still going when it was found."""
    return (
        finding.kind in RUNAWAY_KINDS
        and finding.closed_at is None
        and finding.score >= RUNAWAY_SCORE
        and finding.excess_usd > 0
        and finding.actual_usd >= RUNAWAY_TIMES * finding.expected_usd
    )


def lift_restrictions(finding: Finding, *, actor: str, now: datetime) -> int:
    """Someone answered: what the finding restricted runs again. Returns how many were lifted."""
    rows = Restriction.objects.filter(finding=finding, lifted_at=None)
    labels = list(rows.values_list("dimension", "label"))
    lifted = rows.update(lifted_at=now, lifted_by=actor)
    for dimension, label in labels:
        record_audit(
            actor=actor,
            action="guard.lifted",
            subject=f"finding:{finding.pk}",
            before={"dimension": dimension, "label": label},
            now=now,
        )
    return lifted


def _suspects(finding: Finding) -> list[dict[str, str]]:
    """Keys and customers that explain most of it, the most telling first."""
    parts = [
        part
        for partition in finding.explanation["partitions"]
        for part in partition
        if part["dimension"] in ("router", "customer") and part["value"] and not part["is_rest"]
    ]
    least = RUNAWAY_SHARE * finding.excess_usd
    telling = [part for part in parts if Decimal(part["excess_usd"]) >= least]
    return sorted(telling, key=lambda part: -part["surprise"])


def _subject_id(dimension: str, label: str) -> int | None:
    if dimension == "customer":
        return find_customer_id(label)
    keys = [key.id for key in list_api_keys() if key.name == label and key.revoked_at is None]
    return keys[0] if keys else None
