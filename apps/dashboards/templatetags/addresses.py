"""Links that drill: the same period and filters, and one more."""

from django import template
from django.urls import reverse

from apps.dashboards.explorer.state import ExplorerState
from apps.dashboards.page_state import PageState
from apps.usage.selectors import Dimension

register = template.Library()


@register.simple_tag
def drill(state: PageState, dimension: Dimension, value: str | None) -> str:
    """The query string of `state` narrowed to this value too."""
    return state.with_filter(dimension, value).query()


@register.simple_tag
def drill_period(state: PageState) -> str:
    """The query string of `state`'s period alone."""
    return PageState(state.period, {}).query()


@register.simple_tag
def explorer_of(state: PageState, dimension: Dimension) -> str:
    """The explorer with what a page shows: its period, its filters, split by this."""
    same = ExplorerState(
        group_by=(dimension,), period=state.period, filters=tuple(state.filters.items())
    )
    return reverse("explorer") + same.query()
