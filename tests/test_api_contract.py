"""The whole API: its published shape, and its walls."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.usage.otlp_api import TRACES_PATHS, UNBILLED_PATHS
from costboard.api import api
from tests.conftest import Key, MakeTenant, make_key, native_event

SNAPSHOT = Path(__file__).parent / "openapi.json"
READ_PATHS = sorted(
    path
    for path, operations in api.get_openapi_schema()["paths"].items()
    if "get" in operations and "{" not in path
)
WRITE_PATHS = sorted(
    (method, path)
    for path, operations in api.get_openapi_schema()["paths"].items()
    for method in operations
    if method != "get"
)


def test_openapi_document_is_the_one_reviewed() -> None:
    """Run with UPDATE_SNAPSHOTS=1 to accept a change; the diff is then part of the review."""
    document = json.dumps(api.get_openapi_schema(), indent=1, sort_keys=True, default=str) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(document)
    assert document == SNAPSHOT.read_text()


@pytest.mark.parametrize("path", READ_PATHS)
def test_reading_needs_a_key_with_the_scope(client: Client, key: Key, path: str) -> None:
    assert client.get(path).status_code == 401
    ingest_only = make_key(key.identity.tenant_id, "ingest")
    response = client.get(path, headers=ingest_only.headers)
    assert (response.status_code, response.json()["code"]) == (403, "missing_scope")


@pytest.mark.parametrize(("method", "path"), WRITE_PATHS)
def test_writing_needs_a_key(client: Client, database: None, method: str, path: str) -> None:
    response = client.generic(method.upper(), path, "{}", content_type="application/json")
    assert response.status_code == 401
    # OTLP prescribes its own form of refusal; see tests/usage/test_doors.py.
    of_otlp = path in TRACES_PATHS + UNBILLED_PATHS
    assert response["Content-Type"] == f"application/{'json' if of_otlp else 'problem+json'}"
    assert response["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", READ_PATHS)
def test_nothing_of_one_tenant_is_read_with_anothers_key(
    client: Client, key: Key, make_tenant: MakeTenant, post_events: Any, path: str
) -> None:
    post_events(
        [
            native_event(
                customer="secret-customer",
                department="secret-department",
                provider="secret-provider",
                model="secret-model",
            )
        ]
    )
    other = make_key(make_tenant().id)
    body = client.get(path, headers=other.headers).content.decode()
    assert "secret" not in body
    assert client.get(path, headers=key.headers).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/v1/nothing"])
def test_unknown_address_of_the_api_is_a_problem(client: Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert response["Content-Type"] == "application/problem+json"
