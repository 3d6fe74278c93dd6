"""Bodies made of rows: one object, an array, or NDJSON, told apart by their first byte.

A good body is decoded in one go. Only when that fails is it taken apart, so that a bad row costs
nobody but itself.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from apps.usage.adapters.refusals import describe, readable_id
from apps.usage.core.events import InvalidUsageError, Parsed, Rejection, UsageEvent

Row = TypeVar("Row", bound=msgspec.Struct)

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
JSON_WHITESPACE = b" \t\r\n"
# What msgspec raises for bytes that are not JSON; a ValidationError is a DecodeError.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)


class BadRow(NamedTuple):
    """A row that could not be read, why, and its id where that could be."""

    error: InvalidUsageError
    id: str | None


class RowDecoder(Generic[Row]):
    """Reads bodies whose rows are of `row_type`.

    `lenient` also takes what Python's json module writes and JSON forbids: NaN, halves of
    surrogate pairs. Both come from clients that pass on whatever the model said.
    """

    def __init__(self, row_type: type[Row], *, id_key: str, lenient: bool = False) -> None:
        self._row_type = row_type
        self._id_key = id_key
        self._lenient = lenient
        self._one = msgspec.json.Decoder(row_type)
        self._many = msgspec.json.Decoder(list[row_type])  # type: ignore[valid-type]

    def decode(self, body: bytes) -> list[Row | BadRow]:
        """The rows in order. Raises InvalidUsageError when no row is JSON, or there is none."""
        body = body.removeprefix(BYTE_ORDER_MARK).strip(JSON_WHITESPACE)
        if not body:
            raise InvalidUsageError("empty_body", "the body is empty; send at least one event")
        if body[0] not in b"[{":
            raise InvalidUsageError(
                "invalid_json",
                "the body is not JSON: send one object, an array of objects, or one object a line",
            )
        try:
            rows = self._many.decode(body) if body[0] == b"["[0] else self._one.decode_lines(body)
        except UNREADABLE:
            return self._decode_apart(body)
        if not rows:
            raise InvalidUsageError("empty_body", "the array is empty; send at least one event")
        return [*rows]

    def _decode_apart(self, body: bytes) -> list[Row | BadRow]:
        rows = [self._decode_row(raw) for raw in take_apart(body)]
        errors = [row.error for row in rows if isinstance(row, BadRow)]
        if len(errors) == len(rows) and all(error.code == "invalid_json" for error in errors):
            raise InvalidUsageError("invalid_json", "no row of the body is JSON; nothing was taken")
        return rows

    def _decode_row(self, raw: bytes) -> Row | BadRow:
        try:
            return self._one.decode(raw)
        except msgspec.ValidationError as error:
            return BadRow(describe(error), readable_id(raw, self._id_key))
        except UNREADABLE as error:
            return self._decode_python_json(raw) or BadRow(
                describe(error), readable_id(raw, self._id_key)
            )

    def _decode_python_json(self, raw: bytes) -> Row | None:
        if not self._lenient:
            return None
        try:
            return msgspec.convert(json.loads(raw), self._row_type)
        except UNREADABLE:
            return None


def take_apart(body: bytes) -> list[bytes]:
    """The rows of a body, each as its own bytes, whether or not they are JSON."""
    if body[0] == b"{"[0]:
        lines = [line.strip(JSON_WHITESPACE) for line in body.split(b"\n")]
        return [body] if _is_json(body) else [line for line in lines if line]
    try:
        return [bytes(raw) for raw in _RAW_ROWS.decode(body)]
    except UNREADABLE:
        return list(_split_array(body))


_RAW_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_RAW = msgspec.json.Decoder(msgspec.Raw)
# Strings (the last may lack its end), and what opens, closes and separates outside of them.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|[\[\]{},]', re.DOTALL)


def _is_json(body: bytes) -> bool:
    try:
        _RAW.decode(body)
    except UNREADABLE:
        return False
    return True


def _split_array(body: bytes) -> Iterator[bytes]:
    """Elements of an array by its brackets alone: it need not be JSON, nor end."""
    depth, start = 0, 1
    for token in _TOKEN.finditer(body):
        mark = token.group()
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
        if depth == 0 or (depth == 1 and mark == b","):
            if element := body[start : token.start()].strip(JSON_WHITESPACE):
                yield element
            start = token.end()
        if depth == 0:
            break
    if rest := body[start:].strip(JSON_WHITESPACE):
        yield rest


def parse_rows(
    rows: list[Row | BadRow],
    to_event: Callable[[Row], UsageEvent],
    id_of: Callable[[Row], Any],
    attributes_of: Callable[[Row], dict[str, str]] | None = None,
) -> Parsed:
    """Each row as an event with its index, or as a rejection."""
    if attributes_of is None and BadRow not in map(type, rows):
        with suppress(InvalidUsageError):
            events = [to_event(row) for row in rows]  # type: ignore[arg-type]
            return Parsed(events=events, indexes=[*range(len(rows))], rejections=[])
    said: list[dict[str, str]] | None = None if attributes_of is None else []
    parsed = Parsed(events=[], indexes=[], rejections=[], attributes=said)
    for index, row in enumerate(rows):
        if isinstance(row, BadRow):
            parsed.rejections.append(reject(index, row.error, row.id))
            continue
        try:
            parsed.events.append(to_event(row))
            parsed.indexes.append(index)
            if said is not None and attributes_of is not None:
                said.append(attributes_of(row))
        except InvalidUsageError as error:
            parsed.rejections.append(reject(index, error, id_of(row)))
    return parsed


def reject(index: int, error: InvalidUsageError, event_id: object) -> Rejection:
    return Rejection(
        index=index,
        id=event_id if isinstance(event_id, str) else None,
        code=error.code,
        detail=error.detail,
        field=error.field,
    )
