"""Prices in words: meters, dates, and the sentences of the pricing page. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from apps.dashboards.periods import dated
from apps.dashboards.sentences import Answer, Phrase, listed
from apps.dashboards.templatetags.figures_of_speech import count, in_usd, unit_price, usd_exact
from apps.pricing.core.rates import DAY_S

METER_WORDS: Final = {
    "input_tokens": "input",
    "cache_read_tokens": "cache read",
    "cache_write_tokens": "cache write",
    "cache_write_5m_tokens": "cache write, 5 minutes",
    "cache_write_1h_tokens": "cache write, 1 hour",
    "output_tokens": "output",
    "output_reasoning_tokens": "reasoning",
    "requests": "requests",
}
# What people call a variant, by "key:value" of the request's context that chooses it.
VARIANT_WORDS: Final = {
    "processing:batch": "batch",
    "service_tier:flex": "flex",
    "service_tier:priority": "priority",
    "service_tier:fast": "fast tier",
    "speed:fast": "fast mode",
}
MOST_CONDITIONS: Final = 3
# A quotient has many digits; what a provider lists has few.
LONGEST_PRICE: Final = 10
SOURCE_WORDS: Final = {
    "tenant": "own rate",
    "catalogue": "catalogue",
    "default": "default rate",
    "unpriced": "unpriced",
    "unused": "nothing used",
}


@dataclass(frozen=True, slots=True)
class BackendPrice:
    """A backend as the answer sees it; `source` None is unpriced, `since` None is always."""

    name: str
    source: str | None
    output_usd_per_mtok: Decimal | None
    since: datetime | None


def meter_words(meter: str) -> str:
    return METER_WORDS.get(meter) or meter.removesuffix("_tokens").replace("_", " ")


def price_words(usd_per_million: Decimal | None) -> str:
    """A listed price, every digit where there are few: 0.15, 0.075, 12,000.00."""
    exact = usd_exact(usd_per_million)
    return exact if len(exact) <= LONGEST_PRICE else unit_price(usd_per_million)


def day_words(moment: datetime, zone: ZoneInfo) -> str:
    """A local day; with its time where that is not midnight."""
    local = moment.astimezone(zone)
    day = dated(local.date())
    return day if local.time() == time.min else f"{day}, {local:%H:%M}"


def moment_words(moment: datetime, zone: ZoneInfo) -> str:
    """A local moment, to the second."""
    local = moment.astimezone(zone)
    return f"{dated(local.date())}, {local:%H:%M:%S}"


def span_words(begin: datetime | None, end: datetime | None, zone: ZoneInfo) -> str:
    """When a rate is in force: "from 1 Nov 2026", "until 1 Dec 2026", "always"."""
    parts = [f"from {day_words(begin, zone)}"] if begin else []
    parts += [f"until {day_words(end, zone)}"] if end else []
    return " ".join(parts) or "always"


def condition_words(
    when: Mapping[str, str], tier_start_tokens: int, window_start_s: int, window_end_s: int
) -> str:
    """What a rate is for, where that is not every request; empty for the standard price."""
    parts = [
        VARIANT_WORDS.get(f"{name}:{value}") or f"{name.replace('_', ' ')} {value}"
        for name, value in sorted(when.items())
    ]
    if tier_start_tokens:
        parts.append(f"over {count(tier_start_tokens)} input tokens")
    if (window_start_s, window_end_s) != (0, DAY_S):
        parts.append(f"{_clock(window_start_s)} to {_clock(window_end_s)} UTC")
    return ", ".join(parts)


def conditions_words(conditions: Sequence[str]) -> str:
    """What own rates beside the standard price are for: the first few, and how many more."""
    more = len(conditions) - MOST_CONDITIONS
    told = "; ".join(conditions[:MOST_CONDITIONS])
    return f"{told}; {count(more)} more" if more > 0 else told


def offset_words(now: datetime, zone: ZoneInfo) -> str:
    """How far the zone's clocks are from UTC at that moment: UTC+01:00."""
    offset = now.astimezone(zone).strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:5]}"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"


def pricing_answer(backends: Sequence[BackendPrice], zone: ZoneInfo) -> Answer:
    """What does a token cost us, and since when: by whose rates, from what to what, what is new."""
    if not backends:
        return (
            Phrase("No backend is known yet: one appears with its first request, "),
            Phrase("or with a rate of your own."),
        )
    return (*_whose(backends), *_extremes(backends), *_newest(backends, zone))


def _whose(backends: Sequence[BackendPrice]) -> list[Phrase]:
    by_source = Counter(one.source for one in backends if one.source)
    priced = by_source.total()
    if not priced:
        return [Phrase("No backend has a price yet", strong=True), Phrase(".")]
    told = {
        "catalogue": "by the catalogue",
        "tenant": "by your own rates",
        "default": "by your default rate",
    }
    how = [(by_source[source], words) for source, words in told.items() if by_source[source]]
    noun = "backend has" if len(backends) == 1 else "backends have"
    whole = f"All {priced}" if priced == len(backends) > 1 else f"{priced} of {len(backends)}"
    whole = "The one" if len(backends) == 1 else whole
    if len(how) == 1:
        return [Phrase(f"{whole} {noun} a price", strong=True), Phrase(f", {how[0][1]}.")]
    split = listed([f"{number} {words}" for number, words in how])
    return [Phrase(f"{whole} {noun} a price", strong=True), Phrase(f": {split}.")]


def _extremes(backends: Sequence[BackendPrice]) -> list[Phrase]:
    priced = [one for one in backends if one.output_usd_per_mtok]
    if len(priced) < 2:
        return []
    low = min(priced, key=lambda one: one.output_usd_per_mtok or 0)
    high = max(priced, key=lambda one: one.output_usd_per_mtok or 0)
    if low.output_usd_per_mtok == high.output_usd_per_mtok:
        return []
    return [
        Phrase(" A million output tokens cost from "),
        Phrase(f"{in_usd(price_words(low.output_usd_per_mtok))} on {low.name}", strong=True),
        Phrase(" to "),
        Phrase(f"{price_words(high.output_usd_per_mtok)} on {high.name}", strong=True),
        Phrase("."),
    ]


def _newest(backends: Sequence[BackendPrice], zone: ZoneInfo) -> list[Phrase]:
    dated = [(one.since, one.name) for one in backends if one.since]
    if not dated:
        return []
    since, name = max(dated)
    return [Phrase(f" The newest price is {name}’s, since {day_words(since, zone)}.")]


def unpriced_title(models: int, requests: int) -> str:
    """The finding over names without a price: how many, and how many requests wait for one.

    No model: all have a rate by now, and these requests wait to be repriced.
    """
    noun = "model has" if models == 1 else "models have"
    wait = "request" if requests == 1 else "requests"
    if not models:
        which = "has" if requests == 1 else "have"
        return f"{count(requests)} {wait} this month {which} a rate by now: reprice to charge them"
    return f"{models} {noun} no price: {count(requests)} {wait} this month"
