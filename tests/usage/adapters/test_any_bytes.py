"""Whatever arrives, an adapter answers with events and refusals, and good rows stand."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.adapters.cloudevents import STRUCTURED, parse_cloudevents
from apps.usage.adapters.litellm import parse_litellm
from apps.usage.adapters.native import parse_native
from apps.usage.adapters.otlp import parse_otlp_traces
from apps.usage.core.events import MAX_TOKENS, InvalidUsageError, Parsed
from tests.usage.adapters.bodies import JSON, PROTOBUF, json_body, native_row, protobuf_body, span
from tests.usage.adapters.test_cloudevents import TOTALS, cloudevent
from tests.usage.adapters.test_litellm import payload
from tests.usage.adapters.test_otlp_bodies import USED


def parse_structured(body: bytes) -> Parsed:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return parse_cloudevents(body, {"content-type": STRUCTURED}, now=now)


def parse_binary(body: bytes) -> Parsed:
    attributes = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    now = datetime(2026, 11, 23, tzinfo=UTC)
    return parse_cloudevents(body, {"content-type": JSON} | headers, now=now)


ROW_PARSERS = [parse_native, parse_litellm, parse_structured]
PARSERS: list[Callable[[bytes], Parsed]] = [
    *ROW_PARSERS,
    parse_binary,
    lambda body: parse_otlp_traces(body, JSON),
    lambda body: parse_otlp_traces(body, PROTOBUF),
]
WHOLE_BODIES = [
    json.dumps([native_row(), native_row()]).encode(),
    json.dumps([payload(), payload()]).encode(),
    json.dumps([cloudevent(), cloudevent()]).encode(),
    json.dumps(TOTALS).encode(),
    json_body(span(attributes=USED)),
    protobuf_body(span(attributes=USED)),
]

USAGE_TEXTS = [
    "gen_ai.usage.raw",
    "langfuse.observation.usage_details",
    "metadata.usage_object",
    "ai.response.providerMetadata",
]
USAGE_COUNTS = [
    "input",
    "output",
    "input_cached_tokens",
    "output_reasoning_tokens",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
]
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(alphabet=st.characters(min_codepoint=0xD7FF, max_codepoint=0xE001)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*native_row(), *payload(), *cloudevent(), "tags", "raw_usage", "tokens"]
            )
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def parses(parse: Callable[[bytes], Parsed], body: bytes) -> Parsed | None:
    try:
        return parse(body)
    except InvalidUsageError:
        return None


def is_partition(parsed: Parsed, rows: int | None = None) -> bool:
    refused = [rejection.index for rejection in parsed.rejections]
    taken = sorted(parsed.indexes + refused)
    return (
        len(parsed.indexes) == len(parsed.events)
        and len(set(taken)) == len(taken)
        and (rows is None or taken == list(range(rows)))
    )


@pytest.mark.parametrize("parse", PARSERS)
@given(body=st.binary(max_size=300))
def test_any_bytes_raise_nothing_but_a_refusal(
    parse: Callable[[bytes], Parsed], body: bytes
) -> None:
    parsed = parses(parse, body)
    assert parsed is None or is_partition(parsed)


@pytest.mark.parametrize(("parse", "whole"), list(zip(PARSERS, WHOLE_BODIES, strict=True)))
@given(data=st.data())
def test_nor_do_bodies_that_were_damaged(
    parse: Callable[[bytes], Parsed], whole: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 20)))
    parsed = parses(parse, whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:])
    assert parsed is None or is_partition(parsed)


@pytest.mark.parametrize("parse", ROW_PARSERS)
@given(values=st.lists(JSON_VALUES, min_size=1, max_size=4))
def test_any_json_rows_are_each_taken_or_refused(
    parse: Callable[[bytes], Parsed], values: list[Any]
) -> None:
    parsed = parses(parse, json.dumps(values).encode())
    assert parsed is None or is_partition(parsed, len(values))


@given(changes=st.dictionaries(st.sampled_from([*payload()]), JSON_VALUES, max_size=5))
def test_litellm_fields_of_any_type_are_taken_or_refused(changes: dict[str, Any]) -> None:
    parsed = parse_litellm(json.dumps([payload(), payload(**changes)]).encode())
    assert is_partition(parsed, 2)
    for event in parsed.events:
        assert event.input_tokens >= 0
        json.dumps(event.tags).encode()
        for text in (event.customer, event.department, event.user, event.status):
            assert text is None or (text.encode() and "\x00" not in text)


@given(
    attributes=st.dictionaries(st.sampled_from([*cloudevent()]), JSON_VALUES, max_size=3),
    data=st.dictionaries(
        st.sampled_from(
            [*TOTALS, "usage", "raw_usage", "tokens", "type", "meters", "price_context", "status"]
        ),
        JSON_VALUES | st.integers(-1, 10**12),
    ),
)
def test_cloudevents_of_any_data_are_taken_or_refused(
    attributes: dict[str, Any], data: dict[str, Any]
) -> None:
    rows = [cloudevent(), cloudevent(**{"data": TOTALS | data} | attributes)]
    parsed = parse_structured(json.dumps(rows).encode())
    assert is_partition(parsed, 2)
    assert 0 in parsed.indexes
    for event in parsed.events:
        assert 0 <= event.reasoning_tokens <= event.output_tokens <= MAX_TOKENS
        json.dumps([event.meters, event.price_context]).encode()
        for text in (event.source, event.event_id, event.model, event.customer, event.status):
            assert text is None or (text.encode() and "\x00" not in text)


@given(
    attributes=st.dictionaries(
        st.sampled_from([*USED, "metadata", "user.id", "tag.tags", "operation.cost", *USAGE_TEXTS]),
        st.text()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats()
        | st.booleans()
        | st.dictionaries(st.sampled_from(USAGE_COUNTS), st.integers(-1, 10**12)).map(json.dumps),
    )
)
def test_span_attributes_of_any_type_are_taken_or_refused(attributes: dict[str, Any]) -> None:
    spans = [span(attributes=USED), span(attributes=USED | attributes, spanId="0" * 15 + "7")]
    parsed = parse_otlp_traces(protobuf_body(*spans), PROTOBUF)
    assert is_partition(parsed)
    assert 0 in parsed.indexes
    for event in parsed.events:
        assert 0 <= event.input_tokens <= MAX_TOKENS
        assert 0 <= event.reasoning_tokens <= event.output_tokens <= MAX_TOKENS


BAD_ROWS = st.sampled_from(
    [
        b"null",
        b"{}",
        b"[1, [2]]",
        b"NaN",
        b'{"id": "cut',
        b'{"id": "x", "tags": {"a": }}',
        b"{'id': 1}",
        b'{"id": "\xff"}',
        b'{"id": "\\ud800"}',
        json.dumps(native_row(usage={"input_tokens": -1, "output_tokens": 0})).encode(),
        json.dumps(native_row(foo=1)).encode(),
    ]
)
WHOLE_BAD_ROWS = BAD_ROWS.filter(lambda row: not row.endswith(b"cut"))


@given(rows=st.lists(WHOLE_BAD_ROWS | st.none(), min_size=1, max_size=8))
def test_good_rows_of_an_array_survive_any_neighbours(rows: list[bytes | None]) -> None:
    assert_good_rows_stand(rows, b"[%b]", b",")


@given(rows=st.lists(BAD_ROWS | st.none(), min_size=1, max_size=8))
def test_good_lines_survive_any_neighbours(rows: list[bytes | None]) -> None:
    # The first byte tells NDJSON from an array, so the first line is a good one.
    assert_good_rows_stand([None, *rows], b"%b", b"\n")


def assert_good_rows_stand(rows: list[bytes | None], frame: bytes, separator: bytes) -> None:
    """`rows`: bad ones, and None for a good one."""
    good = {f"good-{i}": i for i, row in enumerate(rows) if row is None}
    lines = [
        json.dumps(native_row(id=f"good-{i}")).encode() if row is None else row
        for i, row in enumerate(rows)
    ]
    parsed = parses(parse_native, frame % separator.join(lines))
    if parsed is None:
        assert not good
        return
    assert is_partition(parsed, len(rows))
    assert dict(zip((e.event_id for e in parsed.events), parsed.indexes, strict=True)) == good
