"""A request's body: read whole, within limits, gunzipped."""

import zlib

from django.http import HttpRequest
from django.http.request import UnreadablePostError

from apps.tenants.problems import Problem

MAX_WIRE_BYTES = 16 * 1024 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024


def read_body(request: HttpRequest) -> bytes:
    """The body, decompressed. Raises Problem 413 past the limits, 400 or 415 if unreadable."""
    wire = _read_wire(request)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return wire
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _inflate(wire)
    raise Problem(
        415,
        "unsupported_encoding",
        f"Content-Encoding {encoding[:40]!r} is not understood; send gzip or identity",
        field="Content-Encoding",
    )


def _read_wire(request: HttpRequest) -> bytes:
    try:
        wire = request.read(MAX_WIRE_BYTES + 1)
    except (UnreadablePostError, OSError) as error:
        raise Problem(400, "body_cut_short", "the body ended before its stated length") from error
    if len(wire) > MAX_WIRE_BYTES:
        raise _too_large(MAX_WIRE_BYTES, "as sent")
    return wire


def _inflate(wire: bytes) -> bytes:
    # 32 + MAX_WBITS: gzip or zlib, by its header. The limit stops a bomb before it is unpacked.
    inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        body = inflater.decompress(wire, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise Problem(
            400, "invalid_gzip", "the body is not valid gzip", field="Content-Encoding"
        ) from error
    if len(body) > MAX_BODY_BYTES:
        raise _too_large(MAX_BODY_BYTES, "decompressed")
    if not inflater.eof:
        raise Problem(
            400, "invalid_gzip", "the gzip stream ends too early", field="Content-Encoding"
        )
    return body


def _too_large(limit_bytes: int, what: str) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"the body is more than {limit_bytes} bytes {what}; send smaller batches",
        field="Content-Length",
        limit_bytes=limit_bytes,
    )
