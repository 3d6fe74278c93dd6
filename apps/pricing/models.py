"""What a token costs: the catalogue, dated rates and backends. Private to this app."""

from typing import ClassVar, Final

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import (
    ArrayField,
    DateTimeRangeField,
    IntegerRangeField,
    RangeOperators,
)
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Lower

from apps.pricing import hardware_models  # noqa: F401 - its tables are of this app
from apps.pricing.core.rates import DAY_S
from apps.tenants.scoping import TenantModel


class CatalogueProvider(models.Model):
    """Who sells, as genai-prices lists it. Rules as in core/matching.py."""

    id = models.CharField(primary_key=True, max_length=60)
    name = models.CharField(max_length=200)
    position = models.PositiveIntegerField()
    name_rule = models.JSONField(null=True)
    model_name_rule = models.JSONField(null=True)
    fallbacks = ArrayField(models.CharField(max_length=60), default=list)

    objects: ClassVar[models.Manager["CatalogueProvider"]] = models.Manager()


class CatalogueModel(models.Model):
    """What is sold, and which names mean it; the first in order that matches is meant."""

    provider = models.ForeignKey(CatalogueProvider, on_delete=models.CASCADE, related_name="+")
    model = models.CharField(max_length=200)
    name = models.CharField(max_length=200)
    position = models.PositiveIntegerField()
    rule = models.JSONField()
    context_window_tokens = models.PositiveIntegerField(null=True)
    deprecated = models.BooleanField(default=False)

    objects: ClassVar[models.Manager["CatalogueModel"]] = models.Manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["provider", "model"], name="catalogue_model_once")
        ]


class CatalogueSync(models.Model):
    """One taking of the catalogue. Its revision orders it among all changes of rates."""

    revision = models.BigIntegerField(primary_key=True)
    package_version = models.CharField(max_length=40)
    content_hash = models.CharField(max_length=64)
    synced_at = models.DateTimeField()
    rates_added = models.PositiveIntegerField()
    rates_closed = models.PositiveIntegerField()

    objects: ClassVar[models.Manager["CatalogueSync"]] = models.Manager()


class RateRevision(TenantModel):
    """One change of a tenant's rates. The audit trail says what changed."""

    revision = models.BigIntegerField(unique=True)
    recorded_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        indexes = [models.Index(fields=["tenant", "-revision"], name="rate_revision_newest")]


class TimeRange(Func):
    function = "tstzrange"
    output_field = DateTimeRangeField()


class SecondsRange(Func):
    function = "int4range"
    output_field = IntegerRangeField()


# What a rate prices; two rates of one line may not be in force together.
PRICE_LINE: Final[tuple[str | Combinable, ...]] = (
    "provider",
    "model",
    "meter",
    Cast("when", models.TextField()),
    "tier_start_tokens",
)


def no_overlap(name: str, *owner: str) -> ExclusionConstraint:
    """Of the rates believed now, no two price the same line at the same moment."""
    same: list[tuple[str | Combinable, str]] = [
        (part, RangeOperators.EQUAL) for part in (*owner, *PRICE_LINE)
    ]
    return ExclusionConstraint(
        name=name,
        expressions=[
            *same,
            (TimeRange("effective_from", "effective_to"), RangeOperators.OVERLAPS),
            (SecondsRange("window_start_s", "window_end_s"), RangeOperators.OVERLAPS),
        ],
        condition=Q(closed_revision__isnull=True),
    )


class Rate(models.Model):
    """One dated price of one meter, believed from `recorded_revision` until `closed_revision`.

    Never edited, only closed, once: what was believed at any revision can be read again.
    `effective_from` None is since ever, `effective_to` None is until further notice.
    """

    provider = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    meter = models.CharField(max_length=60)
    price_usd = models.DecimalField(max_digits=38, decimal_places=18)
    unit_quantity = models.PositiveIntegerField()
    when = models.JSONField(default=dict)
    variant_rank = models.PositiveSmallIntegerField(default=0)
    tier_start_tokens = models.PositiveBigIntegerField(default=0)
    window_start_s = models.PositiveIntegerField(default=0)
    window_end_s = models.PositiveIntegerField(default=DAY_S)
    effective_from = models.DateTimeField(null=True)
    effective_to = models.DateTimeField(null=True)
    recorded_revision = models.BigIntegerField()
    closed_revision = models.BigIntegerField(null=True)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(price_usd__gte=0), name="%(class)s_price_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(unit_quantity__gt=0), name="%(class)s_unit_positive"
            ),
            models.CheckConstraint(
                condition=Q(effective_from__isnull=True)
                | Q(effective_to__isnull=True)
                | Q(effective_from__lt=F("effective_to")),
                name="%(class)s_starts_before_it_ends",
            ),
            models.CheckConstraint(
                condition=Q(window_start_s__lt=F("window_end_s"), window_end_s__lte=DAY_S),
                name="%(class)s_window_within_a_day",
            ),
            models.CheckConstraint(
                condition=Q(closed_revision__isnull=True)
                | Q(closed_revision__gt=F("recorded_revision")),
                name="%(class)s_closed_after_recorded",
            ),
        ]


class CatalogueRate(Rate):
    """A price that the catalogue lists."""

    objects: ClassVar[models.Manager["CatalogueRate"]] = models.Manager()

    class Meta(Rate.Meta):
        constraints = [*Rate.Meta.constraints, no_overlap("catalogue_rate_no_overlap")]
        indexes = [models.Index(fields=["provider", "model"], name="catalogue_rate_by_model")]


class TenantRate(Rate, TenantModel):
    """A tenant's own price; stands over the catalogue's for the same meter and variant."""

    class Kind(models.TextChoices):
        CLOUD = "cloud"
        LOCAL = "local"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    created_at = models.DateTimeField()

    class Meta(Rate.Meta, TenantModel.Meta):
        constraints = [
            *Rate.Meta.constraints,
            no_overlap("tenant_rate_no_overlap", "tenant"),
            models.CheckConstraint(
                condition=Q(kind__in=["cloud", "local"]), name="tenantrate_kind_known"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "provider", "model"], name="tenant_rate_by_model")
        ]


class Backend(TenantModel):
    """A deployment that a tenant's traffic used, or that it set rates for."""

    key = models.CharField(max_length=401)
    provider = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=TenantRate.Kind.choices)
    name = models.CharField(max_length=401)
    # True when usage named it before any person did.
    discovered = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key"], name="backend_key_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["cloud", "local"]), name="backend_kind_known"
            ),
        ]


class Believed(models.Model):
    """What a tenant said, believed from one revision to another and in force between two moments.

    Never edited, only closed, once, as rates are.
    """

    effective_from = models.DateTimeField(null=True)
    effective_to = models.DateTimeField(null=True)
    recorded_revision = models.BigIntegerField()
    closed_revision = models.BigIntegerField(null=True)
    created_at = models.DateTimeField()

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(effective_from__isnull=True)
                | Q(effective_to__isnull=True)
                | Q(effective_from__lt=F("effective_to")),
                name="%(class)s_starts_before_it_ends",
            ),
            models.CheckConstraint(
                condition=Q(closed_revision__isnull=True)
                | Q(closed_revision__gt=F("recorded_revision")),
                name="%(class)s_closed_after_recorded",
            ),
        ]


def one_at_a_time(name: str, *same: str | Combinable) -> ExclusionConstraint:
    """Of the rows believed now, no two for the same thing at the same moment."""
    expressions: list[tuple[str | Combinable, str]] = [
        (part, RangeOperators.EQUAL) for part in ("tenant", *same)
    ]
    in_force = TimeRange("effective_from", "effective_to")
    return ExclusionConstraint(
        name=name,
        expressions=[*expressions, (in_force, RangeOperators.OVERLAPS)],
        condition=Q(closed_revision__isnull=True),
    )


class TenantDiscount(Believed, TenantModel):
    """What a provider takes off its listed prices for this tenant: `percent`, or `amount_usd` per
    `unit_quantity`. An empty model or meter means all of them."""

    provider = models.CharField(max_length=200)
    model = models.CharField(max_length=200, blank=True, default="")
    meter = models.CharField(max_length=60, blank=True, default="")
    percent = models.DecimalField(max_digits=9, decimal_places=6, null=True)
    amount_usd = models.DecimalField(max_digits=38, decimal_places=18, null=True)
    unit_quantity = models.PositiveIntegerField(default=1_000_000)

    class Meta(Believed.Meta, TenantModel.Meta):
        constraints = [
            *Believed.Meta.constraints,
            one_at_a_time("tenant_discount_no_overlap", "provider", Lower("model"), "meter"),
            models.CheckConstraint(
                condition=Q(percent__gt=0, percent__lte=100, amount_usd__isnull=True)
                | Q(amount_usd__gt=0, percent__isnull=True),
                name="tenantdiscount_percent_or_amount",
            ),
            models.CheckConstraint(
                condition=Q(unit_quantity__gt=0), name="tenantdiscount_unit_positive"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "provider"], name="tenant_discount_by_provider")]


class TenantAlias(Believed, TenantModel):
    """A name that routers report, and the model whose price applies to it."""

    provider = models.CharField(max_length=200)
    model = models.CharField(max_length=200)
    priced_provider = models.CharField(max_length=200)
    priced_model = models.CharField(max_length=200)

    class Meta(Believed.Meta, TenantModel.Meta):
        constraints = [
            *Believed.Meta.constraints,
            one_at_a_time("tenant_alias_no_overlap", "provider", Lower("model")),
        ]
        indexes = [models.Index(fields=["tenant", "provider"], name="tenant_alias_by_provider")]
