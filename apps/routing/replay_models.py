"""What replays said: simulations, opportunities, hindsight. Private to this app.

Everything here is derived from the ledger and can be made again, but for what people decided.
"""

from django.db import models
from django.db.models import Q

from apps.routing.core.opportunities import KINDS
from apps.tenants.scoping import TenantModel

SIMULATION_STATES = ["queued", "running", "done", "failed"]
OPPORTUNITY_STATES = ["open", "accepted", "dismissed", "gone"]
PERIODS = ["day", "month"]
DIGITS, DECIMALS = 20, 6


class Simulation(TenantModel):
    """A window replayed another way. `asked` as core/what_if.py reads it, `result` as it writes."""

    name = models.CharField(max_length=200)
    asked = models.JSONField()
    state = models.CharField(max_length=10, default="queued")
    progress = models.PositiveSmallIntegerField(default=0)
    # How often a worker began it.
    starts = models.PositiveSmallIntegerField(default=0)
    result = models.JSONField(null=True)
    error = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=SIMULATION_STATES), name="simulation_state_known"
            ),
            models.CheckConstraint(
                condition=Q(progress__lte=100), name="simulation_progress_of_100"
            ),
            models.CheckConstraint(
                condition=~Q(state="done") | Q(result__isnull=False),
                name="simulation_done_has_result",
            ),
        ]


class Opportunity(TenantModel):
    """A saving as it was last found, or as it was promised once it was accepted.

    Money is of 30 days; `rate_usd`, by which they are ranked, of 30 days while it lasts. `change`
    is replayable (core/changes.py), `replayed_usd` what a replay on other requests said.
    """

    key = models.CharField(max_length=300)
    kind = models.CharField(max_length=12)
    state = models.CharField(max_length=10, default="open")
    saving_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    saving_low_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    saving_high_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    gain_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    gain_low_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    gain_high_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    rate_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    replayed_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    quality_points = models.FloatField()
    quality_low_points = models.FloatField()
    quality_high_points = models.FloatField()
    requests = models.FloatField()
    confidence = models.CharField(max_length=6)
    change = models.JSONField()
    facts = models.JSONField()
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    found_at = models.DateTimeField()
    computed_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    # What accepting it did: ids of overrides, or nothing where the change is outside Costboard.
    applied = models.JSONField(default=dict)
    realised_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS, null=True)
    realised_until = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "key"], condition=Q(state="open"), name="opportunity_open_once"
            ),
            models.CheckConstraint(condition=Q(kind__in=KINDS), name="opportunity_kind_known"),
            models.CheckConstraint(
                condition=Q(state__in=OPPORTUNITY_STATES), name="opportunity_state_known"
            ),
            models.CheckConstraint(
                condition=Q(saving_low_usd__lte=models.F("saving_usd"))
                & Q(saving_usd__lte=models.F("saving_high_usd")),
                name="opportunity_saving_in_interval",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["open", "gone"])
                | (Q(decided_at__isnull=False) & ~Q(decided_by="")),
                name="opportunity_decided_by_someone",
            ),
        ]


class Hindsight(TenantModel):
    """A closed day or month: what was done, and the most that could have been with its money.

    `causes` are the task and backend that left most, [task, from, to, USD].
    """

    period = models.CharField(max_length=5)
    first_day = models.DateField()
    requests = models.BigIntegerField()
    spent_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    done_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    bound_usd = models.DecimalField(max_digits=DIGITS, decimal_places=DECIMALS)
    causes = models.JSONField(default=list)
    value_model = models.PositiveIntegerField()
    computed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "period", "first_day"], name="hindsight_once"
            ),
            models.CheckConstraint(condition=Q(period__in=PERIODS), name="hindsight_period_known"),
            models.CheckConstraint(
                condition=Q(done_usd__lte=models.F("bound_usd")), name="hindsight_bound_is_above"
            ),
        ]
