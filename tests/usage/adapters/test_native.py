"""The native dialect: every form taken, every fault named, no fault another row's."""

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from apps.usage.adapters.native import parse_native
from apps.usage.core.events import MAX_TOKENS, InvalidUsageError, Rejection, UsageEvent
from tests.usage.adapters.bodies import ANTHROPIC_CALL, ANTHROPIC_USAGE, native_row, tokens_of


def parse_one(**changes: Any) -> UsageEvent:
    parsed = parse_native(json.dumps(native_row(**changes)).encode())
    assert parsed.rejections == []
    return parsed.events[0]


def reject_one(body: bytes) -> Rejection:
    """Of a body whose first row is good: the second row's rejection, and nobody else's."""
    good = json.dumps(native_row(id="good")).encode()
    parsed = parse_native(b"[" + good + b"," + body + b"," + good + b"]")
    assert [event.event_id for event in parsed.events] == ["good", "good"]
    assert parsed.indexes == [0, 2]
    (rejection,) = parsed.rejections
    assert rejection.index == 1
    return rejection


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf", b" \r\n\t", b"\xef\xbb\xbf\n "])
@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\n\n \n"])
def test_one_array_and_ndjson_are_told_apart_by_their_first_byte(
    prefix: bytes, separator: bytes
) -> None:
    rows = [json.dumps(native_row(id=f"e{i}")).encode() for i in range(3)]
    bodies = (separator.join(rows) + separator, b"[" + b",".join(rows) + b"]")
    for body in bodies:
        parsed = parse_native(prefix + body)
        assert [event.event_id for event in parsed.events] == ["e0", "e1", "e2"]
        assert (parsed.indexes, parsed.rejections) == ([0, 1, 2], [])
    assert len(parse_native(prefix + rows[0]).events) == 1


def test_object_over_several_lines_is_one_event() -> None:
    assert len(parse_native(json.dumps(native_row(), indent=2).encode()).events) == 1


def test_every_field_arrives() -> None:
    event = parse_one(
        usage={
            "input_tokens": 1100,
            "output_tokens": 200,
            "cache_read_tokens": 600,
            "cache_write_tokens": 100,
            "cache_write_1h_tokens": 30,
            "reasoning_tokens": 64,
        },
        timestamp="2026-11-20T12:00:00.25+02:00",
        source="edge",
        backend="b",
        requested_model="fast",
        customer="acme",
        department="support",
        user="u",
        project="p",
        environment="prod",
        task="chat",
        tags={"a": "1", "empty": ""},
        status=429,
        latency_ms=12.6,
        time_to_first_token_ms=3,
        decision_id="d",
        policy_version=7,
        revenue="1.50",
        converted=False,
        quality_score=0.5,
        reported_cost=0.000225,
        energy_wh="0.3",
    )
    assert event == UsageEvent(
        source="edge",
        event_id="evt-1",
        occurred_at=datetime(2026, 11, 20, 10, 0, 0, 250_000, UTC),
        provider="openai",
        model="gpt-4o-mini",
        uncached_input_tokens=400,
        cache_read_tokens=600,
        cache_write_5m_tokens=70,
        cache_write_1h_tokens=30,
        output_tokens=200,
        reasoning_tokens=64,
        requested_model="fast",
        backend="b",
        customer="acme",
        department="support",
        user="u",
        project="p",
        environment="prod",
        task="chat",
        tags={"a": "1"},
        status="429",
        latency_ms=13,
        time_to_first_token_ms=3,
        decision_id="d",
        policy_version="7",
        revenue_usd=Decimal("1.50"),
        converted=False,
        quality_score=0.5,
        reported_cost_usd=Decimal("0.000225"),
        energy_wh=Decimal("0.3"),
    )
    assert event.occurred_at.tzinfo is UTC


def test_blank_optional_texts_are_absent() -> None:
    event = parse_one(source="", customer="", department="  ", status="", tags={"a": ""})
    assert (event.source, event.customer, event.department) == ("default", None, None)
    assert (event.status, event.tags) == ("success", None)


def test_one_hour_writes_alone_are_all_the_writes() -> None:
    event = parse_one(usage={"input_tokens": 50, "output_tokens": 0, "cache_write_1h_tokens": 30})
    assert tokens_of(event) == (20, 0, 0, 30, 0, 0)


def test_raw_usage_is_normalised() -> None:
    assert tokens_of(parse_one(usage=None, raw_usage=ANTHROPIC_USAGE)) == ANTHROPIC_CALL


def test_text_beyond_ascii_and_escapes_are_kept() -> None:
    assert parse_one(customer='Müller & "Söhne" 😀').customer == 'Müller & "Söhne" 😀'


def test_amounts_are_kept_to_the_last_digit() -> None:
    cost = Decimal("12345678901234.123456789012345678901234")
    assert parse_one(reported_cost=str(cost)).reported_cost_usd == cost


def usage(**changes: Any) -> dict[str, Any]:
    return {"usage": {"input_tokens": 10, "output_tokens": 5} | changes}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"foo": 1}, "unknown_field", "foo"),
        (usage(foo=1), "unknown_field", "usage.foo"),
        ({"id": None}, "missing_field", "id"),
        ({"timestamp": None}, "missing_field", "timestamp"),
        ({"provider": None}, "missing_field", "provider"),
        ({"model": None}, "missing_field", "model"),
        ({"usage": None}, "missing_field", "usage"),
        ({"usage": {}}, "missing_field", "usage.input_tokens"),
        ({"usage": {"input_tokens": 1}}, "missing_field", "usage.output_tokens"),
        ({"id": ""}, "missing_field", "id"),
        ({"provider": "  "}, "missing_field", "provider"),
        ({"model": ""}, "missing_field", "model"),
        ({"raw_usage": {"prompt_tokens": 1}}, "usage_twice", "raw_usage"),
        ({"usage": None, "raw_usage": {}}, "unknown_usage_shape", "raw_usage"),
        ({"usage": [1]}, "wrong_type", "usage"),
        ({"id": 7}, "wrong_type", "id"),
        ({"customer": ["a"]}, "wrong_type", "customer"),
        ({"tags": {"a": 1}}, "wrong_type", "tags"),
        ({"tags": ["a"]}, "wrong_type", "tags"),
        ({"converted": "yes"}, "wrong_type", "converted"),
        ({"revenue": "much"}, "wrong_type", "revenue"),
        ({"reported_cost": True}, "wrong_type", "reported_cost"),
        ({"timestamp": 1795430161}, "wrong_type", "timestamp"),
        (usage(input_tokens=True), "wrong_type", "usage.input_tokens"),
        (usage(input_tokens=1.5), "wrong_type", "usage.input_tokens"),
        (usage(input_tokens=10.0), "wrong_type", "usage.input_tokens"),
        (usage(input_tokens="10"), "wrong_type", "usage.input_tokens"),
        (usage(output_tokens=-1), "out_of_range", "usage.output_tokens"),
        (usage(output_tokens=MAX_TOKENS + 1), "out_of_range", "usage.output_tokens"),
        (usage(output_tokens=10**30), "out_of_range", "usage.output_tokens"),
        ({"latency_ms": -1}, "out_of_range", "latency_ms"),
        ({"quality_score": 1.01}, "out_of_range", "quality_score"),
        ({"revenue": "-0.01"}, "out_of_range", "revenue"),
        ({"revenue": "NaN"}, "out_of_range", "revenue"),
        ({"reported_cost": "Infinity"}, "out_of_range", "reported_cost"),
        ({"reported_cost": "sNaN"}, "out_of_range", "reported_cost"),
        ({"reported_cost": 10**14}, "out_of_range", "reported_cost"),
        ({"reported_cost": "1e-25"}, "out_of_range", "reported_cost"),
        ({"energy_wh": "1e400"}, "out_of_range", "energy_wh"),
        ({"timestamp": "0001-01-01T00:00:00+05:00"}, "out_of_range", "timestamp"),
        ({"timestamp": "2026-11-20T10:00:00"}, "timestamp_without_zone", "timestamp"),
        ({"timestamp": "2026-11-20"}, "invalid_timestamp", "timestamp"),
        ({"timestamp": "yesterday"}, "invalid_timestamp", "timestamp"),
        ({"id": "x" * 201}, "too_long", "id"),
        ({"model": "x" * 201}, "too_long", "model"),
        ({"tags": {"x" * 201: "a"}}, "too_long", "tags"),
        ({"tags": {"a": "x" * 201}}, "too_long", "tags"),
        ({"tags": {str(i): "a" for i in range(33)}}, "too_many_tags", "tags"),
        ({"tags": {"": "a"}}, "missing_field", "tags"),
        ({"id": "a\x00b"}, "control_character", "id"),
        ({"customer": "a\nb"}, "control_character", "customer"),
        ({"status": "a\x7f"}, "control_character", "status"),
        ({"tags": {"a": "b\x00"}}, "control_character", "tags"),
        ({"tags": {"a\x00": "b"}}, "control_character", "tags"),
        ({"customer": "\ud800"}, "invalid_json", None),
        (usage(cache_read_tokens=11), "cache_exceeds_input", "usage.input_tokens"),
        (
            usage(cache_read_tokens=6, cache_write_tokens=5),
            "cache_exceeds_input",
            "usage.input_tokens",
        ),
        (
            usage(cache_write_tokens=1, cache_write_1h_tokens=2),
            "cache_write_1h_exceeds_cache_write",
            "usage.cache_write_1h_tokens",
        ),
        (usage(reasoning_tokens=6), "reasoning_exceeds_output", "usage.reasoning_tokens"),
    ],
)
def test_a_fault_costs_its_own_row_and_is_named(
    changes: dict[str, Any], code: str, field: str | None
) -> None:
    rejection = reject_one(json.dumps(native_row(**({"id": "bad"} | changes))).encode())
    assert (rejection.code, rejection.field) == (code, field)
    assert rejection.detail
    is_readable = changes.get("id", "bad") == "bad" and "id" not in changes
    if is_readable and code != "invalid_json":
        assert rejection.id == "bad"


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (b"null", "wrong_type"),
        (b"7", "wrong_type"),
        (b'"text"', "wrong_type"),
        (b"[]", "wrong_type"),
        (b"{}", "missing_field"),
        (b'{"id":NaN}', "invalid_json"),
        (b'{"id":"x",}', "invalid_json"),
        (b'{"id":"\xff"}', "invalid_json"),
        (b'{"id":"a\x01b"}', "invalid_json"),
        (b"{'id': 1}", "invalid_json"),
        (
            b'{"id":"x","raw_usage":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}",
            "nested_too_deep",
        ),
    ],
)
def test_a_row_that_is_no_event_costs_itself_only(row: bytes, code: str) -> None:
    assert reject_one(row).code == code


def test_a_control_character_needs_no_escape_to_be_found() -> None:
    body = json.dumps(native_row(customer="a?")).replace("?", "\x7f").encode()
    assert reject_one(body).code == "control_character"


def test_an_id_unfit_to_keep_is_not_repeated() -> None:
    for bad_id in ("a\x00", "x" * 201, 7):
        assert reject_one(json.dumps(native_row(id=bad_id, foo=1)).encode()).id is None


def test_a_cut_off_array_gives_its_whole_rows() -> None:
    rows = json.dumps([native_row(id=f"e{i}") for i in range(3)]).encode()
    parsed = parse_native(rows[:-30])
    assert [event.event_id for event in parsed.events] == ["e0", "e1"]
    assert [(r.index, r.code) for r in parsed.rejections] == [(2, "invalid_json")]


def test_a_bad_line_costs_itself_only() -> None:
    good = json.dumps(native_row()).encode()
    parsed = parse_native(b"\n".join([good, b'{"id": "cut', b"", b"nonsense", good]))
    assert parsed.indexes == [0, 3]
    assert [(r.index, r.code) for r in parsed.rejections] == [
        (1, "invalid_json"),
        (2, "invalid_json"),
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_body"),
        (b" \n", "empty_body"),
        (b"\xef\xbb\xbf", "empty_body"),
        (b"[]", "empty_body"),
        (b"[ ]", "empty_body"),
        (b"[", "invalid_json"),
        (b"[,]", "invalid_json"),
        (b"hello", "invalid_json"),
        (b"7", "invalid_json"),
        (b"null", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"{", "invalid_json"),
        (b"{hello}", "invalid_json"),
        (b"[hello, world]", "invalid_json"),
        (b"\x1f\x8b\x08\x00", "invalid_json"),
        (b"{\xff\xfe", "invalid_json"),
    ],
)
def test_a_body_without_a_row_that_is_json_is_refused_whole(body: bytes, code: str) -> None:
    with pytest.raises(InvalidUsageError) as refused:
        parse_native(body)
    assert refused.value.code == code


def test_no_refusal_repeats_a_value() -> None:
    secret = "my prompt"
    for changes in (
        {"timestamp": secret},
        {"usage": secret},
        {"revenue": secret},
        {"tags": {"a": [secret]}},
        {"customer": secret + "\x00"},
        {"usage": {"input_tokens": secret}},
        {"raw_usage": {"prompt_tokens": secret}, "usage": None},
    ):
        rejection = reject_one(json.dumps(native_row(**changes)).encode())
        assert secret not in rejection.detail


def test_names_of_unknown_fields_are_shown_short_and_printable() -> None:
    long = reject_one(json.dumps(native_row(**{"x" * 500: 1})).encode())
    assert long.field == "x" * 60
    odd = reject_one(json.dumps(native_row(**{"a\n`b`": 1})).encode())
    assert odd.field == "(unprintable)"


def test_any_offset_becomes_utc() -> None:
    for hours in (-12, -3.5, 0, 5.75, 14):
        moment = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=hours)))
        occurred_at = parse_one(timestamp=moment.isoformat()).occurred_at
        assert (occurred_at, occurred_at.tzinfo) == (moment, UTC)


def test_a_score_too_small_for_the_ledger_is_none() -> None:
    assert parse_one(quality_score=1e-300).quality_score == 0
    assert parse_one(quality_score=0.123456).quality_score == 0.123456


@pytest.mark.parametrize("field", ["revenue", "reported_cost", "energy_wh"])
def test_a_zero_of_any_exponent_is_zero(field: str) -> None:
    event = parse_one(**{field: "0E+999999999999"})
    kept = [event.revenue_usd, event.reported_cost_usd, event.energy_wh]
    assert [str(amount) for amount in kept if amount is not None] == ["0"]
