"""For whom a span's call was made: departments, customers, users, tags.

Labels come from the span before the resource: what a request says of itself before what its process
says of all. Their names are compared without case and punctuation: `costCenter` is `cost_center`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from apps.usage.adapters import loose
from apps.usage.adapters import otlp_keys as keys
from apps.usage.adapters.otlp_dialects import json_object, unquoted
from apps.usage.adapters.otlp_spans import Attributes, Span

_DEPARTMENT: Final = ("department", "team", "teamname", "costcenter")
_CUSTOMER: Final = ("customer", "customerid", "customername")
_USER: Final = ("user", "userid", "enduserid")
_PROJECT: Final = ("project", "projectname", "projectid", "openinferenceprojectname")
_ENVIRONMENT: Final = ("environment", "env")
_TASK: Final = ("task",)
# Labels that have a column of their own, or that only the emitter cares for.
_NO_TAGS: Final = frozenset(
    ("department", *_CUSTOMER, *_USER, *_PROJECT, *_ENVIRONMENT, *_TASK, "finishreason")
)
# Default names of services that say nothing of who uses them.
_NAMELESS_SERVICES: Final = ("unknown_service", "litellm", "openrouter")
_PUNCTUATION: Final = re.compile(r"[^a-z0-9]")

Labels = dict[str, tuple[str, object]]


class Attribution(msgspec.Struct, frozen=True, kw_only=True):
    customer: str | None
    department: str | None
    user: str | None
    project: str | None
    environment: str | None
    task: str | None
    tags: dict[str, str] | None


def attribute(span: Span) -> Attribution:
    labels = _labels_of(span)
    said, resource = span.attributes, span.resource
    end_user = _first_of(said, keys.END_USER) or _labelled(labels, _USER)
    is_gateway = keys.LITELLM_CALL_ID in said  # whose own users are the owners of its keys
    service = _service_of(said) or _service_of(resource)
    tag_lists = [value for key in keys.TAG_LISTS if isinstance(value := said.get(key), list)]
    return Attribution(
        customer=_labelled(labels, _CUSTOMER) or end_user,
        department=_labelled(labels, _DEPARTMENT) or service,
        user=_first_of(said, keys.KEY_OWNER) or (None if is_gateway else end_user),
        project=_labelled(labels, _PROJECT) or service,
        environment=_labelled(labels, _ENVIRONMENT)
        or _first_of(said, keys.ENVIRONMENT)
        or _first_of(resource, keys.ENVIRONMENT),
        task=_labelled(labels, _TASK) or _first_of(said, keys.TASK),
        tags=loose.tags(
            *tag_lists,
            {name: value for key, (name, value) in labels.items() if key not in _NO_TAGS},
        ),
    )


def _labels_of(span: Span) -> Labels:
    """By comparable name: the name as written, and the value."""
    labels: Labels = {}
    for key, value in span.attributes.items():
        prefix = next((p for p in keys.LABEL_PREFIXES if key.startswith(p)), None)
        if prefix is not None:
            _add(labels, key.removeprefix(prefix), unquoted(value))
    for key, value in json_object(span.attributes.get(keys.LABELS_AS_JSON)).items():
        _add(labels, key, value)
    for source in (span.attributes, span.resource):
        for key, value in source.items():
            if key in keys.PLAIN_LABELS:
                _add(labels, key, value)
        if (team := _first_of(source, keys.LITELLM_TEAM)) is not None:
            _add(labels, "team", team)
    return labels


def _add(labels: Labels, name: str, value: object) -> None:
    if loose.text(value) is not None:
        labels.setdefault(_PUNCTUATION.sub("", name.lower()), (name, value))


def _labelled(labels: Mapping[str, tuple[str, Any]], names: tuple[str, ...]) -> str | None:
    return next((loose.text(labels[name][1]) for name in names if name in labels), None)


def _first_of(attributes: Attributes, names: tuple[str, ...]) -> str | None:
    return loose.first_text(*(attributes.get(name) for name in names))


def _service_of(attributes: Attributes) -> str | None:
    name = loose.text(attributes.get(keys.SERVICE))
    return None if name is None or name.startswith(_NAMELESS_SERVICES) else name
