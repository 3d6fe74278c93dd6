"""The doors beside the native one: what each answers, and that one call counts once through all."""

import gzip
import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.usage.adapters.cloudevents import BATCH, STRUCTURED
from apps.usage.selectors import SpendQuery, SpendRow, read_spend
from tests.conftest import Key, native_event, roll_up
from tests.usage.adapters.bodies import (
    JSON,
    OPENAI_USAGE,
    PROTOBUF,
    json_body,
    protobuf_body,
    span,
)

CALL_COST_USD = Decimal("0.000225")
WITHOUT_CACHE_SPLIT_USD = Decimal("0.00027")


def spend_of(key: Key) -> SpendRow:
    roll_up(key.identity.tenant_id)
    now = datetime.now(UTC)
    with tenant_scope(key.identity.tenant_id):
        total: SpendRow = read_spend(
            SpendQuery(now - timedelta(days=399), now + timedelta(days=1))
        ).total
    return total


def cloudevent(**changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "//checkout-api",
        "type": "llm.usage",
        "subject": "cust-42",
        "time": datetime.now(UTC).isoformat(),
        "data": {
            "provider": "openai",
            "model": "gpt-4o-mini",
            "input_tokens": 1000,
            "cache_read_input_tokens": 600,
            "output_tokens": 200,
            "reasoning_tokens": 64,
        },
    } | changes


def post(
    client: Client, key: Key | None, path: str, body: Any, content_type: str, **headers: str
) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    known = key.headers if key else {}
    return client.post(path, data, content_type=content_type, headers=known | headers)


def post_cloudevents(client: Client, key: Key | None, body: Any, content_type: str) -> Any:
    return post(client, key, "/api/v1/events", body, content_type)


def test_every_mode_of_cloudevents_is_taken_once(client: Client, key: Key) -> None:
    one, batch, plain = cloudevent(), [cloudevent(), cloudevent()], [cloudevent()]
    binary = cloudevent()
    headers = {f"ce-{name}": value for name, value in binary.items() if name != "data"}
    for _ in range(2):
        for body, content_type in ((one, STRUCTURED), (batch, BATCH), (plain, JSON)):
            response = post_cloudevents(client, key, body, content_type)
            assert (response.status_code, response.content) == (204, b"")
        response = post(client, key, "/api/v1/events", binary["data"], JSON, **headers)
        assert (response.status_code, response.content) == (204, b"")
        zipped = gzip.compress(json.dumps(one).encode())
        again = {"Content-Encoding": "gzip"}
        assert post(client, key, "/api/v1/events", zipped, STRUCTURED, **again).status_code == 204
    total = spend_of(key)
    assert (total.requests, total.cost_usd) == (5, 5 * CALL_COST_USD)


def test_openmeters_events_of_one_token_type_each_add_up(client: Client, key: Key) -> None:
    for kind, tokens in (("input", "1000"), ("output", "200")):
        data = {"tokens": tokens, "model": "gpt-4o-mini", "type": kind}
        event = cloudevent(type="prompt", data=data)
        assert post_cloudevents(client, key, event, STRUCTURED).status_code == 204
    total = spend_of(key)
    assert (total.input_tokens, total.output_tokens) == (1000, 200)
    assert (total.requests, total.cost_usd) == (2, WITHOUT_CACHE_SPLIT_USD)


def test_litellms_openmeter_callback_is_priced_without_a_cache_split(
    client: Client, key: Key
) -> None:
    data = {"model": "gpt-4o-mini", "cost": 0.000225, "prompt_tokens": 1000}
    event = cloudevent(data=data | {"completion_tokens": 200, "total_tokens": 1200})
    assert post_cloudevents(client, key, event, STRUCTURED).status_code == 204
    assert spend_of(key).cost_usd == WITHOUT_CACHE_SPLIT_USD


def test_refused_cloudevents_are_told_in_headers_and_cost_no_good_one(
    client: Client, key: Key, caplog: pytest.LogCaptureFixture
) -> None:
    body = [cloudevent(), cloudevent(data={"order": "a secret"}), cloudevent()]
    response = post_cloudevents(client, key, body, BATCH)
    assert (response.status_code, response.content) == (204, b"")
    assert "Content-Type" not in response
    assert response["Costboard-Accepted"] == "2"
    assert response["Costboard-Rejected"] == "1"
    assert response["Costboard-Rejections"] == "1 not_llm_usage"
    assert "2 taken, 0 duplicates, 1 refused: 1 not_llm_usage" in caplog.text
    assert "secret" not in caplog.text
    assert spend_of(key).requests == 2


@pytest.mark.parametrize(
    ("body", "content_type", "refusal"),
    [
        ([cloudevent(data={"order": 1})], BATCH, (422, "no_row_accepted")),
        (b"{", STRUCTURED, (400, "invalid_json")),
        (b"", STRUCTURED, (400, "empty_body")),
        (b"x", "application/cloudevents+avro", (415, "unsupported_media_type")),
        ([{}] * 10_001, BATCH, (413, "too_many_rows")),
    ],
)
def test_cloudevents_refused_whole_are_a_problem(
    client: Client, key: Key, body: Any, content_type: str, refusal: tuple[int, str]
) -> None:
    response = post_cloudevents(client, key, body, content_type)
    assert (response.status_code, response.json()["code"]) == refusal
    assert response["Content-Type"] == "application/problem+json"


def test_an_empty_batch_is_nothing_to_do(client: Client, key: Key) -> None:
    assert post_cloudevents(client, key, [], BATCH).status_code == 204


def litellm_call(call_id: str) -> dict[str, Any]:
    return {
        "litellm_call_id": call_id,
        "status": "success",
        "custom_llm_provider": "openai",
        "startTime": datetime.now(UTC).timestamp(),
        "model": "gpt-4o-mini",
        "response": {"model": "gpt-4o-mini-2024-07-18"},
        "metadata": {"usage_object": OPENAI_USAGE},
    }


def litellm_span(call_id: str, **attributes: Any) -> bytes:
    return json_body(
        span(
            startTimeUnixNano=str(int(datetime.now(UTC).timestamp() * 1e9)),
            attributes={
                "litellm.call_id": call_id,
                "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-4o-mini",
                "gen_ai.usage.input_tokens": 1000,
                "gen_ai.usage.output_tokens": 200,
            }
            | attributes,
        )
    )


def test_litellms_two_spans_of_a_call_sent_apart_count_once_and_contradict_nothing(
    client: Client, key: Key
) -> None:
    call_id = uuid.uuid4().hex
    of_the_call = litellm_span(call_id)
    of_the_proxy = litellm_span(call_id, **{"litellm.team.alias": "Payments"})
    for body in (of_the_call, of_the_proxy, of_the_proxy, of_the_call):
        assert post(client, key, "/v1/traces", body, JSON).json() == {}
    total = spend_of(key)
    assert (total.requests, total.cost_usd) == (1, WITHOUT_CACHE_SPLIT_USD)


@pytest.mark.parametrize("callback_first", [True, False])
def test_one_call_of_two_doors_counts_once_and_the_first_stands(
    client: Client, key: Key, callback_first: bool
) -> None:
    call_id = uuid.uuid4().hex
    callback, traces = [litellm_call(call_id)], litellm_span(call_id)
    for is_callback in (callback_first, not callback_first):
        if is_callback:
            response = post(client, key, "/api/v1/usage/litellm", callback, JSON)
            assert response.json()["rejected"] == []
        else:
            assert post(client, key, "/v1/traces", traces, JSON).json() == {}
    total = spend_of(key)
    expected = CALL_COST_USD if callback_first else WITHOUT_CACHE_SPLIT_USD
    assert (total.requests, total.cost_usd) == (1, expected)


def test_other_content_through_the_same_door_is_a_conflict(client: Client, key: Key) -> None:
    call = litellm_call(uuid.uuid4().hex)
    changed = call | {"model_group": "another-alias"}
    assert post(client, key, "/api/v1/usage/litellm", call, JSON).status_code == 200
    response = post(client, key, "/api/v1/usage/litellm", changed, JSON)
    assert response.status_code == 422
    assert response.json()["rejected"][0]["code"] == "conflict"


def test_an_identity_is_shared_by_all_doors(client: Client, key: Key) -> None:
    native = native_event(source="//checkout-api")
    event = cloudevent(id=native["id"], data={"tokens": 7, "model": "gpt-4o-mini", "type": "input"})
    assert post(client, key, "/api/v1/usage/events", native, JSON).json()["accepted"] == 1
    response = post_cloudevents(client, key, event, STRUCTURED)
    assert (response.status_code, response["Costboard-Duplicates"]) == (204, "1")
    assert spend_of(key).requests == 1


def test_meters_and_context_reach_the_ledger(client: Client, key: Key) -> None:
    usage = {"input_tokens": 1000, "output_tokens": 200, "meters": {"web_searches": 2}}
    event = native_event(usage=usage, price_context={"service_tier": "flex", "speed": "standard"})
    assert post(client, key, "/api/v1/usage/events", event, JSON).json()["accepted"] == 1
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT meters, price_context FROM usage_ledger")
        (row,) = cursor.fetchall()
    assert [json.loads(value) for value in row] == [{"web_searches": 2}, {"service_tier": "flex"}]


OTLP_PATHS = ["/v1/traces", "/api/v1/otlp/v1/traces", "/v1/metrics"]


@pytest.mark.parametrize("path", OTLP_PATHS)
def test_otlp_refusals_are_a_status_in_the_requests_content_type(
    client: Client, database: None, path: str
) -> None:
    as_json = post(client, None, path, {}, JSON)
    assert (as_json.status_code, as_json["Content-Type"]) == (401, JSON)
    told = as_json.json()
    assert (told["code"], told["field"]) == (16, "Authorization")
    assert told["message"] == told["detail"]
    assert as_json["WWW-Authenticate"].startswith("Bearer")
    as_protobuf = post(client, None, path, b"", PROTOBUF)
    assert (as_protobuf.status_code, as_protobuf["Content-Type"]) == (401, PROTOBUF)
    assert read_status(as_protobuf.content) == (16, told["message"])


def test_otlp_bodies_that_cannot_be_read_are_refused_so_too(client: Client, key: Key) -> None:
    response = post(client, key, "/v1/traces", b"\xff", PROTOBUF)
    assert response.status_code == 400
    assert read_status(response.content)[0] == 3
    good = post(client, key, "/v1/traces", protobuf_body(), PROTOBUF)
    assert (good.status_code, good["Content-Type"]) == (200, PROTOBUF)


def read_status(body: bytes) -> tuple[int, str]:
    """A google.rpc.Status by the wire format: 1 varint code, 2 text."""
    assert (body[0], body[2]) == (0x08, 0x12)
    length, start = body[3], 4
    if length > 0x7F:
        length, start = (length & 0x7F) | body[4] << 7, 5
    assert len(body) == start + length
    return body[1], body[start:].decode()
