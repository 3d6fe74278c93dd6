"""Compressed and broken bodies: read whole or refused, never in part."""

import gzip
import io
import json
import urllib.request
import zlib

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.test import Client

from apps.tenants.problems import Problem
from apps.usage.http_body import MAX_GZIP_MEMBERS, held_body
from tests.conftest import Key, native_event
from tests.web import WebServer

EVENTS = "/api/v1/usage/events"


def line() -> bytes:
    return json.dumps(native_event()).encode() + b"\n"


def post_zipped(client: Client, key: Key, wire: bytes) -> tuple[int, dict[str, object]]:
    response = client.post(
        EVENTS,
        wire,
        content_type="application/x-ndjson",
        headers=key.headers | {"Content-Encoding": "gzip"},
    )
    return response.status_code, response.json()


def test_every_member_of_a_gzip_body_is_taken(client: Client, key: Key) -> None:
    status, answer = post_zipped(client, key, b"".join(gzip.compress(line()) for _ in range(3)))
    assert (status, answer["accepted"]) == (200, 3)


def test_zlib_is_taken_as_gzip(client: Client, key: Key) -> None:
    assert post_zipped(client, key, zlib.compress(line()))[1]["accepted"] == 1


@pytest.mark.parametrize(
    ("wire", "detail"),
    [
        (gzip.compress(line()) + b"trailing", "not valid gzip"),
        (gzip.compress(line()) + gzip.compress(line())[:-4], "ends too early"),
        (
            gzip.compress(b" ") * (MAX_GZIP_MEMBERS + 1),
            f"more than {MAX_GZIP_MEMBERS} gzip members",
        ),
    ],
)
def test_what_follows_a_member_is_never_dropped_in_silence(
    client: Client, key: Key, wire: bytes, detail: str
) -> None:
    status, problem = post_zipped(client, key, wire)
    assert (status, problem["code"]) == (400, "invalid_gzip")
    assert detail in str(problem["detail"])


def test_members_share_one_limit(client: Client, key: Key) -> None:
    half = gzip.compress(b" " * 40_000_000)
    status, problem = post_zipped(client, key, half + half)
    assert (status, problem["code"]) == (413, "body_too_large")


def test_a_body_shorter_than_stated_is_refused_whole() -> None:
    body = line()
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": EVENTS,
        "CONTENT_LENGTH": str(len(body) + 1),
        "wsgi.input": io.BytesIO(body),
    }
    with pytest.raises(Problem) as refused:
        held_body(WSGIRequest(environ)).__enter__()
    assert (refused.value.status, refused.value.code) == (400, "body_cut_short")


@pytest.mark.parametrize("charset", ["base64", "undefined", "utf-16", "no-such"])
def test_a_charset_that_is_none_is_no_concern_of_ours(
    web: WebServer, key: Key, charset: str
) -> None:
    headers = key.headers | {"Content-Type": f"application/json; charset={charset}"}
    url = f"{web.url}{EVENTS}?via=%C3%A9"
    with urllib.request.urlopen(urllib.request.Request(url, line(), headers)) as answer:
        assert json.load(answer)["accepted"] == 1
