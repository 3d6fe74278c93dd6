"""The context of a request that chooses a variant of its price: batch, flex, priority. Pure."""

from typing import Final

# A wrong key would silently give the standard price, so no other is taken.
CONTEXT_KEYS: Final = ("service_tier", "processing", "speed", "search_type")
MAX_CONTEXT_LENGTH: Final = 40
# What providers call the price that is no variant.
STANDARD: Final = frozenset({"default", "standard", "auto", "on_demand", "normal", "sync"})


def variant_name(stated: object) -> str | None:
    """A context's value as prices know it; None for the standard price, and for what is no name."""
    if not isinstance(stated, str) or len(stated) > MAX_CONTEXT_LENGTH or not stated.isprintable():
        return None
    named = stated.strip().lower()
    return None if not named or named in STANDARD else named
