"""POST /api/v1/usage/events: counted once, priced exactly, refused clearly."""

import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from apps.tenants.scoping import tenant_scope
from apps.tenants.selectors import list_api_keys, list_customers, list_departments
from apps.tenants.services import revoke_api_key
from apps.usage.adapters.native import parse_native
from apps.usage.ledger import MAX_ROWS_AT_ONCE
from apps.usage.selectors import SpendQuery, SpendRow, read_spend
from apps.usage.services import ingest_events, reconcile_usage
from tests.conftest import Key, make_key, native_event, roll_up

PostEvents = Callable[..., dict[str, Any]]


def total_of(key: Key, *group_by: Any) -> Any:
    now = datetime.now(UTC)
    roll_up(key.identity.tenant_id)
    with tenant_scope(key.identity.tenant_id):
        spend = read_spend(SpendQuery(now - timedelta(days=399), now + timedelta(days=1), group_by))
    return spend.rows if group_by else spend.total


def post(client: Client, key: Key | None, body: Any, **options: Any) -> Any:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    headers = dict(options.pop("headers", {})) | (key.headers if key else {})
    return client.post(
        "/api/v1/usage/events", data, content_type="application/json", headers=headers
    )


def test_object_array_and_ndjson_count_alike(client: Client, key: Key) -> None:
    events = [native_event() for _ in range(5)]
    ndjson = "\n".join(json.dumps(event) for event in events[3:])
    for body in (events[0], events[1:3], ndjson):
        assert post(client, key, body).status_code == 200
    total = total_of(key)
    assert (total.requests, total.cost_usd) == (5, Decimal("0.001125"))


def test_gzipped_body_is_taken(client: Client, key: Key) -> None:
    body = gzip.compress(json.dumps([native_event()]).encode())
    response = post(client, key, body, headers={"Content-Encoding": "gzip"})
    assert response.json() == {"accepted": 1, "duplicates": 0, "rejected": []}


def test_gzip_bomb_is_refused_before_it_is_unpacked(client: Client, key: Key) -> None:
    bomb = gzip.compress(b" " * 100_000_000)
    response = post(client, key, bomb, headers={"Content-Encoding": "gzip"})
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_oversized_body_is_refused(client: Client, key: Key) -> None:
    response = post(client, key, b"[" + b" " * (16 * 1024 * 1024) + b"]")
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_same_event_twice_is_a_duplicate_and_counts_once(client: Client, key: Key) -> None:
    event = native_event()
    assert post(client, key, [event, event]).json()["duplicates"] == 1
    again = post(client, key, event)
    assert (again.status_code, again.json()["duplicates"]) == (200, 1)
    assert total_of(key).requests == 1


@pytest.mark.parametrize("rows", [5, MAX_ROWS_AT_ONCE + 1])
def test_batch_of_old_and_new_takes_the_new_and_tells_the_others_apart(
    client: Client, key: Key, rows: int
) -> None:
    events = [native_event() for _ in range(rows)]
    post(client, key, [events[1], events[3]])
    events[3] |= {"usage": {"input_tokens": 5, "output_tokens": 5}}
    body = post(client, key, [*events, events[0]]).json()
    assert (body["accepted"], body["duplicates"]) == (rows - 2, 2)
    assert [(r["index"], r["code"]) for r in body["rejected"]] == [(3, "conflict")]
    assert total_of(key).cost_usd == Decimal("0.000225") * rows


def test_same_id_with_other_content_is_a_conflict_and_the_first_stands(
    client: Client, key: Key
) -> None:
    event = native_event()
    post(client, key, event)
    changed = event | {"usage": {"input_tokens": 5, "output_tokens": 5}}
    response = post(client, key, [changed, native_event()])
    body = response.json()
    assert (response.status_code, body["accepted"], body["duplicates"]) == (200, 1, 0)
    assert [(r["index"], r["code"], r["field"]) for r in body["rejected"]] == [
        (0, "conflict", "id")
    ]
    assert total_of(key).cost_usd == Decimal("0.00045")


def test_same_id_in_another_month_is_still_the_same_event(client: Client, key: Key) -> None:
    now = datetime.now(UTC)
    event = native_event(timestamp=(now - timedelta(days=70)).isoformat())
    post(client, key, event)
    moved = event | {"timestamp": now.isoformat()}
    assert post(client, key, moved).json()["rejected"][0]["code"] == "conflict"
    assert total_of(key).requests == 1


def test_source_is_part_of_the_identity(client: Client, key: Key) -> None:
    event = native_event()
    answer = post(client, key, [event, event | {"source": "edge-2"}]).json()
    assert answer["accepted"] == 2


def test_other_tenants_ids_are_their_own(client: Client, key: Key, make_tenant: Any) -> None:
    other = make_key(make_tenant().id)
    event = native_event()
    assert post(client, key, event).json()["accepted"] == 1
    assert post(client, other, event).json()["accepted"] == 1


def test_model_without_a_price_is_kept_unpriced_and_not_zeroed(client: Client, key: Key) -> None:
    post(client, key, [native_event(model="acme-internal-7b", provider="acme"), native_event()])
    by_model = {row.labels["model"]: row for row in total_of(key, "model")}
    assert by_model["acme-internal-7b"].unpriced_requests == 1
    assert by_model["gpt-4o-mini-2024-07-18"].unpriced_requests == 0
    with tenant_scope(key.identity.tenant_id), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_ledger WHERE cost_usd IS NULL")
        assert cursor.fetchone() == (1,)


def test_failed_attempt_counts_and_costs_nothing(client: Client, key: Key) -> None:
    post(client, key, native_event(status="429", usage={"input_tokens": 0, "output_tokens": 0}))
    total = total_of(key)
    assert (total.requests, total.cost_usd, total.unpriced_requests) == (1, 0, 0)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"usage": {"input_tokens": -1, "output_tokens": 1}}, None, "usage.input_tokens"),
        ({"usage": {"input_tokens": 10**15, "output_tokens": 1}}, None, "usage.input_tokens"),
        (
            {"usage": {"input_tokens": 1, "output_tokens": 1, "foo": 1}},
            "unknown_field",
            "usage.foo",
        ),
        ({"colour": "red"}, "unknown_field", "colour"),
        ({"timestamp": "2016-11-23T00:00:00Z"}, "timestamp_too_old", "timestamp"),
        ({"timestamp": "2036-11-23T00:00:00Z"}, "timestamp_in_future", "timestamp"),
        ({"timestamp": "yesterday"}, None, "timestamp"),
        ({"model": None}, None, "model"),
        (
            {"usage": {"input_tokens": 5, "cache_read_tokens": 6, "output_tokens": 1}},
            "cache_exceeds_input",
            None,
        ),
    ],
)
def test_bad_row_is_named_and_costs_no_good_row(
    client: Client, key: Key, change: dict[str, Any], code: str | None, field: str | None
) -> None:
    bad = native_event(**change)
    response = post(client, key, [native_event(), bad, native_event()])
    body = response.json()
    assert (response.status_code, body["accepted"]) == (200, 2)
    (rejected,) = body["rejected"]
    assert rejected["index"] == 1
    assert rejected["id"] == bad["id"]
    assert code is None or rejected["code"] == code
    assert field is None or rejected["field"] == field
    alone = post(client, key, bad)
    assert alone.status_code == 422
    assert alone["Content-Type"] == "application/problem+json"
    assert alone.json()["rejected"][0]["index"] == 0


@pytest.mark.parametrize("body", ["", "{", "[1, 2", "not json", "\x00", "[]]"])
def test_body_that_is_no_json_is_a_problem(client: Client, key: Key, body: str) -> None:
    response = post(client, key, body)
    assert response.status_code in (400, 422)
    assert response["Content-Type"] == "application/problem+json"


def test_without_a_good_key_nothing_is_taken(client: Client, key: Key) -> None:
    wrong = Key("cb_wrong", key.identity)
    for caller in (None, wrong):
        response = post(client, caller, native_event())
        assert (response.status_code, response.json()["field"]) == (401, "Authorization")
    with tenant_scope(key.identity.tenant_id):
        (info,) = list_api_keys()
        revoke_api_key(api_key_id=info.id, actor="test", now=datetime.now(UTC))
    assert post(client, key, native_event()).status_code == 401
    assert total_of(key).requests == 0


def test_key_without_the_scope_is_told_which(client: Client, key: Key) -> None:
    reader = make_key(key.identity.tenant_id, "read")
    response = post(client, reader, native_event())
    assert response.status_code == 403
    assert "ingest" in response.json()["detail"]


def test_attribution_reaches_customer_department_and_the_rest(client: Client, key: Key) -> None:
    post(
        client,
        key,
        native_event(
            customer="cust-42",
            department="Payments",
            project="checkout",
            environment="prod",
            task="chat",
            tags={"a": "b"},
        ),
    )
    (row,) = total_of(key, "customer", "department", "project", "task")
    assert dict(row.labels) == {
        "customer": "cust-42",
        "department": "Payments",
        "project": "checkout",
        "task": "chat",
    }
    with tenant_scope(key.identity.tenant_id):
        assert [c.external_id for c in list_customers()] == ["cust-42"]
        assert [d.code for d in list_departments()] == ["Payments"]


def test_same_batch_from_many_threads_counts_once(key: Key, django_db_blocker: Any) -> None:
    body = json.dumps([native_event() for _ in range(200)]).encode()

    def ingest(_: int) -> int:
        with django_db_blocker.unblock():
            try:
                now = datetime.now(UTC)
                return ingest_events(key.identity, parse_native(body), now=now).accepted
            finally:
                connection.close()

    with ThreadPoolExecutor(8) as pool:
        accepted = list(pool.map(ingest, range(16)))
    assert sum(accepted) == 200
    total: SpendRow = total_of(key)
    assert (total.requests, total.cost_usd) == (200, Decimal("0.045"))
    assert reconcile_usage(key.identity.tenant_id, now=datetime.now(UTC)).is_clean
