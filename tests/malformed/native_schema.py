"""Events that Hypothesis makes from the native schema: each field right, nearly right or wrong."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from apps.usage.adapters.native import NativeEvent, NativeUsage
from tests.malformed.drafts import Body
from tests.malformed.straight import Straight
from tests.malformed.values import dump
from tests.usage.adapters.bodies import JSON

# json.dumps writes these halves of pairs as they are; such a body is not UTF-8.
ANY_TEXT = st.text(max_size=250) | st.text(st.characters(categories=["Cs", "Cc", "Cf"]), max_size=4)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=6,
)
DECIMALS = st.decimals(allow_nan=True, allow_infinity=True).map(str) | st.decimals(
    0, 10**13, places=24
).map(str)


TEXTS = ANY_TEXT | st.text(min_size=195, max_size=205) | st.integers(-1, 2**33)
# By what the field's type says of itself, the first that it says.
NEAR: dict[str, st.SearchStrategy[Any]] = {
    "Decimal": DECIMALS | st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
    "datetime": st.datetimes().map(lambda at: at.isoformat() + "Z") | st.integers(0, 2**33),
    "dict": st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers(), max_size=40),
    "bool": st.booleans(),
    "float": st.floats(0, 1) | st.floats(allow_nan=False, allow_infinity=False),
    "str": TEXTS,
    "int": st.integers(0, 10_000) | st.integers(-1, 2**70),
}


def _near(field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    """Values of about the type that the schema gives this field."""
    text = str(field.type)
    kind = next((kind for kind in NEAR if kind in text), "str")
    return NEAR[kind]


def _fields(struct: type[msgspec.Struct], *but: str) -> dict[str, st.SearchStrategy[Any]]:
    return {
        field.name: _near(field) | ANY_JSON
        for field in msgspec.structs.fields(struct)
        if field.name not in but
    }


USAGES = st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 10**7), "output_tokens": st.integers(0, 10**7)},
    optional=_fields(NativeUsage, "input_tokens", "output_tokens"),
)


def events(now: datetime) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the fields of a native event, most of them near the schema."""
    times = st.integers(-420 * 86_400, 7_200).map(
        lambda seconds: (now + timedelta(seconds=seconds)).isoformat()
    )
    required = {
        "id": st.uuids().map(lambda made: f"made-{made}"),
        "timestamp": times,
        "provider": st.sampled_from(("openai", "anthropic")) | st.text(min_size=1, max_size=200),
        "model": st.sampled_from(("gpt-4o-mini", "none-such")) | st.text(min_size=1, max_size=200),
        "usage": USAGES,
    }
    given_fields = _fields(NativeEvent, *required, "raw_usage")
    return st.fixed_dictionaries(required, optional=given_fields)


def take_generated_events(straight: Straight, count: int) -> None:
    """Take `count` bodies, each with a good row beside one that Hypothesis made."""

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(event=events(straight.now))
    def take(event: dict[str, Any]) -> None:
        good_id = f"good-hypothesis-{uuid.uuid4().hex}"
        good = {"id": good_id, "timestamp": straight.now.isoformat(), "provider": "openai",
            "model": "gpt-4o-mini", "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
        wire = b"[" + dump(event) + b"," + dump(good) + b"]"
        headers = {"Content-Type": JSON}
        body = Body("native", "/api/v1/usage/events", headers, wire, (good_id,), 2, "generated")
        straight.take(-1, body)

    take()
    straight.flush()
