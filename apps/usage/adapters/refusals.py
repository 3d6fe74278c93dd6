"""From msgspec's complaints to sentences that tell the caller what to do.

Nothing of a value is ever repeated: it may hold a prompt. Names of unknown fields are, in part.
"""

import re
from typing import Final

import msgspec

from apps.usage.core.events import MAX_ID_LENGTH, InvalidUsageError

MAX_SHOWN_NAME = 60

_PATH: Final = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`\Z")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`\Z", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`\Z")
_TYPE: Final = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`")
_BOUND: Final = re.compile(r"Expected `[^`]*` (?P<sign><=|>=) (?P<limit>-?[0-9.e+]+)\Z")
_LENGTH: Final = re.compile(r"Expected `(?P<what>[^`]*)` of length <= (?P<limit>\d+)")

_TYPE_NAMES: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "datetime": "an RFC 3339 time as a string",
    "decimal": "a decimal number",
    "null": "null",
}


def describe(error: Exception) -> InvalidUsageError:
    """What a row's decoding error means to the caller."""
    if isinstance(error, RecursionError):
        return InvalidUsageError(
            "nested_too_deep", "the event is nested too deep; send a plain usage object"
        )
    if not isinstance(error, msgspec.ValidationError):
        return InvalidUsageError(
            "invalid_json", "this row is not JSON; NaN, cut-off rows and half surrogates are not"
        )
    message = str(error)
    where = _PATH.search(message)
    path = where["path"].removeprefix(".").replace("[...]", "") if where else ""
    complaint = message[: where.start()] if where else message
    return (
        _about_names(complaint, path)
        or _about_bounds(complaint, path)
        or _about_types(complaint, path)
    )


def _about_names(complaint: str, path: str) -> InvalidUsageError | None:
    if unknown := _UNKNOWN.match(complaint):
        field = _join(path, shown_name(unknown["name"]))
        return InvalidUsageError(
            "unknown_field",
            f"`{field}` is not a field of a usage event; remove it or check its spelling",
            field=field,
        )
    if missing := _MISSING.match(complaint):
        field = _join(path, missing["name"])
        return InvalidUsageError("missing_field", f"add `{field}`; it is required", field=field)
    return None


def _about_bounds(complaint: str, path: str) -> InvalidUsageError | None:
    name, field = _named(path)
    if length := _LENGTH.match(complaint):
        if length["what"] == "object":
            code = "too_many_tags" if path == "tags" else "too_many_entries"
            return InvalidUsageError(code, f"send at most {length['limit']} {name}", field=field)
        return InvalidUsageError(
            "too_long", f"{name} must have at most {length['limit']} characters", field=field
        )
    if bound := _BOUND.match(complaint):
        side = "at most" if bound["sign"] == "<=" else "at least"
        return InvalidUsageError(
            "out_of_range", f"{name} must be {side} {bound['limit']}", field=field
        )
    if "out of range" in complaint:
        return InvalidUsageError("out_of_range", f"{name} holds too large a number", field=field)
    return None


def _about_types(complaint: str, path: str) -> InvalidUsageError:
    name, field = _named(path)
    if "RFC3339" in complaint:
        return InvalidUsageError(
            "invalid_timestamp",
            f"{name} must be an RFC 3339 time such as 2026-11-20T10:00:00Z",
            field=field,
        )
    if wrong := _TYPE.match(complaint):
        wanted = " or ".join(
            _TYPE_NAMES.get(kind, kind) for kind in wrong["wanted"].split(" | ") if kind != "null"
        )
        got = _TYPE_NAMES.get(wrong["got"], "another type")
        return InvalidUsageError("wrong_type", f"{name} must be {wanted}, not {got}", field=field)
    return InvalidUsageError("wrong_type", f"{name} is not of the type expected", field=field)


def _named(path: str) -> tuple[str, str | None]:
    return (f"`{path}`", path) if path else ("each event", None)


def missing_field(field: str) -> InvalidUsageError:
    return InvalidUsageError(
        "missing_field", f"add `{field}`; it is required and must not be empty", field=field
    )


def shown_name(name: str) -> str:
    """A field's name as it may be repeated: short, printable, or not at all."""
    return name[:MAX_SHOWN_NAME] if name.isprintable() else "(unprintable)"


def readable_id(raw: bytes, key: str) -> str | None:
    """The id of a row that is otherwise wrong, if it has one worth repeating."""
    try:
        value = msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).get(key)
        text = msgspec.json.decode(value) if value is not None else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    usable = isinstance(text, str) and 0 < len(text) <= MAX_ID_LENGTH and text.isprintable()
    return text if usable else None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
