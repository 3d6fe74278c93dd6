"""OTLP trace bodies, protobuf or JSON, as plain spans."""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from apps.usage.adapters.rows import UNREADABLE
from apps.usage.core.events import InvalidUsageError

Attribute = str | int | float | bool | list[str]
Attributes = dict[str, Attribute]
# Whether an attribute of this name is read: all others stay bytes.
IsRead = Callable[[str], bool]

FIRST_TOKEN_EVENTS: Final = frozenset(
    {"First Token Stream Event", "ai.stream.firstChunk", "gen_ai.content.completion.chunk"}
)


class Span(msgspec.Struct, kw_only=True, gc=False):
    """A span with the attributes that are read of it; ids in lower-case hex."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    start_ns: int
    end_ns: int
    is_error: bool
    status_message: str
    scope: str
    attributes: Attributes
    resource: Attributes
    first_token_ns: int | None = None
    exception_type: str | None = None


def read_protobuf(body: bytes, is_read: IsRead) -> Iterator[Span]:
    """Raises InvalidUsageError when the body is not an ExportTraceServiceRequest."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except (DecodeError, RecursionError):
        raise InvalidUsageError(
            "invalid_protobuf", "the body is not an OTLP ExportTraceServiceRequest in protobuf"
        ) from None
    for of_resource in request.resource_spans:
        resource = _plain_attributes(of_resource.resource.attributes, is_read)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield _from_protobuf(span, of_scope.scope.name, resource, is_read)


def _from_protobuf(span: trace_pb2.Span, scope: str, resource: Attributes, is_read: IsRead) -> Span:
    plain = Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex(),
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        is_error=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        status_message=span.status.message,
        scope=scope,
        attributes=_plain_attributes(span.attributes, is_read),
        resource=resource,
    )
    for event in span.events:
        if event.name == "exception":
            kinds = (a.value.string_value for a in event.attributes if a.key == "exception.type")
            plain.exception_type = next(kinds, None)
        elif event.name in FIRST_TOKEN_EVENTS and plain.first_token_ns is None:
            plain.first_token_ns = event.time_unix_nano
    return plain


def _plain_attributes(attributes: Iterable[KeyValue], is_read: IsRead) -> Attributes:
    return {
        attribute.key: value
        for attribute in attributes
        if is_read(attribute.key) and (value := _plain_value(attribute.value)) is not None
    }


def _plain_value(value: AnyValue) -> Attribute | None:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [item.string_value for item in value.array_value.values if item.string_value]
    if kind in ("string_value", "int_value", "double_value", "bool_value"):
        scalar: str | int | float | bool = getattr(value, kind)
        return scalar
    return None


class _JsonArray(msgspec.Struct):
    values: list["_JsonValue"] | None = None


class _JsonValue(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    bool_value: bool | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    array_value: _JsonArray | None = None


class _JsonAttribute(msgspec.Struct):
    key: str
    value: msgspec.Raw = msgspec.Raw(b"null")


class _JsonEvent(msgspec.Struct, rename="camel"):
    name: str = ""
    time_unix_nano: int | str = 0
    attributes: list[_JsonAttribute] | None = None


class _JsonStatus(msgspec.Struct):
    code: int | str | None = None
    message: str | None = None


class _JsonSpan(msgspec.Struct, rename="camel"):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str | None = None
    name: str = ""
    start_time_unix_nano: int | str = 0
    end_time_unix_nano: int | str = 0
    attributes: list[_JsonAttribute] | None = None
    events: list[_JsonEvent] | None = None
    status: _JsonStatus | None = None


class _JsonScope(msgspec.Struct):
    name: str | None = None


class _JsonScopeSpans(msgspec.Struct):
    scope: _JsonScope | None = None
    spans: list[msgspec.Raw] | None = None


class _JsonResource(msgspec.Struct):
    attributes: list[_JsonAttribute] | None = None


class _JsonResourceSpans(msgspec.Struct, rename="camel"):
    resource: _JsonResource | None = None
    scope_spans: list[_JsonScopeSpans] | None = None


class _JsonRequest(msgspec.Struct, rename="camel"):
    resource_spans: list[_JsonResourceSpans] | None = None


_REQUEST: Final = msgspec.json.Decoder(_JsonRequest)
_SPAN: Final = msgspec.json.Decoder(_JsonSpan)
_VALUE: Final[msgspec.json.Decoder[_JsonValue | None]] = msgspec.json.Decoder(_JsonValue | None)


# Halves of surrogate pairs, as JavaScript and Python write a text that was cut within one.
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _without_halves(body: bytes) -> bytes:
    """U+FFFD for each half: a prompt that was cut short must not cost its call, nor others."""
    if not _SURROGATE.search(body):
        return body
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found["half"] else found[0], body)


def read_json(body: bytes, is_read: IsRead) -> Iterator[Span | InvalidUsageError]:
    """Spans; an error stands for each that cannot be read.

    Raises InvalidUsageError when the body is not an ExportTraceServiceRequest.
    """
    try:
        request = _REQUEST.decode(_without_halves(body))
        for of_resource in request.resource_spans or ():
            described = of_resource.resource
            resource = _json_attributes(described.attributes if described else None, is_read)
            for of_scope in of_resource.scope_spans or ():
                scope = (of_scope.scope.name if of_scope.scope else None) or ""
                for raw in of_scope.spans or ():
                    yield _from_json(raw, scope, resource, is_read)
    except UNREADABLE:
        raise InvalidUsageError(
            "invalid_json", "the body is not an OTLP ExportTraceServiceRequest in JSON"
        ) from None


def _from_json(
    raw: msgspec.Raw, scope: str, resource: Attributes, is_read: IsRead
) -> Span | InvalidUsageError:
    try:
        span = _SPAN.decode(raw)
        status = span.status or _JsonStatus()
        plain = Span(
            trace_id=_hex_id(span.trace_id, 16),
            span_id=_hex_id(span.span_id, 8),
            parent_span_id=_hex_id(span.parent_span_id or "", 8),
            name=span.name,
            start_ns=_nanoseconds(span.start_time_unix_nano),
            end_ns=_nanoseconds(span.end_time_unix_nano),
            is_error=status.code in (2, "STATUS_CODE_ERROR"),
            status_message=status.message or "",
            scope=scope,
            attributes=_json_attributes(span.attributes, is_read),
            resource=resource,
        )
        _add_json_events(plain, span.events or [])
    except UNREADABLE:
        return InvalidUsageError("invalid_span", "this span is not as OTLP's JSON encoding has it")
    return plain


def _add_json_events(plain: Span, events: list[_JsonEvent]) -> None:
    for event in events:
        if event.name == "exception":
            kinds = (a.value for a in event.attributes or () if a.key == "exception.type")
            kind = _json_value(next(kinds, msgspec.Raw(b"null")))
            plain.exception_type = kind if isinstance(kind, str) else None
        elif event.name in FIRST_TOKEN_EVENTS and plain.first_token_ns is None:
            plain.first_token_ns = _nanoseconds(event.time_unix_nano)


def _json_attributes(attributes: list[_JsonAttribute] | None, is_read: IsRead) -> Attributes:
    return {
        attribute.key: value
        for attribute in attributes or ()
        if is_read(attribute.key) and (value := _json_value(attribute.value)) is not None
    }


def _json_value(raw: msgspec.Raw) -> Attribute | None:
    value = _VALUE.decode(raw)
    if value is None:
        return None
    if value.array_value is not None:
        return [item.string_value for item in value.array_value.values or () if item.string_value]
    if value.int_value is not None:
        return int(value.int_value)
    if value.double_value is not None:
        return float(value.double_value)
    return value.string_value if value.bool_value is None else value.bool_value


def _nanoseconds(written: int | str) -> int:
    nanoseconds = int(written)
    if not 0 <= nanoseconds < 1 << 64:
        raise ValueError("not a fixed64")
    return nanoseconds


def _hex_id(text: str, size: int) -> str:
    """Hex as OTLP's JSON has it; base64, as plain protobuf JSON would have it, is turned to hex."""
    if len(text) == 2 * size:
        return bytes.fromhex(text).hex()
    try:
        decoded = base64.b64decode(text, validate=True)
    except binascii.Error:
        return ""
    return decoded.hex() if len(decoded) == size else ""
