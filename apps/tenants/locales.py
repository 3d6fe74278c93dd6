"""How a locale writes numbers, days and money, from CLDR (by Babel). Words stay English."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from babel import Locale, UnknownLocaleError

DayOrder = Literal["dmy", "mdy", "ymd"]
MAX_TAG_LENGTH: Final = 20
# Of a header that a stranger may make as long as they like.
MAX_HEADER_LENGTH: Final = 200
MAX_HEADER_TAGS: Final = 10
TAG: Final = re.compile("[a-zA-Z]{2,3}(-[a-zA-Z]{4})?(-[a-zA-Z]{2})?")
# Those that a person or an organisation chooses from; a browser may ask for any other.
OFFERED: Final = (
    "en-AU", "en-CA", "en-CH", "en-GB", "en-IE", "en-IN", "en-NZ", "en-SG", "en-US", "en-ZA",
    "bg-BG", "cs-CZ", "da-DK", "de-AT", "de-CH", "de-DE", "el-GR", "es-AR", "es-ES", "es-MX",
    "et-EE", "fi-FI", "fr-BE", "fr-CA", "fr-CH", "fr-FR", "he-IL", "hi-IN", "hr-HR", "hu-HU",
    "id-ID", "it-CH", "it-IT", "ja-JP", "ko-KR", "lt-LT", "lv-LV", "nb-NO", "ne-NP", "nl-BE",
    "nl-NL", "pl-PL", "pt-BR", "pt-PT", "ro-RO", "sk-SK", "sl-SI", "sv-SE", "th-TH", "tr-TR",
    "uk-UA", "vi-VN", "zh-CN", "zh-TW",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conventions:
    """`groups`: digits of the first group before the decimal mark, and of those beyond. `percent`:
    what stands after the number. `currency_first`: the currency stands before the amount."""

    tag: str
    decimal: str
    group: str
    groups: tuple[int, int]
    day_order: DayOrder
    currency_first: bool
    percent: str

    def written(self, number: str, *, grouped: bool = True) -> str:
        """Digits with a point, as a machine writes them, with these marks."""
        whole, _, fraction = number.partition(".")
        if grouped:
            whole = self.group.join(_groups(whole, *self.groups))
        return f"{whole}{self.decimal}{fraction}" if fraction else whole

    def with_currency(self, amount: str, currency: str) -> str:
        """An amount that was written out and its ISO currency, before or after it."""
        return f"{currency}\u00a0{amount}" if self.currency_first else f"{amount} {currency}"


def _groups(digits: str, first: int, beyond: int) -> list[str]:
    """From the left: 12 | 34 | 567 where the first group before the point has three, others two."""
    found = [digits[-first:]]
    rest = digits[:-first]
    while rest:
        found.insert(0, rest[-beyond:])
        rest = rest[:-beyond]
    return found


# Where nobody says anything, and for plain English of no country.
HOUSE: Final = Conventions("", ".", ",", (3, 3), "dmy", currency_first=False, percent="%")


@lru_cache(maxsize=128)
def conventions_of(tag: str) -> Conventions | None:
    """Those of a BCP 47 tag such as de-CH; None for what is no locale of CLDR."""
    if tag.lower() in ("", "en"):
        return HOUSE
    if len(tag) > MAX_TAG_LENGTH or not TAG.fullmatch(tag):
        return None
    try:
        locale = Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return None
    # Digits are Latin ones, as in the English text around them.
    symbols = locale.number_symbols["latn"]
    money = re.sub("[\u200e\u200f]", "", locale.currency_formats["standard"].pattern)
    spaced = locale.percent_formats[None].pattern.endswith(("\xa0%", "\u202f%"))
    return Conventions(
        tag=tag,
        decimal=symbols["decimal"],
        group=symbols["group"],
        groups=locale.decimal_formats[None].grouping,
        day_order=_day_order(locale.date_formats["short"].pattern),
        currency_first=money.startswith("¤"),
        percent="\xa0%" if spaced else "%",
    )


def _day_order(pattern: str) -> DayOrder:
    letters = re.sub("[^dmy]", "", pattern.lower())
    order = "".join(dict.fromkeys(letters))
    return "mdy" if order == "mdy" else "ymd" if order.startswith("y") else "dmy"


def choose_conventions(*, own: str, header: str, tenant: str) -> Conventions:
    """What the person set, else what the browser asks for, else what the organisation set."""
    for tag in (own, *_asked_for(header), tenant):
        found = conventions_of(tag) if tag else None
        if found is not None:
            return found
    return HOUSE


def _asked_for(header: str) -> list[str]:
    """The tags of an Accept-Language header, the most wanted first (RFC 9110, 12.5.4)."""
    found: list[tuple[float, str]] = []
    for part in header[:MAX_HEADER_LENGTH].split(",")[:MAX_HEADER_TAGS]:
        tag, _, weight = part.partition(";")
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        if quality > 0:
            found.append((-quality, tag.strip()))
    return [tag for _, tag in sorted(found, key=lambda one: one[0])]


@lru_cache(maxsize=1)
def offered_names() -> tuple[tuple[str, str], ...]:
    """(tag, its name in English) of those to choose from, by name."""
    names = [(tag, str(Locale.parse(tag, sep="-").english_name)) for tag in OFFERED]
    return tuple(sorted(names, key=lambda one: one[1]))
