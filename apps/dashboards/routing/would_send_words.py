"""Where the policy would send requests instead, in words. Pure."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from apps.dashboards.routing.policy_words import money
from apps.dashboards.templatetags.figures_of_speech import percent, usd_short
from apps.routing.core.would_send import WouldSend

LEAST_REQUESTS: Final = 0.5
SAME_USD: Final = Decimal("0.005")


@dataclass(frozen=True, slots=True)
class WouldLine:
    """Shares are of all requests; `points` how far the share would move."""

    name: str
    ran_share: Decimal
    would_share: Decimal
    ran_usd: Decimal
    would_usd: Decimal

    @property
    def points(self) -> Decimal:
        return self.would_share - self.ran_share


def would_lines(found: WouldSend | None) -> list[WouldLine]:
    if found is None:
        return []
    return [
        WouldLine(
            flow.backend,
            money(flow.ran / found.requests),
            money(flow.would / found.requests),
            money(flow.ran_usd),
            money(flow.would_usd),
        )
        for flow in found.flows
        if max(flow.ran, flow.would) >= LEAST_REQUESTS
    ]


def would_title(found: WouldSend | None) -> str:
    """ "The policy would send 43% of requests elsewhere, for 1.20 USD less"."""
    if found is None:
        return "No policy is planned yet"
    if found.moved < LEAST_REQUESTS:
        return "The policy would send every request where it went"
    share = percent(money(found.moved / found.requests))
    less = money(found.ran_usd) - money(found.would_usd)
    told = f"The policy would send {share} of requests elsewhere"
    if abs(less) < SAME_USD:
        return f"{told}, for the same money"
    return f"{told}, for {usd_short(abs(less))} USD {'less' if less > 0 else 'more'}"
