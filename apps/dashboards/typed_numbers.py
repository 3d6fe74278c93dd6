"""Numbers in forms: read, and written into fields, by the conventions of whoever types them."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from apps.dashboards.conventions import conventions
from apps.dashboards.templatetags.figures_of_speech import localised
from apps.pricing.core.money import plain_decimal
from apps.tenants.locales import Conventions

# Any kind of space, and the apostrophes of Swiss keyboards.
SPACES: Final = re.compile("[\\s'\u2019]")
# One mark at most: it can only be the decimal one.
ANY: Final = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d{1,3})?", re.ASCII)


class NotANumber(ValueError):
    """Says how numbers are written here."""


def typed_decimal(text: str) -> Decimal:
    """1200, 1,200.50 and 99.5; or 1.200,50 and 99,5 where the comma is the decimal mark.

    What has but one reading is taken in the other style too (0,75 among points, 1.5 among commas);
    1,250 has two, and is read as whoever types it writes. Raises NotANumber.
    """
    marks, plain = conventions(), SPACES.sub("", text).replace("\u2212", "-")
    if _own(marks).fullmatch(plain):
        own = plain if SPACES.fullmatch(marks.group) else plain.replace(marks.group, "")
        return Decimal(own.replace(marks.decimal, "."))
    if ANY.fullmatch(plain):
        return Decimal(plain.replace(",", "."))
    raise NotANumber(f"write a number with a {decimal_mark()}, such as {localised('1250.5')}")


@lru_cache(maxsize=32)
def _own(marks: Conventions) -> re.Pattern[str]:
    decimal, (first, beyond) = re.escape(marks.decimal), marks.groups
    whole = r"\d+"
    if not SPACES.fullmatch(marks.group):
        group = re.escape(marks.group)
        whole += rf"|[1-9]\d{{0,{beyond - 1}}}({group}\d{{{beyond}}})*{group}\d{{{first}}}"
    return re.compile(rf"[-+]?(({whole})({decimal}\d*)?|{decimal}\d+)", re.ASCII)


def as_typed(value: Decimal) -> str:
    """Every digit, as `typed_decimal` reads it."""
    return localised(plain_decimal(value), grouped=False)


def typed_list(text: str) -> list[str]:
    """Numbers with semicolons, spaces or commas between: 50, 80, 99.5."""
    between = r"[;\s]+|,\s+" if conventions().decimal == "," else r"[;,\s]+"
    return [part.rstrip(",") for part in re.split(between, text) if part.strip(",")]


def decimal_mark() -> str:
    return {".": "point", ",": "comma"}.get(conventions().decimal, conventions().decimal)
