"""What is metered, in the catalogue's own words (genai-prices' usage keys). Pure.

A meter is a set of dimensions; one with more of them is part of those with fewer: cached audio
input is audio input, is cached input, is input. What is part of a meter and has no price of its own
is charged as that meter: cached tokens at the input price, reasoning at the output price.
"""

from collections.abc import Iterator
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
UNITS_PER_PRICE: Final = 1_000_000

Dimensions = frozenset[tuple[str, str]]


def _token_meters() -> Iterator[tuple[str, dict[str, str]]]:
    """Every token meter: by direction, kind of token, and modality or none."""
    for modality in ("", "text", "audio", "image", "video"):
        infix = f"_{modality}" if modality else ""
        of = {"family": "tokens"} | ({"modality": modality} if modality else {})
        into, out = of | {"direction": "input"}, of | {"direction": "output"}
        written = into | {"token_type": "cache_write"}
        yield f"input{infix}_tokens", into
        yield f"cache{infix}_read_tokens", into | {"token_type": "cache_read"}
        yield f"cache{infix}_write_tokens", written
        yield f"cache{infix}_write_5m_tokens", written | {"cache_ttl": "5m"}
        yield f"cache{infix}_write_1h_tokens", written | {"cache_ttl": "1h"}
        yield f"input{infix}_tool_tokens", into | {"token_type": "tool"}
        yield f"output{infix}_tokens", out
        yield f"output{infix}_reasoning_tokens", out | {"token_type": "reasoning"}
        yield f"output{infix}_citation_tokens", out | {"token_type": "citation"}


_OTHERS: Final[dict[str, dict[str, str]]] = {
    "input_characters": {"family": "characters", "direction": "input"},
    "input_text_messages": {"family": "messages", "direction": "input", "modality": "text"},
    "audio_seconds": {"family": "durations", "modality": "audio"},
    "input_audio_seconds": {"family": "durations", "modality": "audio", "direction": "input"},
    "output_audio_seconds": {"family": "durations", "modality": "audio", "direction": "output"},
    "input_pixels": {"family": "pixels", "direction": "input"},
    "input_document_pages": {"family": "document_pages", "direction": "input"},
    "input_annotated_document_pages": {
        "family": "document_pages", "direction": "input", "page_type": "annotated",
    },
    "rerank_searches": {"family": "rerank"},
    "web_searches": {"family": "tool_calls", "tool_type": "web_search"},
    "social_searches": {"family": "tool_calls", "tool_type": "social_search"},
    "storage_searches": {"family": "tool_calls", "tool_type": "storage_search"},
    "code_executions": {"family": "tool_calls", "tool_type": "code_execution"},
    REQUESTS: {"family": "requests"},
}  # fmt: skip

DIMENSIONS: Final[dict[str, Dimensions]] = {
    meter: frozenset(dimensions.items())
    for meter, dimensions in (*_token_meters(), *_OTHERS.items())
}
_BY_DIMENSIONS: Final = {dimensions: meter for meter, dimensions in DIMENSIONS.items()}
# What a tenant may set rates for.
_COMMON: Final = (*BUCKETS, CACHE_WRITE, REQUESTS)
RATEABLE: Final = (*_COMMON, *sorted(DIMENSIONS.keys() - set(_COMMON)))
# Reports may give a part alone; the whole is then at least its parts.
PARTS_OF: Final = {
    "audio_seconds": ("input_audio_seconds", "output_audio_seconds"),
    "input_document_pages": ("input_annotated_document_pages",),
}


def is_part_of(part: str, whole: str) -> bool:
    """Whether every item of `part` is an item of `whole` too; not so of a meter and itself."""
    return DIMENSIONS[whole] < DIMENSIONS[part]


def shared_part(one: str, other: str) -> str | None:
    """The meter of what is both: cached audio, of audio and cached. None where nothing can be."""
    both = DIMENSIONS[one] | DIMENSIONS[other]
    if len({name for name, _ in both}) < len(both):
        return None
    return _BY_DIMENSIONS.get(both)


def _is_standalone(meter: str) -> bool:
    others = DIMENSIONS.keys() - {meter}
    related = {*PARTS_OF, *(part for parts in PARTS_OF.values() for part in parts), REQUESTS}
    return meter not in related and not any(
        is_part_of(meter, other) or is_part_of(other, meter) or shared_part(meter, other)
        for other in others
    )


# Neither wholes nor parts of anything, such as searches: what is charged for them depends on
# nothing else that was used.
STANDALONE: Final = frozenset(filter(_is_standalone, DIMENSIONS))
