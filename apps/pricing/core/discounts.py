"""Negotiated discounts over the catalogue's prices. Pure.

A tenant's own rates are net: no discount touches them, nor the default rate. Of the discounts in
force for a price the most particular applies, alone: for the model and the meter, for the model,
for the provider and the meter, for the provider. Discounts are never added to one another.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Final

from apps.pricing.core.money import round_half_even
from apps.pricing.core.rates import Discount, Rate

PERCENT: Final = 100


def discounts_on(discounts: Iterable[Discount], provider: str, model: str) -> list[Discount]:
    """Those that can touch this model's prices. An empty model means all of the provider's."""
    return [
        d for d in discounts if d.provider == provider and d.model.lower() in ("", model.lower())
    ]


def apply_discounts(rates: Sequence[Rate], discounts: Sequence[Discount]) -> list[Rate]:
    """The rates, cut in time wherever a discount on their meter begins or ends."""
    return [piece for rate in rates for piece in _pieces(rate, discounts)]


def net_units(list_units: Fraction, discount: Discount) -> Fraction:
    """The price of an item after the discount, in 1e-24 USD; never below zero.

    A price that is a whole number of units stays one: it is rounded here, half to even, and no
    charge made by it is rounded again. (An hourly price stays one in ninths: see money.py.)
    """
    if discount.percent is not None:
        net = list_units * (1 - Fraction(discount.percent) / PERCENT)
    else:
        off = Fraction(discount.amount_usd or 0) * 10**24 / discount.unit_quantity
        net = max(Fraction(0), list_units - off)
    if list_units.denominator == 1:
        return Fraction(round_half_even(net.numerator, net.denominator))
    return Fraction(round_half_even(net.numerator * 9, net.denominator), 9)


def find_discount_overlap(new: Discount, standing: Iterable[Discount]) -> Discount | None:
    """The first standing discount on the same thing at some same moment."""
    return next((other for other in standing if new.overlaps(other)), None)


def _pieces(rate: Rate, discounts: Sequence[Discount]) -> list[Rate]:
    fitting = [d for d in discounts if d.meter in ("", rate.meter) and d.meets(rate)]
    if not fitting:
        return [rate]
    edges = {rate.starts_at_s: rate.effective_from, rate.ends_at_s: rate.effective_to}
    edges |= {
        at_s: moment
        for d in fitting
        for at_s, moment in ((d.starts_at_s, d.effective_from), (d.ends_at_s, d.effective_to))
        if rate.starts_at_s < at_s < rate.ends_at_s
    }
    pieces = []
    for begin_s, end_s in pairwise(sorted(edges)):
        in_force = [d for d in fitting if d.starts_at_s <= begin_s < d.ends_at_s]
        best = max(in_force, key=lambda d: (bool(d.model), bool(d.meter)), default=None)
        pieces.append(
            replace(
                rate,
                effective_from=edges[begin_s],
                effective_to=edges[end_s],
                discount=best,
            )
        )
    return pieces
