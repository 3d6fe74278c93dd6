"""Why a request was charged what it was, in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from apps.dashboards.pricing.words import meter_words, price_words
from apps.dashboards.sentences import Answer, Phrase, listed
from apps.dashboards.templatetags.figures_of_speech import (
    change,
    count,
    in_usd,
    usd_exact,
    usd_short,
)
from apps.pricing.core.meters import REQUESTS
from apps.pricing.core.rating import ChargeLine
from apps.usage.charge_moves import Move
from apps.usage.charges import Charge, Explanation

MOST_LINES_TOLD: Final = 4
BY_WHOM: Final = {
    "catalogue": "by the catalogue’s prices",
    "tenant": "by your own rates",
    "default": "by your default rate, because nothing else prices this model",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """The charges on a page: how many, and whether there are more."""

    charges: Sequence[Charge]
    has_more: bool
    narrowed: bool


def charges_answer(listed_: Listed) -> Answer:
    """What was each request charged: what the listed ones come to, and which was the dearest."""
    charges = listed_.charges
    if not charges:
        return ()
    priced = [one for one in charges if one.cost_usd is not None]
    whole = sum((one.cost_usd or Decimal(0) for one in priced), Decimal(0))
    newest = "newest " if listed_.has_more else ""
    which = "matching " if listed_.narrowed else ""
    noun = "charge comes" if len(charges) == 1 else f"{count(len(charges))} {newest}{which}charges"
    verb = "" if len(charges) == 1 else " come"
    lead = f"The {which if len(charges) == 1 else ''}{noun}{verb} to "
    phrases = [Phrase(lead), Phrase(f"{in_usd(usd_short(whole))}", strong=True)]
    unpriced = len(charges) - len(priced)
    phrases.append(Phrase(f"; {count(unpriced)} without a price." if unpriced else "."))
    return (*phrases, *_dearest(priced, whole))


def _dearest(priced: Sequence[Charge], whole: Decimal) -> list[Phrase]:
    if len(priced) < 3 or not whole:
        return []
    most = max(priced, key=lambda one: one.cost_usd or Decimal(0))
    whom = f" for {most.customer}" if most.customer else ""
    return [Phrase(f" The dearest cost {in_usd(usd_short(most.cost_usd))}, on {most.model}{whom}.")]


def charge_question(charge: Charge) -> str:
    """The page's title."""
    if charge.cost_usd is None:
        return "Why has this request no price?"
    if charge.cost_usd == 0:
        return "Why did this request cost nothing?"
    return f"Why did this request cost {in_usd(usd_exact(charge.cost_usd))}?"


def charge_answer(explained: Explanation) -> Answer:
    """The arithmetic in a sentence, by whose prices, and what came later."""
    charge = explained.charge
    if explained.reason is not None:
        return (Phrase(_sentence(explained.reason)), *_adjusted(explained))
    whose = BY_WHOM.get(explained.price_source, "")
    return (
        *_sum(explained.lines),
        Phrase(f"{in_usd(usd_exact(charge.first_cost_usd))}", strong=True),
        Phrase(f", {whose}." if whose else "."),
        *_adjusted(explained),
        *_reported(charge),
    )


def _sum(lines: Sequence[ChargeLine]) -> list[Phrase]:
    told = [line for line in lines if line.kind == "rate"]
    if not told:
        return [Phrase("Nothing that is charged was used: ")]
    if len(told) > MOST_LINES_TOLD:
        return [Phrase(f"{len(told)} things that were counted, each times its price, come to ")]
    parts = [f"{_counted(line)} at {price_words(line.unit_price_usd_per_mtok)}" for line in told]
    less = ", less discounts," if any(line.kind == "discount" for line in lines) else ""
    verb = "comes" if len(told) == 1 and told[0].quantity == 1 else "come"
    return [Phrase(f"{listed(parts)} USD per million{less} {verb} to ")]


def _counted(line: ChargeLine) -> str:
    """400 input tokens, 1 request, 2 web searches."""
    if line.meter == REQUESTS and line.quantity == 1:
        return "1 request"
    one = " token" if line.quantity == 1 else " tokens"
    unit = one if line.meter.endswith("_tokens") else ""
    return f"{count(line.quantity)} {meter_words(line.meter)}{unit}"


def _adjusted(explained: Explanation) -> list[Phrase]:
    if not explained.adjustments or explained.charge.cost_usd is None:
        return []
    times = len(explained.adjustments)
    how = "Repriced once" if times == 1 else f"Repriced {times} times"
    return [Phrase(f" {how} since: it is now {in_usd(usd_exact(explained.charge.cost_usd))}.")]


def _reported(charge: Charge) -> list[Phrase]:
    if charge.reported_cost_usd is None or charge.cost_usd is None:
        return []
    difference = charge.difference_usd or Decimal(0)
    if difference == 0:
        return [Phrase(" The router reported the same.")]
    than = "more" if difference > 0 else "less"
    ratio = f" ({change(difference / charge.cost_usd)})" if charge.cost_usd else ""
    return [Phrase(f" The router reported {in_usd(usd_exact(abs(difference)))} {than}{ratio}.")]


def recomputed_words(explained: Explanation) -> str:
    """What computing the charge again from its event and its rates came to."""
    if explained.again_usd is None:
        return "nothing prices it by the rates of its revision"
    if explained.reproduced:
        return "recomputed: same digits"
    return f"recomputed: {in_usd(usd_exact(explained.again_usd))}, other digits than were recorded"


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:].rstrip(".") + "."


def move_words(move: Move) -> str:
    """What a re-attribution changed: "department support to search"."""
    return ", ".join(
        f"{target} {before or 'none'} to {after or 'none'}"
        for target, (before, after) in move.changes.items()
    )
