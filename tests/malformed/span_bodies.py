"""Damaged OTLP bodies, in JSON and protobuf."""

import random
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from tests.malformed.drafts import SPAN_ATTRIBUTES, Body, Draft
from tests.malformed.row_bodies import damage
from tests.malformed.values import SECRET, dump, spoil
from tests.usage.adapters.bodies import JSON, PROTOBUF, protobuf_body


def spans_as_json(draft: Draft) -> Body:
    """Good spans beside spoilt ones: the good are taken. The resource may be spoilt, too."""
    chance = draft.chance
    spans, planted = _spans(draft)
    resource: Any = {"attributes": [{"key": "team", "value": {"stringValue": "search"}}]}
    if chance.random() < 0.1:
        resource, planted = spoil({"r": resource}, chance, parseable=True).get("r"), ()
    scope = {"scope": {"name": "test"}, "spans": spans}
    wire = dump({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})
    if chance.random() < 0.1:
        wire, planted = damage(wire, chance), ()
    return Body("otlp", _traces_path(chance), {"Content-Type": JSON}, wire, planted,
        damage="spans as JSON")  # fmt: skip


def _spans(draft: Draft) -> tuple[list[Any], tuple[str, ...]]:
    spans, planted = [], []
    for _ in range(draft.chance.choice((1, 2, 3))):
        if draft.chance.random() < 0.4:
            event_id, span = draft.span(is_good=True)
            planted.append(event_id)
            spans.append(span)
        else:
            spans.append(spoil({"s": draft.span(is_good=False)[1]}, draft.chance, parseable=True))
            spans[-1] = spans[-1].get("s")
    return spans, tuple(planted)


def _traces_path(chance: random.Random) -> str:
    return chance.choice(("/v1/traces", "/api/v1/otlp/v1/traces", "/api/public/otel/v1/traces"))


ODD_ANY_VALUES: Final[tuple[Callable[[], AnyValue], ...]] = (
    AnyValue,
    lambda: AnyValue(bytes_value=b"\x00\xff"),
    lambda: AnyValue(bool_value=True),
    lambda: AnyValue(double_value=float("nan")),
    lambda: AnyValue(double_value=float("inf")),
    lambda: AnyValue(double_value=1e300),
    lambda: AnyValue(double_value=1e-300),
    lambda: AnyValue(int_value=-1),
    lambda: AnyValue(int_value=2**63 - 1),
    lambda: AnyValue(int_value=-(2**63)),
    lambda: AnyValue(string_value="a\x00b"),
    lambda: AnyValue(string_value="x" * 70_000),
    lambda: AnyValue(string_value="{" * 5000),
    lambda: AnyValue(string_value='{"input": 1e999, "output": NaN, "team": "\\ud800"}'),
    lambda: AnyValue(string_value="9" * 5000),
    lambda: AnyValue(string_value="0E+999999999"),
    lambda: AnyValue(string_value=SECRET),
    lambda: AnyValue(kvlist_value=KeyValueList()),
    lambda: AnyValue(array_value=ArrayValue(values=[AnyValue(int_value=1), AnyValue()])),
    lambda: _nested(60),
    lambda: _nested(95),
)


def _nested(depth: int) -> AnyValue:
    value = AnyValue(string_value="deep")
    for _ in range(depth // 2):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    return value


def spans_as_protobuf(draft: Draft) -> Body:
    """Good spans beside some whose attributes are of other types; or a body that is damaged."""
    chance = draft.chance
    request = ExportTraceServiceRequest()
    planted = []
    for _ in range(chance.choice((1, 2, 3))):
        is_good = chance.random() < 0.4
        event_id, span = draft.span(is_good=is_good)
        plain = {key: int(value) if kind == "intValue" else value
            for key, kind, value in SPAN_ATTRIBUTES if kind != "arrayValue"}  # fmt: skip
        one = ExportTraceServiceRequest.FromString(
            protobuf_body(span | {"attributes": plain, "status": {"code": 1}, "events": []})
        )
        made = one.resource_spans[0].scope_spans[0].spans[0]
        if is_good:
            planted.append(event_id)
        else:
            for _ in range(chance.randint(1, 3)):
                place = chance.choice(made.attributes)
                place.value.CopyFrom(chance.choice(ODD_ANY_VALUES)())
            made.start_time_unix_nano = chance.choice((0, 1, 2**64 - 1, made.start_time_unix_nano))
            made.span_id = chance.choice((b"", b"\0" * 8, b"x" * 100, made.span_id))
        request.MergeFrom(one)
    wire = request.SerializeToString()
    if chance.random() < 0.4:
        wire, planted = damage(wire, chance), []
    return Body("otlp", _traces_path(chance), {"Content-Type": PROTOBUF}, wire, tuple(planted),
        damage="spans as protobuf")  # fmt: skip
