"""The policy that holds, how it came to be, and what was decided by it. Private to this app."""

from django.db import models
from django.db.models import Q

from apps.tenants.scoping import TenantModel

CHANGE_KINDS = ["plan", "pace"]
DECISION_MODES = ["observe", "advise", "enforce"]


class LivePolicy(TenantModel):
    """The one policy of a tenant that routers apply now, or (named) one that decides beside it.

    `document` is the JSON that routers get; `standing` (core/live.py) what the next pace or plan
    goes on from; `facts` what the decision door knows besides. Written by the planner alone.
    """

    # Empty: the live one.
    shadow = models.CharField(max_length=100, blank=True)
    version = models.PositiveBigIntegerField()
    document = models.TextField()
    standing = models.JSONField()
    facts = models.JSONField()
    # What it was planned from; another fingerprint is a reason to plan again.
    inputs = models.JSONField()
    planned_at = models.DateTimeField()
    issued_at = models.DateTimeField()
    # Why the last plan found no new prices; empty when it did.
    failure = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "shadow"], name="live_policy_once"),
        ]


class PolicyChange(TenantModel):
    """A policy that was planned, or paced far from the last one told: what moved, and why."""

    version = models.PositiveBigIntegerField()
    at = models.DateTimeField()
    kind = models.CharField(max_length=10)
    reasons = models.JSONField()
    # [{"what", "from", "to"}]: prices that moved.
    moved = models.JSONField()
    document = models.TextField()

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "-at"], name="policy_change_by_time")]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=CHANGE_KINDS), name="policy_change_kind_known"
            ),
            models.UniqueConstraint(fields=["tenant", "version"], name="policy_change_once"),
        ]


class RoutingDecision(TenantModel):
    """What was decided of one request, by which policy, and why. Kept for a while."""

    decision_id = models.UUIDField()
    decided_at = models.DateTimeField()
    request_id = models.CharField(max_length=200)
    policy_version = models.PositiveBigIntegerField()
    mode = models.CharField(max_length=10)
    department = models.CharField(max_length=200)
    customer = models.CharField(max_length=200, null=True)
    tier = models.CharField(max_length=20)
    task = models.CharField(max_length=200)
    backend = models.CharField(max_length=400, null=True)
    # What the policy would have; null: a refusal.
    advised = models.CharField(max_length=400, null=True)
    because = models.CharField(max_length=20)
    propensity = models.FloatField()
    input_tokens = models.BigIntegerField()
    estimated_output_tokens = models.FloatField()
    estimated_usd = models.DecimalField(max_digits=38, decimal_places=24)
    held_usd = models.DecimalField(max_digits=38, decimal_places=24)
    value_usd = models.FloatField()
    quality = models.FloatField(null=True)
    reasons = models.JSONField()
    alternatives = models.JSONField()
    # {shadow's name: [backend or null, estimated USD, expected worth in USD]}
    shadows = models.JSONField(default=dict)

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "-decided_at"], name="decision_by_time")]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "decision_id"], name="decision_once"),
            models.CheckConstraint(
                condition=Q(propensity__gt=0, propensity__lte=1), name="decision_propensity"
            ),
            models.CheckConstraint(
                condition=Q(mode__in=DECISION_MODES), name="decision_mode_known"
            ),
        ]


class DecisionCharge(TenantModel):
    """A charge whose event named a decision. The first of a decision is the one it is held
    against."""

    decision_id = models.UUIDField()
    charge_id = models.BigIntegerField()
    charged_at = models.DateTimeField()
    backend_key = models.CharField(max_length=400)
    cost_usd = models.DecimalField(max_digits=38, decimal_places=24, null=True)
    output_tokens = models.BigIntegerField()
    quality_score = models.FloatField(null=True)
    converted = models.BooleanField(null=True)

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "-charged_at"], name="decision_charge_by_time")]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "decision_id"], name="decision_charge_first"),
        ]


class ShadowPolicy(TenantModel):
    """A policy that decides beside the live one and is compared: another value model, or other
    means. Never edited: it is ended, once."""

    name = models.CharField(max_length=100)
    # A value model's content; null: the one in force.
    value_model = models.JSONField(null=True)
    # Budgets times this.
    budget_factor = models.DecimalField(max_digits=8, decimal_places=4, default=1)
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], name="shadow_policy_once", condition=Q(ended_at=None)
            ),
            models.CheckConstraint(condition=Q(budget_factor__gt=0), name="shadow_budget_positive"),
            models.CheckConstraint(condition=~Q(name=""), name="shadow_policy_has_name"),
        ]
