"""Whom to tell (channels), what to tell (alerts), and how telling went. Private to this app."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower

from apps.alerts.core.facts import (
    KIND_PATTERN,
    MAX_KEY_LENGTH,
    MAX_KIND_LENGTH,
    MAX_PATH_LENGTH,
    MAX_SUBJECT_LENGTH,
    Severity,
)
from apps.alerts.core.signatures import PREFIX
from apps.tenants.scoping import TenantModel

SEVERITIES = [str(severity) for severity in Severity]
OPEN_STATES = ["pending", "held", "sending"]
LISTED_STATES = ["suppressed", "listed"]
STATES = [*OPEN_STATES, *LISTED_STATES, "sent", "failed", "unknown", "dropped"]


class Channel(TenantModel):
    """One recipient: a webhook, a list of e-mail addresses, or a service that apprise speaks.

    `target` and the secrets are never shown again. A removed channel keeps its name for the log
    and nothing that could reach anybody.
    """

    class Kind(models.TextChoices):
        WEBHOOK = "webhook"
        EMAIL = "email"
        APPRISE = "apprise"

    class Digest(models.TextChoices):
        NONE = "none"
        HOURLY = "hourly"
        DAILY = "daily"

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    target = models.CharField(max_length=2000)
    secret = models.CharField(max_length=100, blank=True)
    previous_secret = models.CharField(max_length=100, blank=True)
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(default=True)
    # Empty: every kind.
    kinds = ArrayField(models.CharField(max_length=MAX_KIND_LENGTH), default=list)
    min_severity = models.CharField(max_length=10, default="info")
    min_amount_usd = models.DecimalField(max_digits=38, decimal_places=24, null=True, blank=True)
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)
    # Empty: the tenant's.
    time_zone = models.CharField(max_length=64, blank=True)
    critical_passes = models.BooleanField(default=True)
    digest = models.CharField(max_length=10, choices=Digest.choices, default=Digest.NONE)
    digest_hour = models.PositiveSmallIntegerField(default=8)
    max_per_hour = models.PositiveIntegerField(default=20)
    max_per_day = models.PositiveIntegerField(default=60)
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                "tenant",
                Lower("name"),
                condition=Q(removed_at__isnull=True),
                name="channel_name_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["webhook", "email", "apprise"]), name="channel_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(min_severity__in=SEVERITIES), name="channel_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(digest__in=["none", "hourly", "daily"]) & Q(digest_hour__lte=23),
                name="channel_digest_known",
            ),
            models.CheckConstraint(
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | (
                    Q(quiet_from__isnull=False, quiet_until__isnull=False)
                    & ~Q(quiet_from=F("quiet_until"))
                ),
                name="channel_quiet_hours_whole_or_none",
            ),
            models.CheckConstraint(
                condition=Q(max_per_hour__gte=1, max_per_hour__lte=1000)
                & Q(max_per_day__gte=F("max_per_hour"), max_per_day__lte=10_000),
                name="channel_caps_within_bounds",
            ),
            models.CheckConstraint(
                condition=Q(min_amount_usd__isnull=True) | Q(min_amount_usd__gte=0),
                name="channel_amount_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(previous_secret="", previous_secret_until__isnull=True)
                | (~Q(previous_secret="") & Q(previous_secret_until__isnull=False)),
                name="channel_previous_secret_ends",
            ),
            models.CheckConstraint(
                condition=Q(removed_at__isnull=False, target="", secret="", enabled=False)
                | (Q(removed_at__isnull=True) & ~Q(target="")),
                name="channel_removed_is_empty",
            ),
            models.CheckConstraint(
                condition=Q(kind="webhook", removed_at__isnull=True, secret__startswith=PREFIX)
                | Q(secret=""),
                name="channel_secret_of_webhook",
            ),
        ]


class Alert(TenantModel):
    """A fact that somebody should hear of, once. Never changed."""

    key = models.CharField(max_length=MAX_KEY_LENGTH)
    kind = models.CharField(max_length=MAX_KIND_LENGTH)
    severity = models.CharField(max_length=10)
    subject = models.CharField(max_length=MAX_SUBJECT_LENGTH)
    body = models.TextField(blank=True)
    path = models.CharField(max_length=MAX_PATH_LENGTH)
    amount_usd = models.DecimalField(max_digits=38, decimal_places=24, null=True)
    details = models.JSONField(default=dict)
    raised_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="alert_key_once"),
            models.CheckConstraint(
                condition=Q(severity__in=SEVERITIES), name="alert_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(kind__regex=KIND_PATTERN) & ~Q(key=""), name="alert_kind_and_key"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-raised_at", "-id"], name="alert_by_time")]


class Delivery(TenantModel):
    """The outbox: one alert on its way to one channel, or (no alert) one list of several.

    pending     goes out at `due_at`, again after a failure
    held        waits for the channel's digest at `due_at`
    sending     a worker has it until `leased_until`
    sent, failed, unknown  over; unknown: a worker died between sending and saying so
    suppressed  over the channel's cap; named in `listed_in`
    listed      part of the digest `listed_in`
    dropped     its channel was switched off or removed before it went out
    """

    class State(models.TextChoices):
        PENDING = "pending"
        HELD = "held"
        SENDING = "sending"
        SENT = "sent"
        FAILED = "failed"
        UNKNOWN = "unknown"
        SUPPRESSED = "suppressed"
        LISTED = "listed"
        DROPPED = "dropped"

    class Form(models.TextChoices):
        ALERT = "alert"
        TEST = "test"
        DIGEST = "digest"
        OVERFLOW = "overflow"

    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="deliveries")
    alert = models.ForeignKey(Alert, null=True, on_delete=models.PROTECT, related_name="deliveries")
    form = models.CharField(max_length=10, choices=Form.choices)
    listed_in = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="listed"
    )
    state = models.CharField(max_length=10, choices=State.choices)
    # The webhook-id: the same over every attempt, so that a receiver can drop a repeat.
    message_id = models.CharField(max_length=40)
    due_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)
    # What the receiver called it, where it said so.
    provider_id = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "alert", "channel"], name="delivery_once_a_channel"
            ),
            models.UniqueConstraint(fields=["tenant", "message_id"], name="delivery_message_once"),
            # One list at a time takes in what is over a channel's cap.
            models.UniqueConstraint(
                fields=["tenant", "channel"],
                condition=Q(form="overflow", state="pending", attempts=0),
                name="delivery_one_open_overflow",
            ),
            models.CheckConstraint(
                condition=Q(form__in=["alert", "test"], alert__isnull=False)
                | Q(form__in=["digest", "overflow"], alert__isnull=True),
                name="delivery_of_alert_or_list",
            ),
            models.CheckConstraint(
                condition=Q(state__in=STATES),
                name="delivery_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state="sending", leased_until__isnull=False)
                | (~Q(state="sending") & Q(leased_until__isnull=True)),
                name="delivery_lease_while_sending",
            ),
            models.CheckConstraint(
                condition=(Q(state__in=OPEN_STATES) & Q(ended_at__isnull=True))
                | (~Q(state__in=OPEN_STATES) & Q(ended_at__isnull=False)),
                name="delivery_over_has_end",
            ),
            models.CheckConstraint(
                condition=Q(state__in=LISTED_STATES, listed_in__isnull=False)
                | (~Q(state__in=LISTED_STATES) & Q(listed_in__isnull=True)),
                name="delivery_listed_somewhere",
            ),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "due_at"],
                condition=Q(state__in=["pending", "held"]),
                name="delivery_due",
            ),
            models.Index(
                fields=["tenant", "leased_until"],
                condition=Q(state="sending"),
                name="delivery_leased",
            ),
            models.Index(fields=["tenant", "channel", "-id"], name="delivery_by_channel"),
            models.Index(fields=["tenant", "listed_in"], name="delivery_by_list"),
        ]


class DeliveryAttempt(TenantModel):
    """One try. Written before it, finished after it: one without an end tells of a crash."""

    delivery = models.ForeignKey(Delivery, on_delete=models.PROTECT, related_name="tries")
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, blank=True)
    http_status = models.PositiveSmallIntegerField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "delivery", "number"], name="attempt_number_once"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["", "sent", "retry", "failed", "unknown"]),
                name="attempt_outcome_known",
            ),
        ]


class Letter(TenantModel):
    """An e-mail that was asked for: text, HTML and at most one file; named by its `key` within the
    tenant, so that the same is never posted twice. Never changed."""

    key = models.CharField(max_length=MAX_KEY_LENGTH)
    subject = models.CharField(max_length=MAX_SUBJECT_LENGTH)
    text = models.TextField()
    html = models.TextField(blank=True)
    file_name = models.CharField(max_length=100, blank=True)
    file = models.BinaryField(default=b"")
    posted_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="letter_key_once"),
            models.CheckConstraint(
                condition=~Q(key="") & ~Q(subject="") & ~Q(text=""), name="letter_says_something"
            ),
            models.CheckConstraint(
                condition=~Q(file_name="") | Q(file=b""), name="letter_file_has_a_name"
            ),
        ]


class LetterDelivery(TenantModel):
    """A letter on its way to one recipient; states as in Delivery, of which it knows five."""

    letter = models.ForeignKey(Letter, on_delete=models.PROTECT, related_name="deliveries")
    name = models.CharField(max_length=254)
    # One e-mail's addresses, with commas between.
    target = models.CharField(max_length=2000)
    state = models.CharField(max_length=10, default="pending")
    message_id = models.CharField(max_length=40)
    due_at = models.DateTimeField()
    leased_until = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    last_error = models.CharField(max_length=300, blank=True)
    ended_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "letter", "target"], name="letter_once_a_recipient"
            ),
            models.UniqueConstraint(fields=["tenant", "message_id"], name="letter_message_once"),
            models.CheckConstraint(
                condition=(
                    Q(state="pending", leased_until__isnull=True, ended_at__isnull=True)
                    | Q(state="sending", leased_until__isnull=False, ended_at__isnull=True)
                    | Q(
                        state__in=["sent", "failed", "unknown"],
                        leased_until__isnull=True,
                        ended_at__isnull=False,
                    )
                ),
                name="letter_state_has_its_times",
            ),
            models.CheckConstraint(condition=~Q(target=""), name="letter_has_an_address"),
        ]
        indexes = [
            models.Index(
                fields=["tenant", "due_at"], condition=Q(state="pending"), name="letter_due"
            ),
            models.Index(
                fields=["tenant", "leased_until"],
                condition=Q(state="sending"),
                name="letter_leased",
            ),
        ]
