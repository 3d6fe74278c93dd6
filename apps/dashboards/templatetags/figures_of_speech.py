"""Numbers as people read them: Decimal in, words out. The one place where figures are rounded.

Never scientific notation, a true minus, and as many digits as say something: three significant
ones where a number is small or short, cents where it is money in a table.
"""

from decimal import ROUND_HALF_UP, Decimal

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.dashboards.conventions import conventions
from apps.dashboards.money import shown
from apps.dashboards.periods import dated, short_day
from apps.dashboards.ticks import day_label

register = template.Library()

NOTHING = "—"
MINUS = "−"
THIN_SPACE = "\u202f"
SIGNIFICANT_DIGITS = 3
CENT = Decimal("0.01")
LARGE_CHANGE = Decimal("0.1")
FRACTIONS = (
    (Decimal("0.2"), "a fifth"),
    (Decimal("0.25"), "a quarter"),
    (Decimal(1) / 3, "a third"),
    (Decimal("0.5"), "half"),
    (Decimal(2) / 3, "two thirds"),
    (Decimal("0.75"), "three quarters"),
)
FRACTION_TOLERANCE = Decimal("0.015")
SCALES = ((Decimal(10) ** 9, "G"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))
Number = Decimal | int


def _fixed(value: Decimal, places: int) -> str:
    """`value` to that many decimal places, in groups, with a true minus."""
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    text = localised(f"{abs(rounded):.{places}f}")
    return f"{MINUS}{text}" if rounded < 0 else text


def localised(text: str, *, grouped: bool = True) -> str:
    """Digits with a point, as a machine writes them, with the marks of whoever reads."""
    return conventions().written(text, grouped=grouped)


def fixed(value: Number, places: int) -> str:
    """A number to so many decimal places."""
    return _fixed(Decimal(value), places)


def in_currency(amount: str, currency: str) -> str:
    """An amount that was written out, as text or HTML, and its ISO currency before or after it."""
    if amount == NOTHING:
        return amount
    text = conventions().with_currency(amount, currency)
    return SafeString(text) if isinstance(amount, SafeString) else text


def in_usd(amount: str) -> str:
    return in_currency(amount, "USD")


def in_money(amount: str) -> str:
    """In the currency that the page is told in."""
    return in_currency(amount, shown().currency)


def in_percent(number: str) -> str:
    return f"{number}{conventions().percent}"


def _places(value: Decimal, digits: int = SIGNIFICANT_DIGITS) -> int:
    """Decimal places that leave `digits` significant ones."""
    if value == 0:
        return 0
    places = digits - 1 - value.adjusted()
    # 0.9996 to three digits is 1.00, not 1.000.
    carried = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return max(0, places - (carried.adjusted() - value.adjusted()))


def short(value: Number | None) -> str:
    """Three significant digits: 12.5 k, 1.24 M, 418, 41.8, 0.000225."""
    if value is None:
        return NOTHING
    number = Decimal(value)
    for scale, letter in SCALES:
        # 999,500 already reads 1 M when rounded to three digits.
        if abs(number) >= scale * Decimal("0.9995"):
            scaled = number / scale
            return f"{_fixed(scaled, _places(scaled))}{THIN_SPACE}{letter}"
    if number == number.to_integral_value():
        return _fixed(number, 0)
    return _fixed(number, _places(number))


def count(value: Number | None) -> str:
    """Every digit of a whole number: 12,480."""
    return NOTHING if value is None else _fixed(Decimal(value), 0)


def usd(value: Number | None) -> str:
    """Money in a table: cents, and below a dime three significant digits (0.0312, 0.000225)."""
    if value is None:
        return NOTHING
    number = Decimal(value)
    if number != 0 and abs(number) < Decimal("0.0995"):
        return _fixed(number, _places(number))
    return _fixed(number, 2)


def usd_short(value: Number | None) -> str:
    """Money in a card or a sentence: 12.5 k, 418, 41.80, 0.0312."""
    if value is None:
        return NOTHING
    number = Decimal(value)
    if abs(number) >= 100:
        return short(number.quantize(Decimal(1), ROUND_HALF_UP))
    return usd(number)


def usd_exact(value: Number | None) -> str:
    """Every digit there is, at least two decimals: 1,234.567891."""
    if value is None:
        return NOTHING
    number = Decimal(value)
    exponent = number.normalize().as_tuple().exponent
    return _fixed(number, max(2, -exponent if isinstance(exponent, int) else 0))


def unit_price(value: Number | None) -> str:
    """What one of something costs: three significant digits, at least two decimals."""
    if value is None:
        return NOTHING
    number = Decimal(value)
    return _fixed(number, max(2, _places(number)) if number else 0)


def percent(share: Number | None) -> str:
    """A share between 0 and 1: 33%, 6.4%, <0.1%; 100% and 0% only when it is so."""
    if share is None:
        return NOTHING
    value = Decimal(share) * 100
    if 0 < value < Decimal("0.1"):
        return in_percent(f"<{localised('0.1')}")
    if Decimal("99.5") <= value < 100:
        return in_percent(">99")
    return in_percent(_fixed(value, 0 if abs(value) >= Decimal("9.95") or value == 0 else 1))


def change(ratio: Number | None) -> str:
    """A relative change: +12%, −3%, ×12 from tenfold on; None (nothing before) is new."""
    if ratio is None:
        return "new"
    number = Decimal(ratio)
    if number >= 9:
        return f"×{_fixed(number + 1, 0)}"
    text = _fixed(number * 100, 0)
    if text == "0":
        return in_percent("±0")
    return in_percent(text if text.startswith(MINUS) else f"+{text}")


def signed_usd(value: Number) -> str:
    """A difference in money: +1.12 k, −310."""
    text = usd_short(value)
    return text if value <= 0 else f"+{text}"


def times(ratio: Number) -> str:
    """How many times as much: 2.3, from ten on without decimals."""
    number = Decimal(ratio)
    return _fixed(number, 1 if number < Decimal("9.95") else 0)


def direction(ratio: Number | None) -> str:
    """`up`, `down` or `flat`, as a class name; flat where the change reads ±0%."""
    text = change(ratio)
    if text == "new" or text.startswith("±"):
        return "flat"
    return "down" if text.startswith(MINUS) else "up"


def fraction(share: Decimal) -> str:
    """A share in words where there are good ones (a third), otherwise in percent."""
    for value, words in FRACTIONS:
        if abs(share - value) <= FRACTION_TOLERANCE:
            return words
    return percent(share)


def scale_width(share: Number | None) -> str:
    """A share as a width for a bar drawn in SVG: 0 to 100 with two decimals and a point."""
    value = min(max(Decimal(share or 0), Decimal(0)), Decimal(1)) * 100
    return f"{value.quantize(CENT, ROUND_HALF_UP)}"


@register.filter
def money(value: Number | None) -> SafeString:
    """Money in a table, its exact value on hover."""
    return _with_exact(usd(value), value)


@register.filter
def money_in(value: Number | None, currency: str) -> SafeString:
    """Money in a table in another currency. A product with a rate has many digits: twenty tell."""
    return _with_exact(usd(value), value, digits=20, currency=currency)


@register.filter
def money_short(value: Number | None) -> SafeString:
    """Money in a card, its exact value on hover."""
    return _with_exact(usd_short(value), value)


@register.filter
def amount(value: Number | None, usd_value: Number | None = None) -> SafeString:
    """Money in a table in the page's own currency; its exact value on hover, and the USD it was."""
    return _with_original(usd(value), value, usd_value)


@register.filter
def amount_short(value: Number | None, usd_value: Number | None = None) -> SafeString:
    """The same in a card."""
    return _with_original(usd_short(value), value, usd_value)


@register.filter
def amount_each(value: Number | None, usd_value: Number | None = None) -> SafeString:
    """The same of what one of something cost: a quotient."""
    return _with_original(unit_price(value), value, usd_value, digits=12)


@register.filter
def at_latest(usd_value: Decimal | None) -> Decimal | None:
    """USD to come, or without days, in the page's own currency."""
    return None if usd_value is None else shown().at_latest(usd_value)


def _with_original(
    text: str, value: Number | None, usd_value: Number | None, digits: int | None = None
) -> SafeString:
    now = shown()
    if now.is_usd:
        return _with_exact(text, value, digits)
    # A product with a rate has many digits: twenty tell.
    return _with_exact(text, value, digits or 20, now.currency, usd_value)


@register.filter
def change_mark(ratio: Number | None) -> SafeString:
    """A relative change of cost with the classes that colour it; its sign says the same."""
    size = " large" if ratio is not None and abs(Decimal(ratio)) >= LARGE_CHANGE else ""
    return format_html('<span class="change {}{}">{}</span>', direction(ratio), size, change(ratio))


@register.filter
def points(value: Number | None) -> SafeString:
    """How far a share moved: +3.2 points. Neither good nor bad, so without colour."""
    if value is None:
        return SafeString(NOTHING)
    text = _fixed(Decimal(value) * 100, 1)
    flat = text == _fixed(Decimal(0), 1)
    sign = "" if text.startswith(MINUS) else "±" if flat else "+"
    return format_html("{}{}", sign, "0" if flat else text)


@register.filter
def price(value: Number | None) -> SafeString:
    """A unit cost, its exact value on hover."""
    return _with_exact(unit_price(value), value, digits=12)


@register.filter
def count_short(value: Number | None) -> SafeString:
    """A count in a card, every digit on hover."""
    return format_html('<data value="{}" title="{}">{}</data>', value, count(value), short(value))


def _with_exact(
    text: str,
    value: Number | None,
    digits: int | None = None,
    currency: str = "USD",
    usd_value: Number | None = None,
) -> SafeString:
    if value is None:
        return SafeString(NOTHING)
    exact = _to_digits(Decimal(value), digits)
    title = in_currency(usd_exact(exact), currency)
    if usd_value is not None:
        title += f", of {in_usd(usd_exact(_to_digits(Decimal(usd_value), digits)))}"
    return format_html('<data value="{}" title="{}">{}</data>', f"{exact:f}", title, text)


def _to_digits(value: Decimal, digits: int | None) -> Decimal:
    """A quotient has no last digit, a product very many: as many as tell."""
    if digits is None or not value or len(value.as_tuple().digits) <= digits:
        return value
    return value.quantize(Decimal(1).scaleb(value.adjusted() - digits + 1), ROUND_HALF_UP)


@register.filter
def unit_rate(value: Decimal) -> str:
    """An exchange rate, every digit of it: 0.923105."""
    return usd_exact(value)


@register.filter
def decimals(value: Number | float | None, places: int) -> str:
    """A number to so many decimal places."""
    return NOTHING if value is None else fixed(Decimal(str(value)), places)


register.filter("dated", dated)
register.filter("short_day", short_day)
register.filter("day_label", day_label)
register.filter("in_usd", in_usd)
register.filter("in_money", in_money)
register.filter("count", count)
register.filter("usd", usd)
register.filter("usd_exact", usd_exact)
register.filter("percent", percent)
register.filter("short_number", short)
register.filter("change", change)
register.filter("direction", direction)
register.filter("scale_width", scale_width)
