"""What payers are charged: rules of shared costs, months that are closed, what they reported.
Private to this app."""

from django.db import models
from django.db.models import Q

from apps.tenants.scoping import TenantModel


class SharedCost(TenantModel):
    """A rule: spend of a source is split between payers. Never changed; ended, and another made.

    `shares` is {payer id: weight} for fixed shares.
    """

    name = models.CharField(max_length=200)
    payer_kind = models.CharField(max_length=10)
    source = models.CharField(max_length=12)
    department = models.ForeignKey(
        "tenants.Department", null=True, on_delete=models.PROTECT, related_name="+"
    )
    project = models.CharField(max_length=200, null=True)
    rule = models.CharField(max_length=10)
    shares = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=200)
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(payer_kind__in=["department", "customer"]), name="shared_cost_payer"
            ),
            models.CheckConstraint(
                condition=Q(source="unattributed", department__isnull=True, project__isnull=True)
                | Q(source="department", department__isnull=False, project__isnull=True)
                | Q(source="project", department__isnull=True, project__isnull=False),
                name="shared_cost_source",
            ),
            models.CheckConstraint(
                condition=Q(rule__in=["even", "usage", "fixed"]), name="shared_cost_rule"
            ),
            models.UniqueConstraint(
                fields=["tenant", "payer_kind", "name"],
                name="shared_cost_once",
                condition=Q(ended_at__isnull=True),
            ),
        ]


class MonthClosing(TenantModel):
    """A month whose statements are made: what comes later is an adjustment in the open one."""

    month = models.DateField()
    closed_at = models.DateTimeField()
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "month"], name="month_closed_once"),
            models.CheckConstraint(condition=Q(month__day=1), name="month_closing_first_day"),
        ]


class ReportedSpend(TenantModel):
    """What a closing reported: its own month's spend, and what had changed of closed ones."""

    closing = models.ForeignKey(MonthClosing, on_delete=models.PROTECT, related_name="+")
    of_month = models.DateField()
    department = models.ForeignKey(
        "tenants.Department", null=True, on_delete=models.PROTECT, related_name="+"
    )
    customer = models.ForeignKey(
        "tenants.Customer", null=True, on_delete=models.PROTECT, related_name="+"
    )
    project = models.CharField(max_length=200, null=True)
    model = models.CharField(max_length=200)
    cost_usd = models.DecimalField(max_digits=50, decimal_places=24)
    requests = models.BigIntegerField()

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "of_month"], name="reported_by_month")]


class Statement(TenantModel):
    """A payer's month as it was closed. Never changed."""

    closing = models.ForeignKey(MonthClosing, on_delete=models.PROTECT, related_name="+")
    payer_kind = models.CharField(max_length=10)
    # 0: what names no payer.
    payer_id = models.BigIntegerField()
    total_usd = models.DecimalField(max_digits=50, decimal_places=24)
    body = models.JSONField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "closing", "payer_kind", "payer_id"], name="statement_once"
            ),
        ]
