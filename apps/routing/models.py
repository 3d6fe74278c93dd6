"""What a tenant wants of routing: dated value models, modes and overrides. Private to this app."""

from django.db import models
from django.db.models import F, Q

from apps.routing import live_models, replay_models  # noqa: F401 - their tables are of this app
from apps.tenants.scoping import TenantModel

MODES = ["observe", "advise", "enforce"]
ACTIONS = ["pin", "ban", "boost"]
TIERS = ["free", "standard", "premium", "enterprise"]


class Dated(TenantModel):
    """What somebody decided, from a moment on. A change is a new row."""

    effective_from = models.DateTimeField()
    recorded_at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)

    class Meta(TenantModel.Meta):
        abstract = True


class ValueModelVersion(Dated):
    """A whole value model, as core/value_model.py reads it. The highest number in force holds."""

    number = models.PositiveIntegerField()
    content = models.JSONField()

    class Meta(Dated.Meta):
        indexes = [models.Index(fields=["tenant", "-effective_from"], name="value_model_in_force")]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="value_model_number_once"),
            models.CheckConstraint(condition=Q(number__gte=1), name="value_model_from_one"),
            models.CheckConstraint(condition=~Q(reason=""), name="value_model_has_reason"),
        ]


class RoutingMode(Dated):
    """How far the policy goes: for a department, or (none) for the tenant."""

    department = models.ForeignKey(
        "tenants.Department", null=True, on_delete=models.PROTECT, related_name="+"
    )
    # Empty: what holds for the tenant, of a department.
    mode = models.CharField(max_length=10, blank=True)

    class Meta(Dated.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(mode__in=MODES) | Q(mode="", department__isnull=False),
                name="routing_mode_known",
            ),
        ]


class RoutingOverride(TenantModel):
    """A backend that people pin, ban or boost for a while. Never edited: it is ended, once.

    `boost_share` of a request's value is added to what a boosted backend brings.
    """

    action = models.CharField(max_length=10)
    backend_key = models.CharField(max_length=400)
    department = models.ForeignKey(
        "tenants.Department", null=True, on_delete=models.PROTECT, related_name="+"
    )
    task = models.CharField(max_length=200, null=True)
    tier = models.CharField(max_length=20, null=True)
    boost_share = models.DecimalField(max_digits=6, decimal_places=4, null=True)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=500)
    actor = models.CharField(max_length=200)
    recorded_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=200, blank=True)

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "ends_at"], name="routing_override_by_end")]
        constraints = [
            models.CheckConstraint(
                condition=Q(action__in=ACTIONS), name="routing_override_action_known"
            ),
            models.CheckConstraint(
                condition=Q(tier__isnull=True) | Q(tier__in=TIERS),
                name="routing_override_tier_known",
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(starts_at__lt=F("ends_at")),
                name="routing_override_ends_later",
            ),
            models.CheckConstraint(
                condition=Q(action="boost", boost_share__gt=0, boost_share__lte=1)
                | (~Q(action="boost") & Q(boost_share__isnull=True)),
                name="routing_override_boost_has_share",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="routing_override_has_reason"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by="")
                | (Q(ended_at__isnull=False) & ~Q(ended_by="")),
                name="routing_override_ended_by_someone",
            ),
        ]
