"""Values of any measure, as people read them, every digit on hover."""

from decimal import Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.dashboards.explorer.export import written
from apps.dashboards.explorer.measures import Measure
from apps.dashboards.templatetags.figures_of_speech import NOTHING, localised
from apps.pricing.core.money import plain_decimal

register = template.Library()


@register.filter
def measured(value: Decimal | None, measure: Measure) -> SafeString:
    """A value in a table; a dash where it is unknown."""
    if value is None:
        return SafeString(NOTHING)
    exact = plain_decimal(written(value, measure.kind) or Decimal(0))
    return format_html(
        '<data value="{}" title="{}">{}</data>',
        exact,
        measure.with_unit(localised(exact)),
        measure.text(value),
    )
