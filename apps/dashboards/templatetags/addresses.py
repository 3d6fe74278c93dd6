"""Links that drill: the same period and filters, and one more."""

from django import template

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
