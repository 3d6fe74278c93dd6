"""The short way to the doors that routers use answers as the long way: status, headers, body."""

import gzip
import io
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from costboard.hot_doors import PATHS, PATHS_OF_ONE, HotDoors
from tests.conftest import Key, make_key, native_event

Answer = tuple[str, dict[str, str], bytes]
Call = Callable[[Any, dict[str, Any]], Answer]


def call(application: Any, environ: dict[str, Any]) -> Answer:
    heads: list[tuple[str, dict[str, str]]] = []
    body = application(
        environ, lambda status, headers, _=None: heads.append((status, dict(headers)))
    )
    return (*heads[0], b"".join(body))


def environ_of(path: str, body: bytes, **fields: Any) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        **fields,
    }


@pytest.fixture
def both(database: None) -> Callable[..., tuple[Answer, Answer]]:
    """What the short way and the long way answer to the same call."""
    from costboard.wsgi import Utf8Request, application

    long = application._other

    def ask(path: str, body: bytes, **fields: Any) -> tuple[Answer, Answer]:
        # What cannot take the long way is not answered by it here.
        short = HotDoors(lambda *_: pytest.fail("it took the long way"), Utf8Request)
        return (
            call(short, environ_of(path, body, **fields)),
            call(long, environ_of(path, body, **fields)),
        )

    return ask


def without_id(answer: Answer) -> Answer:
    """A decision's own id and moment aside."""
    status, headers, body = answer
    told = json.loads(body)
    for name in ("decision_id", "expires_at"):
        told.pop(name, None)
    headers.pop("Content-Length")
    return status, headers, json.dumps(told).encode()


BROKEN = b'{"id": '
EVENT = json.dumps(native_event()).encode()
DECISION = {"input_tokens": 1000, "max_output_tokens": 100, "candidates": ["openai/gpt-4o-mini"]}


@pytest.mark.parametrize(
    ("body", "fields", "status"),
    [
        (EVENT, {}, "200"),
        (gzip.compress(EVENT), {"HTTP_CONTENT_ENCODING": "gzip"}, "200"),
        (EVENT, {"CONTENT_TYPE": "text/plain; charset=base64"}, "200"),
        (EVENT, {"HTTP_CONTENT_ENCODING": "br"}, "415"),
        (EVENT, {"CONTENT_LENGTH": str(len(EVENT) + 5)}, "400"),
        (EVENT, {"HTTP_AUTHORIZATION": ""}, "401"),
        (EVENT, {"HTTP_AUTHORIZATION": "Bearer cb_unknown"}, "401"),
        (BROKEN, {}, "400"),
        (json.dumps(native_event(timestamp="2001-01-01T00:00:00Z")).encode(), {}, "422"),
        (b"", {}, "400"),
        (b" " * 17_000_000, {}, "413"),
    ],
)  # fmt: skip
def test_usage_is_answered_alike(
    both: Any, key: Key, body: bytes, fields: dict[str, Any], status: str
) -> None:
    fields = {"HTTP_AUTHORIZATION": key.headers["Authorization"]} | fields
    both("/api/v1/usage/events", body, **fields)
    # Now both meet a duplicate.
    short, long = both("/api/v1/usage/events", body, **fields)
    assert short == long
    assert short[0].startswith(status)
    assert short[1]["X-Frame-Options"] == "DENY"
    assert "default-src 'self'" in short[1]["Content-Security-Policy"]
    assert short[1]["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "200"),
        ({"reserve": True}, "200"),
        ({"max_output_tokens": -1}, "422"),
        ({"candidates": ["nobody/prices-this"]}, "422"),
        ({"unknown": 1}, "422"),
    ],
)
def test_decisions_are_answered_alike(
    both: Any, key: Key, change: dict[str, Any], status: str
) -> None:
    body = json.dumps({"request_id": uuid.uuid4().hex} | DECISION | change).encode()
    head = {"HTTP_AUTHORIZATION": key.headers["Authorization"]}
    if status == "200":
        both("/api/v1/routing/decisions", body, **head)
    short, long = map(without_id, both("/api/v1/routing/decisions", body, **head))
    assert short == long
    assert short[0].startswith(status)


UNUSUAL = json.dumps({"request_id": "u", "reserve": False} | DECISION)


@pytest.mark.parametrize(
    ("body", "fields", "status"),
    [
        (b"", {}, "4"),
        (b"[]", {}, "422"),
        (BROKEN, {}, "400"),
        (UNUSUAL.encode("utf-16"), {}, "200"),
        (b"\xef\xbb\xbf" + UNUSUAL.encode(), {}, "200"),
        (UNUSUAL.encode().replace(b'"u"', b'"\xff"'), {}, "400"),
        (UNUSUAL.encode().replace(b'"u"', rb'"\ud800"'), {}, "422"),
        (UNUSUAL.encode().replace(b"false", b'false, "difficulty": NaN'), {}, "422"),
        (UNUSUAL.encode() + b" " * 70_000, {}, "200"),
        (UNUSUAL.encode(), {"CONTENT_LENGTH": ""}, "4"),
        (UNUSUAL.encode(), {"CONTENT_LENGTH": "20"}, "400"),
        (UNUSUAL.encode(), {"HTTP_ACCEPT_ENCODING": "gzip"}, "200"),
    ],
)
def test_unusual_decisions_are_answered_alike(
    both: Any, key: Key, body: bytes, fields: dict[str, Any], status: str
) -> None:
    fields = {"HTTP_AUTHORIZATION": key.headers["Authorization"]} | fields
    (one, one_head, one_body), (two, two_head, two_body) = both(PATHS[6], body, **fields)
    assert one == two
    assert one.startswith(status)
    if one_head.get("Content-Encoding") == "gzip":
        one_body, two_body = gzip.decompress(one_body), gzip.decompress(two_body)
    assert without_id((one, one_head, one_body)) == without_id((two, two_head, two_body))


def test_holds_end_alike(both: Any, key: Key) -> None:
    head = {"HTTP_AUTHORIZATION": key.headers["Authorization"]}
    body = json.dumps({"request_id": "r", "reserve": True} | DECISION).encode()
    (_, _, made), _ = both("/api/v1/routing/decisions", body, **head)
    path = f"/api/v1/routing/decisions/{json.loads(made)['decision_id']}"
    settled, again = both(f"{path}/settle", b'{"cost_usd": "0.1"}', **head)
    assert settled == again
    assert json.loads(settled[2])["state"] == "settled"
    # As servers write a path: the bytes of its UTF-8, a character each.
    for name in ("no-id", "\N{SNOWMAN}".encode().decode("latin-1")):
        unknown, too = both(f"/api/v1/budgets/reservations/{name}/release", b"", **head)
        assert unknown == too
        assert unknown[0].startswith("404")


@pytest.mark.parametrize("path", PATHS + PATHS_OF_ONE)
def test_a_key_needs_the_scope_at_every_hot_door(both: Any, key: Key, path: str) -> None:
    read_only = make_key(key.identity.tenant_id, "read")
    short, long = both(path, b"{}", HTTP_AUTHORIZATION=read_only.headers["Authorization"])
    assert short == long
    assert short[0].startswith("403")


@pytest.mark.parametrize(
    "fields", [{"HTTP_HOST": "evil.example"}, {"REQUEST_METHOD": "GET"}, {"SCRIPT_NAME": "/x"}]
)
def test_what_is_unusual_goes_the_long_way(database: None, fields: dict[str, Any]) -> None:
    from costboard.wsgi import Utf8Request

    ways: list[str] = []
    doors = HotDoors(lambda *_: ways.append("long") or [], Utf8Request)  # type: ignore[func-returns-value]
    doors(environ_of(PATHS[0], b"{}", **fields), lambda *_: None)
    assert ways == ["long"]
