"""What pages remember. Private to this app."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

from apps.tenants.scoping import TenantModel


class ModelColour(TenantModel):
    """The place of a model in the tenant's palette: given when first drawn, kept for good."""

    model = models.CharField(max_length=200)
    position = models.PositiveIntegerField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "model"], name="model_colour_once"),
            models.UniqueConstraint(fields=["tenant", "position"], name="model_colour_own"),
        ]


class SavedView(TenantModel):
    """A question put to the explorer, kept under a name: a person's own, or for all to see.

    `query` is the explorer's address, so that a view means what a link means.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=4000, blank=True)
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint("tenant", "owner", Lower("name"), name="saved_view_named_once"),
            models.CheckConstraint(condition=~models.Q(name=""), name="saved_view_has_a_name"),
        ]


class ReportSchedule(TenantModel):
    """When a report of spend goes out, and to whom. Ended, it stays: its reports name it.

    `day` of a weekly one is from 0, Monday, to 6; of a monthly one from 1 to 31, or the month's
    last where it has fewer. Times are of the tenant's clocks. What was due before `since`
    is not sent. Members and channels are numbers: those that left get nothing more.
    """

    frequency = models.CharField(max_length=10)
    day = models.PositiveSmallIntegerField()
    hour = models.PositiveSmallIntegerField()
    member_ids = ArrayField(models.BigIntegerField(), default=list)
    channel_ids = ArrayField(models.BigIntegerField(), default=list)
    since = models.DateTimeField()
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(frequency="weekly", day__lte=6)
                | Q(frequency="monthly", day__gte=1, day__lte=31),
                name="report_schedule_day_known",
            ),
            models.CheckConstraint(condition=Q(hour__lte=23), name="report_schedule_hour_known"),
            models.CheckConstraint(
                condition=~Q(member_ids=[], channel_ids=[]), name="report_schedule_has_recipients"
            ),
        ]


class Report(TenantModel):
    """A report that was made and posted: once a schedule and closed period. Never changed."""

    schedule = models.ForeignKey(ReportSchedule, on_delete=models.PROTECT, related_name="reports")
    first_day = models.DateField()
    cost_usd = models.DecimalField(max_digits=38, decimal_places=24)
    made_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "schedule", "first_day"], name="report_once_a_period"
            )
        ]
        indexes = [models.Index(fields=["tenant", "-made_at"], name="report_by_time")]
