"""A finding in one sentence, for alerts and pages alike. Pure."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from apps.insights.core.flags import SeriesKey

# (dimension, value) -> what people call it, where that is something else.
Names = Mapping[tuple[str, str], str]
NO_NAMES: Final[Names] = {}
BETWEEN: Final = "\x1f"
KIND_WORDS: Final = {
    "spike": "spike",
    "outage": "outage",
    "shift": "new level",
    "drift": "drift",
    "storm": "cost per request",
}
# In the order in which they are told, after the model.
_BY: Final = {
    "model": "{}",
    "task": "{} requests",
    "customer": "for customer {}",
    "router": "by key {}",
    "department": "in {}",
    "status": "with status {}",
}
# A cache that is read this much less than usual is told.
TELLING_CACHE_DROP: Final = 0.1


def series_words(series: SeriesKey, names: Names = NO_NAMES) -> str:
    """What a series is called in a sentence."""
    dimension, key = series
    if dimension == "all":
        return "All spend"
    if dimension == "model_task":
        model, task = key.split(BETWEEN)
        return f"{model} {task} requests"
    return names.get(series, key)


def story_words(story: Sequence[Sequence[str]], series: SeriesKey, names: Names = NO_NAMES) -> str:
    """The values that explain most of it, without what the series says already."""
    own = set(series[1].split(BETWEEN))
    told = [(name, value) for name, value in story if name in _BY and value not in own]
    told.sort(key=lambda pair: list(_BY).index(pair[0]))
    called = ((dimension, names.get((dimension, value), value)) for dimension, value in told)
    return " ".join(_BY[dimension].format(name) for dimension, name in called)


def finding_title(
    series: SeriesKey,
    *,
    excess_usd: Decimal,
    since: str,
    explanation: Mapping[str, Any],
    money: Callable[[Decimal], str],
    names: Names = NO_NAMES,
) -> str:
    """Such as "support-bot spent 412 USD more than expected since 14:00; 87% of it is ...". `money`
    writes an amount of USD with its currency."""
    more = "more" if excess_usd >= 0 else "less"
    # "... requests cost" reads better than that they spent.
    verb = "cost" if series[0] == "model_task" else "spent"
    subject = series_words(series, names)
    told = f"{subject} {verb} {money(abs(excess_usd))} {more} than expected {since}"
    story = story_words(explanation.get("story", []), series, names)
    story_usd = Decimal(explanation.get("story_usd", "0"))
    if story and excess_usd:
        share = min(max(story_usd / excess_usd, Decimal(0)), Decimal(1))
        told += f"; {share:.0%} of it is {story}"
    cache = cache_words(explanation)
    if cache and excess_usd > 0:
        told += f"; {cache}"
    return told


def cache_words(explanation: Mapping[str, Any]) -> str:
    """How much less is read from caches, where that is telling."""
    before, now = explanation.get("cache_share_before"), explanation.get("cache_share")
    if before is None or now is None or before - now < TELLING_CACHE_DROP:
        return ""
    return f"cache reads fell from {before:.0%} to {now:.0%} of the input"
