"""What margins say, in words: rules over sums. Pure."""

from collections.abc import Sequence
from decimal import Decimal

from apps.dashboards.sentences import Answer, Phrase, capitalised, listed, unpriced_sentence
from apps.dashboards.templatetags.figures_of_speech import (
    count,
    fraction,
    in_money,
    percent,
    unit_price,
    usd_short,
)
from apps.usage.core.margins import Earnings
from apps.usage.margins import add_up

NAMED_AT_MOST = 3
Named = tuple[str, Earnings]


def margins_answer(
    customers: Sequence[Named], *, unattributed: Earnings | None, in_words: str
) -> Answer:
    """Who earns and who costs: the whole, then who loses most. `customers`: least margin first."""
    whole = add_up(earned for _, earned in customers)
    if not customers or not whole.revenue:
        return ()
    parts = [
        Phrase(f"Customers brought {in_money(usd_short(whole.revenue))} {in_words} and cost "),
        Phrase(f"{usd_short(whole.cost)} to serve", strong=True),
        *_what_stays(whole),
    ]
    losers = [(name, earned) for name, earned in customers if earned.loses]
    if losers:
        name, worst = losers[0]
        gap = f"{in_money(usd_short(-worst.margin))}"
        if len(losers) > 1:
            parts += [
                Phrase(f" {count(len(losers))} of them cost more than they bring", strong=True),
                Phrase(f", {name} by most: {gap}."),
            ]
        else:
            parts += [
                Phrase(f" {name} cost {gap} more than it brought", strong=True),
                Phrase("."),
            ]
    if unattributed is not None and unattributed.cost:
        parts.append(Phrase(f" Another {usd_short(unattributed.cost)} names no customer."))
    parts += unpriced_sentence(whole.unpriced_requests)
    return tuple(parts)


def _what_stays(whole: Earnings) -> list[Phrase]:
    share = whole.margin_share
    if share is None or whole.margin < 0:
        return [
            Phrase(": "),
            Phrase(f"{usd_short(-whole.margin)} lost", strong=True),
            Phrase("."),
        ]
    return [Phrase(": "), Phrase(f"{percent(share)} stays", strong=True), Phrase(".")]


def margins_title(losers: Sequence[Named], of: int) -> str:
    """Who loses money, by name where they are few."""
    if not losers:
        return "Every customer brings at least what it costs"
    if len(losers) <= NAMED_AT_MOST:
        names = listed([name for name, _ in losers])
        verb, brings = ("costs", "it brings") if len(losers) == 1 else ("cost", "they bring")
        return f"{names} {verb} more than {brings}"
    lost = -add_up(earned for _, earned in losers).margin
    return (
        f"{count(len(losers))} of {count(of)} customers cost more than they bring,"
        f" {in_money(usd_short(lost))} together"
    )


def customer_answer(name: str, earned: Earnings, *, in_words: str) -> Answer:
    """Is one customer worth what it costs?"""
    if not earned.requests and not earned.revenue:
        return (Phrase(f"{name} asked for nothing {in_words}."),)
    cost = Phrase(f"{in_money(usd_short(earned.cost))}", strong=True)
    if not earned.revenue:
        parts = [
            Phrase(f"{name} cost "),
            cost,
            Phrase(f" {in_words}. What it brings is not known."),
        ]
    else:
        verdict = (
            f"{usd_short(-earned.margin)} more than it brought"
            if earned.loses
            else f"{percent(earned.margin_share)} of what it brought stays"
        )
        parts = [
            Phrase(f"{name} cost "),
            cost,
            Phrase(f" {in_words} and brought {usd_short(earned.revenue)}: "),
            Phrase(verdict, strong=True),
            Phrase("."),
        ]
    if earned.cost_per_conversion is not None:
        each = unit_price(earned.cost_per_conversion)
        parts.append(Phrase(f" A conversion cost {in_money(each)}."))
    return (*parts, *unpriced_sentence(earned.unpriced_requests))


def customer_title(name: str, leader: tuple[str, Decimal] | None) -> str:
    """The finding of one customer's days; `leader` is its dearest model with its share of cost."""
    if leader is None:
        return f"{capitalised(name)} has cost nothing"
    model, share = leader
    return f"{model} is {'all' if share == 1 else fraction(share)} of what {name} costs"
