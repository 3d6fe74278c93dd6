"""Budgets, what they allow when, and the journal of what is set aside; statements are
in statement_models. Private to this app."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from apps.budgets import statement_models  # noqa: F401 - its tables are of this app
from apps.tenants.scoping import TenantModel

PERIODS = ["day", "week", "month", "quarter", "year", "grant"]
UNITS = ["usd", "tokens", "requests"]
ON_LIMIT = ["notify", "throttle", "refuse"]
HOLD_STATES = ["open", "settled", "released", "expired"]


class Budget(TenantModel):
    """An amount per period for a scope. Its scope, period and unit never change: another scope is
    another budget. A named field must agree; none named is the tenant."""

    name = models.CharField(max_length=200)
    department = models.ForeignKey(
        "tenants.Department", null=True, on_delete=models.PROTECT, related_name="+"
    )
    customer = models.ForeignKey(
        "tenants.Customer", null=True, on_delete=models.PROTECT, related_name="+"
    )
    api_key = models.ForeignKey(
        "tenants.ApiKey", null=True, on_delete=models.PROTECT, related_name="+"
    )
    backend = models.ForeignKey(
        "pricing.Backend", null=True, on_delete=models.PROTECT, related_name="+"
    )
    project = models.CharField(max_length=200, null=True)
    provider = models.CharField(max_length=200, null=True)
    model = models.CharField(max_length=200, null=True)
    kind = models.CharField(max_length=10, null=True)

    period = models.CharField(max_length=10)
    unit = models.CharField(max_length=10)
    grant_start = models.DateTimeField(null=True)
    grant_end = models.DateTimeField(null=True)
    rollover = models.BooleanField(default=False)
    on_limit = models.CharField(max_length=10)
    # Percent of the amount: of what is spent and held, and of the projected end of the period.
    thresholds = ArrayField(models.DecimalField(max_digits=6, decimal_places=2), default=list)
    projected_thresholds = ArrayField(
        models.DecimalField(max_digits=6, decimal_places=2), default=list
    )
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=200)
    changed_at = models.DateTimeField()
    archived_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(period__in=PERIODS), name="budget_period_known"),
            models.CheckConstraint(condition=Q(unit__in=UNITS), name="budget_unit_known"),
            models.CheckConstraint(
                condition=Q(on_limit__in=ON_LIMIT), name="budget_on_limit_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__isnull=True) | Q(kind__in=["cloud", "local"]),
                name="budget_kind_known",
            ),
            models.CheckConstraint(
                condition=(
                    Q(period="grant", grant_start__isnull=False, grant_end__isnull=False)
                    & Q(grant_start__lt=F("grant_end"), rollover=False)
                )
                | (~Q(period="grant") & Q(grant_start__isnull=True, grant_end__isnull=True)),
                name="budget_grant_has_dates",
            ),
            models.UniqueConstraint(
                "tenant",
                "department",
                "customer",
                "api_key",
                "backend",
                "project",
                "provider",
                "model",
                "kind",
                "period",
                "unit",
                "on_limit",
                "grant_start",
                name="budget_once",
                condition=Q(archived_at__isnull=True),
                nulls_distinct=False,
            ),
        ]


class BudgetAmount(TenantModel):
    """What a budget allows a period, from a moment on. A change is a new row; so is a withdrawal,
    which replaces what was planned for a moment to come by no amount. Of one moment's rows the
    last holds."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="+")
    amount = models.DecimalField(max_digits=38, decimal_places=9, null=True)
    effective_from = models.DateTimeField()
    replaces = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    recorded_at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0), name="budget_amount_not_negative"),
            models.CheckConstraint(
                condition=Q(replaces__isnull=True, amount__isnull=False)
                | Q(replaces__isnull=False, effective_from__gt=F("recorded_at")),
                name="budget_amount_replaces_plan",
            ),
            models.UniqueConstraint(
                fields=["tenant", "budget", "effective_from", "replaces"],
                name="budget_amount_once",
                nulls_distinct=False,
            ),
            models.UniqueConstraint(
                fields=["tenant", "replaces"], name="budget_amount_replaced_once"
            ),
        ]


class BudgetTopUp(TenantModel):
    """More for a while, with a reason and an end."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="+")
    amount = models.DecimalField(max_digits=38, decimal_places=9)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="budget_top_up_positive"),
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at")), name="budget_top_up_ends_later"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="budget_top_up_has_reason"),
        ]


class Hold(TenantModel):
    """The journal of reservations: what was set aside, in which budgets' periods, what became of
    it. Written before the caller is answered; counters lost are made again from it.

    `parts` is [[budget id, start of the period (RFC 3339), count], ...]: counts as in
    core/amounts.py. `estimate_*` is the worst case that was held.
    """

    decision_id = models.UUIDField()
    request_id = models.CharField(max_length=200)
    state = models.CharField(max_length=10, default="open")
    admitted_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    estimate_usd = models.DecimalField(max_digits=38, decimal_places=24)
    estimate_tokens = models.BigIntegerField()
    parts = models.JSONField()
    # What was asked for and answered, so that a repeated request gets the same answer.
    request = models.JSONField()
    ended_at = models.DateTimeField(null=True)
    # The charge that settled it. Until one does, `counted_parts` of a hold that expired (its
    # estimate) or was settled by word alone are spent in its place.
    charge_id = models.BigIntegerField(null=True)
    counted_parts = models.JSONField(null=True)
    settled_usd = models.DecimalField(max_digits=38, decimal_places=24, null=True)
    # A lease, for many requests of one router: until when it admits them, and what of `parts` no
    # charge has claimed yet. All three or none.
    router = models.ForeignKey(
        "tenants.ApiKey", null=True, on_delete=models.PROTECT, related_name="+"
    )
    admits_until = models.DateTimeField(null=True)
    left_parts = models.JSONField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "decision_id"], name="hold_once"),
            models.UniqueConstraint(fields=["tenant", "request_id"], name="hold_request_once"),
            models.CheckConstraint(condition=Q(state__in=HOLD_STATES), name="hold_state_known"),
            models.CheckConstraint(
                condition=Q(state="open", ended_at__isnull=True)
                | (~Q(state="open") & Q(ended_at__isnull=False)),
                name="hold_ended",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("admitted_at")), name="hold_expires_later"
            ),
            models.CheckConstraint(
                condition=Q(router__isnull=True, admits_until__isnull=True, left_parts__isnull=True)
                | Q(
                    router__isnull=False,
                    admits_until__gt=F("admitted_at"),
                    admits_until__lte=F("expires_at"),
                    left_parts__isnull=False,
                    charge_id__isnull=True,
                ),
                name="hold_is_lease",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "expires_at"], name="hold_open", condition=Q(state="open")
            ),
            models.Index(
                fields=["tenant", "admitted_at"],
                name="hold_counted",
                condition=Q(counted_parts__isnull=False),
            ),
            models.Index(
                fields=["tenant", "admitted_at"],
                name="hold_lease",
                condition=Q(router__isnull=False)
                & (Q(state="open") | Q(counted_parts__isnull=False)),
            ),
        ]


class Carry(TenantModel):
    """A charge whose moment falls in another period than its admission: it counts where it was
    admitted. Taken from one period of a budget and added to another, in
    the budget's unit."""

    charge_id = models.BigIntegerField()
    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="+")
    from_start = models.DateTimeField()
    to_start = models.DateTimeField()
    amount = models.DecimalField(max_digits=38, decimal_places=24)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "charge_id", "budget"], name="budget_carry_once"
            ),
        ]


class Crossing(TenantModel):
    """A threshold that was reached in a period: told once, whatever it does after."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="+")
    period_start = models.DateTimeField()
    basis = models.CharField(max_length=10)
    threshold = models.DecimalField(max_digits=6, decimal_places=2)
    # Re-arms when the budget changes: the amount in force when it was crossed.
    amount = models.DecimalField(max_digits=38, decimal_places=9)
    crossed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "budget", "period_start", "basis", "threshold", "amount"],
                name="budget_crossing_once",
            ),
            models.CheckConstraint(
                condition=Q(basis__in=["actual", "projected"]), name="budget_crossing_basis"
            ),
        ]


class PeriodActivity(TenantModel):
    """What came to a budget's period by charges: how often it changed, up to where thresholds were
    looked at; by how much it once stood higher since then (a correction took it down again); and
    how much of it had been reserved. In the budget's unit."""

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="+")
    period_start = models.DateTimeField()
    changes = models.BigIntegerField(default=0)
    checked_changes = models.BigIntegerField(default=0)
    fallen_amount = models.DecimalField(max_digits=50, decimal_places=24, default=0)
    reserved_amount = models.DecimalField(max_digits=50, decimal_places=24, default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "budget", "period_start"], name="budget_activity_once"
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "budget"],
                name="budget_activity_unchecked",
                condition=Q(changes__gt=F("checked_changes")),
            ),
        ]


class Projection(TenantModel):
    """How a budget's period is expected to end, as last computed; in the budget's unit.

    `days` is [[local day, amount, is past], ...]: what was spent on it or is expected to be.
    """

    budget = models.ForeignKey(Budget, on_delete=models.PROTECT, related_name="+")
    period_start = models.DateTimeField()
    made_at = models.DateTimeField()
    basis = models.CharField(max_length=10)
    low = models.DecimalField(max_digits=38, decimal_places=9)
    mid = models.DecimalField(max_digits=38, decimal_places=9)
    high = models.DecimalField(max_digits=38, decimal_places=9)
    days = models.JSONField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "budget"], name="budget_projection_once"),
            models.CheckConstraint(
                condition=Q(basis__in=["forecast", "pace"]), name="budget_projection_basis"
            ),
            models.CheckConstraint(
                condition=Q(low__lte=F("mid"), mid__lte=F("high")), name="budget_projection_order"
            ),
        ]


class BudgetSettings(TenantModel):
    """What a tenant wants while the counters are being rebuilt. No row: the defaults."""

    cloud_while_unknown = models.CharField(max_length=10, default="refuse")
    local_while_unknown = models.CharField(max_length=10, default="allow")
    hold_seconds = models.PositiveIntegerField(default=600)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="budget_settings_once"),
            models.CheckConstraint(
                condition=Q(cloud_while_unknown__in=["refuse", "allow"])
                & Q(local_while_unknown__in=["refuse", "allow"]),
                name="budget_while_unknown_known",
            ),
            models.CheckConstraint(
                condition=Q(hold_seconds__gte=5) & Q(hold_seconds__lte=86400),
                name="budget_hold_seconds",
            ),
        ]
