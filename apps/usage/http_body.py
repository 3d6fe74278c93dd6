"""A request's body: read whole, within limits, gunzipped."""

import zlib

from django.http import HttpRequest
from django.http.request import UnreadablePostError

from apps.tenants.problems import Problem

MAX_WIRE_BYTES = 16 * 1024 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
# Each costs a copy of what follows it. Clients send one; `cat *.gz` makes a few.
MAX_GZIP_MEMBERS = 100


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
        raise _cut_short() from error
    # A server that hands on what came before the connection broke raises nothing.
    if len(wire) < _stated_bytes(request) and len(wire) <= MAX_WIRE_BYTES:
        raise _cut_short()
    if len(wire) > MAX_WIRE_BYTES:
        raise _too_large(MAX_WIRE_BYTES, "as sent")
    return wire


def _stated_bytes(request: HttpRequest) -> int:
    stated = str(request.META.get("CONTENT_LENGTH") or "")
    return int(stated) if stated.isdecimal() and len(stated) < 19 else 0


def _cut_short() -> Problem:
    return Problem(400, "body_cut_short", "the body ended before its stated length")


def _inflate(wire: bytes) -> bytes:
    """Every member of a gzip file: RFC 1952 lets several follow each other; all are the body."""
    parts = []
    room = MAX_BODY_BYTES
    for _ in range(MAX_GZIP_MEMBERS):
        part, wire = _inflate_member(wire, room)
        parts.append(part)
        room -= len(part)
        if not wire:
            return parts[0] if len(parts) == 1 else b"".join(parts)
    raise _invalid_gzip(f"the body has more than {MAX_GZIP_MEMBERS} gzip members; send one")


def _inflate_member(wire: bytes, room: int) -> tuple[bytes, bytes]:
    """The first member, of at most `room` bytes, and what follows it."""
    # 32 + MAX_WBITS: gzip or zlib, by its header. The limit stops a bomb before it is unpacked.
    inflater = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        part = inflater.decompress(wire, room + 1)
    except zlib.error as error:
        raise _invalid_gzip("the body is not valid gzip") from error
    if len(part) > room:
        raise _too_large(MAX_BODY_BYTES, "decompressed")
    if not inflater.eof:
        raise _invalid_gzip("the gzip stream ends too early")
    return part, inflater.unused_data


def _invalid_gzip(detail: str) -> Problem:
    return Problem(400, "invalid_gzip", detail, field="Content-Encoding")


def _too_large(limit_bytes: int, what: str) -> Problem:
    return Problem(
        413,
        "body_too_large",
        f"the body is more than {limit_bytes} bytes {what}; send smaller batches",
        field="Content-Length",
        limit_bytes=limit_bytes,
    )
