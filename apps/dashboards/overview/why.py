"""Why spend changed: figure, sentence and lines from apps.insights.spend_changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from apps.dashboards.figures import Figure
from apps.dashboards.periods import Period
from apps.dashboards.sentences import TELLING_CHANGE, Answer, Phrase, listed
from apps.dashboards.templatetags.figures_of_speech import (
    fixed,
    in_usd,
    signed_usd,
    usd,
    usd_exact,
    usd_short,
)
from apps.insights.core.spend_change import EFFECTS, Effects, exact_sum, shown_together
from apps.insights.spend_changes import ChangeLine, explain_change
from apps.pricing.core.money import plain_decimal
from apps.usage.selectors import Dimension, SpendRow

EFFECT_WORDS: Final = {
    "volume": "how much was used",
    "mix": "on which models, and how much of it answers",
    "cache": "how much was read from caches",
    "price": "rates and discounts",
}
MORE_WORDS: Final = {
    "volume": "more use",
    "mix": "a dearer mix",
    "cache": "less from caches",
    "price": "higher prices",
}
LESS_WORDS: Final = {
    "volume": "less use",
    "mix": "a cheaper mix",
    "cache": "more from caches",
    "price": "lower prices",
}
# An effect below this part of the largest is not told in the sentence.
TOLD_SHARE: Final = Decimal("0.25")
LINES_SHOWN: Final = 25


@dataclass(frozen=True, slots=True)
class WhyLine:
    """A line of the table; the effects as shown add up to the change as shown."""

    key: str | None
    name: str
    before_usd: Decimal
    now_usd: Decimal
    change_usd: Decimal
    effects: list[Decimal]
    shown: list[str]
    shown_change: str
    href: str = ""

    @property
    def cells(self) -> list[tuple[str, str]]:
        """(exact, as shown) by effect."""
        return [(plain_decimal(u), t) for u, t in zip(self.effects, self.shown, strict=True)]

    @property
    def change_exact(self) -> str:
        return plain_decimal(self.change_usd)


@dataclass(frozen=True, slots=True)
class Why:
    title: str
    sentence: Answer
    figure: Figure
    whole: WhyLine
    words: list[tuple[str, str]]
    lines: list[WhyLine]
    # Beyond what is listed, and shifts between lines; None where there is none.
    others: WhyLine | None
    between: WhyLine | None

    @property
    def effect_rows(self) -> list[tuple[str, str, str, str]]:
        """(name, words, exact, as shown) by effect."""
        cells = zip(self.words, self.whole.cells, strict=True)
        return [(name, words, exact, shown) for (name, words), (exact, shown) in cells]

    @property
    def before_shown(self) -> str:
        return usd(self.whole.before_usd)

    @property
    def now_shown(self) -> str:
        return usd(self.whole.now_usd)


def read_why(
    now: Sequence[SpendRow],
    before: Sequence[SpendRow],
    *,
    period: Period,
    at: datetime,
    by: Dimension | None = None,
    name: Callable[[str | None], str] = str,
    href: Callable[[str | None], str] = str,
) -> Why | None:
    """None where nothing was spent before: there is nothing to compare with."""
    change = explain_change(now, before, at=at, by=by)
    whole = change.whole
    if not whole.before_usd:
        return None
    places = _places(whole.change_usd)
    kept, left = change.lines[:LINES_SHOWN], change.lines[LINES_SHOWN:]
    return Why(
        title=_title(whole.effects, whole.before_usd),
        sentence=_sentence(whole.effects, whole.before_usd, period),
        figure=bridge(whole.effects, places),
        whole=_line("all", whole, places),
        words=list(EFFECT_WORDS.items()),
        lines=[_line(name(one.key), one, places, href(one.key)) for one in kept],
        others=_line(f"{len(left)} more", _summed(left), places) if left else None,
        between=(
            _line("shifts between them", _no_money(change.between), places)
            if any(change.between.by_name().values())
            else None
        ),
    )


def _no_money(effects: Effects) -> ChangeLine:
    return ChangeLine(None, Decimal(0), Decimal(0), effects)


def _summed(lines: Sequence[ChangeLine]) -> ChangeLine:
    return ChangeLine(
        key=None,
        before_usd=exact_sum(one.before_usd for one in lines),
        now_usd=exact_sum(one.now_usd for one in lines),
        effects=Effects().plus(one.effects for one in lines),
    )


def _line(name: str, one: ChangeLine, places: int, href: str = "") -> WhyLine:
    parts = one.effects.by_name()
    shown = shown_together(parts, places=places)
    return WhyLine(
        key=one.key,
        name=name,
        before_usd=one.before_usd,
        now_usd=one.now_usd,
        change_usd=one.effects.total,
        effects=list(parts.values()),
        shown=[_signed(shown[effect], places) for effect in EFFECTS],
        shown_change=_signed(sum(shown.values(), Decimal(0)), places),
        href=href,
    )


def _places(change_usd: Decimal) -> int:
    """Cents, and for changes of cents what leaves three digits."""
    if not change_usd or abs(change_usd) >= 1:
        return 2
    return min(12, 2 - change_usd.adjusted())


def _signed(value: Decimal, places: int) -> str:
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{fixed(abs(value), places)}"


def _title(effects: Effects, before_usd: Decimal) -> str:
    change = effects.total
    if abs(change) < before_usd * TELLING_CHANGE:
        return "Spend hardly changed"
    reasons = _reasons(effects)
    return f"Spend {'rose' if change > 0 else 'fell'}, mostly through {reasons[0][0]}"


def _reasons(effects: Effects) -> list[tuple[str, Decimal]]:
    """What moved spend the way it went, the most first, and only what tells."""
    change = effects.total
    words = MORE_WORDS if change > 0 else LESS_WORDS
    along = [(n, usd) for n, usd in effects.by_name().items() if usd * change > 0]
    along.sort(key=lambda one: -abs(one[1]))
    return [(words[n], usd) for n, usd in along if abs(usd) >= abs(along[0][1]) * TOLD_SHARE]


def _sentence(effects: Effects, before_usd: Decimal, period: Period) -> Answer:
    change = effects.total
    if abs(change) < before_usd * TELLING_CHANGE:
        return (Phrase(f"About the same as {period.before_in_words}."),)
    more = "more" if change > 0 else "less"
    told = [f"{usd_short(abs(usd))} through {words}" for words, usd in _reasons(effects)]
    parts = [
        Phrase(f"{in_usd(usd_short(abs(change)))} {more}", strong=True),
        Phrase(f" than {period.before_in_words}: {listed(told)}"),
    ]
    against = [(n, usd) for n, usd in effects.by_name().items() if usd * change < 0]
    if against:
        name, usd = max(against, key=lambda one: abs(one[1]))
        if abs(usd) >= abs(change) * TOLD_SHARE:
            words = LESS_WORDS if change > 0 else MORE_WORDS
            parts.append(Phrase(f"; {words[name]} took back {usd_short(abs(usd))}"))
    return (*parts, Phrase("."))


def bridge(effects: Effects, places: int) -> Figure:
    """From nothing to the change, effect by effect: where each begins the one before ends."""
    parts = effects.by_name()
    shown = shown_together(parts, places=places)
    labels = [*EFFECTS, "change"]
    values = [*parts.values(), effects.total]
    texts = [*shown.values(), sum(shown.values(), Decimal(0))]
    bases, at = [], Decimal(0)
    for part in parts.values():
        bases.append(at)
        at += part
    bases.append(Decimal(0))
    traces: list[dict[str, Any]] = [
        {
            "type": "bar",
            "name": label,
            "x": [label],
            "y": [float(usd)],
            "base": [float(base)],
            "text": [signed_usd(text)],
            "textposition": "outside",
            "cliponaxis": False,
            "constraintext": "none",
            "hovertemplate": f"{label}  {in_usd(usd_exact(usd))}<extra></extra>",
            "meta": {"role": _role(label, usd)},
        }
        for label, usd, base, text in zip(labels, values, bases, texts, strict=True)
    ]
    return {
        "data": traces,
        "layout": {
            "barmode": "overlay",
            "hovermode": "closest",
            "xaxis": {"type": "category", "categoryorder": "array", "categoryarray": labels},
            "yaxis": {"zeroline": True},
            "meta": {"kind": "bridge"},
        },
    }


def _role(label: str, usd: Decimal) -> str:
    if label == "change":
        return "bridge-sum"
    return "bridge-more" if usd > 0 else "bridge-less"
