"""The context of a request that chooses a variant of its price: batch, flex, priority. Pure."""

from collections.abc import Mapping
from typing import Final

# A wrong key would silently give the standard price, so no other is taken.
CONTEXT_KEYS: Final = ("service_tier", "processing", "speed", "search_type")
MAX_CONTEXT_LENGTH: Final = 40
# What providers call the price that is no variant.
STANDARD: Final = frozenset({"default", "standard", "auto", "on_demand", "normal", "sync"})


class ContextError(ValueError):
    """A context that no price knows. `field` names it within `price_context`."""

    def __init__(self, code: str, detail: str, *, field: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field


def read_context(context: Mapping[str, str]) -> dict[str, str]:
    """`context` without standard values. Raises ContextError for a key no price knows."""
    kept = {}
    for key, value in context.items():
        if key not in CONTEXT_KEYS:
            raise ContextError(
                "unknown_price_context",
                f"price_context takes {', '.join(CONTEXT_KEYS)}; remove anything else",
                field="price_context",
            )
        if not value.isprintable():
            raise ContextError(
                "control_character",
                f"`price_context.{key}` holds a control character; send plain text on one line",
                field=f"price_context.{key}",
            )
        if (named := variant_name(value)) is not None:
            kept[key] = named
    return kept


def variant_name(stated: object) -> str | None:
    """A context's value as prices know it; None for the standard price, and for what is no name."""
    if not isinstance(stated, str) or len(stated) > MAX_CONTEXT_LENGTH or not stated.isprintable():
        return None
    named = stated.strip().lower()
    return None if not named or named in STANDARD else named
