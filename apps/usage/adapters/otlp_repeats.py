"""One call, several spans: which of them counts.

Only spans of one body are compared; exporters send a call's spans together, or soon after.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from apps.usage.adapters.otlp_dialects import has_failed, is_of_openrouter, read_response_id
from apps.usage.adapters.otlp_spans import Span
from apps.usage.core.events import LITELLM_SOURCE, UsageEvent

OPENROUTER_CALL: Final = "LLM Generation"
# How far up a trace is looked for a span that repeats another's call.
MAX_ANCESTORS: Final = 32

Place = tuple[str, str]  # trace id, span id


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A span that is a call, with its place in the body."""

    index: int
    span: Span
    event: UsageEvent


def without_repeats(calls: list[Call], spans: list[Span]) -> list[Call]:
    """Each call once. `spans` are all of the body, through which calls lie within each other."""
    repeats = {
        call.index
        for find in (_litellm_repeats, _openrouter_repeats, lambda c: _nested_repeats(c, spans))
        for call in find(calls)
    }
    return [call for call in calls if call.index not in repeats]


def _litellm_repeats(calls: list[Call]) -> Iterator[Call]:
    """LiteLLM puts one call's id on its own span and on the proxy's."""
    seen = set()
    for call in calls:
        if call.event.source == LITELLM_SOURCE:
            if call.event.event_id in seen:
                yield call
            seen.add(call.event.event_id)


def _openrouter_repeats(calls: list[Call]) -> Iterator[Call]:
    """Spans beside a trace's "LLM Generation" repeat it, unless they tell of another response.

    Where users name their generations, a trace may have none of that name; then all count.
    """
    ours = [call for call in calls if is_of_openrouter(call.span)]
    named = {
        (call.span.trace_id, read_response_id(call.span))
        for call in ours
        if call.span.name == OPENROUTER_CALL
    }
    traces = {trace_id for trace_id, _ in named}
    for call in ours:
        trace_id, response_id = call.span.trace_id, read_response_id(call.span)
        is_repeat = (trace_id, response_id) in named or (not response_id and trace_id in traces)
        if is_repeat and call.span.name != OPENROUTER_CALL:
            yield call


def _nested_repeats(calls: list[Call], spans: Iterable[Span]) -> Iterator[Call]:
    """Two instrumentations of one client each make a span of a call, one within the other.

    The span that tells more is kept, the inner if they tell alike.
    """
    parents = {(s.trace_id, s.span_id): (s.trace_id, s.parent_span_id) for s in spans}
    by_place = {(call.span.trace_id, call.span.span_id): call for call in calls}
    for call in calls:
        for place in _ancestors(call.span, parents):
            outer = by_place.get(place)
            if outer is not None and _are_one_call(outer, call):
                yield min(outer, call, key=_telling)


def _ancestors(span: Span, parents: dict[Place, Place]) -> Iterator[Place]:
    here = place = (span.trace_id, span.span_id)
    for _ in range(MAX_ANCESTORS):
        if (above := parents.get(place)) is None or above == here:
            return
        yield above
        place = above


def _are_one_call(outer: Call, inner: Call) -> bool:
    """Both tell of one response, or of the same totals where one names none.

    A call that failed without usage and has others within it failed as their wrapper.
    """
    if has_failed(outer.span) and not (outer.event.input_tokens or outer.event.output_tokens):
        return True
    responses = {read_response_id(call.span) for call in (outer, inner)}
    if None not in responses:
        return len(responses) == 1
    totals = {(c.event.input_tokens, c.event.output_tokens) for c in (outer, inner)}
    return len(totals) == 1


def _telling(call: Call) -> int:
    event = call.event
    return sum(
        bool(count)
        for count in (
            event.cache_read_tokens,
            event.cache_write_5m_tokens + event.cache_write_1h_tokens,
            event.cache_write_1h_tokens,
            event.reasoning_tokens,
        )
    )
