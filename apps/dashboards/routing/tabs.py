"""The pages about routing, beside each other."""

from typing import Final

from django.urls import reverse

from apps.dashboards.page import PageRequest
from apps.dashboards.page_state import Chip

TABS: Final = (
    ("routing", "Live"),
    ("routing-policy", "Policy"),
    ("decisions", "Decisions"),
    ("values", "Values"),
)


def routing_tabs(request: PageRequest) -> list[Chip]:
    """An action's address is below its page's."""
    here = max(
        (reverse(view) for view, _ in TABS if request.path.startswith(reverse(view))), key=len
    )
    return [Chip(label, reverse(view), reverse(view) == here) for view, label in TABS]
