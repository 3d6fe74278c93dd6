"""What pages remember. Private to this app."""

from django.db import models

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
