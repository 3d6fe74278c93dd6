"""What columns mean: known exports, guesses, cells as values, and mappings that cannot be."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from apps.usage.core.import_headings import KNOWN_EXPORTS, guess_mapping, is_native
from apps.usage.core.import_mapping import (
    FIELDS,
    ColumnMapping,
    ImportRefusedError,
    RowError,
    RowMapper,
    check_mapping,
    reader_of,
    row_id,
)
from apps.usage.core.import_values import (
    CellError,
    read_amount,
    read_count,
    read_number,
    read_seconds,
    read_status,
    read_text,
    read_truth,
    timestamp_reader,
)

BERLIN = ZoneInfo("Europe/Berlin")
# As LiteLLM's table, OpenAI's usage API, Langfuse's and Helicone's exports name them.
HEADINGS = {
    "LiteLLM spend logs": (
        "request_id,call_type,api_key,spend,total_tokens,prompt_tokens,completion_tokens,startTime,"
        "endTime,request_duration_ms,completionStartTime,model,model_id,model_group,"
        "custom_llm_provider,api_base,user,metadata,cache_hit,cache_key,request_tags,team_id,"
        "organization_id,end_user,requester_ip_address,messages,response,session_id,status"
    ),
    "OpenAI usage": (
        "start_time,end_time,input_tokens,output_tokens,input_cached_tokens,input_audio_tokens,"
        "output_audio_tokens,num_model_requests,project_id,user_id,api_key_id,model,batch"
    ),
    "Langfuse observations": (
        "id,trace_id,start_time,end_time,name,provided_model_name,usage_details.input,"
        "usage_details.output,usage_details.input_cached_tokens,total_cost,user_id,latency"
    ),
    "Helicone requests": (
        "response_id,response_created_at,response_status,request_created_at,request_body,"
        "request_properties,request_user_id,model,prompt_tokens,completion_tokens,latency,cost"
    ),
}


@pytest.mark.parametrize("name", HEADINGS)
def test_a_known_export_is_known_by_its_headings_and_can_be_imported_as_guessed(name: str) -> None:
    headings = HEADINGS[name].split(",")
    guess = guess_mapping(headings)
    assert guess.export == name
    check_mapping(guess.mapping, headings)
    (known,) = (export for export in KNOWN_EXPORTS if export.name == name)
    assert all(reader_of(field) or field == "timestamp" for field in known.columns.values())


def test_a_row_of_spend_logs_becomes_the_call_it_was() -> None:
    headings = ["request_id", "startTime", "custom_llm_provider", "model", "prompt_tokens",
                "completion_tokens", "spend", "end_user", "team_id", "status"]  # fmt: skip
    cells = ["chatcmpl-1", "2026-10-01 10:00:00.123", "openai", "gpt-4o", "12", "5", "1.5e-05",
             "acme", "", "success"]  # fmt: skip
    mapper = RowMapper(guess_mapping(headings).mapping, headings, lambda _: "")
    assert mapper.to_native(cells) == {
        "id": "chatcmpl-1",
        "timestamp": "2026-10-01T10:00:00.123000+00:00",
        "provider": "openai",
        "model": "gpt-4o",
        "usage": {"input_tokens": 12, "output_tokens": 5},
        "reported_cost": "0.000015",
        "customer": "acme",
        "status": "success",
        "source": "litellm-spend-logs",
    }


def test_our_own_names_win_over_others_and_no_field_is_guessed_twice() -> None:
    guess = guess_mapping(
        ["created_at", "Timestamp", "Model Name", "prompt_tokens", "output_tokens"]
    )
    assert (
        guess.mapping.columns
        == {
            "Timestamp": "timestamp",
            "Model Name": "model",
            "prompt_tokens": "usage.input_tokens",
            "output_tokens": "usage.output_tokens",
        }
        or list(guess.mapping.columns.values()).count("timestamp") == 1
    )
    every = guess_mapping(list(FIELDS))
    fields = list(every.mapping.columns.values())
    assert len(fields) == len(set(fields)) == len(FIELDS) - 2


def test_input_without_cache_becomes_a_total_with_it() -> None:
    headings = ["t", "m", "in", "read", "write", "out"]
    mapping = ColumnMapping(
        columns={
            "t": "timestamp",
            "m": "model",
            "in": "usage.uncached_input_tokens",
            "read": "usage.cache_read_tokens",
            "write": "usage.cache_write_tokens",
            "out": "usage.output_tokens",
        }
    )
    check_mapping(mapping, headings)
    mapper = RowMapper(mapping, headings, {"claude-x": "anthropic"}.get)  # type: ignore[arg-type]
    event = mapper.to_native(["1780000000", "claude-x", "10", "600", "", "5"])
    assert isinstance(event, dict)
    assert event["usage"] == {"input_tokens": 610, "cache_read_tokens": 600, "output_tokens": 5}
    assert event["provider"] == "anthropic"
    nameless = RowMapper(mapping, headings, lambda _: "").to_native(
        ["1780000000", "x", "1", "", "", ""]
    )
    assert isinstance(nameless, RowError)
    assert nameless.field == "provider"


COLUMNS = {"t": "timestamp", "m": "model", "i": "usage.input_tokens", "o": "usage.output_tokens"}


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"columns": COLUMNS | {"x": "user"}}, "user", "has no column 'x'; it has t, m, i, o, u"),
        ({"columns": COLUMNS | {"u": "usr"}}, "usr", "'usr' is no field"),
        ({"columns": COLUMNS | {"u": "tags."}}, "tags.", "is no field"),
        ({"columns": COLUMNS | {"u": "model"}}, "model", "'m' and 'u' are both mapped to model"),
        ({"columns": COLUMNS | {"u": "usage.uncached_input_tokens"}},
         "usage.uncached_input_tokens", "not to both"),
        ({"columns": {"m": "model"}}, "timestamp", "which column holds the time"),
        ({"columns": {"t": "timestamp"}}, "model", "which column names the model"),
        ({"columns": COLUMNS, "zone": "Mars/Base"}, "zone", "not an IANA time zone"),
        ({"columns": COLUMNS, "timestamp_format": "unix"}, "timestamp_format", "not 'unix'"),
        ({"columns": COLUMNS, "constants": {"id": "x"}}, "id", "cannot be the same in every row"),
        ({"columns": COLUMNS, "constants": {"latency_ms": "1,5"}}, "latency_ms", "holds a comma"),
        ({"columns": COLUMNS, "constants": {"user": " "}}, "user", "give user a value"),
    ],
)  # fmt: skip
def test_a_mapping_that_cannot_be_says_why(
    changes: dict[str, Any], field: str, sentence: str
) -> None:
    with pytest.raises(ImportRefusedError, match=sentence) as refused:
        check_mapping(ColumnMapping(**changes), ["t", "m", "i", "o", "u"])
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("read", "cell", "value"),
    [
        (read_count, "1200", 1200), (read_count, "12.0", 12), (read_count, 12.0, 12),
        (read_count, "", None), (read_count, "NaN", None), (read_count, float("nan"), None),
        (read_count, Decimal(7), 7),
        (read_amount, "1.5e-05", "0.000015"), (read_amount, "$0.10", "0.10"),
        (read_amount, 0.1, "0.1"), (read_amount, Decimal("0.10"), "0.10"),
        (read_number, "12.5", 12.5), (read_seconds, "1.2345", 1234.5),
        (read_text, " a ", "a"), (read_text, "NULL", None), (read_text, "None", "None"),
        (read_text, 12.0, "12"), (read_text, True, "true"),
        (read_status, "200", "success"), (read_status, 429, "429"), (read_status, "OK", "success"),
        (read_truth, "Yes", True), (read_truth, 0, False), (read_truth, "", None),
    ],
)  # fmt: skip
def test_cells_are_read_as_what_they_say(read: Any, cell: Any, value: Any) -> None:
    found = read(cell)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("read", "cell", "code"),
    [
        (read_count, "1,200", "comma_in_number"), (read_count, "1.200,5", "comma_in_number"),
        (read_count, "-1", "not_a_number"), (read_count, "1.5", "not_a_number"),
        (read_count, True, "not_a_number"), (read_count, "1_000", "not_a_number"),
        (read_count, "１２", "not_a_number"), (read_count, 1.5, "not_a_number"),
        (read_amount, "0,5", "comma_in_number"), (read_amount, "1e999", "not_a_number"),
        (read_amount, float("inf"), "not_a_number"), (read_truth, "maybe", "wrong_type"),
        (read_text, {"a": 1}, "wrong_type"),
    ],
)  # fmt: skip
def test_cells_that_could_mean_two_things_are_refused(read: Any, cell: Any, code: str) -> None:
    with pytest.raises(CellError) as refused:
        read(cell)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("form", "zone", "cell", "iso"),
    [
        ("auto", None, "2026-10-01T10:00:00Z", "2026-10-01T10:00:00+00:00"),
        ("auto", None, "2026-10-01 10:00:00.5 UTC", "2026-10-01T10:00:00.500000+00:00"),
        ("auto", None, "2026-10-01T10:00:00+05:45", "2026-10-01T04:15:00+00:00"),
        ("auto", BERLIN, "2026-10-01 10:00:00", "2026-10-01T08:00:00+00:00"),
        ("auto", BERLIN, "2026-10-25 02:30:00", "2026-10-25T00:30:00+00:00"),
        ("auto", BERLIN, "2026-10-01", "2026-09-30T22:00:00+00:00"),
        ("auto", BERLIN, date(2026, 10, 1), "2026-09-30T22:00:00+00:00"),
        ("auto", None, "1780000000", "2026-05-28T20:26:40+00:00"),
        ("auto", None, 1780000000.25, "2026-05-28T20:26:40.250000+00:00"),
        ("auto", None, "1780000000123", "2026-05-28T20:26:40.123000+00:00"),
        ("auto", None, 1780000000123456, "2026-05-28T20:26:40.123456+00:00"),
        ("epoch_s", None, "1000", "1970-01-01T00:16:40+00:00"),
        ("epoch_ms", None, "1000", "1970-01-01T00:00:01+00:00"),
        ("auto", None, datetime(2026, 10, 1, tzinfo=UTC), "2026-10-01T00:00:00+00:00"),
    ],
)
def test_times_are_read_in_each_format(form: Any, zone: Any, cell: Any, iso: str) -> None:
    assert timestamp_reader(form, zone)(cell) == iso


@pytest.mark.parametrize(
    ("form", "cell", "code"),
    [
        ("auto", "2026-10-01 10:00:00", "timestamp_without_zone"),
        ("auto", datetime(2026, 10, 1), "timestamp_without_zone"),  # noqa: DTZ001
        ("auto", "01.10.2026 10:00", "invalid_timestamp"),
        ("auto", "20261001", "invalid_timestamp"),
        ("epoch_s", "2026-10-01", "invalid_timestamp"),
        ("auto", 10**40, "invalid_timestamp"),
        ("epoch_s", "9" * 30, "invalid_timestamp"),
    ],
)
def test_times_that_are_none_are_refused(form: Any, cell: Any, code: str) -> None:
    with pytest.raises(CellError) as refused:
        timestamp_reader(form, None)(cell)
    assert refused.value.code == code


def test_an_error_repeats_no_words() -> None:
    with pytest.raises(CellError) as refused:
        read_count("tell me a secret")
    assert refused.value.shown is None
    with pytest.raises(CellError) as refused:
        read_count("12x")
    assert refused.value.shown == "12x"


def test_content_is_known_whatever_the_order_of_its_columns() -> None:
    mapping = ColumnMapping(columns=COLUMNS)
    one = RowMapper(mapping, ["t", "m", "i", "o"], lambda _: "")
    other = RowMapper(mapping, ["o", "i", "m", "t"], lambda _: "")
    assert one.digest(["1", "2", "3", "4"]) == other.digest(["4", "3", "2", "1"])
    assert one.digest(["1", "2", "3", "4"]) != one.digest(["1", "2", "4", "3"])
    assert one.digest({"a": 1, "b": 2}) == one.digest({"b": 2, "a": 1})
    assert row_id(b"\x01" * 16, 2) == "row-" + "01" * 16 + "-2"


def test_native_events_are_told_from_other_objects() -> None:
    event = {"id": "1", "timestamp": "t", "provider": "p", "model": "m", "usage": {}}
    assert is_native([event])
    assert not is_native([event, {"id": "2"}])
    assert not is_native([event | {"usage": 5}])
    assert not is_native([])
