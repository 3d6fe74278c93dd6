"""What the detector remembers, what it found, and what people said to it. Private to this app."""

from django.db import models
from django.db.models import F, Q

from apps.insights.core.detector import KINDS
from apps.tenants.scoping import TenantModel

FOUND_KINDS = [kind for kind in KINDS if kind != "none"]
ANSWERS = ["", "acknowledged", "expected"]
GUARDS = ["off", "slow", "suspend"]


class DetectorState(TenantModel):
    """How far a tenant's hours are scored. `hour` (since 1970 UTC) is the next one; `totals` what
    the last hours came to when they were scored, {hour: [usd, requests]}: what differs now came
    late."""

    hour = models.BigIntegerField()
    totals = models.JSONField(default=dict)
    revision = models.BigIntegerField(default=0)
    updated_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant"], name="detector_state_once")]


class DetectorPart(TenantModel):
    """Some of a tenant's series, [[dimension, key], ...], and the detector's rings of them, as of
    `revision`."""

    number = models.PositiveIntegerField()
    revision = models.BigIntegerField(default=0)
    series = models.JSONField()
    rings = models.BinaryField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "number"], name="detector_part_once")
        ]


class DetectorPatch(TenantModel):
    """What a part's rings changed by since it was written whole, in the order of revisions."""

    number = models.PositiveIntegerField()
    revision = models.BigIntegerField()
    changes = models.BinaryField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "number", "revision"], name="detector_patch_once"
            )
        ]


class Finding(TenantModel):
    """Something that stood out, from its first bad hour to its last, over all series that show it.

    `dimension` and `key` are the series it is named after, whose money it counts; `members` all
    that belong to it. `withdrawn`: usage that came late left nothing of it.
    """

    kind = models.CharField(max_length=10)
    dimension = models.CharField(max_length=20)
    key = models.CharField(max_length=420)
    members = models.JSONField(default=list)
    first_bad_at = models.DateTimeField()
    last_bad_at = models.DateTimeField()
    score = models.FloatField()
    actual_usd = models.DecimalField(max_digits=38, decimal_places=6)
    expected_usd = models.DecimalField(max_digits=38, decimal_places=6)
    excess_usd = models.DecimalField(max_digits=38, decimal_places=6)
    at_stake_usd = models.DecimalField(max_digits=38, decimal_places=6)
    explanation = models.JSONField(default=dict)
    # The named series' hours: [hour, actual, expected, low, high, flagged].
    points = models.JSONField(default=list)
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    withdrawn = models.BooleanField(default=False)
    alerted_at = models.DateTimeField(null=True)
    answer = models.CharField(max_length=12, blank=True)
    answered_by = models.CharField(max_length=200, blank=True)
    answered_at = models.DateTimeField(null=True)
    snoozed_until = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=FOUND_KINDS), name="finding_kind_known"),
            models.CheckConstraint(condition=Q(answer__in=ANSWERS), name="finding_answer_known"),
            models.CheckConstraint(
                condition=Q(first_bad_at__lte=F("last_bad_at")), name="finding_hours_in_order"
            ),
            models.CheckConstraint(
                condition=Q(excess_usd=F("actual_usd") - F("expected_usd")),
                name="finding_excess_is_the_difference",
            ),
            models.CheckConstraint(
                condition=Q(answer="", answered_at__isnull=True)
                | (~Q(answer="") & Q(answered_at__isnull=False) & ~Q(answered_by="")),
                name="finding_answered_by_someone",
            ),
            models.CheckConstraint(
                condition=Q(withdrawn=False) | Q(closed_at__isnull=False),
                name="finding_withdrawn_is_closed",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant"], condition=Q(closed_at__isnull=True), name="finding_open"
            ),
            models.Index(fields=["tenant", "-last_bad_at"], name="finding_by_time"),
        ]


class NearMiss(TenantModel):
    """What a higher sensitivity would have found, as it was when it was nearest: `score` times
    that sensitivity is 1 or more, the series' own threshold taken in."""

    dimension = models.CharField(max_length=20)
    key = models.CharField(max_length=420)
    members = models.JSONField(default=list)
    first_bad_at = models.DateTimeField()
    last_bad_at = models.DateTimeField()
    score = models.FloatField()
    excess_usd = models.DecimalField(max_digits=38, decimal_places=6)
    at_stake_usd = models.DecimalField(max_digits=38, decimal_places=6)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(first_bad_at__lte=F("last_bad_at")), name="near_miss_hours_in_order"
            ),
            models.CheckConstraint(condition=Q(score__gt=0), name="near_miss_scored"),
        ]
        indexes = [models.Index(fields=["tenant", "-last_bad_at"], name="near_miss_by_time")]


class FindingComment(TenantModel):
    """What a person said to a finding. Never changed."""

    finding = models.ForeignKey(Finding, on_delete=models.PROTECT, related_name="comments")
    at = models.DateTimeField()
    author = models.CharField(max_length=200)
    text = models.CharField(max_length=2000)


class SeriesThreshold(TenantModel):
    """A series whose threshold people's answers moved: 1 is the detector's own."""

    dimension = models.CharField(max_length=20)
    key = models.CharField(max_length=420)
    factor = models.FloatField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "dimension", "key"], name="series_threshold_once"
            ),
            models.CheckConstraint(
                condition=Q(factor__gte=0.7, factor__lte=4), name="series_threshold_bounded"
            ),
        ]


class AnomalySettings(TenantModel):
    """A tenant's choices. Without a row: the defaults."""

    min_usd = models.DecimalField(max_digits=20, decimal_places=2, default=10)
    sensitivity = models.FloatField(default=1.0)
    guard = models.CharField(max_length=10, default="off")

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="anomaly_settings_once"),
            models.CheckConstraint(condition=Q(guard__in=GUARDS), name="anomaly_guard_known"),
            models.CheckConstraint(
                condition=Q(sensitivity__gte=0.25, sensitivity__lte=4),
                name="anomaly_sensitivity_bounded",
            ),
            models.CheckConstraint(condition=Q(min_usd__gte=0), name="anomaly_min_not_negative"),
        ]


class Restriction(TenantModel):
    """A router's key or a customer that a runaway finding stopped or slowed, until someone answers.

    Ingest never heeds it; routing decisions do.
    """

    finding = models.ForeignKey(Finding, on_delete=models.PROTECT, related_name="restrictions")
    dimension = models.CharField(max_length=10)
    # An API key's or a customer's id, and what they are called.
    subject_id = models.BigIntegerField()
    label = models.CharField(max_length=200)
    mode = models.CharField(max_length=10)
    created_at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True)
    lifted_by = models.CharField(max_length=200, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "dimension", "subject_id"],
                condition=Q(lifted_at__isnull=True),
                name="restriction_one_in_force",
            ),
            models.CheckConstraint(
                condition=Q(dimension__in=["router", "customer"]), name="restriction_subject_known"
            ),
            models.CheckConstraint(
                condition=Q(mode__in=["slow", "suspend"]), name="restriction_mode_known"
            ),
            models.CheckConstraint(
                condition=Q(lifted_at__isnull=True, lifted_by="")
                | (Q(lifted_at__isnull=False) & ~Q(lifted_by="")),
                name="restriction_lifted_by_someone",
            ),
        ]
