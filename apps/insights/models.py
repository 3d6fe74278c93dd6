"""What people announce about the future; findings are in finding_models. Private to this app."""

from typing import Final

from django.db import models
from django.db.models import F, Q

from apps.insights import finding_models  # noqa: F401 - its tables are of this app
from apps.tenants.scoping import TenantModel

MAX_MULTIPLIER: Final = 1000


class PlannedEvent(TenantModel):
    """A launch, a migration, a known batch: what is announced is forecast, and is no anomaly.

    `scope` narrows it as filters of spend do ({"customer": "acme"}; null: not attributed; empty:
    all spend). At most one of the two expectations is set; with none, its days are no guide to
    others. Never edited: it is ended, once.
    """

    name = models.CharField(max_length=200)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    scope = models.JSONField(default=dict)
    expected_multiplier = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    expected_extra_usd = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    ended_by = models.CharField(max_length=200, blank=True)
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "ends_at"], name="planned_event_by_end")]
        constraints = [
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at")), name="planned_event_starts_before_it_ends"
            ),
            models.CheckConstraint(
                condition=Q(expected_multiplier__isnull=True) | Q(expected_extra_usd__isnull=True),
                name="planned_event_expects_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(expected_multiplier__isnull=True)
                | Q(expected_multiplier__gte=0, expected_multiplier__lte=MAX_MULTIPLIER),
                name="planned_event_multiplier_in_range",
            ),
            models.CheckConstraint(
                condition=Q(expected_extra_usd__isnull=True) | Q(expected_extra_usd__gte=0),
                name="planned_event_extra_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by="")
                | (Q(ended_at__isnull=False) & ~Q(ended_by="")),
                name="planned_event_ended_by_someone",
            ),
        ]
