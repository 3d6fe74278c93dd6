"""The only writer of what pages remember."""

from collections.abc import Iterable

from apps.dashboards.models import ModelColour
from apps.tenants.scoping import current_tenant_id


def keep_positions(models: Iterable[str]) -> dict[str, int]:
    """The palette position of every model; new ones take the next free, in the order given.

    Two pages that meet a model at once may both want a position: one is kept, and the other
    page is right from its next view on.
    """
    positions = dict(ModelColour.objects.values_list("model", "position"))
    missing = [model for model in dict.fromkeys(models) if model not in positions]
    if not missing:
        return positions
    first_free = max(positions.values(), default=-1) + 1
    new = {model: first_free + n for n, model in enumerate(missing)}
    ModelColour.objects.bulk_create(
        [
            ModelColour(tenant_id=current_tenant_id(), model=model, position=position)
            for model, position in new.items()
        ],
        ignore_conflicts=True,
    )
    return positions | new
