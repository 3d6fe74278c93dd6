"""Own hardware: pools, what stands in them, what runs on them, and hours that are closed.

A row is dated by days and never edited: it is ended, once, and another begins where it ends.
Private to this app.
"""

from typing import Final

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.expressions import Combinable

from apps.pricing.core.depreciation import MAX_FACTOR, MAX_LIFE_MONTHS, Method
from apps.tenants.scoping import TenantModel

BASES: Final = ("rates", "allocated", "usage")
RUNNING_KINDS: Final = ("maintenance", "hosting", "staff")


class DayRange(Func):
    function = "daterange"
    output_field = DateRangeField()


def one_at_a_time(name: str, *same: str) -> ExclusionConstraint:
    """No two rows for the same thing on the same day."""
    equal: list[tuple[str | Combinable, str]] = [(part, RangeOperators.EQUAL) for part in same]
    return ExclusionConstraint(
        name=name,
        expressions=[*equal, (DayRange("starts_on", "ends_before"), RangeOperators.OVERLAPS)],
    )


class HardwarePool(TenantModel):
    """Machines that stand in one place and share power and running costs."""

    name = models.CharField(max_length=100)
    # Where it stands: tariffs and their windows go by the clocks there.
    time_zone = models.CharField(max_length=60)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="hardware_pool_name_once")
        ]


class PoolPart(TenantModel):
    """Something of a pool, from a day on; `ends_before` None is until further notice."""

    pool = models.ForeignKey(HardwarePool, on_delete=models.PROTECT, related_name="+")
    starts_on = models.DateField()
    ends_before = models.DateField(null=True)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_before__isnull=True) | Q(ends_before__gt=F("starts_on")),
                name="%(class)s_starts_before_it_ends",
            )
        ]


class HardwareAsset(PoolPart):
    """Something bought. It depreciates from `starts_on`; `ends_before` is when it left for good."""

    name = models.CharField(max_length=100)
    purchase_price_usd = models.DecimalField(max_digits=14, decimal_places=2)
    salvage_value_usd = models.DecimalField(max_digits=14, decimal_places=2)
    life_months = models.PositiveSmallIntegerField()
    method = models.CharField(max_length=30)
    factor = models.DecimalField(max_digits=6, decimal_places=4)
    lifetime_tokens = models.PositiveBigIntegerField(null=True)
    loan_principal_usd = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    loan_annual_rate = models.DecimalField(max_digits=9, decimal_places=8, null=True)
    loan_term_months = models.PositiveSmallIntegerField(null=True)

    class Meta(PoolPart.Meta):
        constraints = [
            *PoolPart.Meta.constraints,
            models.UniqueConstraint(fields=["pool", "name"], name="hardware_asset_name_once"),
            models.CheckConstraint(
                condition=Q(
                    salvage_value_usd__gte=0, salvage_value_usd__lte=F("purchase_price_usd")
                ),
                name="hardwareasset_salvage_from_0_to_price",
            ),
            models.CheckConstraint(
                condition=Q(life_months__gte=1, life_months__lte=MAX_LIFE_MONTHS),
                name="hardwareasset_life_within_bounds",
            ),
            models.CheckConstraint(
                condition=Q(method__in=[method.value for method in Method]),
                name="hardwareasset_method_known",
            ),
            models.CheckConstraint(
                condition=Q(factor__gt=0, factor__lte=MAX_FACTOR),
                name="hardwareasset_factor_within_bounds",
            ),
            models.CheckConstraint(
                condition=Q(method=Method.UNITS_OF_PRODUCTION.value, lifetime_tokens__gt=0)
                | (~Q(method=Method.UNITS_OF_PRODUCTION.value) & Q(lifetime_tokens__isnull=True)),
                name="hardwareasset_lifetime_tokens_with_production",
            ),
            models.CheckConstraint(
                condition=Q(
                    loan_principal_usd__isnull=True,
                    loan_annual_rate__isnull=True,
                    loan_term_months__isnull=True,
                )
                | Q(
                    loan_principal_usd__gt=0,
                    loan_annual_rate__gte=0,
                    loan_annual_rate__lte=1,
                    loan_term_months__gte=1,
                    loan_term_months__lte=MAX_LIFE_MONTHS,
                ),
                name="hardwareasset_loan_whole_or_none",
            ),
        ]


class HardwareNode(PoolPart):
    """`count` equal machines by nameplate; watts are of one of them."""

    name = models.CharField(max_length=100)
    count = models.PositiveIntegerField()
    gpus = models.PositiveIntegerField()
    idle_watts = models.DecimalField(max_digits=10, decimal_places=3)
    load_watts = models.DecimalField(max_digits=10, decimal_places=3)

    class Meta(PoolPart.Meta):
        constraints = [
            *PoolPart.Meta.constraints,
            models.CheckConstraint(condition=Q(count__gt=0), name="hardwarenode_count_positive"),
            models.CheckConstraint(
                condition=Q(idle_watts__gte=0, idle_watts__lte=F("load_watts")),
                name="hardwarenode_idle_at_most_load",
            ),
        ]


class HardwareTariff(PoolPart):
    """What a kWh costs there, by windows of the day, and the PUE of the place.

    `windows`: [{"usd_per_kwh": "0.30", "starts": "07:00", "ends": "20:00", "days": "weekdays"}].
    """

    usd_per_kwh = models.DecimalField(max_digits=20, decimal_places=12)
    windows = models.JSONField(default=list)
    pue = models.DecimalField(max_digits=7, decimal_places=4)

    class Meta(PoolPart.Meta):
        constraints = [
            *PoolPart.Meta.constraints,
            one_at_a_time("hardware_tariff_no_overlap", "pool"),
            models.CheckConstraint(
                condition=Q(usd_per_kwh__gte=0), name="hardwaretariff_price_not_negative"
            ),
            models.CheckConstraint(condition=Q(pue__gte=1), name="hardwaretariff_pue_at_least_1"),
        ]


class HardwareRunningCost(PoolPart):
    """Paid by the month; `share` is the part of it that the pool bears."""

    kind = models.CharField(max_length=20)
    name = models.CharField(max_length=100)
    usd_per_month = models.DecimalField(max_digits=16, decimal_places=4)
    share = models.DecimalField(max_digits=7, decimal_places=6)

    class Meta(PoolPart.Meta):
        constraints = [
            *PoolPart.Meta.constraints,
            models.CheckConstraint(
                condition=Q(kind__in=RUNNING_KINDS), name="hardwarerunningcost_kind_known"
            ),
            models.CheckConstraint(
                condition=Q(usd_per_month__gte=0, share__gt=0, share__lte=1),
                name="hardwarerunningcost_within_bounds",
            ),
        ]


class HardwareDeployment(PoolPart):
    """A backend on a pool: what it sustains there, its part of the pool, and how it is charged."""

    backend = models.ForeignKey("pricing.Backend", on_delete=models.PROTECT, related_name="+")
    input_tokens_per_second = models.DecimalField(max_digits=16, decimal_places=4)
    output_tokens_per_second = models.DecimalField(max_digits=16, decimal_places=4)
    cached_input_weight = models.DecimalField(max_digits=7, decimal_places=6)
    pool_share = models.DecimalField(max_digits=7, decimal_places=6)
    basis = models.CharField(max_length=10)

    class Meta(PoolPart.Meta):
        constraints = [
            *PoolPart.Meta.constraints,
            one_at_a_time("hardware_deployment_no_overlap", "backend"),
            models.CheckConstraint(
                condition=Q(basis__in=BASES), name="hardwaredeployment_basis_known"
            ),
            models.CheckConstraint(
                condition=Q(input_tokens_per_second__gt=0, output_tokens_per_second__gt=0),
                name="hardwaredeployment_throughput_positive",
            ),
            models.CheckConstraint(
                condition=Q(
                    cached_input_weight__gte=0,
                    cached_input_weight__lte=1,
                    pool_share__gt=0,
                    pool_share__lte=1,
                ),
                name="hardwaredeployment_weights_from_0_to_1",
            ),
        ]


class HardwareClosedHour(TenantModel):
    """What a local hour of a backend came to when it was closed last; its charges add up to
    `charged_usd`. Closed again when usage came late: the ledger keeps what each closing posted."""

    backend = models.ForeignKey("pricing.Backend", on_delete=models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    basis = models.CharField(max_length=10)
    input_tokens = models.PositiveBigIntegerField()
    cached_input_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    total_usd = models.DecimalField(max_digits=38, decimal_places=24)
    charged_usd = models.DecimalField(max_digits=38, decimal_places=24)
    # Cost line kind -> USD.
    lines = models.JSONField()
    closings = models.PositiveIntegerField(default=1)
    closed_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "backend", "starts_at"], name="hardware_hour_closed_once"
            ),
            models.CheckConstraint(
                condition=Q(starts_at__lt=F("ends_at")), name="hardwareclosedhour_has_time"
            ),
            models.CheckConstraint(
                condition=Q(charged_usd__gte=0, charged_usd__lte=F("total_usd")),
                name="hardwareclosedhour_charged_at_most_total",
            ),
        ]
