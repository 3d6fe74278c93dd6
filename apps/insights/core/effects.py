"""Why spend is other than expected: more requests, another mix, longer, worse cached, dearer. Pure.

Each step holds all later ones at what is usual, so that the effects add up to the excess exactly;
the last, price, takes what is left (discounts, meters, and what is not known).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from apps.insights.core.causes import EXACT, STEP

INPUT_KINDS: Final = ("uncached", "cache_read", "cache_write")
OUTPUT: Final = "output"
EFFECTS: Final = ("volume", "mix", "prompts", "answers", "cache", "price")


@dataclass(frozen=True, slots=True)
class WorkCell:
    """One backend's requests of one task: then (summed over earlier periods) and now.

    `usd_per_token` by kind, at the list prices of now; empty where nobody knows them.
    """

    actual_usd: Decimal
    usual_usd: Decimal
    requests: int
    usual_requests: int
    tokens: Mapping[str, int]
    usual_tokens: Mapping[str, int]
    usd_per_token: Mapping[str, float]


def split_effects(
    cells: Sequence[WorkCell], *, actual_usd: Decimal, expected_usd: Decimal
) -> dict[str, Decimal]:
    """USD by effect, adding up to `actual_usd - expected_usd`."""
    usual = float(sum(cell.usual_usd for cell in cells))
    usual_requests = sum(cell.usual_requests for cell in cells)
    effects = dict.fromkeys(EFFECTS, 0.0)
    if usual > 0 and usual_requests > 0:
        # From sums over several periods to what was expected of these hours.
        scale = float(expected_usd) / usual
        growth = sum(cell.requests for cell in cells) / (usual_requests * scale or 1)
        effects["volume"] = (growth - 1) * float(expected_usd)
        for cell in cells:
            _add_cell(effects, cell, scale, growth)
    rounded = {name: Decimal(repr(usd)).quantize(STEP) for name, usd in effects.items()}
    excess = EXACT.subtract(actual_usd, expected_usd)
    told = Decimal(0)
    for name in EFFECTS[:-1]:
        told = EXACT.add(told, rounded[name])
    return rounded | {"price": EXACT.subtract(excess, told)}


def _add_cell(effects: dict[str, float], cell: WorkCell, scale: float, growth: float) -> None:
    requests, usual_requests = cell.requests, cell.usual_requests * scale
    if not usual_requests:
        effects["mix"] += float(cell.actual_usd)
        return
    usual_unit_usd = float(cell.usual_usd) * scale / usual_requests
    effects["mix"] += (requests - usual_requests * growth) * usual_unit_usd
    prices = cell.usd_per_token
    before, now = _input(cell.usual_tokens), _input(cell.tokens)
    if not (requests and prices and before):
        return
    per_request = requests / cell.usual_requests
    shares = {kind: cell.usual_tokens.get(kind, 0) / before for kind in INPUT_KINDS}
    usual_price = sum(shares[kind] * prices.get(kind, 0.0) for kind in INPUT_KINDS)
    effects["prompts"] += (now - before * per_request) * usual_price
    effects["answers"] += (
        cell.tokens.get(OUTPUT, 0) - cell.usual_tokens.get(OUTPUT, 0) * per_request
    ) * prices.get(OUTPUT, 0.0)
    effects["cache"] += sum(
        (cell.tokens.get(kind, 0) - now * shares[kind]) * prices.get(kind, 0.0)
        for kind in INPUT_KINDS
    )


def _input(tokens: Mapping[str, int]) -> int:
    return sum(tokens.get(kind, 0) for kind in INPUT_KINDS)
