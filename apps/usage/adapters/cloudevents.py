"""CloudEvents 1.0 over HTTP, as OpenMeter's SDK, its LiteLLM callback and any CloudEvents SDK send.

Three modes: structured (one event as JSON), batch (an array), binary (attributes as `ce-` headers,
data as the body). The identity is the CloudEvent's own: (source, id). What the data says of usage
is read in cloudevents_usage.
"""

import base64
import binascii
from collections.abc import Callable, Mapping, Set
from datetime import datetime
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from apps.usage.adapters import loose
from apps.usage.adapters.cloudevents_usage import read_usage
from apps.usage.adapters.refusals import describe, missing_field
from apps.usage.adapters.rows import JSON_WHITESPACE, UNREADABLE, RowDecoder, parse_rows
from apps.usage.core.attribution import PATH_PREFIXES
from apps.usage.core.events import (
    MAX_ID_LENGTH,
    Door,
    InvalidUsageError,
    Parsed,
    UsageEvent,
)
from apps.usage.core.provider_usage import TokenBuckets

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
PLAIN_JSON: Final = frozenset({"", "application/json", "text/json", "application/x-ndjson"})
ATTRIBUTE_HEADER: Final = "ce-"


class CloudEvent(msgspec.Struct, gc=False):
    """What is wanted of one event. Any type, so that what is wrong is said of its own field."""

    id: Any = None
    source: Any = None
    specversion: Any = None
    type: Any = None
    subject: Any = None
    time: Any = None
    data: Any = None
    data_base64: Any = None


_DECODER: Final = RowDecoder(CloudEvent, id_key="id", lenient=True)
_ATTRIBUTES: Final = ("id", "source", "specversion", "type", "subject", "time")
_JSON: Final = msgspec.json.Decoder()


def parse_cloudevents(
    body: bytes, headers: Mapping[str, str], *, now: datetime, wanted: Set[str] = frozenset()
) -> Parsed:
    """A request's events. `headers` in lower case; `now` dates the events that have no time.

    `wanted`: attributes of the data that mapping rules name, as "data.cost_center".
    Raises InvalidUsageError when the content type is none of the three modes', or the body is not
    JSON; everything else that is wrong is the event's own rejection.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    read = partial(
        parse_rows,
        to_event=partial(_to_event, now=now),
        id_of=_id_of,
        attributes_of=_attributes_reader(wanted) if wanted else None,
    )
    if media_type == BATCH and body.translate(None, JSON_WHITESPACE) == b"[]":
        return Parsed(events=[], indexes=[], rejections=[])
    if media_type in (STRUCTURED, BATCH):
        return read(_DECODER.decode(body))
    if any(name.startswith(ATTRIBUTE_HEADER) for name in headers):
        return read([_from_headers(body, headers, media_type)])
    if media_type not in PLAIN_JSON:
        raise InvalidUsageError(
            "unsupported_media_type",
            f"send {STRUCTURED}, {BATCH}, or application/json with or without ce- headers",
            field="Content-Type",
        )
    return read(_DECODER.decode(body))


def _from_headers(body: bytes, headers: Mapping[str, str], media_type: str) -> CloudEvent:
    """Binary mode. Values are percent-encoded where they are not printable ASCII."""
    if media_type not in PLAIN_JSON and not media_type.endswith("+json"):
        raise InvalidUsageError(
            "unsupported_media_type",
            "the data of a CloudEvent in binary mode must be JSON: application/json",
            field="Content-Type",
        )
    stated = {name: headers.get(ATTRIBUTE_HEADER + name) for name in _ATTRIBUTES}
    attributes = {name: unquote(value) for name, value in stated.items() if value}
    return CloudEvent(**attributes, data=_read_json(body) if body.strip() else None)


def _attributes_reader(wanted: Set[str]) -> Callable[[CloudEvent], dict[str, str]]:
    prefix = PATH_PREFIXES[Door.CLOUDEVENTS]
    paths = {
        name: tuple(name.removeprefix(prefix).split("."))
        for name in wanted
        if name.startswith(prefix)
    }
    return lambda event: loose.texts_at(_data_of(event), paths)


def _id_of(event: CloudEvent) -> str | None:
    return loose.text(event.id, MAX_ID_LENGTH)


def _to_event(event: CloudEvent, *, now: datetime) -> UsageEvent:
    _check_version(event)
    loose.required_text(event.type, field="type")
    said = _data_of(event)
    usage = read_usage(said)
    cost_usd = loose.usd(_first(said, "reported_cost", "cost", "cost_usd"))
    is_used = usage.tokens != TokenBuckets()
    status = loose.text(_first(said, "status", "status_code"))
    return UsageEvent(
        source=loose.required_text(event.source, field="source"),
        event_id=loose.required_text(event.id, field="id", max_length=MAX_ID_LENGTH),
        occurred_at=now if event.time in (None, "") else _moment(event.time),
        provider=usage.provider,
        model=usage.model,
        uncached_input_tokens=usage.tokens.uncached_input_tokens,
        cache_read_tokens=usage.tokens.cache_read_tokens,
        cache_write_5m_tokens=usage.tokens.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.tokens.cache_write_1h_tokens,
        output_tokens=usage.tokens.output_tokens,
        reasoning_tokens=usage.tokens.reasoning_tokens,
        requested_model=loose.text(said.get("requested_model")),
        backend=loose.text(said.get("backend")),
        customer=loose.first_text(event.subject, said.get("customer")),
        department=loose.first_text(*_all(said, "department", "team", "cost_center")),
        user=loose.first_text(*_all(said, "user", "user_id")),
        project=loose.text(said.get("project")),
        environment=loose.text(said.get("environment")),
        task=loose.text(said.get("task")),
        tags=loose.tags(said.get("tags")),
        meters=usage.facts.meters,
        price_context=usage.facts.price_context,
        status=status or "success",
        latency_ms=loose.milliseconds(loose.whole(said.get("latency_ms"))),
        time_to_first_token_ms=loose.milliseconds(loose.whole(said.get("time_to_first_token_ms"))),
        decision_id=loose.text(said.get("decision_id")),
        policy_version=loose.text(said.get("policy_version")),
        revenue_usd=loose.usd(said.get("revenue")),
        reported_cost_usd=None if is_used and not cost_usd else cost_usd,
        door=Door.CLOUDEVENTS,
    )


def _check_version(event: CloudEvent) -> None:
    if event.specversion in (None, ""):
        raise missing_field("specversion")
    version = event.specversion
    if not isinstance(version, str) or not (version == "0.3" or version.startswith("1.")):
        raise InvalidUsageError(
            "unsupported_specversion", "send CloudEvents 1.0", field="specversion"
        )


def _moment(time: object) -> datetime:
    if not isinstance(time, str):
        raise InvalidUsageError(
            "wrong_type", "`time` must be an RFC 3339 time as a string", field="time"
        )
    return loose.moment_from_seconds(time, field="time")


def _data_of(event: CloudEvent) -> Mapping[str, Any]:
    data = event.data
    if data is None and isinstance(event.data_base64, str):
        try:
            data = _read_json(base64.b64decode(event.data_base64, validate=True))
        except binascii.Error:
            raise _not_json("data_base64") from None
    elif isinstance(data, str) and data.lstrip().startswith("{"):
        data = _read_json(data.encode(errors="replace"))  # JSON as text within JSON
    if data is None:
        raise missing_field("data")
    if not isinstance(data, Mapping):
        raise InvalidUsageError(
            "not_llm_usage", "`data` must be an object with `model` and tokens", field="data"
        )
    return data


def _read_json(text: bytes) -> Any:
    try:
        return _JSON.decode(text)
    except RecursionError as error:
        raise describe(error) from None
    except UNREADABLE:
        raise _not_json("data") from None


def _not_json(field: str) -> InvalidUsageError:
    return InvalidUsageError("invalid_json", f"`{field}` is not JSON", field=field)


def _all(said: Mapping[str, Any], *names: str) -> list[Any]:
    return [said.get(name) for name in names]


def _first(said: Mapping[str, Any], *names: str) -> Any:
    return next((said[name] for name in names if said.get(name) not in (None, "")), None)
