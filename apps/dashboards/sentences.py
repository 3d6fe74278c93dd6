"""What the figures say, in words: rules over sums. Pure. No rule, no word: silence is allowed.

An answer is a list of phrases, some of them strong; a title is one plain sentence.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median

from apps.dashboards.breakdown import Line
from apps.dashboards.insights.forecast_figures import Expected
from apps.dashboards.money import shown
from apps.dashboards.periods import Period
from apps.dashboards.templatetags.figures_of_speech import (
    change,
    count,
    fraction,
    in_money,
    in_usd,
    percent,
    times,
    unit_price,
    usd_short,
)

# A change below this is noise and is not told.
TELLING_CHANGE = Decimal("0.02")
# The one line that makes at least this part of a change is named as its reason.
MAIN_REASON = Decimal("0.5")
LEADING_SHARE = Decimal("0.2")
RISING_POINTS = Decimal("0.03")
SPREAD_SHARE = Decimal("0.1")
TELLING_GAP = Decimal("0.1")
CACHE_SHARE = Decimal("0.1")
UNUSUAL_TIMES = Decimal("1.8")
DAYS_ALIKE = 4


@dataclass(frozen=True, slots=True)
class Phrase:
    text: str
    strong: bool = False


Answer = tuple[Phrase, ...]


def plain(answer: Answer) -> str:
    return "".join(phrase.text for phrase in answer)


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def in_a_sentence(detail: str) -> str:
    """A refusal as the service words it, with its capital and its full stop."""
    return f"{capitalised(detail)}."


def listed(names: Sequence[str]) -> str:
    """a, b and c"""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def overview_answer(
    *,
    period: Period,
    spent: Decimal,
    before: Decimal,
    forecast: Expected | None,
    lines: Sequence[Line],
    unpriced_requests: int = 0,
) -> Answer:
    """Where did the money go: how much, where it is heading, what changed and through whom."""
    if not spent:
        return _nothing_spent(period, unpriced_requests)
    parts = [Phrase(f"{in_money(usd_short(spent))}", strong=True), Phrase(f" {period.in_words}")]
    if forecast is not None:
        parts += [Phrase(", "), *_on_course(forecast)]
    parts.append(Phrase("."))
    parts += _change_sentence(period, spent, before, lines)
    parts += unpriced_sentence(unpriced_requests)
    return tuple(parts)


def _on_course(forecast: Expected) -> list[Phrase]:
    """Where a period ends, and between what; an interval that rounds away is not told."""
    low, middle, high = (
        usd_short(value) for value in (forecast.low, forecast.middle, forecast.high)
    )
    parts = [Phrase("on course for "), Phrase(middle, strong=True)]
    if low != high:
        parts.append(Phrase(f", between {low} and {high}"))
    return parts


def forecast_sentence(spent: Decimal, forecast: Expected | None) -> Answer:
    """For pages that answer another question first: where the month ends."""
    if forecast is None or not spent:
        return ()
    return (Phrase(" The month is "), *_on_course(forecast), Phrase(f" {shown().currency}."))


def _nothing_spent(period: Period, unpriced_requests: int) -> Answer:
    return (Phrase(f"Nothing spent {period.in_words}."), *unpriced_sentence(unpriced_requests))


def _change_sentence(
    period: Period, spent: Decimal, before: Decimal, lines: Sequence[Line]
) -> list[Phrase]:
    if not before:
        return []
    difference = spent - before
    if abs(difference) < before * TELLING_CHANGE:
        return [Phrase(f" About the same as {period.before_in_words}.")]
    more = "more" if difference > 0 else "less"
    parts = [
        Phrase(" That is "),
        Phrase(f"{usd_short(abs(difference))} {more}", strong=True),
        Phrase(f" than {period.before_in_words} ({change(difference / before)})"),
    ]
    reason = main_reason(difference, lines)
    if reason is not None:
        parts += [Phrase(", mostly "), Phrase(reason.name, strong=True)]
    return [*parts, Phrase(".")]


def main_reason(difference: Decimal, lines: Iterable[Line]) -> Line | None:
    """The line that makes most of a change, if one does and others do not merely cancel out."""
    moved = [line for line in lines if line.difference * difference > 0]
    if len(moved) < 1 or not difference:
        return None
    largest = max(moved, key=lambda line: abs(line.difference))
    gross = sum((abs(line.difference) for line in moved), Decimal(0))
    return largest if abs(largest.difference) >= gross * MAIN_REASON else None


def unpriced_sentence(unpriced_requests: int) -> list[Phrase]:
    if not unpriced_requests:
        return []
    requests = "request has" if unpriced_requests == 1 else "requests have"
    return [
        Phrase(f" {count(unpriced_requests)} {requests} no price yet", strong=True),
        Phrase(" and cost nothing in these figures until a rate is known."),
    ]


@dataclass(frozen=True, slots=True)
class DayMix:
    """One whole local day: money by model, all requests, and those on local hardware."""

    label: str
    is_weekend: bool
    by_model: Mapping[str, Decimal]
    requests: int
    local_requests: int

    @property
    def spent(self) -> Decimal:
        return sum(self.by_model.values(), Decimal(0))


def spend_title(lines: Sequence[Line], recent_share: Decimal | None, days: Sequence[DayMix]) -> str:
    """The finding of spend by model over time.

    `recent_share` is the leading model's share of the last seven days, None where there are
    too few days to say that it rises or falls.
    """
    unusual = _unusual_day(days)
    # One odd day makes a trend of any share.
    told = (_leader(lines, None if unusual else recent_share), unusual, _weekends(days))
    findings = [finding for finding in told if finding]
    return "; ".join(findings) or "Spend by day"


def _leader(lines: Sequence[Line], recent_share: Decimal | None) -> str:
    spending = [line for line in lines if line.now.cost]
    if not spending:
        return ""
    leader, share = spending[0], spending[0].spend_share or Decimal(0)
    if len(spending) == 1:
        return f"{leader.name} is all of spend"
    if share < LEADING_SHARE:
        return f"Spend is spread over {len(spending)} models, none above {percent(share)}"
    if recent_share is None or abs(recent_share - share) < RISING_POINTS:
        return f"{leader.name} is {fraction(share)} of spend"
    direction = "rising" if recent_share > share else "falling"
    return f"{leader.name} is {fraction(share)} of spend and {direction}"


def _unusual_day(days: Sequence[DayMix]) -> str:
    """The day that cost far more than days of its kind (weekdays, weekends), and through what."""
    found: tuple[Decimal, DayMix, list[DayMix]] | None = None
    for is_weekend in (False, True):
        alike = [day for day in days if day.is_weekend == is_weekend]
        if len(alike) < DAYS_ALIKE:
            continue
        usual = median(day.spent for day in alike)
        dearest = max(alike, key=lambda day: day.spent)
        if usual and dearest.spent >= usual * UNUSUAL_TIMES:
            ratio = dearest.spent / usual
            if found is None or ratio > found[0]:
                found = (ratio, dearest, alike)
    if found is None:
        return ""
    ratio, day, alike = found
    kind = "weekend day" if day.is_weekend else "weekday"
    reason = _reason_of(day, alike)
    through = f", through {reason}" if reason else ""
    return f"{day.label} cost {times(ratio)} times a usual {kind}{through}"


def _reason_of(day: DayMix, alike: Sequence[DayMix]) -> str | None:
    """The model that made most of a day's excess over the usual."""
    excess = {
        model: spent - median(one.by_model.get(model, Decimal(0)) for one in alike)
        for model, spent in day.by_model.items()
    }
    above = day.spent - median(one.spent for one in alike)
    model = max(excess, key=lambda name: excess[name])
    return model if excess[model] >= above * MAIN_REASON else None


def _weekends(days: Sequence[DayMix]) -> str:
    """Said when local hardware's share of requests is clearly another at weekends."""
    weekend = [day for day in days if day.is_weekend and day.requests]
    weekdays = [day for day in days if not day.is_weekend and day.requests]
    if len(weekend) < 2 or len(weekdays) < 5:
        return ""
    at_weekend, in_week = _local_share(weekend), _local_share(weekdays)
    if at_weekend < in_week + TELLING_GAP:
        return ""
    return f"at weekends local hardware takes {percent(at_weekend)} of requests"


def _local_share(days: Sequence[DayMix]) -> Decimal:
    return Decimal(sum(d.local_requests for d in days)) / sum(d.requests for d in days)


def allocation_title(lines: Sequence[Line], what: str) -> str:
    """How concentrated spend is: on whom most of it goes, or that it is spread."""
    named = [line for line in lines if line.key is not None and line.now.cost]
    if not named:
        return "No spend" if not lines else f"Spend names no {what}"
    whole = named[0].whole.cost
    if len(named) == 1:
        return f"{named[0].name} is {_all_or_share(named[0].spend_share)} of spend"
    reached = Decimal(0)
    for size, line in enumerate(named[:3], start=1):
        reached += line.now.cost
        if reached * 2 >= whole:
            verb = "is" if size == 1 else "are"
            names = listed([one.name for one in named[:size]])
            return f"{names} {verb} {fraction(reached / whole)} of spend"
    share = named[0].spend_share or Decimal(0)
    if share < SPREAD_SHARE:
        return f"Spend is spread over {len(named)} {what}, none above {percent(share)}"
    return f"{named[0].name} leads with {percent(share)} of spend"


def _all_or_share(share: Decimal | None) -> str:
    return "all" if share == 1 else fraction(share or Decimal(0))


def models_answer(lines: Sequence[Line]) -> Answer:
    """What does each model cost us: the dearest against the cheapest, per million tokens."""
    priced = [line for line in lines if line.now.usd_per_mtok]
    if len(priced) < 2:
        if not priced:
            return ()
        only = priced[0]
        return (
            Phrase(only.name, strong=True),
            Phrase(f" costs {in_usd(unit_price(only.now.usd_per_mtok))} per million tokens."),
        )
    dearest = max(priced, key=lambda line: line.now.usd_per_mtok or 0)
    cheapest = min(priced, key=lambda line: line.now.usd_per_mtok or 0)
    ratio = (dearest.now.usd_per_mtok or Decimal(0)) / (cheapest.now.usd_per_mtok or Decimal(1))
    parts = [
        Phrase("A million tokens cost "),
        Phrase(f"{in_usd(unit_price(cheapest.now.usd_per_mtok))} on {cheapest.name}"),
        Phrase(" and "),
        Phrase(f"{unit_price(dearest.now.usd_per_mtok)} on {dearest.name}", strong=True),
    ]
    if ratio >= 2:
        parts.append(Phrase(f": {times(ratio)} times as much"))
    return (*parts, Phrase("."), *_cache_sentence(lines))


def _cache_sentence(lines: Sequence[Line]) -> list[Phrase]:
    whole = lines[0].whole
    share = whole.cache_read_share
    if share is None or share < CACHE_SHARE:
        return []
    return [Phrase(f" {capitalised(fraction(share))} of all input was read from a cache.")]


def allocation_answer(
    lines: Sequence[Line], *, period: Period, what: str, unattributed_share: Decimal | None
) -> Answer:
    """Who do we spend it on: the largest, who grew most, and what nobody owns."""
    named = [line for line in lines if line.key is not None and line.now.cost]
    if not named:
        return ()
    first = named[0]
    parts = [
        Phrase(first.name, strong=True),
        Phrase(f" cost {in_money(usd_short(first.now.cost))} {period.in_words}"),
        Phrase(f", {percent(first.spend_share)} of all." if len(named) > 1 else "."),
    ]
    grown = most_grown(named)
    if grown is not None:
        who = [Phrase(" It")] if grown is first else [Phrase(" "), Phrase(grown.name, strong=True)]
        parts += [
            *who,
            Phrase(f" grew most: {usd_short(grown.difference)} more than "),
            Phrase(f"{period.before_in_words} ({change(grown.change)})."),
        ]
    if unattributed_share is not None and unattributed_share >= Decimal("0.01"):
        parts.append(Phrase(f" {percent(unattributed_share)} names no {what}."))
    return tuple(parts)


def most_grown(lines: Iterable[Line]) -> Line | None:
    """Who added most money, if that is a tenth or more of what they cost before."""
    grown = [line for line in lines if line.difference > 0 and line.before]
    if not grown:
        return None
    most = max(grown, key=lambda line: line.difference)
    if most.before is None or not most.before.cost:
        return None
    return most if most.difference * 10 >= most.before.cost else None
