"""Values as gateways and exporters send them, made ours.

Their users cannot mend what they send, so what only describes an event is cut to fit rather than
costing the event; what identifies or prices it is refused when unfit.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeGuard

from apps.usage.adapters.refusals import missing_field
from apps.usage.core.events import (
    MAX_NAME_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
    InvalidUsageError,
)

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_MILLISECONDS: Final = 2_147_483_647
MAX_USD: Final = Decimal(10) ** 14
_MAX_NUMBER: Final = 10**15
_USD_STEP: Final = Decimal(10) ** -24

# NUL and its kin cannot be kept, half surrogates cannot be encoded.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
_TAG: Final = re.compile(r"(?P<key>[\w.-]{1,60})[:=] ?(?P<value>\S.*)\Z")
_DIGITS: Final = re.compile(r"\d{1,18}\Z", re.ASCII)


def text(value: object, max_length: int = MAX_NAME_LENGTH) -> str | None:
    """A describing text: cleaned, cut to fit; None when blank or no text at all."""
    if not isinstance(value, str) and not _is_bounded(value):
        return None
    cleaned = _UNFIT.sub(" ", str(value)[: 4 * max_length]).strip()[:max_length]
    return cleaned or None


def first_text(*values: object) -> str | None:
    return next((found for value in values if (found := text(value)) is not None), None)


def texts_at(root: object, paths: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The texts that stand at these paths below a map; what is a list or a map itself is not."""
    found = {}
    for name, steps in paths.items():
        value = root
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        if (shown := text(_spoken(value))) is not None:
            found[name] = shown
    return found


def required_text(value: object, *, field: str, max_length: int = MAX_NAME_LENGTH) -> str:
    """An identifying text. Raises InvalidUsageError when blank, unfit or too long."""
    if not isinstance(value, str) or not value.strip():
        raise missing_field(field)
    if _UNFIT.search(value):
        raise InvalidUsageError(
            "control_character",
            f"`{field}` holds a control character; send plain text on one line",
            field=field,
        )
    if len(value) > max_length:
        raise InvalidUsageError(
            "too_long", f"`{field}` must have at most {max_length} characters", field=field
        )
    return value


def whole(value: object) -> object:
    """1000.0 and "1000" as 1000; anything else as it is."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and _DIGITS.match(value):
        return int(value)
    return value


def whole_counts(usage: Mapping[str, Any], depth: int = 3) -> dict[str, Any]:
    """A usage object with its counts as integers, however they were written."""
    return {
        key: whole_counts(value, depth - 1) if isinstance(value, dict) and depth else whole(value)
        for key, value in usage.items()
    }


def usd(value: object) -> Decimal | None:
    """A cost that a client computed, usually in floats; None when it is no amount of money."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        amount = Decimal(repr(value) if isinstance(value, float) else value)
        if not amount.is_finite() or not 0 <= amount < MAX_USD:
            return None
        exponent = amount.as_tuple().exponent
        if isinstance(exponent, int) and exponent < -24:
            amount = amount.quantize(_USD_STEP)
        elif not amount and isinstance(exponent, int) and exponent > 0:
            amount = Decimal(0)  # a zero may have any exponent, and PostgreSQL's numeric has not
    except (InvalidOperation, ValueError):
        return None
    return amount.copy_abs()


def milliseconds(value: object) -> int | None:
    """Rounded; None when negative, not finite or absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(value) if 0 <= value <= MAX_MILLISECONDS else None


def milliseconds_from_seconds(value: object) -> int | None:
    return milliseconds(value * 1000) if _is_bounded(value) else None


def milliseconds_between(start: object, end: object) -> int | None:
    """From Unix seconds to Unix seconds."""
    if _is_bounded(start) and _is_bounded(end):
        return milliseconds((end - start) * 1000)
    return None


def _is_bounded(value: object) -> TypeGuard[int | float]:
    """A number that arithmetic on floats can take."""
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MAX_NUMBER
    )


def moment_from_nanoseconds(nanoseconds: int, *, field: str) -> datetime:
    try:
        return EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        raise _not_a_time(field) from None


def moment_from_seconds(value: object, *, field: str) -> datetime:
    """Unix seconds, or an RFC 3339 time as a string."""
    value = whole(value)
    if isinstance(value, str) and value:
        try:
            parsed = datetime.fromisoformat(value)
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise _not_a_time(field) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
        raise missing_field(field)
    try:
        return EPOCH + timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise _not_a_time(field) from None


def tags(*sources: object) -> dict[str, str] | None:
    """One map of tags from maps and lists; the first to name a tag wins, the rest over MAX_TAGS go.

    In a list, "team:search" and "team=search" are a tag with a value, "batch" is batch=true.
    """
    found: dict[str, str] = {}
    for source in sources:
        for key, value in _tag_pairs(source):
            name, shown = text(key, MAX_TAG_LENGTH), text(value, MAX_TAG_LENGTH)
            if name and shown and len(found) < MAX_TAGS:
                found.setdefault(name, shown)
    return found or None


def _tag_pairs(source: object) -> list[tuple[object, object]]:
    if isinstance(source, Mapping):
        return [(key, _spoken(value)) for key, value in source.items()]
    if not isinstance(source, list):
        return []
    pairs: list[tuple[object, object]] = []
    for item in source:
        split = _TAG.match(item) if isinstance(item, str) else None
        pairs.append((split["key"], split["value"]) if split else (item, "true"))
    return pairs


def _spoken(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


_ROUTES: Final = ("converse/", "converse_like/", "invoke/", "responses/")
# Names that one maker alone gives its models, for clients that do not say who was called.
_MAKERS: Final = tuple(
    (re.compile(names), maker)
    for maker, names in {
        "openai": r"(ft:)?(gpt-|chatgpt-|o[134](-|\Z)|text-embedding-|dall-e-|whisper-)",
        "anthropic": r"claude-",
        "google": r"(models/)?gemini-",
        "mistral": r"(open-)?(mistral|ministral|mixtral|codestral|magistral|devstral|pixtral)-",
        "cohere": r"command-|embed-(english|multilingual|v)",
        "deepseek": r"deepseek-(chat|reasoner)",
        "x-ai": r"grok-",
    }.items()
)
UNKNOWN_PROVIDER: Final = "unknown"


def bare_model(model: str, provider: str) -> str:
    """A model's name without the "provider/" (and route) that gateways put before it."""
    prefix, slash, rest = model.partition("/")
    if not slash or not rest or prefix.casefold() != provider.casefold():
        return model
    return next((rest.removeprefix(r) for r in _ROUTES if rest.startswith(r)), rest)


def provider_of_model(model: str) -> str:
    """Who makes a model of this name, where only one maker does."""
    name = model.lower()
    return next((maker for names, maker in _MAKERS if names.match(name)), UNKNOWN_PROVIDER)


def _not_a_time(field: str) -> InvalidUsageError:
    return InvalidUsageError("out_of_range", f"`{field}` is not a time that can be", field=field)
