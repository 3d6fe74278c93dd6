"""From the columns of a table to the fields of a native event. Pure.

A mapping says which column is which field and what is the same in every row. A mapper of it turns
rows into native events as JSON would hold them; the native adapter then judges those, so that a
file is held to the same rules as a body.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from apps.usage.core.import_values import (
    TIMESTAMP_FORMATS,
    CellError,
    Reader,
    TimestampFormat,
    read_amount,
    read_count,
    read_number,
    read_seconds,
    read_status,
    read_text,
    read_truth,
    timestamp_reader,
)

UNCACHED: Final = "usage.uncached_input_tokens"
LATENCY_S: Final = "latency_s"
_TEXTS: Final = (
    "id", "provider", "model", "source", "backend", "requested_model", "customer", "department",
    "user", "project", "environment", "task", "decision_id", "policy_version",
)  # fmt: skip
_COUNTS: Final = (
    "usage.input_tokens", UNCACHED, "usage.cache_read_tokens", "usage.cache_write_tokens",
    "usage.cache_write_1h_tokens", "usage.output_tokens", "usage.reasoning_tokens",
)  # fmt: skip
_READERS: Final[dict[str, Reader]] = {
    **dict.fromkeys(_TEXTS, read_text),
    "status": read_status,
    **dict.fromkeys(_COUNTS, read_count),
    "latency_ms": read_number,
    LATENCY_S: read_seconds,
    "time_to_first_token_ms": read_number,
    "revenue": read_amount,
    "reported_cost": read_amount,
    "energy_wh": read_amount,
    "converted": read_truth,
    "quality_score": read_number,
}
# Fields of which there may be many, by what their names begin with.
_PREFIXES: Final[dict[str, Reader]] = {
    "tags.": read_text,
    "price_context.": read_text,
    "usage.meters.": read_count,
}
FIELDS: Final = ("timestamp", *_READERS)
MAX_COLUMNS: Final = 500
MAX_HEADING: Final = 200
ROW_ID_PREFIX: Final = "row-"


class ImportRefusedError(Exception):
    """An import that cannot be, in a sentence; `field` is the input at fault."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class ColumnMapping(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a file's columns mean. `native`: each row is a native event as it stands.

    `columns`: heading to field; columns not named are left out. `constants`: field to what it is in
    every row whose column says nothing. `zone`: IANA name, for times without one.
    """

    columns: dict[str, str] = msgspec.field(default_factory=dict)
    constants: dict[str, str] = msgspec.field(default_factory=dict)
    timestamp_format: str = "auto"
    zone: str | None = None
    native: bool = False


@dataclass(frozen=True, slots=True)
class RowError:
    """Why a row was not taken: the column or field at fault, and its value where that is short."""

    code: str
    detail: str
    field: str | None = None
    value: str | None = None


def reader_of(name: str) -> Reader | None:
    """How cells of a field are read; None when a native event has no such field."""
    if name in _READERS:
        return _READERS[name]
    return next(
        (
            reader
            for prefix, reader in _PREFIXES.items()
            if len(name) > len(prefix) and name.startswith(prefix)
        ),
        None,
    )


def check_mapping(mapping: ColumnMapping, headings: Sequence[str]) -> None:
    """Raises ImportRefusedError with what is missing, unknown or said twice."""
    if mapping.native:
        return
    known = set(headings)
    for heading, name in mapping.columns.items():
        if heading not in known:
            raise ImportRefusedError(
                f"the file has no column {heading!r}; it has {_named(headings)}", field=name
            )
    for name in (*mapping.columns.values(), *mapping.constants):
        if name != "timestamp" and reader_of(name) is None:
            raise ImportRefusedError(
                f"{name!r} is no field of a usage event; fields are {', '.join(FIELDS)},"
                " tags.NAME, usage.meters.NAME and price_context.NAME",
                field=name,
            )
    _refuse_twice(mapping)
    _refuse_missing(mapping)
    _check_times(mapping)
    _check_constants(mapping)


def _refuse_twice(mapping: ColumnMapping) -> None:
    taken: dict[str, str] = {}
    for heading, name in mapping.columns.items():
        if name in taken:
            raise ImportRefusedError(
                f"columns {taken[name]!r} and {heading!r} are both mapped to {name}; choose one",
                field=name,
            )
        taken[name] = heading
    for one, other in (("usage.input_tokens", UNCACHED), ("latency_ms", LATENCY_S)):
        if one in taken and other in taken:
            raise ImportRefusedError(
                f"map a column to {one} or to {other}, not to both", field=other
            )


def _refuse_missing(mapping: ColumnMapping) -> None:
    given = {*mapping.columns.values(), *mapping.constants}
    if "timestamp" not in mapping.columns.values():
        raise ImportRefusedError("say which column holds the time of the call", field="timestamp")
    if "model" not in given:
        raise ImportRefusedError(
            "say which column names the model, or one model for all rows", field="model"
        )
    if not given & {"usage.input_tokens", UNCACHED}:
        raise ImportRefusedError(
            "say which column counts the input tokens", field="usage.input_tokens"
        )
    if "usage.output_tokens" not in given:
        raise ImportRefusedError(
            "say which column counts the output tokens", field="usage.output_tokens"
        )


def _check_times(mapping: ColumnMapping) -> None:
    if mapping.timestamp_format not in TIMESTAMP_FORMATS:
        raise ImportRefusedError(
            f"the format of times is one of {', '.join(TIMESTAMP_FORMATS)},"
            f" not {mapping.timestamp_format!r}",
            field="timestamp_format",
        )
    if mapping.zone is not None and mapping.zone not in available_timezones():
        raise ImportRefusedError(
            f"{mapping.zone!r} is not an IANA time zone such as Europe/Berlin", field="zone"
        )


def _check_constants(mapping: ColumnMapping) -> None:
    for name, text in mapping.constants.items():
        reader = reader_of(name)
        if name in ("timestamp", "id") or reader is None:
            raise ImportRefusedError(f"{name} cannot be the same in every row", field=name)
        try:
            value = reader(text)
        except CellError as error:
            raise ImportRefusedError(f"{name} {error.detail}", field=name) from error
        if value is None:
            raise ImportRefusedError(f"give {name} a value", field=name)


def _named(headings: Sequence[str]) -> str:
    shown = ", ".join(heading[:40] for heading in headings[:20])
    return shown + (f" and {len(headings) - 20} more" if len(headings) > 20 else "")


@dataclass(frozen=True, slots=True)
class _Column:
    index: int
    heading: str
    path: tuple[str, ...]
    read: Reader


@dataclass(slots=True)
class RowMapper:
    """Rows of one table to native events. `provider_of` names the maker of a model, or ""."""

    mapping: ColumnMapping
    headings: Sequence[str]
    provider_of: Callable[[str], str]
    has_id: bool = field(init=False)
    _columns: list[_Column] = field(init=False)
    _constants: list[tuple[tuple[str, ...], Any]] = field(init=False)
    _heading_of: dict[str, str] = field(init=False)
    _in_order: list[int] = field(init=False)
    _salt: bytes = field(init=False)

    def __post_init__(self) -> None:
        at = {heading: index for index, heading in enumerate(self.headings)}
        times = timestamp_reader(_format_of(self.mapping), _zone_of(self.mapping))
        self._columns = [
            _Column(at[heading], heading, _path(name), reader_of(name) or times)
            for heading, name in self.mapping.columns.items()
        ]
        self._constants = [
            (_path(name), (reader_of(name) or times)(text))
            for name, text in self.mapping.constants.items()
        ]
        self._heading_of = {name: heading for heading, name in self.mapping.columns.items()}
        self.has_id = "id" in self._heading_of
        self._in_order = sorted(range(len(self.headings)), key=lambda index: self.headings[index])
        self._salt = "\0".join(sorted(self.headings)).encode()

    def to_native(self, cells: Sequence[Any]) -> dict[str, Any] | RowError:
        """A native event as JSON would hold it, or what keeps it from being one."""
        event: dict[str, Any] = {}
        for column in self._columns:
            try:
                value = column.read(cells[column.index])
            except CellError as error:
                return RowError(
                    error.code, f"{column.heading!r} {error.detail}", column.heading, error.shown
                )
            if value is not None:
                _set(event, column.path, value)
        for path, value in self._constants:
            _set_default(event, path, value)
        if "provider" not in event and "model" in event:
            provider = self.provider_of(event["model"])
            if not provider:
                return RowError(
                    "missing_field", "names no provider, and its model does not tell", "provider"
                )
            event["provider"] = provider
        return _totalled(event)

    def digest(self, content: Any) -> bytes:
        """16 bytes that rows of the same content share, whatever the order of their columns."""
        if isinstance(content, dict):
            said = b"\2" + msgspec.json.encode(content, order="sorted")
        else:
            cells = "\0".join([_said(content[index]) for index in self._in_order])
            said = self._salt + b"\1" + cells.encode(errors="surrogatepass")
        return hashlib.blake2b(said, digest_size=16).digest()

    def heading_of(self, name: str | None) -> str | None:
        """The column that gave a field; the field itself where none did."""
        return self._heading_of.get(name or "", name)


def row_id(digest: bytes, occurrence: int) -> str:
    """The id of a row that has none: its content, and which of its equals it is, from 0."""
    return f"{ROW_ID_PREFIX}{digest.hex()}-{occurrence}"


def _said(cell: Any) -> str:
    return cell if isinstance(cell, str) else "" if cell is None else str(cell)


def _format_of(mapping: ColumnMapping) -> TimestampFormat:
    return next(form for form in TIMESTAMP_FORMATS if form == mapping.timestamp_format)


def _zone_of(mapping: ColumnMapping) -> ZoneInfo | None:
    return ZoneInfo(mapping.zone) if mapping.zone else None


def _path(name: str) -> tuple[str, ...]:
    """Where a field stands: a prefix's own name may hold dots itself."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return (*prefix.rstrip(".").split("."), name[len(prefix) :])
    return tuple(name.split("."))


def _set(event: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        event = event.setdefault(part, {})
    event[path[-1]] = value


def _set_default(event: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        event = event.setdefault(part, {})
    event.setdefault(path[-1], value)


def _totalled(event: dict[str, Any]) -> dict[str, Any]:
    """Uncached input becomes a total with cache; seconds are milliseconds already."""
    usage = event.get("usage")
    if usage is not None:
        uncached = usage.pop("uncached_input_tokens", None)
        if uncached is not None:
            writes = usage.get("cache_write_tokens", usage.get("cache_write_1h_tokens", 0))
            usage["input_tokens"] = uncached + usage.get("cache_read_tokens", 0) + writes
    if LATENCY_S in event:
        event["latency_ms"] = event.pop(LATENCY_S)
    return event
