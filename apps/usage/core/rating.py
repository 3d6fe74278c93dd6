"""What an attempt costs by a rate card: one rule, for ingest, repricing and explanations. Pure."""

from collections.abc import Mapping
from typing import Final

from apps.pricing.core.rating import MeteredUsage, RateCard
from apps.usage.core.events import UsageEvent

UNPRICED: Final = -1
# Uncached, cache read, cache write 5 min and 1 h, output, reasoning (a part of output).
Tokens = tuple[int, int, int, int, int, int]


def used_nothing(status: str, tokens: Tokens, meters: Mapping[str, int] | None) -> bool:
    """A failed attempt that consumed nothing: it costs nothing, whatever its model's rates."""
    return status != "success" and not any(tokens) and not any((meters or {}).values())


def cost_units(
    card: RateCard | None,
    *,
    status: str,
    tokens: Tokens,
    meters: Mapping[str, int] | None,
    context: Mapping[str, str] | None,
    at_s: float,
) -> int:
    """The cost in 1e-24 USD at that moment (seconds since 1970), or UNPRICED."""
    if used_nothing(status, tokens, meters):
        return 0
    if card is None:
        return UNPRICED
    if meters or context:
        return card.cost_units_of(MeteredUsage(*tokens), at_s, meters=meters, context=context)
    return card.cost_units(*tokens, at_s)


def event_cost_units(card: RateCard | None, event: UsageEvent) -> int:
    """As `cost_units`, of a usage event: ingest's hot path."""
    if card is None or event.status != "success" or event.meters or event.price_context:
        return cost_units(
            card,
            status=event.status,
            tokens=_tokens_of(event),
            meters=event.meters,
            context=event.price_context,
            at_s=event.occurred_at.timestamp(),
        )
    return card.cost_units(
        event.uncached_input_tokens,
        event.cache_read_tokens,
        event.cache_write_5m_tokens,
        event.cache_write_1h_tokens,
        event.output_tokens,
        event.reasoning_tokens,
        event.occurred_at.timestamp(),
    )


def _tokens_of(event: UsageEvent) -> Tokens:
    return (
        event.uncached_input_tokens,
        event.cache_read_tokens,
        event.cache_write_5m_tokens,
        event.cache_write_1h_tokens,
        event.output_tokens,
        event.reasoning_tokens,
    )
