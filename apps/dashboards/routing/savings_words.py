"""Opportunities, replays and hindsight in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from apps.dashboards.sentences import Answer, Phrase, listed
from apps.dashboards.templatetags.figures_of_speech import (
    MINUS,
    count,
    fixed,
    in_usd,
    percent,
    usd_short,
)
from apps.routing.hindsights import HindsightInfo
from apps.routing.opportunities import OpportunityInfo

KIND_TAGS: Final = {
    "move": "cheaper backend",
    "drop": "drop a backend",
    "cache": "prompt caching",
    "batch": "batch",
    "cap": "max_tokens",
    "local": "idle local",
    "runaway": "runaway loop",
    "retries": "retries",
    "renegotiate": "price",
}
ELSEWHERE: Final = "Made outside Costboard; accepting records the decision."
POLICY_WORDS: Final = {
    "as_happened": "as it happened",
    "as_stored": "by the policies that stood",
    "live": "by the live policy",
    "cheapest": "on the cheapest that meets each floor",
    "best": "on the best that meets each floor",
    "all_to": "all on one backend",
    "tier_map": "by tier",
    "moves": "after moves",
    "thresholds": "with thresholds at 80 and 95%",
}
# Less than this share of the cost is no difference.
SAME: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Line:
    """An opportunity as the list shows it."""

    info: OpportunityInfo
    title: str
    about: str
    change: str
    quality: str
    tag: str


def opportunity_line(info: OpportunityInfo) -> Line:
    title, about, change = _WORDS[info.kind](info)
    return Line(info, title, about, change, quality_words(info), KIND_TAGS[info.kind])


def quality_words(info: OpportunityInfo) -> str:
    if not (info.quality_points or info.quality_low_points or info.quality_high_points):
        return "as it is"
    low, high = _points(info.quality_low_points), _points(info.quality_high_points)
    return f"{_points(info.quality_points)} points ({low} to {high})"


def _points(value: float) -> str:
    rounded = round(value, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else ""
    return f"{sign}{fixed(Decimal(repr(abs(rounded))), 1)}"


def _move(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    sources = list(facts["by_source"])
    more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
    tiers = listed(facts["tiers"])
    return (
        f"Move {facts['task']} work off {facts['dearest']}{more}",
        f"{count(round(info.requests))} requests in 30 days, {tiers}; mostly to"
        f" {facts['mostly_to']}, which meets their floors",
        "Accepting keeps this work off "
        + listed([f"{name}" for name in sources])
        + "; the policy then chooses where it goes.",
    )


def _drop(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    return (
        f"Drop {facts['backend']}: nobody gains from it",
        f"{count(round(info.requests))} requests in 30 days would run as well or better elsewhere,"
        f" mostly on {facts['mostly_to']}",
        f"Accepting keeps this work off {facts['backend']}.",
    )


def _cache(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    return (
        f"Keep the cache of {facts['task']} on {facts['backend']} working",
        f"in {count(round(facts['hours']))} hours it took next to nothing although prefixes repeat;"
        f" {count(round(info.requests))} requests paid for it",
        f"Alert on cache reads, and keep prefixes stable across releases. {ELSEWHERE}",
    )


def _batch(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    return (
        f"Send {facts['task']} on {facts['backend']} as batches",
        f"{count(round(info.requests))} requests in 30 days for which nobody waits",
        f"Use the provider’s batch interface. {ELSEWHERE}",
    )


def _cap(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    return (
        f"Cap {facts['task']} answers on {facts['backend']} at {count(facts['tokens'])} tokens",
        f"{percent(Decimal(str(facts['cut_share'])))} of them are over six times as long as the"
        " median one",
        f"Lower max_tokens for this task. {ELSEWHERE}",
    )


def _local(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    return (
        f"Use idle local places for {listed(facts['tasks'])}",
        f"{count(round(info.requests))} requests in 30 days would do as well on hardware that stood"
        " idle in that hour",
        "Accepting favours the local backends for this work, by 5% of its value.",
    )


def _runaway(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    story = listed([value for _, value in facts["story"]]) if facts["story"] else facts["series"]
    return (
        f"Stop loops such as that of {facts['series']}",
        f"{count(facts['hours'])} hours beyond anything usual: {story}",
        "Limit turns and spend per session in the router, or let the guard rail of Anomalies"
        f" suspend it. {ELSEWHERE}",
    )


def _renegotiate(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    return (
        f"Ask {facts['provider']} for {percent(Decimal(str(facts['discount'])))} off",
        f"{in_usd(usd_short(Decimal(repr(facts['spent_usd']))))} went there in 30 days; what they"
        " will give is a guess",
        "Accept it first, then enter what is agreed on Pricing, Agreements: what it saves is"
        f" measured against the prices of that moment. {ELSEWHERE}",
    )


def _retries(info: OpportunityInfo) -> tuple[str, str, str]:
    facts = info.facts
    chains = "one prompt was" if facts["storms"] == 1 else f"{count(facts['storms'])} prompts were"
    failed = Decimal(repr(facts["failed_share"]))
    by = f", mostly by {facts['mostly_by']}" if facts["mostly_by"] else ""
    return (
        f"Stop paying again for {facts['task']} prompts on {facts['backend']}",
        f"{chains} tried up to {count(facts['longest'])} times within minutes{by};"
        f" {count(round(info.requests))} attempts in 30 days that nobody needed,"
        f" {percent(failed)} of them failed",
        "Wait longer after each failure, with a limit of attempts, and give an answer that is"
        f" there instead of asking again. {ELSEWHERE}",
    )


_WORDS: Final = {
    "move": _move,
    "drop": _drop,
    "cache": _cache,
    "batch": _batch,
    "cap": _cap,
    "local": _local,
    "runaway": _runaway,
    "retries": _retries,
    "renegotiate": _renegotiate,
}


def opportunities_answer(lines: Sequence[Line]) -> Answer:
    sure = [line for line in lines if line.info.confidence != "low"]
    if not sure:
        return (Phrase("Nothing that replays confirm", strong=True), Phrase(", as far as we see."))
    total = sum((line.info.saving_usd for line in sure), Decimal(0))
    changes = "one change" if len(sure) == 1 else f"{len(sure)} changes"
    return (
        Phrase(f"{in_usd(usd_short(total))}", strong=True),
        Phrase(f" of the last 30 days, by {changes} that replays of real traffic confirm. "),
        Phrase("The largest: "),
        Phrase(_largest(sure).title, strong=True),
        Phrase("."),
    )


def _largest(lines: Sequence[Line]) -> Line:
    return max(lines, key=lambda line: line.info.saving_usd)


def chart_title(lines: Sequence[Line]) -> str:
    if not lines:
        return "Nothing to save was found"
    one = _largest(lines)
    whole = sum((line.info.saving_usd for line in lines), Decimal(0))
    share = one.info.saving_usd / whole if whole else Decimal(0)
    return f"{percent(share)} of it is one change: {one.title[:1].lower()}{one.title[1:]}"


def accepted_title(lines: Sequence[Line]) -> str:
    measured = [line.info for line in lines if line.info.realised_usd is not None]
    if not measured:
        return "Accepted; what came of it is measured from the next hour on"
    saved = sum((info.realised_usd or Decimal(0) for info in measured), Decimal(0))
    return f"Accepted changes have saved {in_usd(usd_short(saved))} so far"


def hindsight_title(rows: Sequence[HindsightInfo]) -> str:
    """ "92% of the best possible value yesterday; 31 USD left on the table, 24 of it by ..."."""
    if not rows or rows[0].share is None:
        return "No closed day to look back on yet"
    last = rows[0]
    told = (
        f"{percent(last.share)} of the best possible value on {last.first_day.day}"
        f" {last.first_day:%B}; {in_usd(usd_short(last.left_usd))} left on the table"
    )
    if last.causes:
        told += f", {cause_words(last.causes[0])}"
    return told


def cause_words(cause: Mapping[str, Any]) -> str:
    usd = usd_short(Decimal(repr(round(cause["usd"], 2))))
    return f"{usd} of it by {cause['task']} on {cause['ran']} and not on {cause['better']}"


def replay_answer(result: Mapping[str, Any]) -> Answer:
    """What another way would have saved, and what it would have cost in quality."""
    saved, low, high = (_money(x) for x in result["saved_usd"])
    points = result["quality_points"]
    verb = "saved" if saved >= 0 else "cost"
    more = "" if saved >= 0 else " more"
    ends = sorted((abs(low), abs(high)))
    whole = _money(result["happened"]["cost_usd"])
    span = f" ({usd_short(ends[0])} to {usd_short(ends[1])}) of {usd_short(whole)}"
    parts = [
        Phrase(f"It would have {verb} "),
        Phrase(f"{in_usd(usd_short(abs(saved)))}{more}", strong=True),
        Phrase(span),
    ]
    if abs(saved) <= whole * SAME:
        parts = [Phrase("It would have cost "), Phrase("the same", strong=True)]
    if result["moved_requests"]:
        parts.append(Phrase(f"; quality {_points(points[0])} points"))
        parts.append(
            Phrase(f" ({_points(points[1])} to {_points(points[2])}) where requests moved")
        )
    refused = result["would"]["refused"]
    if refused >= 1:
        parts.append(Phrase(f", and {count(round(refused))} requests refused"))
    return (*parts, Phrase("."))


def _money(value: float) -> Decimal:
    return Decimal(repr(value))


def asked_words(asked: Mapping[str, Any]) -> str:
    """What was other, in a line."""
    policy = str(asked.get("policy", "as_happened"))
    parts = [POLICY_WORDS[policy]]
    if policy == "all_to":
        parts = [f"all on {asked['backend']}"]
    elif policy == "tier_map":
        parts = [", ".join(f"{tier} on {name}" for tier, name in asked["tiers"].items())]
    elif policy == "moves":
        parts = [f"{len(asked['moves'])} moves"]
    for name, factor in (asked.get("prices") or {}).items():
        parts.append(f"{name} at {percent(_money(float(factor)))} of its price")
    if new := asked.get("new_backend"):
        parts.append(f"with {new['name']}")
    if asked.get("budgets"):
        parts.append("under today’s budgets")
    if asked.get("day_usd") is not None:
        parts.append(f"{usd_short(_money(float(asked['day_usd'])))} USD a day at most")
    for code, amount in (asked.get("department_usd") or {}).items():
        parts.append(f"{usd_short(_money(float(amount)))} USD a month at most for {code}")
    if asked.get("month_usd") is not None:
        parts.append(f"{in_usd(usd_short(_money(float(asked['month_usd']))))} a month at most")
    if asked.get("local_factor") not in (None, 1, 1.0):
        parts.append(f"{float(asked['local_factor']):g} times the local places")
    return "; ".join(parts)
