"""What pages remember. Private to this app."""

from django.conf import settings
from django.db import models
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
