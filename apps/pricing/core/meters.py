"""What is metered, in the catalogue's own words (genai-prices' usage keys). Pure.

A meter without a price of its own is charged as its parent: cached tokens at the input price, a
one-hour cache write at the cache write price, reasoning at the output price.
"""

from typing import Final

INPUT: Final = "input_tokens"
CACHE_READ: Final = "cache_read_tokens"
CACHE_WRITE: Final = "cache_write_tokens"
CACHE_WRITE_5M: Final = "cache_write_5m_tokens"
CACHE_WRITE_1H: Final = "cache_write_1h_tokens"
OUTPUT: Final = "output_tokens"
REASONING: Final = "output_reasoning_tokens"
# A fee per request, whatever its tokens.
REQUESTS: Final = "requests"

PARENT: Final = {
    CACHE_READ: INPUT,
    CACHE_WRITE: INPUT,
    CACHE_WRITE_5M: CACHE_WRITE,
    CACHE_WRITE_1H: CACHE_WRITE,
    REASONING: OUTPUT,
}
# The buckets of one request, in the order in which charge lines list them.
BUCKETS: Final = (INPUT, CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H, OUTPUT, REASONING)
# What a tenant may set rates for; the catalogue's rates hold further meters (audio, pages, ...).
RATEABLE: Final = (*BUCKETS, CACHE_WRITE, REQUESTS)
UNITS_PER_PRICE: Final = 1_000_000
