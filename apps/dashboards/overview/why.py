"""Why spend changed: figure, sentence and lines from apps.insights.spend_changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from apps.dashboards.figures import Figure
from apps.dashboards.money import shown
from apps.dashboards.periods import Period
from apps.dashboards.sentences import TELLING_CHANGE, Answer, Phrase, listed
from apps.dashboards.templatetags.figures_of_speech import (
    fixed,
    in_money,
    signed_usd,
    usd,
    usd_exact,
    usd_short,
)
from apps.insights.core.spend_change import Effects, exact_sum, shown_together
from apps.insights.spend_changes import ChangeLine, explain_change
from apps.pricing.core.money import EXACT, plain_decimal
from apps.tenants.core.exchange import rounded
from apps.usage.selectors import Dimension, SpendRow

# In another currency than USD: what is left where all else is told at what a USD was worth before.
EXCHANGE: Final = "exchange"
EFFECT_WORDS: Final = {
    "volume": "how much was used",
    "mix": "on which models, and how much of it answers",
    "cache": "how much was read from caches",
    "price": "rates and discounts",
    EXCHANGE: "what a USD was worth, at each day’s rate",
}
MORE_WORDS: Final = {
    "volume": "more use",
    "mix": "a dearer mix",
    "cache": "less from caches",
    "price": "higher prices",
    EXCHANGE: "a dearer USD",
}
LESS_WORDS: Final = {
    "volume": "less use",
    "mix": "a cheaper mix",
    "cache": "more from caches",
    "price": "lower prices",
    EXCHANGE: "a cheaper USD",
}
# An effect below this part of the largest is not told in the sentence.
TOLD_SHARE: Final = Decimal("0.25")
LINES_SHOWN: Final = 25


@dataclass(frozen=True, slots=True)
class WhyLine:
    """A line of the table; the effects as shown add up to the change as shown."""

    key: str | None
    name: str
    before: Decimal
    now: Decimal
    original: ChangeLine
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
        return plain_decimal(exact_sum(self.effects))


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
        return usd(self.whole.before)

    @property
    def now_shown(self) -> str:
        return usd(self.whole.now)


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
    if not change.whole.before_usd:
        return None
    told = _Telling(now, before, by)
    whole = told.parts(change.whole, told.whole_now, told.whole_before)
    places = _places(exact_sum(whole.values()))
    kept, left = change.lines[:LINES_SHOWN], change.lines[LINES_SHOWN:]

    def line(title: str, of: Sequence[ChangeLine], href: str = "") -> WhyLine:
        one = of[0] if len(of) == 1 else _summed(of)
        costs = exact_sum(map(told.now, of)), exact_sum(map(told.before, of))
        return _line(title, one, told.parts(one, *costs), costs, places=places, href=href)

    return Why(
        title=_title(whole, told.whole_before),
        sentence=_sentence(whole, told.whole_before, period),
        figure=bridge(whole, places),
        whole=_line("all", change.whole, whole, (told.whole_now, told.whole_before), places=places),
        words=[(name, EFFECT_WORDS[name]) for name in whole],
        lines=[line(name(one.key), [one], href(one.key)) for one in kept],
        others=line(f"{len(left)} more", left) if left else None,
        between=_between(change.between, told, places),
    )


class _Telling:
    """What the change comes to in the page's currency: as it was in USD, at what one was worth
    before, and beside it what that worth changed. So lines and columns add up as in USD."""

    def __init__(
        self, now: Sequence[SpendRow], before: Sequence[SpendRow], by: Dimension | None
    ) -> None:
        self._now, self._before = _costs(now, by), _costs(before, by)
        self.whole_now = exact_sum(self._now.values())
        self.whole_before = exact_sum(self._before.values())
        before_usd = exact_sum(row.cost_usd for row in before)
        # Any rate would do that is told: this one has few digits.
        self._rate = (
            rounded(self.whole_before / before_usd) if before_usd and not shown().is_usd else None
        )

    def now(self, line: ChangeLine) -> Decimal:
        return self._now.get(line.key, Decimal(0))

    def before(self, line: ChangeLine) -> Decimal:
        return self._before.get(line.key, Decimal(0))

    def parts(self, line: ChangeLine, now: Decimal, before: Decimal) -> dict[str, Decimal]:
        """By effect; they add up to the change."""
        parts = line.effects.by_name()
        if self._rate is None:
            return parts
        parts = {name: EXACT.multiply(usd, self._rate) for name, usd in parts.items()}
        change = EXACT.subtract(now, before)
        return parts | {EXCHANGE: EXACT.subtract(change, exact_sum(parts.values()))}


def _costs(rows: Sequence[SpendRow], by: Dimension | None) -> dict[str | None, Decimal]:
    found: dict[str | None, Decimal] = {}
    for row in rows:
        key = row.labels[by] if by else None
        found[key] = EXACT.add(found.get(key, Decimal(0)), row.cost)
    return found


def _between(effects: Effects, told: _Telling, places: int) -> WhyLine | None:
    if not any(effects.by_name().values()):
        return None
    nothing = Decimal(0)
    one = ChangeLine(None, nothing, nothing, effects)
    parts = told.parts(one, nothing, nothing)
    return _line("shifts between them", one, parts, (nothing, nothing), places=places)


def _summed(lines: Sequence[ChangeLine]) -> ChangeLine:
    return ChangeLine(
        key=None,
        before_usd=exact_sum(one.before_usd for one in lines),
        now_usd=exact_sum(one.now_usd for one in lines),
        effects=Effects().plus(one.effects for one in lines),
    )


def _line(
    name: str,
    one: ChangeLine,
    parts: Mapping[str, Decimal],
    costs: tuple[Decimal, Decimal],
    *,
    places: int,
    href: str = "",
) -> WhyLine:
    """`costs`: now and before."""
    shown_parts = shown_together(parts, places=places)
    return WhyLine(
        key=one.key,
        name=name,
        before=costs[1],
        now=costs[0],
        original=one,
        effects=list(parts.values()),
        shown=[_signed(part, places) for part in shown_parts.values()],
        shown_change=_signed(sum(shown_parts.values(), Decimal(0)), places),
        href=href,
    )


def _places(change: Decimal) -> int:
    """Cents, and for changes of cents what leaves three digits."""
    if not change or abs(change) >= 1:
        return 2
    return min(12, 2 - change.adjusted())


def _signed(value: Decimal, places: int) -> str:
    sign = "−" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{fixed(abs(value), places)}"


def _title(effects: Mapping[str, Decimal], before: Decimal) -> str:
    change = exact_sum(effects.values())
    if abs(change) < before * TELLING_CHANGE:
        return "Spend hardly changed"
    reasons = _reasons(effects)
    return f"Spend {'rose' if change > 0 else 'fell'}, mostly through {reasons[0][0]}"


def _reasons(effects: Mapping[str, Decimal]) -> list[tuple[str, Decimal]]:
    """What moved spend the way it went, the most first, and only what tells."""
    change = exact_sum(effects.values())
    words = MORE_WORDS if change > 0 else LESS_WORDS
    along = [(n, usd) for n, usd in effects.items() if usd * change > 0]
    along.sort(key=lambda one: -abs(one[1]))
    return [(words[n], usd) for n, usd in along if abs(usd) >= abs(along[0][1]) * TOLD_SHARE]


def _sentence(effects: Mapping[str, Decimal], before: Decimal, period: Period) -> Answer:
    change = exact_sum(effects.values())
    if abs(change) < before * TELLING_CHANGE:
        return (Phrase(f"About the same as {period.before_in_words}."),)
    more = "more" if change > 0 else "less"
    told = [f"{usd_short(abs(usd))} through {words}" for words, usd in _reasons(effects)]
    parts = [
        Phrase(f"{in_money(usd_short(abs(change)))} {more}", strong=True),
        Phrase(f" than {period.before_in_words}: {listed(told)}"),
    ]
    against = [(n, usd) for n, usd in effects.items() if usd * change < 0]
    if against:
        name, usd = max(against, key=lambda one: abs(one[1]))
        if abs(usd) >= abs(change) * TOLD_SHARE:
            words = LESS_WORDS if change > 0 else MORE_WORDS
            parts.append(Phrase(f"; {words[name]} took back {usd_short(abs(usd))}"))
    return (*parts, Phrase("."))


def bridge(parts: Mapping[str, Decimal], places: int) -> Figure:
    """From nothing to the change, effect by effect: where each begins the one before ends."""
    told = shown_together(parts, places=places)
    labels = [*parts, "change"]
    values = [*parts.values(), exact_sum(parts.values())]
    texts = [*told.values(), sum(told.values(), Decimal(0))]
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
            "hovertemplate": f"{label}  {in_money(usd_exact(usd))}<extra></extra>",
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
